"""Bytes that are pushed: slices of files, read in threads and in small pieces, hashed on the way, never held whole."""

import asyncio
import hashlib
import os
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from clients.problems import Problem, SourceChanged
from model.units import KIB, MIB

PIECE_BYTES: Final = 256 * KIB
"""What one transfer holds in memory, beside what the connection buffers."""

HASHED_AT_ONCE_BYTES: Final = MIB
KEPT_OPEN: Final = 100
"""An index may have more blobs than a process may have files."""


class Hash(Protocol):
    """What is used of hashlib's objects."""

    def update(self, data: bytes, /) -> None:
        """Take more."""
        ...

    def hexdigest(self) -> str:
        """The result so far."""
        ...


@dataclass(frozen=True)
class Slice:
    """A run of bytes in a file, or a few in memory (`content`, when there is no path)."""

    path: Path | None
    start: int
    size_bytes: int
    content: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, content: bytes) -> "Slice":
        """Bytes in memory."""
        return cls(None, 0, len(content), content)

    @property
    def key(self) -> str:
        """Its place, as journals know it."""
        return f"{self.path}:{self.start}" if self.path else f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def identity(self) -> list[int]:
        """What changes when somebody writes to the file: size, modification time, inode.

        Raises:
            SourceChanged: the file is gone.
        """
        if self.path is None:
            return []
        try:
            found = self.path.stat()
        except OSError as error:
            raise SourceChanged(f"{self.path}: {error.strerror}") from error
        return [found.st_size, found.st_mtime_ns, found.st_ino]

    def read(self, most_bytes: int) -> bytes:
        """All of it, when it is no more than `most_bytes`.

        Raises:
            Problem: it is larger, or cannot be read.
        """
        if self.size_bytes > most_bytes:
            raise Problem(f"{self.path} is larger than what belongs there may be")
        if self.path is None:
            return self.content
        try:
            with self.path.open("rb") as file:
                return os.pread(file.fileno(), self.size_bytes, self.start)
        except OSError as error:
            raise Problem(f"{self.path} cannot be read: {error.strerror}") from error


class Disk:
    """Reads slices in threads of its own; the files that were read last stay open until `close`."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._files: OrderedDict[Path, int] = OrderedDict()
        self._in_use: Counter[Path] = Counter()

    def close(self) -> None:
        """Wait for the threads and close the files."""
        self._threads.shutdown(cancel_futures=True)
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    async def read(self, part: Slice, at: int, length: int, sums: Hash) -> bytes:
        """`length` bytes from `at` of a slice, added to `sums`.

        Raises:
            SourceChanged: the file is shorter now, or gone.
            Problem: it cannot be read.
        """
        if part.path is None:
            piece = part.content[at : at + length]
            sums.update(piece)
            return piece
        self._in_use[part.path] += 1
        try:
            file = self._opened(part.path)
            run = asyncio.get_running_loop().run_in_executor
            return await run(self._threads, _read, file, part.start + at, length, sums)
        except EOFError as error:
            raise SourceChanged(f"{part.path} became shorter while it was read", "push it again") from error
        except OSError as error:
            raise Problem(f"{part.path} cannot be read: {error.strerror}") from error
        finally:
            self._in_use[part.path] -= 1

    def _opened(self, path: Path) -> int:
        if path not in self._files:
            idle = [each for each in self._files if not self._in_use[each]]
            for each in idle[: max(0, len(self._files) - KEPT_OPEN + 1)]:
                os.close(self._files.pop(each))
            self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._files.move_to_end(path)
        return self._files[path]


def _read(file: int, at: int, length: int, sums: Hash) -> bytes:
    pieces, missing = [], length
    while missing:
        piece = os.pread(file, missing, at + length - missing)
        if not piece:
            raise EOFError
        pieces.append(piece)
        missing -= len(piece)
    whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    sums.update(whole)
    return whole


async def sha256_of(disk: Disk, part: Slice, start: int, length: int) -> str:
    """The SHA-256 of some bytes of a slice, in hex."""
    sums = hashlib.sha256()
    for at in range(start, start + length, HASHED_AT_ONCE_BYTES):
        await disk.read(part, at, min(HASHED_AT_ONCE_BYTES, start + length - at), sums)
    return sums.hexdigest()


class Outgoing:
    """Some bytes of a slice as the body of a request. `sha256` is theirs once all were streamed.

    `moved` is told how many bytes went out, and with a minus sign when they have to go out again.
    """

    def __init__(self, disk: Disk, part: Slice, start: int, length: int, moved: Callable[[int], None]) -> None:
        self.length = length
        self.failure: Problem | None = None
        self._disk, self._slice, self._start = disk, part, start
        self._moved = moved
        self._moved_bytes = 0
        self._sums = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sums.hexdigest()

    def take_back(self) -> None:
        """They did not arrive."""
        self._moved(-self._moved_bytes)
        self._moved_bytes = 0

    async def stream(self) -> AsyncIterator[bytes]:
        """The bytes, from the beginning however often it is called."""
        self.take_back()
        self._sums = sums = hashlib.sha256()
        for at in range(self._start, self._start + self.length, PIECE_BYTES):
            length = min(PIECE_BYTES, self._start + self.length - at)
            try:
                piece = await self._disk.read(self._slice, at, length, sums)
            except Problem as problem:
                self.failure = problem  # the HTTP client hides what ends a body, so it is also said here
                raise
            yield piece
            self._moved_bytes += length
            self._moved(length)
