"""Receiving one part: to its place when nobody has it, else beside it; durable, and in the ledger, before its ETag.

    in its place   write, hash ─ sync ─ row in the ledger ─ answer
    beside it      write, hash ─ the same bytes? drop it ─ else: ask whoever writes in place to leave, delete the row,
                   go back with the digest of the whole, copy into place, sync, row ─ answer

So a part that is sent again replaces the earlier one only when it has arrived whole, the last whole one wins, and bytes
of two never mix (H068, H069). A body that ends early leaves the part as it was, or missing when it was.
"""

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from model.errors import RegistryError
from model.units import MIB
from multipart import filesystem
from multipart.bodies import Body, Ending, Poured
from multipart.interrupted import TakenOver, TooSlow, require_whole
from multipart.ledger import Ledger
from multipart.parted_session import Arrival, Kept, PartedSession
from multipart.parts import StoredPart, require_number
from multipart.refusals import PartLengthInvalid, PartMismatch, UploadFinished
from multipart.spool import WRITE_BACK_BYTES, storage_error
from multipart.states import Event, State, WrongState
from multipart.uninterrupted import to_its_end
from store.upload_parts import PartRow

AHEAD_BYTES: Final = 48 * MIB
"""Parts are held back when what arrived without a gap is so far ahead of the digest of the whole."""
PAUSE_S: Final = 0.005
PAUSES: Final = 10
_PAUSING: Final = threading.BoundedSemaphore(3)
"""So many threads may pause at a time; the others of the pool are there for everybody, the follower included."""

_ENDED: Final[dict[Ending, tuple[type[RegistryError], str]]] = {
    Ending.TOO_LONG: (PartLengthInvalid, "the body is longer than the part"),
    Ending.STALLED: (TooSlow, "nothing arrived for too long; send the part again"),
    Ending.STOPPED: (TakenOver, "the part was sent by another request, or its upload was ended"),
}


class PartSink:
    """Writes the bytes of one body where they belong, and hashes them; called in threads."""

    def __init__(
        self, fd: int, offset: int, *, write_back: bool, claim: Callable[[int], None], wrote: Callable[[int], None]
    ) -> None:
        self.sha256 = hashlib.sha256()
        self.written_bytes = 0
        self._fd, self._offset, self._write_back = fd, offset, write_back
        self._claim, self._wrote = claim, wrote
        self._written_back = 0

    def write(self, data: memoryview) -> None:
        """Take the next bytes.

        Raises:
            StorageFull, StorageFailed, UploadTooLarge, TooMany.
        """
        self._claim(len(data))
        try:
            filesystem.write_all(self._fd, data, self._offset + self.written_bytes)
        except OSError as error:
            raise storage_error(error, "receiving the part") from error
        self.sha256.update(data)
        self.written_bytes += len(data)
        fresh_bytes = self.written_bytes - self._written_back
        if self._write_back and fresh_bytes >= WRITE_BACK_BYTES:
            filesystem.start_write_back(self._fd, self._offset + self._written_back, fresh_bytes)
            self._written_back = self.written_bytes
        self._wrote(self.written_bytes)


async def receive(session: PartedSession, ledger: Ledger, number: int, body: Body, sha256: str | None) -> StoredPart:
    """Receive a part; see `PartedSessions.receive`."""
    expected_bytes = _expected_bytes(session, number, body)
    require_open(session, number)
    return await _Reception(session, ledger, number, body, sha256, expected_bytes).run()


