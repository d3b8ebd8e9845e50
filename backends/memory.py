"""Bytes in memory, with the promises of any other backend: for tests, and as the shortest reading of the port."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from backends.base import KeyMissing, ShortRead, in_thread
from backends.keys import checked
from model.errors import StorageFailed, StorageFull
from model.units import MIB

PIECE_BYTES: Final = MIB


class MemoryBackend:
    """A dictionary as a place for bytes (`Backend`)."""

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.values: dict[str, bytes] = {}
        self.capacity_bytes = capacity_bytes

    async def put(self, key: str, source: Path) -> None:
        """Take the bytes of `source` and remove it; see `Backend.put`."""
        checked(key)
        try:
            value = await in_thread(None, source.read_bytes)
            self._check_room(key, value)
            await in_thread(None, source.unlink)
        except OSError as error:
            raise StorageFailed(
                f"the content cannot be read: {error.strerror}", inner=f"cannot store {key}: {error.strerror}"
            ) from error
        self.values[key] = value

    async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly those bytes, in pieces of up to 1 MiB; see `Backend.get`."""
        value = self._value(key)
        stop = len(value) if length is None else start + length
        if max(start, stop) > len(value):
            raise ShortRead(f"{key} ends at byte {len(value)}, before what was asked for")
        for at in range(start, stop, PIECE_BYTES):
            yield value[at : min(at + PIECE_BYTES, stop)]

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; see `Backend.size`."""
        return len(self._value(key))

    async def delete(self, key: str) -> None:
        """Remove `key`; see `Backend.delete`."""
        self.values.pop(checked(key), None)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; see `Backend.keys`."""
        for key in sorted(self.values):
            if key.startswith(prefix):
                yield key

    def _value(self, key: str) -> bytes:
        try:
            return self.values[checked(key)]
        except KeyError:
            raise KeyMissing(f"nothing is stored under {key}") from None

    def _check_room(self, key: str, value: bytes) -> None:
        if self.capacity_bytes is not None:
            others_bytes = sum(len(other) for name, other in self.values.items() if name != key)
            if others_bytes + len(value) > self.capacity_bytes:
                raise StorageFull(
                    "the memory set aside is full", inner=f"cannot store {key}: the memory set aside is full"
                )
