"""Running digests of a growing prefix: always sha256, sha512 beside it when somebody asked (oci.md 2.3 rule 13)."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from model.digests import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

ALWAYS: Final = "sha256"


class RunningDigests:
    """The digests of all bytes given to `update` so far; updating releases the GIL for large pieces."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self._running = {name: hashlib.new(name) for name in {ALWAYS, *algorithms}}

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the prefix."""
        for running in self._running.values():
            running.update(data)

    def copy(self) -> "RunningDigests":
        """An independent continuation from here; what makes a rewind cheap."""
        twin = RunningDigests()
        twin._running = {name: running.copy() for name, running in self._running.items()}
        return twin

    @classmethod
    def going_on_from(cls, sha256: "_Hash") -> "RunningDigests":
        """The continuation of a digest that ran elsewhere; of sha256 only."""
        digests = cls()
        digests._running = {ALWAYS: sha256.copy()}
        return digests

    @property
    def algorithms(self) -> frozenset[str]:
        """Which digests run along."""
        return frozenset(self._running)

    def digest(self, algorithm: str) -> Digest:
        """The digest of the prefix so far; KeyError if `algorithm` does not run along."""
        return Digest(algorithm, self._running[algorithm].hexdigest())

    def prefix_mark(self) -> bytes:
        """The raw sha256 of the prefix so far, 32 bytes."""
        return self._running[ALWAYS].digest()