class _Reception:
    """One body on its way into a session."""

    def __init__(
        self,
        session: PartedSession,
        ledger: Ledger,
        number: int,
        body: Body,
        sha256: str | None,
        expected_bytes: int | None,
    ) -> None:
        self._session, self._ledger, self._number, self._body = session, ledger, number, body
        self._sha256, self._expected_bytes = sha256, expected_bytes
        self._loop = asyncio.get_running_loop()
        free = number not in session.parts and number not in session.arriving
        self._arrival = Arrival(number, body, in_place=free)
        self._token = "" if free else secrets.token_hex(6)
        self._fd = -1
        self._claimed_bytes = 0
        self._running = hashlib.sha256()
        self._stored = False
        """The bytes are the part now; what was claimed for them stays claimed."""
        if free:
            session.arriving[number] = self._arrival
        else:
            session.beside.add(self._arrival)

    async def run(self) -> StoredPart:
        """From the first byte to the answer; the session is as it should be afterwards, whatever happens."""
        try:
            poured, sink = await self._pour()
            _require_whole(poured, self._expected_bytes)
            actual = sink.sha256.hexdigest()
            if self._sha256 is not None and actual != self._sha256.lower():
                raise PartMismatch(
                    "the part's bytes do not hash to what was announced", expected=self._sha256, actual=actual
                )
            stored = StoredPart(self._number, sink.written_bytes, actual)
            self._running = sink.sha256
            return await to_its_end(asyncio.ensure_future(self._store(stored)))
        finally:
            await to_its_end(asyncio.ensure_future(self._leave()))

    async def _pour(self) -> tuple[Poured, PartSink]:
        session, files = self._session, self._session.files
        length_bytes = self._body.length_bytes
        if session.sending is not None:
            await session.sending.room(self._arrival.asked)
        if not files.in_one and length_bytes is not None:
            self._claim(length_bytes)
        await session.make_room()
        place = self._arrival.in_place
        await session.call(self._open, length_bytes)
        uncounted = not files.in_one and length_bytes is None
        sink = PartSink(
            self._fd,
            files.offset_of(self._number) if place else 0,
            write_back=place and files.in_one,
            claim=self._claim if uncounted else _nothing,
            wrote=self._wrote if place else _nothing,
        )
        if self._arrival.asked.is_set():
            return Poured(0, Ending.STOPPED), sink
        return await self._body.pour(sink, limit_bytes=self._expected_bytes), sink

    def _open(self, length_bytes: int | None) -> None:
        """In a thread; the descriptor is ours from here on, also when nobody waits for this any more."""
        files, number = self._session.files, self._number
        if self._arrival.in_place:
            self._fd = files.open_place(number, length_bytes)
        else:
            self._fd = files.open_side(number, self._token, length_bytes)

    def _claim(self, size_bytes: int) -> None:
        earlier = self._session.parts.get(self._number)
        instead_of_bytes = earlier.stored.size_bytes if earlier and not earlier.stored.is_native else 0
        self._session.held.claim(size_bytes, instead_of_bytes=instead_of_bytes)
        self._claimed_bytes += size_bytes

    def _wrote(self, written_bytes: int) -> None:
        """In a thread: the follower may read so far."""
        self._arrival.written_bytes = written_bytes
        if self._session.follower.number == self._number:
            self._loop.call_soon_threadsafe(self._session.follower.wake)
        if self._session.files.uncached:
            self._let_the_follower_catch_up()

    def _let_the_follower_catch_up(self) -> None:
        """In a thread: when it is far behind, leave it the processor for a moment; a bounded one, whatever holds it up.

        What lies between is in memory, and the follower has to read it all before the upload can be completed.
        """
        if not self._session.is_ahead(AHEAD_BYTES) or not _PAUSING.acquire(blocking=False):
            return
        try:
            for _ in range(PAUSES):
                time.sleep(PAUSE_S)
                if not self._session.is_ahead(AHEAD_BYTES):
                    return
        finally:
            _PAUSING.release()

    async def _store(self, stored: StoredPart) -> StoredPart:
        """The bytes are whole: make them the part, durably."""
        if self._arrival.in_place:
            await self._session.call(self._sync_in_place)
            await self._enter(stored)
            return stored
        return await self._replace(stored)

    def _sync_in_place(self) -> None:
        self._session.files.sync(self._fd, not self._session.files.in_one)

    async def _enter(self, stored: StoredPart) -> None:
        """The part is stored: tell the ledger, then everybody."""
        session = self._session
        await self._ledger.add_part(PartRow(session.id, stored.number, stored.size_bytes, stored.sha256))
        kept = Kept(stored, proven=True)
        if stored.number == 1:
            session.follower.adopt_first(stored.size_bytes, self._running)
        session.parts[stored.number] = kept
        session.handed.received(stored.number, stored.sha256)
        self._stored = True
        del session.arriving[stored.number]
        session.follower.wake()
        if session.sending is not None:
            session.sending.stored(kept)

    async def _replace(self, stored: StoredPart) -> StoredPart:
        """What came beside a part takes its place, unless it is the same."""
        session, number = self._session, self._number
        if not session.files.in_one:
            await session.call(session.files.sync, self._fd, False)
        async with session.part_turn(number):
            earlier = session.parts.get(number)
            if earlier is not None and earlier.stored == stored and not session.is_native:
                with suppress(RegistryError):  # what cannot be read is replaced
                    await session.verify_part(number)  # of an earlier process: the same need not be put in its place
            while (in_place := session.arriving.get(number)) is not None:
                in_place.ask_to_leave()
                await in_place.left.wait()
            if session.state not in (State.OPEN, State.SEALING):
                raise _finished()
            kept = session.parts.get(number)
            if kept is not None and kept.proven and kept.stored == stored and not session.is_native:
                return stored  # of a native session nobody knows what came into the store since
            # No await stands between the last look and this: from here on newcomers write beside.
            session.arriving[number] = placing = Arrival(number, None, in_place=True)
            try:
                if kept is not None:
                    await session.drop([number], files=False)  # the follower may read there until it has gone back
                await session.follower.go_back(number)
                side = session.files.side_path(number, self._token)
                await session.call(session.files.put_in_place, number, side, stored.size_bytes)
                await self._enter(stored)
            except BaseException:
                try:
                    if number not in session.parts:
                        await session.remove_part_files([number])
                finally:
                    session.arriving.pop(number, None)
                raise
            finally:
                placing.left.set()
        return stored

    async def _leave(self) -> None:
        """Undo what is not stored, and let others have the place."""
        session, number = self._session, self._number
        try:
            if not self._arrival.in_place:
                await session.call(session.files.remove, [session.files.side_path(number, self._token)])
            elif not self._stored:
                self._arrival.written_bytes = 0
                await session.follower.go_back(number)
                await session.remove_part_files([number])
        finally:
            if self._arrival.in_place and not self._stored:
                session.arriving.pop(number, None)
            if not self._stored and self._claimed_bytes:
                session.held.release(self._claimed_bytes)
            session.beside.discard(self._arrival)
            self._arrival.left.set()
            if self._fd >= 0:
                os.close(self._fd)  # at the end: some file systems fail here


