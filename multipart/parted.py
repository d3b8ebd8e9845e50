"""Uploads in parts: open, receive parts in any order, complete, publish, abort (H010-H033, H060-H069, D5, D6).

A session is a durable row in the ledger, a row for each part that is stored, and files in the spool. Parts arrive at
the same time and independently; completing, publishing and ending take turns. A session of one kind is unknown to the
requests of the other (`multipart/sessions.py`).
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from model.clock import Clock
from model.digests import Digest
from model.errors import RegistryError, Stopping, StorageFull, UploadUnknown
from multipart import arrivals, filesystem
from multipart.bodies import Body
from multipart.completing import Completing
from multipart.endings import ABORTED, EXPIRED
from multipart.expiry import is_expired
from multipart.interrupted import TakenOver
from multipart.ledger import Ledger
from multipart.limits import Accounts
from multipart.parted_session import Completed, PartedSession
from multipart.parts import Layout, ListedPart, StoredPart, suggested_part_size
from multipart.refusals import PartSizeInvalid, UploadFinished
from multipart.shelf import Shelf
from multipart.spool import RESERVED_BYTES
from multipart.states import Event, State
from multipart.uninterrupted import to_its_end
from store.blobs import Blobs
from store.uploads import UploadRow

__all__ = ["Completed", "PartedSession", "PartedSessions"]

log = logging.getLogger("holdfast.uploads")


class PartedSessions:
    """All open sessions in parts."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        blobs: Blobs,
        spool_folder: Path,
        workers: Executor,
        clock: Clock,
        accounts: Accounts,
        durable: bool,
        uncached: bool = False,
    ) -> None:
        self._ledger, self._folder, self._clock = ledger, spool_folder, clock
        self._accounts, self._limits = accounts, accounts.limits
        self._shelf = shelf = Shelf(ledger, spool_folder, workers, clock, accounts, durable=durable, uncached=uncached)
        self._completing = Completing(blobs, ledger, shelf.endings, shelf.forget, self._limits.min_part_bytes)
        self._stopping = False

    def all(self) -> list[PartedSession]:
        """The open sessions, oldest first."""
        return self._shelf.all()

    async def open(
        self,
        repository: str,
        *,
        owner: str,
        target: str,
        algorithm: str = "sha256",
        size_bytes: int | None = None,
        part_size_bytes: int | None = None,
    ) -> PartedSession:
        """Begin a session, durably: it survives a crash from the moment this returns.

        `target` is what the client says the whole will be called, a digest or a temporary name. A size without a part
        size gets one that fits.

        Raises:
            TooMany, UploadTooLarge: a limit is reached.
            StorageFull: the disk has no room for so many bytes, beside what is promised to others. Of less than 1 MiB
                it is said when the first part comes.
            PartSizeInvalid: size and part size do not go together.
        """
        self._check_open()
        layout = self._layout(size_bytes, part_size_bytes)
        self._accounts.check(repository)
        self._accounts.check_caller(owner)
        held = self._accounts.hold(owner)
        held.claim(size_bytes or 0)
        now = self._clock.now_s()
        row = UploadRow(
            id=str(uuid.uuid4()),
            repository=repository,
            algorithm=algorithm,
            created_at_s=now,
            touched_at_s=now,
            owner=owner,
            declared_size_bytes=size_bytes,
            part_size_bytes=layout.part_size_bytes if layout is not None else None,
            kind="parts",
            target=target,
        )
        session = self._shelf.enter(row, layout, held)
        try:
            if layout is not None:
                held.pledge(layout.size_bytes)
                if layout.size_bytes >= RESERVED_BYTES:
                    await session.call(self._require_room)
            await self._ledger.add(row)
        except BaseException:
            self._shelf.forget(session)
            raise
        return session

    def find(self, upload_id: str, owner: str | None) -> PartedSession:
        """The open session of that id, which is in use by that; `owner` None: authority was proven another way.

        Raises:
            UploadUnknown: there never was one, or it ended long ago.
            UploadForeign: it is another caller's.
            UploadFinished, UploadExpired, UploadAborted: how it ended.
        """
        return self._shelf.find(upload_id, owner)

    async def receive(
        self, upload_id: str, owner: str | None, number: int, body: Body, *, sha256: str | None = None
    ) -> StoredPart:
        """Receive one part; durable, and replacing an earlier one of that number, when this returns (H018-H022).

        Any number of parts may arrive at a time, also the same one: the last that is whole wins. `sha256` is what the
        body has to hash to.

        Raises:
            Those of `find`.
            PartNumberInvalid, PartLengthInvalid: before a byte is read, where that can be.
            PartMismatch, BodyVanished, TooSlow, TakenOver, UploadInvalid: the part is as it was before.
            UploadTooLarge, TooMany: so many bytes may not lie in the spool.
            StorageFull, StorageFailed: the part is as it was before, or missing.
        """
        self._check_open()
        session = self.find(upload_id, owner)
        try:
            return await arrivals.receive(session, self._ledger, number, body, sha256)
        except TakenOver as error:
            raise (_stopping() if self._stopping else error) from error
        finally:
            self._shelf.touch(session)

    async def parts(self, upload_id: str, owner: str | None) -> list[StoredPart]:
        """The parts that are stored, in order. Raises as `find`."""
        return list(self.find(upload_id, owner).listing.values())

    def assembled(self, owner: str, target: str) -> PartedSession | None:
        """What that caller completed under the temporary name `target` and has not published; None if nothing."""
        return self._shelf.assembled(owner, target)

    async def complete(
        self, upload_id: str, owner: str | None, listed: Sequence[ListedPart], digest: Digest | None
    ) -> Completed:
        """Make the parts a blob of the repository, durable and visible when this returns; also if it is cancelled.

        With no digest the whole stays unseen under its target until `publish` (H110). The same completion again gets
        the same answer.

        Raises:
            Those of `find`.
            PartsInvalid: the list is not what is stored; the session is as it was.
            DigestMismatch: the whole hashes to something else; the session has ended (T10).
            StorageFull, StorageFailed: the session is as it was.
        """
        self._check_open()
        return await to_its_end(asyncio.ensure_future(self._complete(upload_id, owner, listed, digest)))

    async def publish(self, owner: str, target: str, digest: Digest) -> Completed:
        """Make what was completed under the temporary name `target` the blob `digest` (H030); repeatable.

        Raises:
            UploadUnknown: this caller completed nothing under that name.
            DigestMismatch: it is something else; it is gone (T10).
            StorageFull, StorageFailed: it is as it was.
        """
        self._check_open()
        return await to_its_end(asyncio.ensure_future(self._publish(owner, target, digest)))

    async def abort(self, upload_id: str, owner: str | None) -> None:
        """End the session and remove what it holds; parts that arrive are asked to leave. Raises as `find`."""
        session = self.find(upload_id, owner)
        if not await to_its_end(asyncio.ensure_future(self._end(session, Event.CANCEL, ABORTED))):
            self.find(upload_id, owner)

    async def receive_whole(self, repository: str, target: str, body: Body, *, owner: str) -> StoredPart:
        """Everything in one body, kept unseen under `target` until `publish` (H031).

        It takes the place of what the same caller has there. When this fails, nothing of it is kept.

        Raises:
            Those of `open` and `receive`.
        """
        size_bytes = body.length_bytes
        part_size_bytes = max(1, size_bytes) if size_bytes is not None else None
        session = await self.open(
            repository, owner=owner, target=target, size_bytes=size_bytes, part_size_bytes=part_size_bytes
        )
        try:
            part = await self.receive(session.id, owner, 1, body)
            await self.complete(session.id, owner, [ListedPart(1, part.etag)], None)
        except BaseException:
            await to_its_end(asyncio.ensure_future(self._give_up(session)))
            raise
        return part

    async def expire(self) -> int:
        """End the sessions that lie idle for too long; never while a part arrives (H064-H066). Returns how many."""
        now, ended = self._clock.now_s(), 0
        for session in self.all():
            if not self._idle(session, now):
                continue
            try:
                if await self._end(session, Event.EXPIRE, EXPIRED):
                    ended += 1
                    log.info("upload %s in %s expired, idle for too long", session.id, session.row.repository)
            except RegistryError as error:
                log.warning("upload %s is too old, but stays for now: %s", session.id, error)
        return ended

    async def settle(self, rows: Sequence[UploadRow], sizes: Mapping[str, int]) -> set[str]:
        """At start: take up the sessions of the ledger (T09), given what is in the spool; returns what is theirs."""
        return await self._shelf.settle(rows, sizes)

    async def verify_all(self) -> None:
        """Hash what earlier processes received again, one session after the other."""
        for session in self.all():
            try:
                await session.verify()
            except RegistryError as error:
                log.warning("upload %s cannot be read again: %s", session.id, error)

    async def forget_ended(self) -> None:
        """Forget how sessions ended that ended some days ago."""
        if self._shelf.endings.forget():
            try:
                await self._ledger.forget_ended(self._shelf.endings.since_s)
            except RegistryError as error:
                log.warning("uploads that ended long ago are still in the ledger: %s", error)

    def stop(self) -> None:
        """Ask all bodies to leave; whole parts stay. New ones are refused."""
        self._stopping = True
        for session in self.all():
            session.follower.rest()
            for arrival in (*session.arriving.values(), *session.beside):
                arrival.ask_to_leave()

    async def _complete(
        self, upload_id: str, owner: str | None, listed: Sequence[ListedPart], digest: Digest | None
    ) -> Completed:
        try:
            session = self.find(upload_id, owner)
            async with session.turn:
                self.find(upload_id, owner)  # it may have ended while others had their turn
                try:
                    return await self._complete_in_turn(session, listed, digest)
                finally:
                    self._shelf.touch(session)
        except UploadFinished:
            again = self._shelf.endings.completed(upload_id, digest)
            if again is None:
                raise
            return again

    async def _complete_in_turn(
        self, session: PartedSession, listed: Sequence[ListedPart], digest: Digest | None
    ) -> Completed:
        if session.assembled is not None:
            return session.assembled if digest is None else await self._completing.publish(session, digest)
        result = await self._completing.complete(session, listed, digest)
        if digest is None:
            older = self._shelf.keep_assembled(session)
            if older is not None:
                await self._give_up(older)
        return result

    async def _publish(self, owner: str, target: str, digest: Digest) -> Completed:
        while (session := self._shelf.assembled(owner, target)) is not None:
            async with session.turn:
                if session.state is State.ASSEMBLED:
                    return await self._completing.publish(session, digest)
        again = self._shelf.endings.published(owner, target, digest)
        if again is None:
            raise UploadUnknown("nothing was completed under this temporary name")
        return again

    async def _give_up(self, session: PartedSession) -> None:
        """End a session that nobody will ask for again; whatever hinders that is for the expiry."""
        try:
            await self._end(session, Event.CANCEL, ABORTED)
        except RegistryError as error:
            log.warning("upload %s is given up, but stays for now: %s", session.id, error)

    async def _end(self, session: PartedSession, event: Event, how: str) -> bool:
        """End a session; False when it has ended before. The ledger goes first: when it fails, nothing has changed."""
        async with session.turn:
            if not self._shelf.has(session):
                return False
            session.ending = True
            try:
                await session.quiet()
                ended = self._shelf.endings.row(session, how)
                await self._ledger.end(ended)
            finally:
                session.ending = False
            session.move(event)
            self._shelf.endings.note(ended)
            self._shelf.forget(session)
            await session.remove_files()
            return True

    def _layout(self, size_bytes: int | None, part_size_bytes: int | None) -> Layout | None:
        """How a declared size is cut; PartSizeInvalid when that cannot be."""
        if size_bytes is None:
            if part_size_bytes is not None:
                raise PartSizeInvalid("a part size means nothing without the size")
            return None
        layout = Layout(size_bytes, part_size_bytes if part_size_bytes is not None else suggested_part_size(size_bytes))
        if layout.count > 1 and layout.part_size_bytes < self._limits.min_part_bytes:
            raise PartSizeInvalid(
                f"all parts but the last need {self._limits.min_part_bytes} bytes (setting min_part_bytes)",
                smallest=self._limits.min_part_bytes,
            )
        return layout

    def _require_room(self) -> None:
        """In a thread: see that the disk has what was promised; StorageFull otherwise."""
        if filesystem.free_bytes(self._folder) < self._accounts.pledged_bytes:
            raise StorageFull("the disk has no room for an upload of this size")

    def _idle(self, session: PartedSession, now_s: float) -> bool:
        return (
            not session.receiving
            and not session.turn.locked()
            and is_expired(touched_at_s=session.touched_at_s, now_s=now_s, expiry_s=self._limits.expiry_s)
        )

    def _check_open(self) -> None:
        if self._stopping:
            raise _stopping()


def _stopping() -> Stopping:
    return Stopping("the server is about to stop; the parts it received are kept, and the upload can go on later")
