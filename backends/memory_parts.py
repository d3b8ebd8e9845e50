"""An object store in memory: parts and copies beside the five verbs, failing when a test asks for it.

It shows what `Multipart` and `Copies` promise with as little code as possible, so that everything above can be tested
without a server. `before` and `after` are asked at each verb: what they raise is what the caller gets, from `before`
with nothing done, from `after` with everything done and only the answer lost.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backends.base import FileSlice, MultipartGone, RemotePart, in_thread
from backends.keys import checked
from backends.memory import MemoryBackend
from model.errors import StorageFailed, StorageFull
from model.units import GIB, MIB

Hook = Callable[[str, str], Awaitable[None]]
"""Told the verb (`put`, `send_part` ...) and the key; may wait, and may raise what a store would."""

MOST_PARTS: Final = 10_000


async def _nothing(verb: str, key: str) -> None:
    """What happens when no test asks for more."""


@dataclass(slots=True)
class _Unfinished:
    """An object in the making."""

    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryStore(MemoryBackend):
    """A dictionary as an object store (`Backend`, with the abilities `Multipart` and `Copies`).

    `asked` is every verb that came, in order, with its key. `hashes_copies`: whether a copy answers with its SHA-256.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int | None = None,
        smallest_part_bytes: int = 5 * MIB,
        largest_part_bytes: int = 5 * GIB,
        most_parts: int = MOST_PARTS,
        hashes_copies: bool = False,
    ) -> None:
        super().__init__(capacity_bytes=capacity_bytes)
        self.smallest_part_bytes = smallest_part_bytes
        self.largest_part_bytes = largest_part_bytes
        self.most_parts = most_parts
        self.hashes_copies = hashes_copies
        self.unfinished: dict[str, _Unfinished] = {}
        """By the id that `begin` gave."""
        self.asked: list[tuple[str, str]] = []
        self.before: Hook = _nothing
        self.after: Hook = _nothing

    async def put(self, key: str, source: Path) -> None:
        """Take the bytes of `source` and remove it; see `Backend.put`."""
        await self._asked("put", key)
        await super().put(key, source)
        await self.after("put", key)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly those bytes, in pieces; see `Backend.get`. `after` is asked behind each piece but the last."""
        await self._asked("get", key)
        held: bytes | None = None
        async for piece in super().get(key, start, length):
            if held is not None:
                yield held
                await self.after("get", key)
            held = piece
        if held is not None:
            yield held

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; see `Backend.size`."""
        await self._asked("size", key)
        return await super().size(key)

    async def delete(self, key: str) -> None:
        """Remove `key`; see `Backend.delete`."""
        await self._asked("delete", key)
        await super().delete(key)
        await self.after("delete", key)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; see `Backend.keys`."""
        await self._asked("keys", prefix)
        async for key in super().keys(prefix):
            yield key

    async def begin(self, key: str) -> str:
        """Begin an object under `key`; see `Multipart.begin`."""
        await self._asked("begin", checked(key))
        store_upload_id = secrets.token_hex(8)
        self.unfinished[store_upload_id] = _Unfinished(key)
        await self.after("begin", key)
        return store_upload_id

    async def send_part(
        self, key: str, store_upload_id: str, number: int, source: FileSlice, sha256: str | None = None
    ) -> RemotePart:
        """Store one part; see `Multipart.send_part`."""
        await self._asked("send_part", checked(key))
        content = await in_thread(None, lambda: _read(source))
        parts = self._unfinished(key, store_upload_id).parts
        if not 1 <= number <= self.most_parts or len(content) > self.largest_part_bytes:
            raise StorageFailed(f"cannot store part {number} of {key}: outside what the store takes")
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise StorageFailed(f"cannot store part {number} of {key}: the bytes do not have the hash announced")
        self._check_room_for(key, len(content))
        parts[number] = content
        await self.after("send_part", key)
        return _described(number, content)

    async def list_parts(self, key: str, store_upload_id: str) -> list[RemotePart]:
        """The parts that the store has, by number; see `Multipart.list_parts`."""
        await self._asked("list_parts", checked(key))
        parts = self._unfinished(key, store_upload_id).parts
        return [_described(number, content) for number, content in sorted(parts.items())]

    async def assemble(self, key: str, store_upload_id: str, parts: Sequence[RemotePart]) -> None:
        """Make `parts` the object under `key`; see `Multipart.assemble`."""
        await self._asked("assemble", checked(key))
        ordered = sorted(parts, key=lambda part: part.number)
        try:
            stored = self._unfinished(key, store_upload_id).parts
        except MultipartGone:
            if len(self.values.get(key, b"")) != sum(part.size_bytes for part in ordered) or key not in self.values:
                raise
            return
        for part in ordered:
            if part.number not in stored or _described(part.number, stored[part.number]).etag != part.etag:
                raise StorageFailed(f"cannot assemble {key}: part {part.number} is not what the store has")
        if not ordered or any(len(stored[part.number]) < self.smallest_part_bytes for part in ordered[:-1]):
            raise StorageFailed(f"cannot assemble {key}: no part, or one that is too small")
        self.values[key] = b"".join(stored[part.number] for part in ordered)
        del self.unfinished[store_upload_id]
        await self.after("assemble", key)

    async def abort(self, key: str, store_upload_id: str | None) -> None:
        """Remove an unfinished object; see `Multipart.abort`."""
        await self._asked("abort", checked(key))
        for found, unfinished in list(self.unfinished.items()):
            if unfinished.key == key and store_upload_id in (None, found):
                del self.unfinished[found]
        await self.after("abort", key)

    async def list_unfinished(self, key: str) -> list[str]:
        """The ids of all unfinished objects under the key; see `Multipart.list_unfinished`."""
        await self._asked("list_unfinished", checked(key))
        return [found for found, unfinished in self.unfinished.items() if unfinished.key == key]

    async def copy(self, source: str, target: str, size_bytes: int, *, sha256: bool = False) -> str | None:
        """Copy an object; see `Copies.copy`."""
        await self._asked("copy", checked(source))
        value = self._value(source)
        self._check_room(checked(target), value)
        self.values[target] = value
        await self.after("copy", source)
        return hashlib.sha256(value).hexdigest() if sha256 and self.hashes_copies else None

    async def _asked(self, verb: str, key: str) -> None:
        self.asked.append((verb, key))
        await self.before(verb, key)

    def _unfinished(self, key: str, store_upload_id: str) -> _Unfinished:
        found = self.unfinished.get(store_upload_id)
        if found is None or found.key != checked(key):
            raise MultipartGone(f"there is no such unfinished object under {key}")
        return found

    def _check_room_for(self, key: str, more_bytes: int) -> None:
        used_bytes = sum(map(len, self.values.values()))
        used_bytes += sum(len(part) for each in self.unfinished.values() for part in each.parts.values())
        if self.capacity_bytes is not None and used_bytes + more_bytes > self.capacity_bytes:
            raise StorageFull("the memory set aside is full", inner=f"cannot store a part of {key}: it is full")


def _read(source: FileSlice) -> bytes:
    """The bytes of a slice; StorageFailed when they are not all there."""
    try:
        with source.path.open("rb") as file:
            file.seek(source.start)
            content = file.read(source.length_bytes)
    except OSError as error:
        raise StorageFailed(f"cannot read what is to be stored: {error.strerror}") from error
    if len(content) != source.length_bytes:
        raise StorageFailed("what is to be stored ends too early")
    return content


def _described(number: int, content: bytes) -> RemotePart:
    """A part as stores describe it; the etag is an MD5, as with most of them."""
    return RemotePart(number, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())
