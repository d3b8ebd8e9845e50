"""Stored bytes made ready to be sent: small ones whole and proven, large ones as an open file or a stream.

    in a folder       opened and measured in a thread; small ones are read there
    anywhere else     read by key, and measured while they are read: nothing is asked of the store beforehand

What is missing, of another length, or (small ones) of another hash is no blob: BlobUnknown, and a line for the log.
What could not be read once, and can be, is StorageFailed.
"""

import errno
import io
import logging
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final

from backends.base import Backend, KeyMissing, LocalFile, ShortRead, in_thread
from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed, StorageFull
from store.condition import Condition, not_whole
from store.layout import blob_key
from store.places import Places
from store.streams import closing
from store.values import LocalBlob, SmallBlob

_log: Final = logging.getLogger("holdfast.store")


class Reads:
    """Reading by digest."""

    def __init__(
        self, backend: Backend, *, places: Places, condition: Condition, pool: Executor, small_blob_bytes: int
    ) -> None:
        self._backend = backend
        self._places = places
        self._condition = condition
        self._pool = pool
        self._small_bytes = small_blob_bytes

    def check_length(self, digest: Digest, size_bytes: int, stored_bytes: int | None) -> None:
        """BlobUnknown, and a line for the operator, unless the stored bytes are as long as they should be."""
        if stored_bytes == size_bytes:
            return
        found = "missing" if stored_bytes is None else f"{stored_bytes} bytes long"
        _log.error("blob %s should have %d bytes, but what is stored is %s: push it again", digest, size_bytes, found)
        raise not_whole(digest)

    async def open(self, digest: Digest, size_bytes: int) -> SmallBlob | LocalBlob | None:
        """The stored bytes; a LocalBlob is closed by the caller; None when they are too many and have to be streamed.

        Raises:
            BlobUnknown: they are missing, of another length, or (small ones) of another hash.
        """
        if isinstance(self._backend, LocalFile):
            job = partial(self._open_local, self._backend, digest, size_bytes)
            return await in_thread(self._pool, job, _close)
        if size_bytes > self._small_bytes:
            return None
        return self._proven(digest, size_bytes, await self._whole(digest, size_bytes))

    async def copy_out(self, digest: Digest, size_bytes: int, target: Path) -> bool:
        """See `Blobs.copy_out`."""
        if await self._places.stored_bytes(digest) != size_bytes:
            return False
        unfinished = target.with_name(f"{target.stem}.back{target.suffix}")
        try:
            with unfinished.open("wb", buffering=0) as file:
                async for piece in self._places.read(digest, size_bytes, 0, size_bytes):
                    await in_thread(self._pool, partial(_write_all, file, piece))
            unfinished.replace(target)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (StorageFull if full else StorageFailed)("an upload cannot be taken up again now") from error
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    def _open_local(self, files: LocalFile, digest: Digest, size_bytes: int) -> SmallBlob | LocalBlob:
        """In a thread: open, compare the length, and read small ones whole."""
        try:
            fd, stored_bytes = files.open_local(blob_key(digest))
        except KeyMissing:
            self.check_length(digest, size_bytes, None)
            raise
        blob = LocalBlob(fd, stored_bytes)
        try:
            self.check_length(digest, size_bytes, stored_bytes)
            if size_bytes > self._small_bytes:
                return blob
            content = os.pread(fd, size_bytes, 0)
        except BaseException:
            blob.close()
            raise
        blob.close()
        return self._proven(digest, size_bytes, content)

    async def _whole(self, digest: Digest, size_bytes: int) -> bytes:
        """The bytes of a small blob, as many as it should have."""
        if size_bytes == 0:  # nothing to read, so only the length can tell whether it is there
            self.check_length(digest, 0, await self._places.stored_bytes(digest))
        try:
            return b"".join([piece async for piece in self._places.read(digest, size_bytes, 0, size_bytes)])
        except (KeyMissing, ShortRead) as error:
            raise await self._missed(digest, size_bytes, 0, error) from error

    async def stream(
        self,
        digest: Digest,
        size_bytes: int,
        start: int,
        length: int,
        *,
        proven: Callable[[], object],
        missed: Callable[[], object],
    ) -> AsyncGenerator[bytes, None]:
        """As `StreamedBlob.read`; tells when the bytes proved to be as long as they should be, or not to be there."""
        at = start
        try:
            async with closing(self._places.read(digest, size_bytes, start, length)) as pieces:
                async for piece in pieces:
                    at += len(piece)
                    yield piece
        except (KeyMissing, ShortRead) as error:
            unknown = await self._missed(digest, size_bytes, at, error)
            if at > start:
                self._condition.note_damaged(digest)
                raise
            missed()
            raise unknown from error
        if start + length == size_bytes:
            proven()

    async def _missed(self, digest: Digest, size_bytes: int, at: int, error: StorageFailed) -> BlobUnknown:
        """Tell the operator what was found instead, where reading ended at byte `at`; what it is to a client.

        Raises:
            StorageFailed: only the reading failed, or what is stored is not known: a connection that broke, or the
                same content stored once more meanwhile, damages nothing.
        """
        if await self._places.stored_bytes(digest) == size_bytes and await self._goes_on(digest, size_bytes, at):
            raise StorageFailed("the stored blob could not be read; try again", inner=str(error)) from error
        _log.error("blob %s should have %d bytes, but %s: push it again", digest, size_bytes, error)
        return not_whole(digest)

    async def _goes_on(self, digest: Digest, size_bytes: int, at: int) -> bool:
        """Whether byte `at` can be read after all."""
        try:
            async with closing(self._places.read(digest, size_bytes, at, min(1, size_bytes - at))) as pieces:
                async for _ in pieces:
                    pass
        except (KeyMissing, ShortRead):
            return False
        return True

    def _proven(self, digest: Digest, size_bytes: int, content: bytes) -> SmallBlob:
        self.check_length(digest, size_bytes, len(content))
        if Digest.of(content, digest.algorithm) != digest:
            _log.error("blob %s is damaged: its stored bytes have another digest: push it again", digest)
            self._condition.note_damaged(digest)
            raise not_whole(digest)
        self._condition.note_sound(digest)
        return SmallBlob(content)


def _write_all(file: io.FileIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _close(blob: SmallBlob | LocalBlob) -> None:
    if isinstance(blob, LocalBlob):
        blob.close()
