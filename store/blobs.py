"""Blobs: content by digest, seen through a repository. What the rest of the program asks of them is here.

    commit   bytes durable, unseen ── one transaction: blob, membership, the upload's row gone ── answer
             (store/blob_commits.py)
    read     membership from memory or catalog ── where the bytes lie (store/places.py) ── bytes
             (store/blob_reads.py)

A crash between the two steps of a commit leaves bytes that nobody can see.
"""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from backends.base import Backend, Direct
from model.clock import Clock
from model.digests import Digest
from model.errors import BlobUnknown
from sigv4.presigning import Presigned
from store import blob_rows as rows
from store.blob_commits import Commits
from store.blob_reads import Reads
from store.bucket_copies import anything
from store.catalog import Catalog
from store.condition import Condition, not_whole
from store.hot import Hot, Kind, Shelf
from store.layout import blob_key
from store.places import Places
from store.upload_parts import EndedRow
from store.values import LocalBlob, SmallBlob, StreamedBlob

THREADS: Final = 4
"""For opening files, and for reading small ones whole; neither waits for a client."""
_SHARED: Final = ""


class Blobs:
    """Content by digest, seen through a repository."""

    def __init__(
        self,
        catalog: Catalog,
        backend: Backend,
        hot: Hot,
        clock: Clock,
        *,
        small_blob_bytes: int,
        require: Callable[[], Awaitable[None]] = anything,
    ) -> None:
        """Blobs of up to `small_blob_bytes` are read whole, and from the second read on kept in memory.

        `require` raises StoreUnavailable while nothing may be stored where the backend stores.
        """
        self._catalog = catalog
        self._direct = backend if isinstance(backend, Direct) else None
        self._hot = hot
        self._clock = clock
        self._small_bytes = small_blob_bytes
        self._sizes: Shelf[int] = Shelf(hot, Kind.BLOB)
        self._contents: Shelf[bytes] = Shelf(hot, Kind.CONTENT)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self.condition = Condition(clock)
        self.places = Places(catalog, backend)
        self.commits = Commits(
            catalog,
            backend,
            clock,
            places=self.places,
            condition=self.condition,
            pool=self._pool,
            require=require,
        )
        self._reads = Reads(
            backend, places=self.places, condition=self.condition, pool=self._pool, small_blob_bytes=small_blob_bytes
        )

    async def load(self) -> None:
        """Learn where an earlier process left bytes that are not settled; before the first read."""
        await self.places.load()

    async def close(self) -> None:
        """Wait for the commits that nobody waits for any more, and let the threads go."""
        await self.commits.finished()
        self._pool.shutdown()

    def tell(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that left something to be settled, or to be discarded."""
        self.commits.listeners.append(listener)

    async def is_known(self, digest: Digest) -> bool:
        """Whether some repository has, or lately had, the blob, and nobody found it damaged; the store is not asked.

        Raises:
            StorageFailed.
        """
        return not self.condition.is_damaged(digest) and await self._catalog.read(rows.bytes_of, digest) is not None

    async def size(self, repository: str, digest: Digest) -> int:
        """How many bytes the blob has; from memory, without awaiting anything, when it is known there.

        At the first time the stored length is compared. Where it differs the blob does not exist, so that a client
        pushes it again and thereby heals it (distribution would report it as present, oci.md 4.1).

        Raises:
            BlobUnknown: the repository has it not, or the stored bytes are missing, of another length, or were found
                damaged when they were last read.
            StorageFailed: the store cannot be asked now.
        """
        if self.condition.is_damaged(digest):
            raise not_whole(digest)
        known = self._sizes.get(repository, str(digest))
        if known is not None:
            return known
        generation = self._hot.generation(repository)
        size_bytes = await self._recorded(repository, digest)
        self._reads.check_length(digest, size_bytes, await self.places.stored_bytes(digest))
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

        Bytes that are handed out whole (SmallBlob) were hashed when they were read. Those of a StreamedBlob are looked
        at when they are read: what `size` raises, its first piece raises.

        Raises:
            BlobUnknown, StorageFailed: as `size`.
        """
        known = self.cached(repository, digest)
        if known is not None:
            return known
        size_bytes = self._sizes.get(repository, str(digest))
        generation = self._hot.generation(repository)
        if size_bytes is None:
            size_bytes = await self._recorded(repository, digest)
        if self.condition.is_damaged(digest) and size_bytes > self._small_bytes:  # small ones are proven by reading
            raise not_whole(digest)
        shared = self._hot.generation(_SHARED)
        try:
            blob = await self._reads.open(digest, size_bytes)
        except BlobUnknown:
            self._hot.drop([(Kind.BLOB, repository, str(digest))])
            raise
        if blob is None:
            return self._streamed(repository, digest, size_bytes, generation)
        read_before = self._sizes.get(repository, str(digest)) is not None
        self._sizes.keep(repository, str(digest), size_bytes, generation)
        if isinstance(blob, SmallBlob) and read_before:
            self._contents.keep(_SHARED, str(digest), blob.content, shared, size_bytes)
        return blob

    def _streamed(self, repository: str, digest: Digest, size_bytes: int, generation: int) -> StreamedBlob:
        """A blob whose length is known to be right, and remembered, once it was read to its end."""
        name = str(digest)
        return StreamedBlob(
            size_bytes,
            partial(
                self._reads.stream,
                digest,
                size_bytes,
                proven=partial(self._sizes.keep, repository, name, size_bytes, generation),
                missed=partial(self._hot.drop, [(Kind.BLOB, repository, name)]),
            ),
        )

    async def link(
        self,
        repository: str,
        digest: Digest,
        method: str,
        *,
        lifetime_s: int,
        answer_headers: Mapping[str, str] | None = None,
    ) -> Presigned | None:
        """A URL of the store itself for GET or HEAD of the blob; None when it has to come through us.

        That is so where clients cannot reach the store, while the bytes are not settled (their key goes), and for small
        blobs, which memory serves sooner.

        Raises:
            BlobUnknown, StorageFailed: as `size`; what is damaged is answered as what is not there.
        """
        if self._direct is None or not self._direct.native or self.is_unsettled(digest):
            return None
        if await self.size(repository, digest) <= self._small_bytes or self.is_unsettled(digest):
            return None
        return self._direct.link(method, blob_key(digest), lifetime_s=lifetime_s, answer_headers=answer_headers)

    def is_unsettled(self, digest: Digest) -> bool:
        """Whether the bytes lie under a temporary key for now."""
        return digest in self.places.unsettled

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
        await self.commits.commit(repository, digest, source, size_bytes, upload)

    async def commit_object(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow | None = None
    ) -> None:
        """Show the object under `key`, whose bytes were proven to be those of `digest`, and which nobody can change.

        `key` is the digest's own, or a temporary one that is recorded (`store_objects.intend`) and then settled in the
        background; where the same content was stored lately, that stays and this object is discarded. Durable on
        return, and then the row of the `upload` is gone, with everything else that was made for it. A cancelled commit
        is carried through all the same. When it fails, object and rows are as they were: commit again.

        Raises:
            KeyMissing, ShortRead: there is no such object, or it is of another length. StorageFull, StorageFailed.
        """
        await self.commits.commit_object(repository, digest, key, size_bytes, upload)

    async def commit_by_copy(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow
    ) -> bool:
        """As `commit_object`, for an object that is not proven: the store copies it and says what the copy hashes to.

        The copy is what becomes the blob, so nobody who has a URL for `key` can change it. False: the store does not
        say such a hash (or not of this algorithm or size), and nothing happened.

        Raises:
            DigestMismatch: it hashes to something else; nothing became visible, and the object under `key` is there.
            Unsupported: the store cannot copy. KeyMissing, StorageFull, StorageFailed: as `commit_object`.
        """
        return await self.commits.commit_by_copy(repository, digest, key, size_bytes, upload)

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
        self.condition.note_damaged(digest)
        self._hot.drop([(Kind.CONTENT, _SHARED, str(digest))])

    async def copy_out(self, digest: Digest, size_bytes: int, target: Path) -> bool:
        """Copy the stored bytes into the new file `target`; False when they are not there in that length.

        For an upload whose commit a crash cut short after its bytes were stored: whoever asks proves that they are
        the upload's own, by length and digest. `target` appears whole or not at all.

        Raises:
            StorageFull, StorageFailed.
        """
        return await self._reads.copy_out(digest, size_bytes, target)

    async def _recorded(self, repository: str, digest: Digest) -> int:
        """The size by the catalog; BlobUnknown when the repository has no such blob."""
        size_bytes = await self._catalog.read(rows.size_in, repository, digest)
        if size_bytes is None:
            raise BlobUnknown("the repository has no such blob", digest=str(digest))
        return size_bytes
