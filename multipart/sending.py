"""A session in sequence and the object store: its slices go up while later bytes arrive, and what is there is let go.

    spool     1 ░░░░░░░ 2 ░░░░░░░ 3 ███████ 4 ███████ 5 ██▌            ░ let go   █ in the spool file
    store     1 stored  2 stored  3 stored  4 on its way                          5 goes when the upload is finished

Nothing waits for the store before the upload is finished: a store that is dead or slow only makes the spool grow. When
it is far behind, whoever writes rests for a moment before each piece, in few threads: that stops no upload, and leaves
a store of some speed the time to catch up.

What was sent is recorded, so that after a restart it is not sent again. Bytes are let go only when the store itself has
said to this process that it has them, and that some are missing is written down before.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from backends.base import FileSlice, RemotePart, in_thread
from model.errors import OffsetMismatch, UploadUnknown
from multipart.proving import Proof
from multipart.remote import RemoteUploads
from multipart.sliced_spool import SlicedSpool
from multipart.slices import Slice, Slicing
from store.layout import is_temporary
from store.upload_parts import PartRow

PAUSE_S: Final = 0.01
PAUSES: Final = 25
_PAUSING: Final = threading.BoundedSemaphore(3)
"""So many threads may rest at a time; the others of the pool are there for everybody."""

log = logging.getLogger("holdfast.uploads")


class Sending:
    """The slices of one session, on the event loop; whoever has the session's turn calls it."""

    def __init__(
        self,
        upload_id: str,
        owner: str,
        spool: SlicedSpool,
        remotes: RemoteUploads,
        slicing: Slicing,
        *,
        key: str | None = None,
        recorded: bool = True,
        trimmed: bool = False,
    ) -> None:
        """`recorded`: the session has a row in the ledger, and can be resumed; `trimmed`: that row says so."""
        self.upload_id, self.spool = upload_id, spool
        self.proof: Proof | None = None
        """How far the assembled object was read again, when its digest is not known otherwise."""
        self.lost = False
        """Bytes that were received are nowhere any more: the session cannot become anything."""
        self._owner, self._key, self._recorded, self._trimmed = owner, key, recorded, trimmed
        self._remotes, self._slicing = remotes, slicing
        self._remote = remotes.of(upload_id)
        self._handed = 0  # so many slices are given to the remote upload
        self._rows: dict[int, str] = {}  # what the ledger says the store answered for them
        self._stale: list[int] = []  # rows of an earlier process that are of no slice
        self._tail: int | None = None  # the number of the last, shorter slice, when that was sent
        self._going_back_to: int | None = None
        self._missed = False  # the body that was aimed at the digest's key is over: more bytes are another upload
        self._unsent_bytes = 0
        self._trimming = asyncio.Lock()
        self._can_trim = True
        self._loop = asyncio.get_running_loop()
        spool.on_slice, spool.on_write = self._told, self._hold_back

    @property
    def key(self) -> str:
        """Where the object is, once it is assembled."""
        return self._remote.key if self._remote is not None else ""

    @property
    def was_found(self) -> bool:
        """The object was assembled by an earlier process: what the spool hashes to is no proof of it."""
        return self._remote is not None and self._remote.was_found

    @property
    def has_begun(self) -> bool:
        """There is at least one slice: the upload is finished by the store's own assembling."""
        return bool(self.spool.slices)

    # -- while bytes arrive -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """The spool was proven after a restart: go on sending; what the store has is not sent again."""
        if self._remote is not None:
            self._remote.on_lost = self._lost
            self._rows = {number: part.etag for number, part in self._remote.confirmed.items()}
            self._stale = [number for number in self._rows if number > len(self.spool.slices)]
            for number in self._stale:
                self._remote.forget(number)
                del self._rows[number]
        if self._trimmed and not self.spool.slices:
            self._lost([1])
        for each in self.spool.slices:
            here = each.start >= self.spool.floor_bytes
            if not here and (self._remote is None or each.number not in self._remote.confirmed):
                self._lost([each.number])
                return
        self._handed = sum(1 for each in self.spool.slices if each.start < self.spool.floor_bytes)
        self._take()

    def aim(self, key: str, length_bytes: int) -> None:
        """A body is about to arrive that is the whole, says its client: it goes to the key of its digest at once.

        Only one of which the spool keeps everything: should it break off, or be something else, all that is here goes
        to a temporary key (`before_bytes`, `complete`).
        """
        if self._recorded and self._remote is None and not self.spool.offset_bytes and self._keeps(length_bytes):
            self._key, self._missed = key, False

    def _keeps(self, length_bytes: int) -> bool:
        return length_bytes <= self._slicing.keep_bytes

    def require(self, start: int, *, known_to_come: bool) -> None:
        """A body is about to arrive at `start`: until its first byte nothing is let go that it may go back to.

        When not a byte is `known_to_come`, only the first one is refused, if it has to be.

        Raises:
            OffsetMismatch: it would go back to what is not in the spool any more.
            UploadUnknown: the store lost what it had; the session cannot go on.
        """
        self.require_whole()
        if known_to_come:
            self._require_here(start)
        self._going_back_to = start

    def arrived(self) -> None:
        """The body of `require` is over."""
        self._going_back_to = None
        self._missed = self._recorded and self._key is not None

    def require_whole(self) -> None:
        """UploadUnknown when bytes that were received are nowhere any more."""
        if self.lost:
            raise UploadUnknown("the object store lost this upload; start again with POST", upload=self.upload_id)

    def before_bytes(self, start: int) -> None:
        """In the writing thread, before the first byte of a body: what was sent from `start` on does not count.

        Waits for the event loop. Raises: OffsetMismatch, as `require`; StorageFailed: nothing has changed.
        """
        remote = self._remote
        behind = bool(self.spool.slices) and self.spool.slices[-1].stop > start
        if behind or self._missed or self._tail is not None or (remote is not None and remote.assembled):
            asyncio.run_coroutine_threadsafe(self._go_back(start), self._loop).result()
        self._going_back_to = None

    async def _go_back(self, start: int) -> None:
        """Forget the slices that end behind `start`: first in the ledger, so that no restart believes in them."""
        async with self._trimming:
            self._require_here(start)
            remote = self._remote
            assembled = remote is not None and remote.assembled
            if assembled and start and self.spool.floor_bytes:
                raise self._mismatch("the upload is whole in the object store, and can only be finished")
            if remote is not None:
                await remote.leave()  # so that nothing is recorded behind the ledger's back
            try:
                dropped = await self._unrecord(start)
            except BaseException:
                if remote is not None:
                    remote.wake()
                raise
            if self._tail is not None:
                dropped.append(self._tail)
            missed, self._missed, self._key = self._missed, False, None if self._missed else self._key
            self.spool.cut(start)
            self._handed, self._tail = min(self._handed, len(self.spool.slices)), None
            if remote is not None:
                for number in dropped:
                    remote.forget(number)
                if start == 0 or assembled or missed:
                    await remote.begin_again()
                remote.wake()
            self._count()

    async def _unrecord(self, start: int) -> list[int]:
        """Take the slices that end behind `start` out of the ledger; returns their numbers."""
        dropped = [each.number for each in self.spool.slices if each.stop > start]
        if self._recorded and start == 0:
            await self._remotes.ledger.start_over(self.upload_id)
        elif self._recorded and dropped:
            await self._remotes.ledger.remove_parts(self.upload_id, dropped)
        self._trimmed = self._trimmed and start > 0
        for number in dropped:
            self._rows.pop(number, None)
        return dropped

    def _require_here(self, start: int) -> None:
        if 0 < start < self.spool.floor_bytes:
            raise self._mismatch("what was received there is in the object store already")

    def _told(self) -> None:
        """In the writing thread: there is one more slice."""
        self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Give the slices that are new to the store."""
        for each in self.spool.slices[self._handed :]:
            self._send(each, partial(self._confirmed, each))
            self._handed = each.number
        if self._remote is not None:
            self._remote.wake()
        self._count()

    def _send(self, each: Slice, then: Callable[[RemotePart], Awaitable[None]]) -> None:
        if self._remote is None:
            self._remote = self._remotes.start(self.upload_id, self._owner, key=self._key)
            self._remote.on_lost = self._lost
        source = FileSlice(self.spool.path, each.start, each.length_bytes)
        self._remote.send(each.number, source, each.sha256, then=then)

    def _count(self) -> None:
        self._unsent_bytes = self._remote.unsent_bytes if self._remote is not None else 0

    def _hold_back(self) -> None:
        """In the writing thread, before each piece: when the store is far behind, rest; never for long."""
        if self.lost:
            self.require_whole()
        if not self._is_behind() or not _PAUSING.acquire(blocking=False):
            return
        try:
            for _ in range(PAUSES):
                time.sleep(PAUSE_S)
                if not self._is_behind():
                    return
        finally:
            _PAUSING.release()

    def _is_behind(self) -> bool:
        slices = self.spool.slices
        longest_bytes = slices[-1].length_bytes if slices else 0
        return self._unsent_bytes > max(self._slicing.unsent_bytes, 2 * longest_bytes)

    async def _confirmed(self, each: Slice, part: RemotePart) -> None:
        """The store has it."""
        self._count()
        await self._record(each, part)
        await self._trim()

    async def _record(self, each: Slice, part: RemotePart) -> None:
        if self._recorded and self._rows.get(each.number) != part.etag:
            await self._remove_stale()
            row = PartRow(self.upload_id, each.number, each.length_bytes, each.sha256, part.etag)
            await self._remotes.ledger.add_part(row)
            self._rows[each.number] = part.etag

    async def _remove_stale(self) -> None:
        """Rows of what a power cut took back must not be believed in beside the new ones; they go before those come."""
        stale, self._stale = [number for number in self._stale if number not in self._rows], []
        if stale:
            try:
                await self._remotes.ledger.remove_parts(self.upload_id, stale)
            except BaseException:
                self._stale = stale
                raise

    def _lost(self, numbers: Sequence[int]) -> None:
        """The store does not have what it said it had, nor does the spool."""
        if not self.lost:
            log.error("upload %s has ended: the object store lost slice %d of it", self.upload_id, min(numbers))
        self.lost = True

    # -- letting go ---------------------------------------------------------------------------------------------------

    async def _trim(self) -> None:
        """Let go of the first slices, as far as the store has them and nobody goes back there.

        Raises:
            StorageFailed: they stay, until the next slice is confirmed.
        """
        async with self._trimming:
            going = self._to_let_go()
            if not going or self._remote is None:
                return
            for each in going:
                await self._record(each, self._remote.confirmed[each.number])
            if not self._trimmed and self._recorded:
                await self._remove_stale()
                await self._remotes.ledger.trimmed(self.upload_id)
            self._trimmed = True
            if any(each.number not in self._remote.confirmed for each in going):
                return  # the store dropped it meanwhile
            for each in going:
                self._remote.let_go(each.number)
            self._can_trim = await in_thread(None, partial(self._punch, going[-1].stop))
            if self._can_trim:
                return
            log.warning("the spool's file system cannot let go of a part of a file: uploads take all their room in it")
            for each in going:
                self._send(each, partial(self._confirmed, each))

    def _punch(self, stop: int) -> bool:
        """In a thread, and to its end: what left the file is known to have left it, also if nobody waits any more."""
        punched = self.spool.punch(stop)
        if punched:
            self.spool.let_go(stop)
        return punched

    def _to_let_go(self) -> list[Slice]:
        """Slices behind the floor that are confirmed without a gap, and old enough."""
        spool, remote = self.spool, self._remote
        if remote is None or not remote.is_checked or not self._can_trim or self._tail is not None or remote.assembled:
            return []
        stop = spool.offset_bytes - self._slicing.keep_bytes
        if self._going_back_to is not None:
            stop = min(stop, self._going_back_to)
        going = []
        for each in spool.slices:
            if each.stop > stop or each.number not in remote.confirmed:
                break
            if each.start >= spool.floor_bytes:
                going.append(each)
        return going

    # -- the end ------------------------------------------------------------------------------------------------------

    async def complete(self, own_key: str) -> None:
        """The spool is sealed: send the last slice, and have the store make an object of all of them, under `key`.

        That is the `own_key` of what the bytes hash to, or a temporary one: never where other content belongs, though
        a client said before that this would be the other.

        Raises:
            StorageFailed: the store does not; everything is kept, and sending goes on. It may be asked again.
            UploadUnknown: the store lost what is not here any more.
        """
        if self._remote is not None and not (is_temporary(self._remote.key) or self._remote.key == own_key):
            await self._remote.begin_again()
        elif self._remote is None and self._key != own_key:
            self._key = None
        self._take()
        numbers = [each.number for each in self.spool.slices]
        tail = self.spool.tail()
        if tail is not None:
            self._tail = tail.number
            numbers.append(tail.number)
            self._send(tail, _nothing)
        if self._remote is None:
            raise UploadUnknown("there is nothing to be stored", upload=self.upload_id)
        try:
            await self._remote.assemble(numbers, patience_s=self._slicing.patience_s)
        finally:
            self._count()
            self.require_whole()

    async def begin_again(self) -> None:
        """The object is not of these slices: give it up, and send what is still here again."""
        if self._remote is not None:
            await self._remote.begin_again()

    async def leave(self) -> None:
        """Stop sending; on return nothing is on its way."""
        if self._remote is not None:
            await self._remote.leave()

    async def abort(self) -> None:
        """The session has ended, and no row of the ledger tells so: what is in the store is discarded."""
        if self._remote is not None:
            await self._remote.abort()

    def ended(self) -> None:
        """The session has ended, and its row is gone."""
        self._remotes.ended(self.upload_id)

    def _mismatch(self, said: str) -> OffsetMismatch:
        return OffsetMismatch(said, upload_id=self.upload_id, offset_bytes=self.spool.offset_bytes)


async def _nothing(part: RemotePart) -> None:
    """The last slice is not recorded: it is not as long as others, so nothing could come behind it."""
