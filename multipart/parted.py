"""Uploads in parts: open, receive parts in any order, complete, publish, abort (H010-H033, H060-H069, D5, D6).

A session is a durable row in the ledger, a row for each part that is stored, and files in the spool. Parts arrive at
the same time and independently; completing, publishing and ending take turns. A session of one kind is unknown to the
requests of the other (`multipart/sessions.py`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from model.clock import Clock
from model.digests import Digest
from model.errors import RegistryError, Stopping, UploadUnknown
from multipart import arrivals
from multipart.bodies import Body
from multipart.completing import Completing
from multipart.endings import ABORTED, EXPIRED
from multipart.expiry import is_expired
from multipart.interrupted import TakenOver
from multipart.ledger import Ledger
from multipart.limits import Accounts
from multipart.native import Native
from multipart.objectstore import ObjectStore
from multipart.opening import Opening
from multipart.parted_session import Completed, PartedSession
from multipart.parts import ListedPart, StoredPart
from multipart.proving import Prover
from multipart.refusals import UploadAborted, UploadFinished
from multipart.shelf import Shelf
from multipart.states import Event, State
from multipart.uninterrupted import to_its_end
from multipart.wholes import Wholes
from sigv4.presigning import Presigned
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
        objects: ObjectStore | None = None,
        prover: Prover | None = None,
    ) -> None:
        """With `objects` content lies in an object store, and `prover` reads it again; else nothing of that runs."""
        self._ledger, self._clock = ledger, clock
        self._limits = accounts.limits
        self._shelf = shelf = Shelf(
            ledger, spool_folder, workers, clock, accounts, durable=durable, uncached=uncached, objects=objects
        )
        self._native, least = Native(objects, ledger), self._limits.min_part_bytes
        self._opening = Opening(shelf, ledger, accounts, clock, spool_folder, self._native)
        self._wholes = Wholes(shelf, self._native, self.open, self._complete_in_turn, self._give_up)
        self._completing = Completing(blobs, ledger, shelf.endings, shelf.forget, least, self._native, objects, prover)
        self._stopping = False

    def all(self) -> list[PartedSession]:
        """The open sessions, oldest first."""
        return self._shelf.all()

    @property
    def is_receiving(self) -> bool:
        """Whether a part is arriving."""
        return any(session.receiving for session in self._shelf.all())

    async def open(
        self,
        repository: str,
        *,
        owner: str,
        target: str,
        algorithm: str = "sha256",
        size_bytes: int | None = None,
        part_size_bytes: int | None = None,
        native: bool = False,
        insists: bool = False,
        in_one_request: bool = False,
    ) -> PartedSession:
        """Begin a session, durably: it survives a crash from the moment this returns.

        `target` is what the client says the whole will be called, a digest or a temporary name. A size without a part
        size gets one that fits. With `native`, clients put parts into the object store themselves, if it and the sizes
        allow that; else the session is buffered all the same, and says why (H040-H047), unless the client `insists`.
        `in_one_request`: see `whole_url`.

        Raises:
            NativeNotConfigured, StorageFull, StorageFailed: to one who insists; whether to ask again (H051).
            TooMany, UploadTooLarge: a limit is reached.
            StorageFull: the disk has no room for so many bytes, beside what is promised to others. Of less than 1 MiB
                it is said when the first part comes.
            PartSizeInvalid: size and part size do not go together.
        """
        self._check_open()
        return await self._opening.open(
            repository,
            owner=owner,
            target=target,
            algorithm=algorithm,
            size_bytes=size_bytes,
            part_size_bytes=part_size_bytes,
            native=native,
            insists=insists,
            in_one_request=in_one_request,
        )

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
        body has to hash to. A native session takes parts as well, for a client that does not get through to the store
        (H048, which supersedes the refusal of H019): they come into the same object. Where the store lags far behind,
        the body is not read for a while.

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
        """The parts that are stored, in order; of a native session, what the store says.

        Raises:
            Those of `find`. StorageFailed: the store cannot say.
        """
        session = self.find(upload_id, owner)
        if session.is_native and session.state is State.OPEN and not session.turn.locked():
            async with session.turn:
                await self._native.look(session)
        return list(session.listing.values())

    def part_url(
        self, upload_id: str, owner: str | None, number: int, *, sha256: str | None = None, lifetime_s: int
    ) -> Presigned | None:
        """A URL of the object store for one part (H014-H017, M07-M10); None: the caller makes one of ours (H047).

        `sha256` when the client announced that it sends that hash along: then the store sees to it, if it can.

        Raises:
            Those of `find`; PartNumberInvalid; UploadFinished: it takes no parts any more.
        """
        session = self.find(upload_id, owner)
        return self._native.part_url(session, number, sha256=sha256, lifetime_s=lifetime_s)

    async def whole_url(
        self, repository: str, target: str, owner: str, sha256: str | None, lifetime_s: int
    ) -> Presigned | None:
        """A URL of the store for PUT of everything under a temporary name, until `publish` (H031); None: make ours.

        Asked again, it is another URL for the same: what arrived last counts. With `sha256` the store itself proves
        the bytes, where it can.

        Raises:
            Those of `open`.
        """
        self._check_open()
        return await self._wholes.url(repository, target, owner, sha256, lifetime_s)

    def assembled(self, owner: str, target: str) -> PartedSession | None:
        """What `publish` would take: completed by that caller under that name, or perhaps sent by `whole_url`.

        None if nothing. When there are both, they are of the same repository.
        """
        return self._shelf.whole(owner, target) or self._shelf.assembled(owner, target)

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
            Stopping: the server stops while it waits for the store, or proves; the session is as it was.

        Of what clients put into the store themselves, the digest is known once it is proven: with a digest before this
        returns, and without one (then it is empty in the answer) by `publish`.
        """
        self._check_open()
        return await to_its_end(asyncio.ensure_future(self._complete(upload_id, owner, listed, digest)))

    async def publish(self, owner: str, target: str, digest: Digest) -> Completed:
        """Make what was completed under the temporary name `target` the blob `digest` (H030); repeatable.

        Raises:
            UploadUnknown: this caller completed nothing under that name.
            DigestMismatch: it is something else; it is gone (T10).
            StorageFull, StorageFailed: it is as it was.
            PartsInvalid: what came by `whole_url` is not whole.
        """
        self._check_open()
        return await to_its_end(asyncio.ensure_future(self._publish(owner, target, digest)))

    async def abort(self, upload_id: str, owner: str | None) -> None:
        """End the session and remove what it holds; parts that arrive are asked to leave, and a proof breaks off.

        What the object store has of it is discarded in the background (H028, H180). Raises as `find`.
        """
        session = self.find(upload_id, owner)
        session.waits.stop(UploadAborted("the upload was aborted meanwhile"))
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
        """End the sessions that lie idle for too long (H064-H067); returns how many.

        Never while a part arrives or a proof runs, or sooner than the last URL that was handed out ends.
        """
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
            session.waits.stop(_stopping())
            if session.sending is not None:
                session.sending.stop()
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
            for older in self._shelf.keep_assembled(session):
                await self._give_up(older)
        return result

    async def _publish(self, owner: str, target: str, digest: Digest) -> Completed:
        await self._wholes.take(owner, target)
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
                if not self._stopping:
                    session.waits.go_on()
            session.move(event)
            self._shelf.endings.note(ended)
            self._shelf.forget(session)
            await session.remove_files()
            if session.sending is not None:
                await session.sending.end()
            return True

    def _idle(self, session: PartedSession, now_s: float) -> bool:
        return (
            not session.receiving
            and not session.turn.locked()
            and session.handed.until_s <= now_s
            and is_expired(touched_at_s=session.touched_at_s, now_s=now_s, expiry_s=self._limits.expiry_s)
        )

    def _check_open(self) -> None:
        if self._stopping:
            raise _stopping()


def _stopping() -> Stopping:
    return Stopping("the server is about to stop; the parts it received are kept, and the upload can go on later")
