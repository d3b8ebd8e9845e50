"""Bytes of ours on their way to a store: read and hashed in threads, in pieces, never held whole (D2)."""

import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from backends.base import FileSlice, in_thread
from model.errors import StorageFailed
from model.units import MIB

PIECE_BYTES: Final = MIB
THREADS: Final = 4
"""For reading and hashing what lies in the page cache, mostly; more would only wait for each other."""

SPARE: Final = 16
"""As many as parts are sent at a time."""

T = TypeVar("T")
Buffers: TypeAlias = tuple[bytearray, bytearray]
Piece: TypeAlias = bytes | memoryview


class Bodies:
    """Reads what is to be sent. A trouble with our own file is a StorageFailed, and none of the store's."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._spare: list[Buffers] = []

    def close(self) -> None:
        """Let the threads go. Blocks until they have ended what they do."""
        self._pool.shutdown()

    async def sha256(self, source: FileSlice | bytes) -> str:
        """The hash of it all, in hex."""
        if isinstance(source, bytes):
            if len(source) <= PIECE_BYTES // 4:
                return hashlib.sha256(source).hexdigest()
            return await in_thread(self._pool, lambda: hashlib.sha256(source).hexdigest())
        return await in_thread(self._pool, lambda: _sha256(source))

    async def size(self, path: Path) -> int:
        """The length of a file of ours."""
        return await in_thread(self._pool, lambda: _guarded(lambda: path.stat().st_size))

    async def remove(self, path: Path) -> None:
        """Take a file of ours away; one that is gone is fine, and so is one that stays: the spool is cleaned anyway."""

        def unlink() -> None:
            try:
                path.unlink()
            except OSError:
                return

        await in_thread(self._pool, unlink)

    def lend(self) -> Buffers:
        """Two buffers for a body. To be given back only when nothing holds them any more, or else never."""
        return self._spare.pop() if self._spare else (bytearray(PIECE_BYTES), bytearray(PIECE_BYTES))

    def give_back(self, buffers: Buffers) -> None:
        """They may be lent again: memory that is new each time costs more than all the reading."""
        if len(self._spare) < SPARE:
            self._spare.append(buffers)

    async def pieces(self, source: FileSlice | bytes, buffers: Buffers | None = None) -> AsyncGenerator[Piece, None]:
        """It all, in pieces of up to 1 MiB. With `buffers`, a piece is good until the next but one is asked for.

        Raises:
            StorageFailed: the file cannot be read, or ends too early.
        """
        if isinstance(source, bytes):
            for at in range(0, len(source), PIECE_BYTES):
                yield source[at : at + PIECE_BYTES]
            return
        descriptor = await in_thread(self._pool, lambda: _opened(source.path), os.close)
        try:
            at, stop = source.start, source.start + source.length_bytes
            while at < stop:
                buffer = bytearray(PIECE_BYTES) if buffers is None else buffers[(at - source.start) // PIECE_BYTES % 2]
                into = memoryview(buffer)[: min(PIECE_BYTES, stop - at)]
                await in_thread(self._pool, partial(_read_all, descriptor, into, at))
                at += len(into)
                yield into
        finally:
            os.close(descriptor)


def length_of(source: FileSlice | bytes) -> int:
    """How many bytes will be sent."""
    return len(source) if isinstance(source, bytes) else source.length_bytes


def _guarded(job: Callable[[], T]) -> T:
    try:
        return job()
    except OSError as error:
        raise StorageFailed(f"what is to be stored cannot be read: {error.strerror}") from error


def _opened(path: Path) -> int:
    return _guarded(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _read_all(descriptor: int, into: memoryview, at: int) -> None:
    while into:
        count = _guarded(partial(os.preadv, descriptor, [into], at))
        if not count:
            raise StorageFailed("what is to be stored ends too early")
        into, at = into[count:], at + count


def _sha256(source: FileSlice) -> str:
    running = hashlib.sha256()
    buffer = memoryview(bytearray(PIECE_BYTES))
    descriptor = _opened(source.path)
    try:
        stop = source.start + source.length_bytes
        for at in range(source.start, stop, PIECE_BYTES):
            piece = buffer[: min(PIECE_BYTES, stop - at)]
            _read_all(descriptor, piece, at)
            running.update(piece)
    finally:
        os.close(descriptor)
    return running.hexdigest()
