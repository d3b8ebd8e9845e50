"""Blobs: which repository may see which bytes, and how bytes become visible.

    commit   backend.put (durable, unseen) ── one transaction: blob, membership, the upload's row gone ── answer
    read     membership from memory or catalog ── stored length checked ── bytes

A crash between the two steps of a commit leaves bytes that nobody can see; the next commit of the same content replaces
them.
"""

import asyncio
import errno
import io
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from backends.base import Backend, KeyMissing, LocalFile, in_thread
from model.clock import Clock
from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed, StorageFull
from store import blob_rows as rows
from store.catalog import Catalog
from store.hot import Hot, Kind, Shelf
from store.layout import blob_key
from store.upload_parts import EndedRow
from store.values import LocalBlob, SmallBlob, StreamedBlob

THREADS: Final = 4
"""For opening files, and for reading small ones whole; neither waits for a client."""
FRESH_S: Final = 600.0
FRESH_AT_MOST: Final = 1024
"""How long, and of how many blobs, it is remembered that they were just stored."""
_SHARED: Final = ""

_log = logging.getLogger(__name__)


class Blobs:
    """Content by digest, seen through a repository."""

    def __init__(self, catalog: Catalog, backend: Backend, hot: Hot, clock: Clock, *, small_blob_bytes: int) -> None:
        """Blobs of up to `small_blob_bytes` are read whole, and from the second read on kept in memory."""
        self._catalog = catalog
        self._backend = backend
        self._hot = hot
        self._clock = clock
        self._small_bytes = small_blob_bytes
        self._sizes: Shelf[int] = Shelf(hot, Kind.BLOB)
        self._contents: Shelf[bytes] = Shelf(hot, Kind.CONTENT)
        self._fresh: OrderedDict[Digest, float] = OrderedDict()
        """What this process stored lately, and when: only that need not be stored again when it is pushed again."""
        self._damaged: set[Digest] = set()  # found so when read; the next commit of the content replaces the bytes
        self._turns: dict[Digest, tuple[asyncio.Lock, int]] = {}
        self._committing: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    async def close(self) -> None:
        """Wait for the commits that nobody waits for any more, and let the threads go."""
        if self._committing:
            await asyncio.wait(self._committing)
        self._pool.shutdown()

    async def size(self, repository: str, digest: Digest) -> int:
        """How many bytes the blob has; from memory, without awaiting anything, when it is known there.

        At the first time the stored length is compared. Where it differs the blob does not exist, so that a client
        pushes it again and thereby heals it (distribution would report it as present, oci.md 4.1).

        Raises:
            BlobUnknown: the repository has it not, or the stored bytes are missing, of another length, or were found
                damaged when they were last read.
        """
        if digest in self._damaged:
            raise _not_whole(digest)
        known = self._sizes.get(repository, str(digest))
        if known is not None:
            return known
        generation = self._hot.generation(repository)
        size_bytes = await self._recorded(repository, digest)
        self._check_length(digest, size_bytes, await self._stored_bytes(digest))
        self._sizes.keep(repository, str(digest), size_bytes, generation)
        return size_bytes

    def cached(self, repository: str, digest: Digest) -> SmallBlob | None:
        """What `content` would return, if it is in memory."""
        size_bytes = self._sizes.get(repository, str(digest))
        if size_bytes is None or size_bytes > self._small_bytes:
            return None
        content = self._contents.get(_SHARED, str(digest))
        return None if content is None else SmallBlob(content)

    async def content(self, repository: str, digest: Digest) -> SmallBlob | LocalBlob | StreamedBlob:
        """The blob, ready to be sent; a LocalBlob is closed by the caller.

        Bytes that are handed out whole (SmallBlob) were hashed when they were read.

        Raises:
            BlobUnknown: as `size`.
        """
        known = self.cached(repository, digest)
        if known is not None:
            return known
        size_bytes = self._sizes.get(repository, str(digest))
        generation = self._hot.generation(repository)
        if size_bytes is None:
            size_bytes = await self._recorded(repository, digest)
        if digest in self._damaged and size_bytes > self._small_bytes:  # small ones are proven anew by reading them
            raise _not_whole(digest)
        shared = self._hot.generation(_SHARED)
        try:
            blob = await self._open(digest, size_bytes)
        except BlobUnknown:
            self._hot.drop([(Kind.BLOB, repository, str(digest))])
            raise
        read_before = self._sizes.get(repository, str(digest)) is not None
        self._sizes.keep(repository, str(digest), size_bytes, generation)
        if isinstance(blob, SmallBlob) and read_before:
            self._contents.keep(_SHARED, str(digest), blob.content, shared, size_bytes)
        return blob

    async def commit(
        self, repository: str, digest: Digest, source: Path, size_bytes: int, upload: str | EndedRow | None = None
    ) -> None:
        """Store the file `source`, whose bytes were proven to be those of `digest`, and show it in the repository.

        Durable on return; then `source` is gone, and so is the row of the `upload`, an id or how it ended. When many
        commit the same content at once, one of them stores it and all succeed. A cancelled commit is carried through
        all the same.

        When storing fails, `source` and the row are untouched. When the catalog fails after the bytes were stored,
        nothing is visible and the row is there, but `source` may be gone: committing it again succeeds without it.

        Raises:
            StorageFull, StorageFailed: nothing became visible.
        """
        task = asyncio.create_task(self._commit(repository, digest, source, size_bytes, upload))
        self._committing.add(task)
        task.add_done_callback(self._committed)
        await asyncio.shield(task)

    async def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Let the repository see a blob of the repository `source`; False when that has it not (oci.md 1.1 end-11)."""
        try:
            await self.size(source, digest)
        except BlobUnknown:
            return False
        return await self._catalog.run(rows.mount, repository, digest, source, self._clock.now_s())

    async def holders(self, digest: Digest) -> list[str]:
        """The repositories that have the blob, in byte order."""
        return await self._catalog.read(rows.holders, digest)

    async def delete(self, repository: str, digest: Digest) -> None:
        """Take the blob out of the repository; others keep theirs, and the bytes are left to the sweep.

        Raises:
            BlobUnknown: the repository has it not.
        """
        await self._catalog.run(rows.delete, repository, digest)

    def note_damaged(self, digest: Digest) -> None:
        """The stored bytes ended early, or could not be read, while they were sent.

        From now on the blob does not exist, so that a client that is told so pushes it again; that heals it.
        """
        self._damaged.add(digest)
        self._hot.drop([(Kind.CONTENT, _SHARED, str(digest))])

    async def copy_out(self, digest: Digest, size_bytes: int, target: Path) -> bool:
        """Copy the stored bytes into the new file `target`; False when they are not there in that length.

        For an upload whose commit a crash cut short after its bytes were stored: whoever asks proves that they are
        the upload's own, by length and digest. `target` appears whole or not at all.

        Raises:
            StorageFull, StorageFailed.
        """
        if await self._stored_bytes(digest) != size_bytes:
            return False
        unfinished = target.with_name(f"{target.stem}.back{target.suffix}")
        try:
            with unfinished.open("wb", buffering=0) as file:
                async for piece in self._backend.get(blob_key(digest)):
                    await in_thread(self._pool, partial(_write_all, file, piece))
            unfinished.replace(target)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (StorageFull if full else StorageFailed)("an upload cannot be taken up again now") from error
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    async def _commit(
        self, repository: str, digest: Digest, source: Path, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        async with self._turn(digest):
            stored = await self._is_stored(digest, source, size_bytes)
            if not stored:
                await self._backend.put(blob_key(digest), source)
                self._note_fresh(digest)
            await self._catalog.run(rows.record, repository, digest, size_bytes, upload, self._clock.now_s())
        if stored:
            await in_thread(self._pool, partial(source.unlink, missing_ok=True))

    def _committed(self, task: asyncio.Task[None]) -> None:
        self._committing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; when nobody does, asyncio need not complain

    async def _is_stored(self, digest: Digest, source: Path, size_bytes: int) -> bool:
        """Whether the bytes are there already and beyond doubt.

        What lies there from longer ago may have been damaged since, while `source` was proven just now: then it is
        stored again, which costs a rename and heals whatever there was. Without `source`, an earlier commit of it
        stored the bytes and failed afterwards.
        """
        if digest in self._damaged or await self._stored_bytes(digest) != size_bytes:
            return False
        if self._clock.monotonic_s() - self._fresh.get(digest, -FRESH_S) < FRESH_S:
            return True
        return not await in_thread(self._pool, source.exists)

    def _note_fresh(self, digest: Digest) -> None:
        """The bytes were checked and stored just now."""
        self._damaged.discard(digest)
        self._fresh[digest] = self._clock.monotonic_s()
        self._fresh.move_to_end(digest)
        while len(self._fresh) > FRESH_AT_MOST:
            self._fresh.popitem(last=False)

    @asynccontextmanager
    async def _turn(self, digest: Digest) -> AsyncIterator[None]:
        """One at a time for each digest."""
        lock, waiting = self._turns.get(digest, (asyncio.Lock(), 0))
        self._turns[digest] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(digest)
            if waiting > 1:
                self._turns[digest] = (lock, waiting - 1)

    async def _recorded(self, repository: str, digest: Digest) -> int:
        """The size by the catalog; BlobUnknown when the repository has no such blob."""
        size_bytes = await self._catalog.read(rows.size_in, repository, digest)
        if size_bytes is None:
            raise BlobUnknown("the repository has no such blob", digest=str(digest))
        return size_bytes

    async def _stored_bytes(self, digest: Digest) -> int | None:
        """The length by the backend; None when nothing is there."""
        try:
            return await self._backend.size(blob_key(digest))
        except KeyMissing:
            return None

    def _check_length(self, digest: Digest, size_bytes: int, stored_bytes: int | None) -> None:
        """BlobUnknown, and a line for the operator, unless the stored bytes are as long as they should be."""
        if stored_bytes == size_bytes:
            return
        found = "missing" if stored_bytes is None else f"{stored_bytes} bytes long"
        _log.error("blob %s should have %d bytes, but its file is %s: push it again", digest, size_bytes, found)
        raise _not_whole(digest)

    async def _open(self, digest: Digest, size_bytes: int) -> SmallBlob | LocalBlob | StreamedBlob:
        """The stored bytes; BlobUnknown when they are missing, of another length, or (small ones) of another hash."""
        if isinstance(self._backend, LocalFile):
            job = partial(self._open_local, self._backend, digest, size_bytes)
            return await in_thread(self._pool, job, _close)
        self._check_length(digest, size_bytes, await self._stored_bytes(digest))
        if size_bytes > self._small_bytes:
            return StreamedBlob(size_bytes, partial(self._backend.get, blob_key(digest)))
        content = b"".join([piece async for piece in self._backend.get(blob_key(digest))])
        return self._proven(digest, size_bytes, content)

    def _open_local(self, files: LocalFile, digest: Digest, size_bytes: int) -> SmallBlob | LocalBlob:
        """In a thread: open, compare the length, and read small ones whole."""
        try:
            fd, stored_bytes = files.open_local(blob_key(digest))
        except KeyMissing:
            self._check_length(digest, size_bytes, None)
            raise
        blob = LocalBlob(fd, stored_bytes)
        try:
            self._check_length(digest, size_bytes, stored_bytes)
            if size_bytes > self._small_bytes:
                return blob
            content = os.pread(fd, size_bytes, 0)
        except BaseException:
            blob.close()
            raise
        blob.close()
        return self._proven(digest, size_bytes, content)

    def _proven(self, digest: Digest, size_bytes: int, content: bytes) -> SmallBlob:
        self._check_length(digest, size_bytes, len(content))
        if Digest.of(content, digest.algorithm) != digest:
            _log.error("blob %s is damaged: its stored bytes have another digest: push it again", digest)
            self._damaged.add(digest)
            raise _not_whole(digest)
        self._damaged.discard(digest)
        return SmallBlob(content)


def _not_whole(digest: Digest) -> BlobUnknown:
    return BlobUnknown("the stored blob is not whole; push it again", digest=str(digest))


def _write_all(file: io.FileIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _close(blob: SmallBlob | LocalBlob) -> None:
    if isinstance(blob, LocalBlob):
        blob.close()
