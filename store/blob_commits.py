"""How bytes become a blob: stored first, then shown by one transaction, which also ends the upload that brought them.

    commit          a file of ours ── backend.put under the digest's key ── one transaction
    commit_object   an object in the store, proven ── one transaction that points at it ── settled in the background
    commit_by_copy  an object in the store ── the store copies it and says its SHA-256 ── the copy as commit_object

A crash before the transaction leaves bytes that nobody can see: under the digest's key the next commit of the same
content replaces them, under a temporary key their row in `store_object` sees to it that they are removed.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from backends.base import Backend, Copies, ShortRead, in_thread
from model.clock import Clock
from model.digests import Digest
from model.errors import DigestMismatch, Unavailable, Unsupported
from store import blob_rows as rows
from store import store_objects
from store.catalog import Catalog
from store.condition import Condition
from store.layout import blob_key, is_temporary, temporary_key
from store.places import Places
from store.recording import BY_PARTS_BYTES, recorded
from store.store_objects import ObjectRow
from store.turns import Turns
from store.upload_parts import EndedRow

T = TypeVar("T")

_TOKEN_BYTES = 16


class Commits:
    """Commits, one at a time for each digest, carried through whoever stops waiting for them."""

    def __init__(
        self,
        catalog: Catalog,
        backend: Backend,
        clock: Clock,
        *,
        places: Places,
        condition: Condition,
        pool: Executor,
        require: Callable[[], Awaitable[None]],
    ) -> None:
        """`require` raises StoreUnavailable while nothing may be stored there; it is asked before anything is."""
        self._catalog = catalog
        self._backend = backend
        self._clock = clock
        self._places = places
        self._condition = condition
        self._pool = pool
        self._require_ours = require
        self._turns = Turns()
        self.writing = Turns()
        """Taken by whoever writes under the digest's key while another object holds the same content."""
        self._running: set[asyncio.Task[Any]] = set()
        self.listeners: list[Callable[[], None]] = []
        """Called when something was left to be settled or discarded."""
        self.on_unsettled: Callable[[Digest], None] = _nobody
        """Told of each blob that is to be settled."""

    async def finished(self) -> None:
        """Wait until nothing runs any more that somebody began and nobody waits for."""
        while self._running:
            await asyncio.wait(self._running)

    async def commit(
        self, repository: str, digest: Digest, source: Path, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        """See `Blobs.commit`."""
        await self._require_ours()
        await self._through(self._commit(repository, digest, source, size_bytes, upload))

    async def commit_object(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        """See `Blobs.commit_object`."""
        await self._require_ours()
        await self._through(self._commit_object(repository, digest, key, size_bytes, upload))

    async def commit_by_copy(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow
    ) -> bool:
        """See `Blobs.commit_by_copy`."""
        await self._require_ours()
        return await self._through(self._commit_by_copy(repository, digest, key, size_bytes, upload))

    async def settled(self, digest: Digest, storage_key: str) -> None:
        """The bytes lie whole under the digest's key as well, and need not be under the temporary one any more."""
        async with self._turns.turn(digest):
            await self._catalog.run(rows.settled, digest, storage_key)
            if self._places.unsettled.get(digest) == storage_key:
                self._places.point(digest, None)
        self._tell()

    @asynccontextmanager
    async def recorded(self, digest: Digest, size_bytes: int) -> AsyncIterator[None]:
        """A large object is made under the digest's key, by whoever has its turn: what a crash leaves has a row."""
        try:
            async with recorded(self._catalog, self._backend, blob_key(digest), size_bytes, self._clock.now_s()):
                yield
        except BaseException:
            self._tell()
            raise
        if size_bytes > BY_PARTS_BYTES:
            self._tell()

    async def _through(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to; it goes on when the caller is cancelled."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; when nobody does, asyncio need not complain

    async def _commit(
        self, repository: str, digest: Digest, source: Path, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        async with self._turns.turn(digest):
            stored = await self._is_stored(digest, source, size_bytes)
            if not stored:
                await self._put(digest, source, size_bytes)
                self._condition.note_fresh(digest)
            await self._show(repository, digest, size_bytes, upload, in_its_place=not stored)
        if stored:
            await in_thread(self._pool, partial(source.unlink, missing_ok=True))

    async def _put(self, digest: Digest, source: Path, size_bytes: int) -> None:
        """Store the file under the digest's key; a copy that is being settled there ends first, lest it come after."""
        async with self.writing.turn(digest), self.recorded(digest, size_bytes):
            await self._backend.put(blob_key(digest), source)

    async def _is_stored(self, digest: Digest, source: Path, size_bytes: int) -> bool:
        """Whether the bytes are there already and beyond doubt.

        What lies there from longer ago may have been damaged since, while `source` was proven just now: then it is
        stored again, which costs a rename and heals whatever there was. Without `source`, an earlier commit of it
        stored the bytes and failed afterwards.
        """
        if self._condition.is_damaged(digest):
            return False
        if not self._condition.is_fresh(digest) and await in_thread(self._pool, source.exists):
            return False
        return await self._places.stored_bytes(digest) == size_bytes

    async def _show(
        self, repository: str, digest: Digest, size_bytes: int, upload: str | EndedRow | None, *, in_its_place: bool
    ) -> None:
        """Show what is stored. `in_its_place`: it was put under the digest's key now, so no other object is needed."""
        now_s = self._clock.now_s()
        if in_its_place and digest in self._places.unsettled:
            await self._catalog.run(rows.record_at, repository, digest, size_bytes, None, upload, now_s)
            self._places.point(digest, None)
            self._tell()
        else:
            await self._catalog.run(rows.record, repository, digest, size_bytes, upload, now_s)

    async def _commit_object(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        own_key = blob_key(digest)
        if key != own_key and not is_temporary(key):
            raise ValueError(f"{key} is neither the key of {digest} nor a temporary one")
        async with self._turns.turn(digest):
            if key != own_key and await self._is_sound(digest, size_bytes):
                await self._show(repository, digest, size_bytes, upload, in_its_place=False)
                if self._places.key_of(digest) != key:
                    await self._catalog.run(store_objects.discard_at, key)
            else:
                await self._require(key, size_bytes)
                await self._show_object(repository, digest, key, size_bytes, upload)
                self._condition.note_fresh(digest)
        if digest in self._places.unsettled:
            self.on_unsettled(digest)
        self._tell()

    async def _is_sound(self, digest: Digest, size_bytes: int) -> bool:
        """Whether the bytes were stored lately and are still there, so that the same need no second place."""
        if self._condition.is_damaged(digest) or not self._condition.is_fresh(digest):
            return False
        return await self._places.stored_bytes(digest) == size_bytes

    async def _require(self, key: str, size_bytes: int) -> None:
        """The object is there, and as long as it should be: one look, before anybody is told that it is safe."""
        stored_bytes = await self._backend.size(key)
        if stored_bytes != size_bytes:
            raise ShortRead(f"the object has {stored_bytes} bytes and not the {size_bytes} that it should have")

    async def _show_object(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow | None
    ) -> None:
        """Point at the object. Memory points first: whoever sees the row must find the bytes, and they are there."""
        pointer = None if key == blob_key(digest) else key
        former = self._places.point(digest, pointer)
        try:
            now_s = self._clock.now_s()
            await self._catalog.run(rows.record_at, repository, digest, size_bytes, pointer, upload, now_s)
        except BaseException:
            self._places.point(digest, former)
            raise

    async def _commit_by_copy(
        self, repository: str, digest: Digest, key: str, size_bytes: int, upload: str | EndedRow
    ) -> bool:
        upload_id, owner = (upload.id, upload.owner) if isinstance(upload, EndedRow) else (upload, "")
        if digest.algorithm != "sha256":
            return False
        aside, sha256 = await self._copied(upload_id, owner, key, size_bytes)
        if sha256 == digest.hex:
            try:
                await self._commit_object(repository, digest, aside, size_bytes, upload)
            except BaseException:
                with suppress(Unavailable):
                    await self._discard(aside, _copier(upload_id))
                raise
            return True
        await self._discard(aside, _copier(upload_id))
        if sha256 is not None:
            raise DigestMismatch(expected=str(digest), actual=f"sha256:{sha256}")
        return False

    async def _copied(self, upload_id: str, owner: str, key: str, size_bytes: int) -> tuple[str, str | None]:
        """A copy under a new temporary key, recorded before it is begun; and its hash, if the store says that."""
        if not isinstance(self._backend, Copies):
            raise Unsupported("this store cannot copy")
        aside, maker = temporary_key(upload_id, secrets.token_hex(_TOKEN_BYTES)), _copier(upload_id)
        await self._catalog.run(store_objects.intend, ObjectRow(aside, maker, owner, self._clock.now_s()))
        try:
            told = await self._backend.copy(key, aside, size_bytes, sha256=True)
            await self._require(aside, size_bytes)
            await self._catalog.run(store_objects.whole, aside, maker)
        except BaseException:
            with suppress(Unavailable):  # the next start sees to it as well
                await self._discard(aside, maker)
            raise
        return aside, told

    async def _discard(self, key: str, upload_id: str) -> None:
        await self._catalog.run(store_objects.discard, key, upload_id)
        self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


def _copier(upload_id: str) -> str:
    """Whom a copy is made for: not the session itself, which would take it for its own object after a crash."""
    return f"{upload_id}.copy"


def _nobody(_: Digest) -> None:
    """Nobody settles: objects stay where they are."""
