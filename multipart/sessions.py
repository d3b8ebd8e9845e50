"""Upload sessions: open, receive, finish, cancel, expire (D5).

A session is a durable row in the ledger and a spool file. All requests on it take turns. Whatever way a request ends,
what arrived stays, so that the client - or the next one, or the same one after a restart of ours - goes on from there.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from model.clock import Clock
from model.digests import Digest
from model.errors import BlobUnknown, RegistryError, Stopping, UploadUnknown
from multipart import upkeep
from multipart.bodies import Body
from multipart.expiry import is_expired
from multipart.finishing import Finishing
from multipart.interrupted import TakenOver, require_whole
from multipart.ledger import Ledger
from multipart.limits import Accounts, UploadLimits
from multipart.locks import Turns
from multipart.making import new_key
from multipart.objectstore import ObjectStore
from multipart.parted import PartedSessions
from multipart.place import Place
from multipart.proving import Prover
from multipart.session import Session
from multipart.slicer import Slicer
from multipart.slices import Slicing
from multipart.spool import SpoolFile
from multipart.states import Event, State
from multipart.uninterrupted import to_its_end
from store.blobs import Blobs
from store.layout import blob_key
from store.uploads import UploadRow

UNUSED_S: Final = 600.0
"""A session that got no byte for so long has probably been given up."""

__all__ = ["Sessions", "UploadLimits"]

log = logging.getLogger("holdfast.uploads")


class Sessions:
    """All open upload sessions: those in sequence here, those in parts below `parted`; neither knows the other's."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        blobs: Blobs,
        spool_folder: Path,
        workers: Executor,
        clock: Clock,
        limits: UploadLimits,
        durable: bool = True,
        uncached: bool = False,
        objects: ObjectStore | None = None,
        slicing: Slicing | None = None,
    ) -> None:
        """With `objects` content lies in an object store; otherwise in a folder, and nothing of that runs."""
        self._ledger, self._blobs, self._folder = ledger, blobs, spool_folder
        self._workers, self._clock, self._limits = workers, clock, limits
        self._durable, self._uncached = durable, uncached
        self._slicer = Slicer(objects, slicing, spool_folder, uncached=uncached) if objects is not None else None
        self._sessions: dict[str, Session] = {}
        self._accounts = Accounts(limits)
        prover = Prover(objects.backend, workers) if objects is not None else None
        self.parted = PartedSessions(
            ledger=ledger,
            blobs=blobs,
            spool_folder=spool_folder,
            workers=workers,
            clock=clock,
            accounts=self._accounts,
            uncached=uncached,
            durable=durable,
            objects=objects,
            prover=prover,
        )
        self._finishing = Finishing(blobs, ledger, prover, self._forget)
        self._turns = Turns()
        self._stop_asked = asyncio.Event()

    def all(self) -> list[Session]:
        """The open sessions in sequence, oldest first."""
        return sorted(self._sessions.values(), key=lambda session: session.row.created_at_s)

    @property
    def is_busy(self) -> bool:
        """Whether bytes are arriving, or are on their way into an object store."""
        arriving = any(session.receiving is not None for session in self._sessions.values())
        return arriving or self.parted.is_receiving or (self._slicer is not None and self._slicer.remotes.is_sending)

    async def open(self, repository: str, *, algorithm: str = "sha256", owner: str = "") -> Session:
        """Begin a session, durably: it survives a crash from the moment this returns.

        Raises:
            TooMany: a limit on open sessions is reached.
        """
        await self._make_room(repository)
        self._check_limits(repository)
        now = self._clock.now_s()
        row = UploadRow(
            id=str(uuid.uuid4()),
            repository=repository,
            algorithm=algorithm,
            created_at_s=now,
            touched_at_s=now,
            owner=owner,
        )
        session = self._adopt(row, recovered=True)
        try:
            await self._ledger.add(row)
        except BaseException:
            self._forget(session)
            raise
        return session

    async def offset(self, repository: str, upload_id: str) -> int:
        """How many bytes the session holds; after a restart, only what is proven. Asking is no use of the session.

        Raises:
            UploadUnknown: there is none.
        """
        session = self._get(repository, upload_id)
        await session.recover()
        session.require_whole()
        return session.offset_bytes

    async def append(self, repository: str, upload_id: str, body: Body, place: Place) -> int:
        """Add a chunk and return the new offset. Errors: those of `Session.receive`, and UploadUnknown."""
        session = self._get(repository, upload_id)
        async with self._turn(session, body):
            await session.receive(body, place)
            return session.offset_bytes

    async def finish(self, repository: str, upload_id: str, body: Body, place: Place, digest: Digest) -> None:
        """Add the last chunk (often empty), check the whole against `digest`, and make it a blob of the repository.

        When this returns, the blob is durable and visible (D3). Once the bytes are complete, the rest happens even if
        the request is cancelled. Repeating a request whose answer was lost succeeds again: if the session is unknown
        and the repository has the blob, the body is read to its end and dropped (rule 11).

        Raises:
            DigestMismatch: the bytes hash to something else; the session is gone (rule 10).
            StorageFull, StorageFailed: the session is as it was; the same request may be repeated.
            Those of `append`.
        """
        try:
            await self._finish(self._get(repository, upload_id), body, place, digest)
        except UploadUnknown:
            if not await self._has(repository, digest):
                raise
            require_whole(await body.pour(_Nowhere()))

    async def receive_whole(self, repository: str, body: Body, digest: Digest, *, owner: str = "") -> None:
        """A blob in one request: nothing to resume, so no row in the ledger; its file is swept at the next start."""
        key = await self._aim(digest)
        await self._make_room(repository)
        self._check_limits(repository)
        now = self._clock.now_s()
        row = UploadRow(
            id=str(uuid.uuid4()),
            repository=repository,
            algorithm=digest.algorithm,
            created_at_s=now,
            touched_at_s=now,
            owner=owner,
        )
        session = self._adopt(row, recovered=True, key=key or new_key(row.id))
        try:
            await self._finish(session, body, Place(), digest)
        finally:
            if session.state is State.OPEN:
                await self._finishing.drop(session, Event.CANCEL)

    async def cancel(self, repository: str, upload_id: str) -> None:
        """End the session and remove what it holds; a request that is receiving is asked to leave."""
        session = self._get(repository, upload_id)
        async with self._turn(session, None):
            await self._finishing.discard(session, Event.CANCEL)

    async def expire(self) -> int:
        """End the sessions that lie idle for too long; returns how many."""
        now, ended = self._clock.now_s(), 0
        for session in self.all():
            if self._sessions.get(session.id) is session and self._idle(session, now):
                # Idle means that nobody holds the turn, so it is ours without waiting.
                async with self._turns.turn(session.id, please_stop=_nothing):
                    try:
                        await self._finishing.discard(session, Event.EXPIRE)
                    except RegistryError as error:
                        log.warning("upload %s is too old, but stays for now: %s", session.id, error)
                        continue
                ended += 1
                log.info("upload %s in %s expired, idle for too long", session.id, session.row.repository)
        return ended + await self.parted.expire()

    async def flush(self) -> None:
        """Bring what open sessions hold to the disk, and their last use to the ledger; for the background.

        After this a power cut costs a client at most what came later. A disk that fails is logged and tried again: the
        bytes are still in memory, and the commit of the blob reports its own failure.
        """
        if self._durable:
            await upkeep.sync(self.all())
        await upkeep.record_use(self._ledger, [*self.all(), *self.parted.all()])
        await self.parted.forget_ended()

    async def settle(self) -> None:
        """At start: take up the sessions of the ledger, and remove files that belong to none of them."""
        rows = await self._ledger.rows()
        if self._slicer is not None:
            await self._slicer.load(self._ledger)
        for row in rows:
            if row.kind == "sequence":
                self._adopt(row, recovered=False)
        sizes = await upkeep.spooled(self._workers, self._folder)
        keep = {f"{upload_id}{suffix}" for upload_id in self._sessions for suffix in (".data", ".marks")}
        if self._slicer is not None:
            self._slicer.loaded()
        keep |= await self.parted.settle([row for row in rows if row.kind == "parts"], sizes)
        removed = await upkeep.remove_strays(self._workers, self._folder, sizes.keys() - keep)
        open_ = len(self._sessions) + len(self.parted.all())
        if open_ or removed:
            log.info("uploads: %d open, %d stray files removed", open_, removed)
        await self.expire()

    async def recover_all(self) -> None:
        """Prove what all sessions hold, one after the other, so that returning clients need not wait."""
        await upkeep.recover(self.all())
        await self.parted.verify_all()

    def stop(self) -> None:
        """Ask all running requests to leave; what they received stays resumable. New ones are refused."""
        self._stop_asked.set()
        self._turns.ask_all()
        if self._slicer is not None:
            self._slicer.remotes.rest()
        self.parted.stop()

    @asynccontextmanager
    async def _turn(self, session: Session, body: Body | None) -> AsyncIterator[None]:
        """Have the session to oneself, proven and alive."""
        if self._stop_asked.is_set():
            raise _stopping()
        async with self._turns.turn(session.id, please_stop=body.stop if body is not None else _nothing):
            await session.recover()
            if self._sessions.get(session.id) is not session:
                raise UploadUnknown("this upload has ended meanwhile", upload=session.id)
            self._touch(session)
            try:
                session.require_whole()
                yield
                session.require_whole()
            except TakenOver as error:
                raise (_stopping() if self._stop_asked.is_set() else error) from error
            finally:
                self._touch(session)
                await self._end_if_lost(session)

    async def _end_if_lost(self, session: Session) -> None:
        """An object store may lose what it had of a session; that one can become nothing any more."""
        if session.is_lost and self._sessions.get(session.id) is session:
            try:
                await self._finishing.discard(session, Event.EXPIRE)
            except RegistryError as error:
                log.warning("upload %s is lost, but stays for now: %s", session.id, error)

    async def _finish(self, session: Session, body: Body, place: Place, digest: Digest) -> None:
        async with self._turn(session, body):
            await session.receive(body, place, last=True, own_key=await self._aim(digest))
            await to_its_end(asyncio.ensure_future(self._finishing.seal(session, digest)))

    async def _aim(self, digest: Digest) -> str:
        """Where in an object store the whole may be made at once; nowhere when there are such bytes already.

        They stay as they are while nobody doubts them: what is replaced leaves its parts behind in some stores (Swift).
        """
        known = self._slicer is None or await self._blobs.is_known(digest)
        return "" if known else blob_key(digest)

    async def _has(self, repository: str, digest: Digest) -> bool:
        try:
            await self._blobs.size(repository, digest)
        except BlobUnknown:
            return False
        return True

    async def _make_room(self, repository: str) -> None:
        """When the repository is at its limit, end its oldest session that nobody ever used.

        Clients that give up never say so: they begin anew. Without this, their remains would lock the others out until
        they expire.
        """
        if self._accounts.in_repository(repository) < self._limits.per_repository:
            return
        now = self._clock.now_s()
        for session in self.all():
            if session.row.repository == repository and session.is_unused and now - session.touched_at_s > UNUSED_S:
                # Having the turn touches the session, so that whoever comes meanwhile takes the next one.
                async with self._turn(session, None):
                    await self._finishing.discard(session, Event.EXPIRE)
                return

    def _get(self, repository: str, upload_id: str) -> Session:
        """The session of that id, if it belongs to that repository (rule 2); UploadUnknown otherwise."""
        session = self._sessions.get(upload_id)
        if session is None or session.row.repository != repository:
            raise UploadUnknown(
                "no such upload session in this repository; start again with POST", upload=upload_id[:100]
            )
        return session

    def _adopt(self, row: UploadRow, *, recovered: bool, key: str | None = None) -> Session:
        """Take up a session; `key` is where in an object store the whole is to be, when that is known already."""
        if self._slicer is None:
            plain = SpoolFile(self._folder, row.id, (row.algorithm,), uncached=self._uncached)
            session = Session(row, plain, self._workers, self._blobs.copy_out, recovered=recovered)
        else:
            spool = self._slicer.spool(row)
            session = Session(row, spool, self._workers, self._blobs.copy_out, recovered=recovered)
            session.sending = self._slicer.sending(row, spool, key=key)
        self._sessions[row.id] = session
        self._accounts.enter(row)
        return session

    def _forget(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            self._accounts.leave(session.row)
            if session.sending is not None:
                session.sending.ended()

    def _check_limits(self, repository: str) -> None:
        if self._stop_asked.is_set():
            raise _stopping()
        self._accounts.check(repository)

    def _idle(self, session: Session, now_s: float) -> bool:
        return not self._turns.held(session.id) and is_expired(
            touched_at_s=session.touched_at_s, now_s=now_s, expiry_s=self._limits.expiry_s
        )

    def _touch(self, session: Session) -> None:
        session.touched_at_s = self._clock.now_s()


class _Nowhere:
    """A sink for bytes that are stored already."""

    def write(self, data: memoryview) -> None:
        """Drop them."""


def _stopping() -> Stopping:
    return Stopping("the server is about to stop; what it received is kept, and the upload can go on after its restart")


def _nothing() -> None:
    """A holder that receives nothing has nothing to stop: it will be through in a moment."""
