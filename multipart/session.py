"""One upload session in memory: its place in life, its spool file, and what is known of its prefix."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from model.digests import Digest
from model.errors import RegistryError
from multipart.bodies import Body
from multipart.interrupted import require_whole
from multipart.place import Place, plan
from multipart.sending import Sending
from multipart.spool import RESERVED_BYTES, SpoolFile
from multipart.states import Event, State, after
from multipart.uninterrupted import to_its_end
from store.uploads import UploadRow

T = TypeVar("T")

BringBack: TypeAlias = Callable[[Digest, int, Path], Awaitable[bool]]
"""`Blobs.copy_out`."""


class Session:
    """An upload session. Its methods are called by whoever has its turn (`multipart/locks.py`)."""

    def __init__(
        self, row: UploadRow, spool: SpoolFile, workers: Executor, bring_back: BringBack, *, recovered: bool
    ) -> None:
        self.row = row
        self.spool = spool
        self.state = State.OPEN
        self.touched_at_s = row.touched_at_s
        self.ledger_touched_at_s = row.touched_at_s
        """What the ledger knows of `touched_at_s`; it is told in the background."""
        self.receiving: Body | None = None
        """The body that arrives just now."""
        self.stored: Digest | None = None
        """The bytes are under this digest's key already, and no longer in the spool file: only the catalog's commit
        failed. Finishing again is all that can be done; new bytes start the session from nothing."""
        self.sending: Sending | None = None
        """Its way into an object store, if the content lies in one."""
        self._workers = workers
        self._bring_back = bring_back
        self._recovered = recovered
        self._recovering: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The id in the session's Locations."""
        return self.row.id

    @property
    def offset_bytes(self) -> int:
        """How many bytes are received: S in oci.md 2."""
        return self.spool.offset_bytes

    @property
    def is_unused(self) -> bool:
        """It is known to hold nothing, and nobody sends it anything."""
        return self._recovered and self.offset_bytes == 0 and self.receiving is None

    @property
    def is_lost(self) -> bool:
        """An object store lost what it had of it, and the bytes are not here any more."""
        return self.sending is not None and self.sending.lost

    def require_whole(self) -> None:
        """UploadUnknown when the session is lost."""
        if self.sending is not None:
            self.sending.require_whole()

    def move(self, event: Event) -> None:
        """Go to the state that follows; WrongState if there is none."""
        self.state = after(self.state, event)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run something that blocks in a thread; returns only when the thread is through, also if cancelled."""
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._workers, function, *args))

    async def recover(self) -> None:
        """After a restart, prove the prefix before anybody is told of it; at once when that is done.

        Any number of callers share one reading of the file, and none of them stops it by going away. When it fails,
        the next caller tries again.
        """
        if self._recovered:
            return
        if self._recovering is None:
            self._recovering = asyncio.create_task(self._prove())
        proving = self._recovering
        try:
            await asyncio.shield(proving)
        except RegistryError:
            if self._recovering is proving:
                self._recovering = None
            raise
        self._recovered = True

    async def _prove(self) -> None:
        """Read the spool file again; if a commit that was cut short took it away, bring its bytes back first."""
        await self._prove_file()
        if self.sending is not None:
            self.sending.resume()

    async def _prove_file(self) -> None:
        moved = await self.call(self.spool.moved_away)
        if moved is not None:
            await self._bring_back(moved[1], moved[0], self.spool.path)
        await self.call(self.spool.recover)

    async def receive(self, body: Body, place: Place, *, last: bool = False, own_key: str = "") -> None:
        """Add the body to the session, as `place` says; all that arrived is kept, however the body ends.

        After the `last` one the spool file stays as it is, to be sealed at once: a small blob costs fewer trips to a
        thread that way. With the last one comes the digest, and so the `own_key` of the whole.

        Raises:
            SizeInvalid, OffsetMismatch: see `multipart/place.py`; nothing was added. SizeInvalid also when a chunked
                body is not as long as its Content-Range; what belongs to the session was added.
            BodyVanished, TooSlow, TakenOver: the body ended early; what arrived was added.
            UploadInvalid: the chunked framing is broken; what came before was added.
            UploadUnknown: the object store lost what it had of the session.
            StorageFull, StorageFailed: the disk; what was written whole was added.
        """
        self.move(Event.RECEIVE)
        if self.stored and body.length_bytes != 0:
            await self.call(self.spool.reset)
            self.stored = None
        todo = plan(place, length_bytes=body.length_bytes, offset_bytes=self.offset_bytes, upload_id=self.id)
        if body.length_bytes == 0:
            return
        before_bytes = None
        if self.sending is not None:
            self.sending.require(todo.start, known_to_come=body.length_bytes is not None)
            if own_key and body.length_bytes is not None:
                self.sending.aim(own_key, body.length_bytes)
            before_bytes = self.sending.before_bytes
        self.receiving, whole = body, False
        try:
            if body.length_bytes is not None and body.length_bytes >= RESERVED_BYTES:
                await self.call(self.spool.open, body.length_bytes)
            poured = await body.pour(_Pouring(self.spool, todo.start, before_bytes), limit_bytes=todo.limit_bytes)
            require_whole(poured, place.span.length if place.span is not None else None)
            whole = True
        finally:
            self.receiving = None
            if self.sending is not None:
                self.sending.arrived()
            if not (whole and last):
                await self.call(self.spool.rest)


class _Pouring:
    """The sink of one body: goes back first if the client's Location says so, but only once a byte is there."""

    def __init__(self, spool: SpoolFile, start: int, before_bytes: Callable[[int], None] | None) -> None:
        self._spool = spool
        self._before_bytes, self._start = before_bytes, start
        self._rewind_to = start if start < spool.offset_bytes else None

    def write(self, data: memoryview) -> None:
        if not data:
            return
        if self._before_bytes is not None:
            self._before_bytes(self._start)
            self._before_bytes = None
        if self._rewind_to is not None:
            self._spool.rewind(self._rewind_to)
            self._rewind_to = None
        self._spool.write(data)