def _expected_bytes(session: PartedSession, number: int, body: Body) -> int | None:
    """How long the part has to be; None when that is not known. Looks at nothing but what was said."""
    require_number(number)
    if session.layout is None:
        return None
    expected = session.layout.span(number).length
    if body.length_bytes is not None and body.length_bytes != expected:
        raise PartLengthInvalid(
            f"part {number} has {expected} bytes, and {body.length_bytes} are announced", part=number, expected=expected
        )
    return expected


def require_open(session: PartedSession, number: int) -> None:
    """See that the session takes this part; UploadFinished otherwise."""
    if session.ending:
        raise _finished()
    moved = session.moved_away and number in session.parts  # to take it would be to give up all that were answered
    if moved or session.whole_afar:
        raise UploadFinished("the completion of this upload was cut short; complete it again, or abort it")
    try:
        session.move(Event.RECEIVE)
    except WrongState:
        raise _finished() from None


def _finished() -> UploadFinished:
    return UploadFinished("the upload is being completed, or has ended; it takes no parts any more")


def _require_whole(poured: Poured, expected_bytes: int | None) -> None:
    """Raise what the ending of a part's body means, unless it came whole."""
    if poured.ending in _ENDED:
        error, message = _ENDED[poured.ending]
        raise error(message, received=poured.received_bytes)
    require_whole(poured)
    if expected_bytes is not None and poured.received_bytes != expected_bytes:
        raise PartLengthInvalid(
            "the body is shorter than the part", received=poured.received_bytes, expected=expected_bytes
        )


def _nothing(_: int) -> None:
    """Nobody counts these."""
