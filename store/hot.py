"""What is answered from memory: names, manifests and small blobs, least recently used out first, bounded in bytes.

Only the event loop touches it. Writes drop what they change after their commit and before anybody is answered
(`store/catalog.py`). A read that began before such a drop may bring an old value afterwards; it must not stay: so a
reader takes the repository's generation before it asks the catalog, and `keep` refuses when that has moved on.
"""

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from typing import Final, Generic, TypeVar, cast


class Kind(Enum):
    """What a key means."""

    TAG = "tag"
    MANIFEST = "manifest"
    BODY = "body"
    BLOB = "blob"
    CONTENT = "content"
    EVERYTHING = "everything"
    """In a drop: all there is of the repository."""

    # Members are compared by identity, so their address is as good a hash as Enum's own, which is a Python call
    # on every look-up.
    __hash__ = object.__hash__


Key = tuple[Kind, str, str]
"""Kind, repository ("" for what belongs to no single one), name."""

ENTRY_BYTES: Final = 400
"""What an entry costs beside its value: key, strings, links."""

_SLOTS: Final = 4096
"""Generations are kept per hash of the name, so that their number is fixed; a collision costs one more read."""

T = TypeVar("T")


class Hot:
    """The memory itself. Values are shared, so they must never be changed."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._entries: OrderedDict[Key, tuple[object, int, int]] = OrderedDict()
        self._generations = [0] * _SLOTS
        self._epochs = [0] * _SLOTS

    def get(self, key: Key) -> object | None:
        """What is known under `key`, if anything."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[2] != self._epochs[hash(key[1]) % _SLOTS]:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def generation(self, repository: str) -> int:
        """Where the repository stands; take it before the read whose result is to be kept."""
        return self._generations[hash(repository) % _SLOTS]

    def keep(self, key: Key, value: object, generation: int, value_bytes: int = 0) -> bool:
        """Remember `value`, unless something of its repository was dropped since `generation`; whether it was."""
        slot = hash(key[1]) % _SLOTS
        cost_bytes = value_bytes + ENTRY_BYTES
        if self._generations[slot] != generation or cost_bytes > self.limit_bytes:
            return False
        self._remove(key)
        self._entries[key] = (value, cost_bytes, self._epochs[slot])
        self.used_bytes += cost_bytes
        while self.used_bytes > self.limit_bytes:
            self._remove(next(iter(self._entries)))
        return True

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget these, and let no read that is under way bring them back."""
        for key in keys:
            slot = hash(key[1]) % _SLOTS
            self._generations[slot] += 1
            if key[0] is Kind.EVERYTHING:
                self._epochs[slot] += 1  # what is of an older epoch is not found any more, and ages out
            else:
                self._remove(key)

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= entry[1]

    def __len__(self) -> int:
        return len(self._entries)


class Shelf(Generic[T]):
    """The entries of one kind, with the type of their values."""

    def __init__(self, hot: Hot, kind: Kind) -> None:
        self._hot = hot
        self._kind = kind

    def get(self, repository: str, name: str) -> T | None:
        """What is known, if anything."""
        return cast("T | None", self._hot.get((self._kind, repository, name)))

    def keep(self, repository: str, name: str, value: T, generation: int, value_bytes: int = 0) -> bool:
        """Remember `value`, as `Hot.keep` does."""
        return self._hot.keep((self._kind, repository, name), value, generation, value_bytes)
