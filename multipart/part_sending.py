"""The way of one session's parts into the object store: sent as they are stored, and let go when the store has them.

    stored, in the ledger ─ sent, in the background ─ the store's ETag in the ledger ─ file removed

A file goes when the digest of the whole has passed the part, too, and more than `keep_bytes` of the session lie in the
spool. So a restart finds small uploads whole, and large ones need little disk. Parts that the store could not take - it
has a smallest size for all but the last - are not sent; the completion joins them, as it does for a directory.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from backends.base import FileSlice, MultipartGone, RemotePart
from model.errors import RegistryError
from multipart.kept import Kept
from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.parts import MAX_PARTS, normal_etag
from multipart.refusals import PartsInvalid
from multipart.remote import RemoteUpload
from multipart.sent import Sent

HELD_BACK_S: Final = 30.0
"""A part waits so long at most for the store to catch up: a dead store slows its clients down, and stops nobody."""
DROP: Final = "drop"
TRIM: Final = "trim"
"""What happens in the background."""

log = logging.getLogger("holdfast.uploads")


class PartSending:
    """The object store's side of one session in parts."""

    def __init__(self, session: Sent, ledger: Ledger, objects: ObjectStore) -> None:
        self._session, self._ledger, self._objects = session, ledger, objects
        self.upload: RemoteUpload | None = None
        self.spooled_bytes = 0
        """Of stored parts whose bytes lie in the spool."""
        self._spooled: dict[int, Kept] = {}
        self._unsent: set[int] = set()  # would be sent, had the upload begun
        self._given: dict[int, Kept] = {}  # to the upload, which knows what became of them
        self._halted = False
        self._eased = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        earlier = objects.remote.of(session.id)
        if earlier is not None:
            self.adopt(earlier)

    @property
    def whole(self) -> bool:
        """The parts are one object in the store."""
        return self.upload is not None and self.upload.assembled

    # -- what becomes of a part ---------------------------------------------------------------------------------------

    def stored(self, kept: Kept) -> None:
        """A part lies in the spool and in the ledger: send it, if the store would take it."""
        number = kept.stored.number
        if kept.trimmed:
            return
        self._spooled[number] = kept
        self.spooled_bytes += kept.stored.size_bytes
        if kept.proven:
            self._due(kept)

    def passed(self, kept: Kept) -> None:
        """It is proven, and perhaps the digest of the whole has passed it: it may be sent, or let go."""
        if self._session.parts.get(kept.stored.number) is kept and not kept.trimmed:
            self._due(kept)
        self._trim_soon()

    def forget(self, numbers: Iterable[int]) -> None:
        """These parts are replaced, or missing: what the store has of them is not theirs any more."""
        for number in numbers:
            spooled = self._spooled.pop(number, None)
            if spooled is not None:
                self.spooled_bytes -= spooled.stored.size_bytes
            self._unsent.discard(number)
            self._given.pop(number, None)
            if self.upload is not None:
                self.upload.forget(number)
        self._eased.set()

    def has(self, kept: Kept) -> bool:
        """Whether the store has exactly this part, by its own word to this process."""
        if self.upload is None or not self.upload.is_checked or not kept.stored.store_etag:
            return False
        there = self.upload.confirmed.get(kept.stored.number)
        return there is not None and is_same(kept, there)

    async def let_go_damaged(self, kept: Kept) -> bool:
        """The part's file is not what it was: when the store has the part, that is all that is needed.

        Raises:
            StorageFailed: the store cannot say whether it has.
        """
        if self.upload is not None and (self.whole or kept.stored.store_etag):
            await self.upload.begin()  # which looks, if that was not done yet
        if not self.whole and not self.has(kept):
            return False
        await self._let_go(kept)
        return True

    async def room(self, asked: asyncio.Event) -> None:
        """Hold a client back that is too far ahead of the store; not for long, and not when it is `asked` to leave."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + HELD_BACK_S
        while self._is_far_behind() and not asked.is_set() and loop.time() < until_s:
            self._eased.clear()
            waits = [asyncio.ensure_future(self._eased.wait()), asyncio.ensure_future(asked.wait())]
            try:
                await asyncio.wait(waits, timeout=until_s - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _is_far_behind(self) -> bool:
        return self.upload is not None and self.upload.unsent_bytes > self._objects.ahead_bytes

    # -- at completion, and at the end --------------------------------------------------------------------------------

    def by_parts(self) -> bool:
        """Whether the parts become an object as they are; otherwise they have to be one file first.

        What is not here any more decides it: then there is no other way.
        """
        parts = self._session.parts
        if self._session.is_native or any(kept.trimmed for kept in parts.values()):
            return True
        store, sizes = self._objects.backend, [parts[number].stored.size_bytes for number in sorted(parts)]
        return (
            1 < len(sizes) <= min(store.most_parts, MAX_PARTS)
            and all(size_bytes >= store.smallest_part_bytes for size_bytes in sizes[:-1])
            and sizes[-1] > 0
            and max(sizes) <= store.largest_part_bytes
        )

    async def all_there(self) -> None:
        """Return when the store has all parts that lie in the spool, and we know what it has of the others.

        Raises:
            PartsInvalid: some are lost, here or there, and missing from now on.
            StorageFull, StorageFailed: it does not take them now; the session is as it was.
        """
        before = set(self._session.parts)
        await self._session.verify_parts()
        upload = self._begun()
        for number, kept in sorted(self._session.parts.items()):
            if not kept.trimmed and self._is_in(number):
                self._send(upload, kept)
        await upload.all_sent(patience_s=self._objects.patience_s)
        await self._require(before)

    async def assemble(self) -> RemoteUpload:
        """Make the parts one object in the store; asked again, it succeeds again.

        Raises:
            PartsInvalid: the store has lost some, which are missing from now on.
            StorageFull, StorageFailed: the session is as it was, and it can be asked again.
        """
        upload, before = self._begun(), set(self._session.parts)
        try:
            numbers = [number for number in sorted(before) if self._is_in(number)]
            await upload.assemble(numbers, patience_s=self._objects.patience_s)
        except MultipartGone:
            await self._require(before)
            raise
        return upload

    def _is_in(self, number: int) -> bool:
        """Whether the object is made of that part as well: some stores do not take an empty one behind others."""
        parts = self._session.parts
        empty = len(parts) > 1 and parts[number].stored.size_bytes == 0
        return not empty or (self.upload is not None and number in self.upload.confirmed)

    async def _require(self, numbers: Iterable[int]) -> None:
        """See that these parts are still there, when what was lost is dropped; PartsInvalid otherwise."""
        dropping = [task for name, task in self._tasks.items() if name.startswith(DROP) and not task.done()]
        if dropping:
            await asyncio.wait(dropping)
        lost = [number for number in sorted(numbers) if number not in self._session.parts]
        if lost:
            raise PartsInvalid([f"part {number} was lost: send it again" for number in lost])

    async def give_up(self) -> None:
        """The parts are joined here instead: nothing of them stays in the store, nor in the ledger's word about it.

        Raises:
            StorageFull, StorageFailed: the ledger is as it was.
        """
        self._halted = True
        if self.upload is None:
            return
        await self.upload.leave()
        await self._ledger.unsent(self._session.id)
        upload, self.upload = self.upload, None
        self._given.clear()
        for kept in self._session.parts.values():
            kept.stored = replace(kept.stored, store_etag="")
        await upload.abort()

    def go_on(self) -> None:
        """The session is open again."""
        self._halted = False
        for kept in list(self._spooled.values()):
            if kept.proven:
                self._due(kept)

    async def end(self) -> None:
        """The session has ended without a blob: nothing of it stays in the store. A dead one is told later."""
        self.stop()
        upload, self.upload = self.upload, None
        if upload is not None:
            await upload.abort()

    def done(self) -> None:
        """The session has become a blob: what else it left in the store is discarded."""
        self.stop()
        self._objects.remote.ended(self._session.id)

    def stop(self) -> None:
        """Nothing more is sent for this session, or let go: it ends, or the server does."""
        self._halted = True
        for task in self._tasks.values():
            task.cancel()

    def adopt(self, upload: RemoteUpload) -> RemoteUpload:
        """This is the object that the parts are sent to."""
        self.upload = upload
        upload.on_lost = self._lost
        return upload

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begun(self) -> RemoteUpload:
        """The upload; the store is asked for it when the first part is sent."""
        if self.upload is None:
            return self.adopt(self._objects.remote.start(self._session.id, self._session.row.owner))
        return self.upload

    def _due(self, kept: Kept) -> None:
        """Send the part, and those that waited for it to be worth it."""
        if self._halted or self.whole or not self._fits(kept):
            return
        self._unsent.add(kept.stored.number)
        if self.upload is None and self._session.layout is None and len(self._session.parts) < 2:
            return  # one part alone needs no multipart upload
        upload, unsent = self._begun(), sorted(self._unsent)
        self._unsent.clear()
        for number in unsent:
            self._send(upload, self._spooled[number])

    def _fits(self, kept: Kept) -> bool:
        """Whether the store would take the part, whatever comes behind it."""
        store, layout, size_bytes = self._objects.backend, self._session.layout, kept.stored.size_bytes
        if size_bytes > store.largest_part_bytes:
            return False
        if self._session.is_native:
            return True
        if layout is not None:
            fits = store.smallest_part_bytes <= layout.part_size_bytes <= store.largest_part_bytes
            return fits and 1 < layout.count <= store.most_parts
        return size_bytes >= store.smallest_part_bytes

    def _send(self, upload: RemoteUpload, kept: Kept) -> None:
        part = kept.stored
        if self._given.get(part.number) is kept:
            return  # to say it again would be to send it again
        self._given[part.number] = kept
        source = FileSlice(self._session.files.path_of(part.number), 0, part.size_bytes)
        upload.send(part.number, source, part.sha256, then=partial(self._sent, kept))

    async def _sent(self, kept: Kept, there: RemotePart) -> None:
        """The store has the part: the ledger says so, and only then its file may go."""
        session, part = self._session, kept.stored
        self._eased.set()
        async with session.part_turn(part.number):
            if session.parts.get(part.number) is not kept:
                return
            await self._ledger.sent(session.id, part.number, part.sha256, there.etag)
            kept.stored = replace(part, store_etag=there.etag)
        self._trim_soon()

    def _lost(self, numbers: Sequence[int]) -> None:
        """The store does not have these parts any more; those that are in the spool are sent again."""
        gone: list[Kept] = []
        for number in numbers:
            kept = self._session.parts.get(number)
            if kept is not None and kept.trimmed:
                kept.proven = False  # whoever sends it again from here on is not told that it is there
                gone.append(kept)
            elif kept is not None:
                kept.stored = replace(kept.stored, store_etag="")
                self._given.pop(number, None)
                if kept.proven:
                    self._due(kept)
        if gone:
            log.warning("upload %s: the store lost %d of its parts", self._session.id, len(gone))
            self._in_background(f"{DROP} {gone[0].stored.number}", partial(self._drop, gone))

    async def _drop(self, gone: Sequence[Kept]) -> None:
        """These parts are missing from now on, but for those that came again meanwhile."""
        session = self._session
        async with session.part_turns(kept.stored.number for kept in gone):
            still = [kept.stored.number for kept in gone if session.parts.get(kept.stored.number) is kept]
            if still:
                await session.drop(still)

    def _trim_soon(self) -> None:
        if self.upload is None or self._halted or self.spooled_bytes <= self._objects.keep_bytes:
            return
        running = self._tasks.get(TRIM)
        if running is None or running.done():
            self._in_background(TRIM, self._trim)

    async def _trim(self) -> None:
        """Remove files of parts, in order, until what is left may stay."""
        session = self._session
        while self.spooled_bytes > self._objects.keep_bytes:
            number = next((number for number in sorted(self._spooled) if self._may_go(number)), None)
            if number is None:
                return
            async with session.part_turn(number):
                if self._may_go(number):
                    await self._let_go(self._spooled[number])

    def _may_go(self, number: int) -> bool:
        kept, session = self._spooled.get(number), self._session
        if kept is None or self._halted or session.parts.get(number) is not kept or not self.has(kept):
            return False
        return session.is_native or self._digest_is_lost() or session.follower.number > number

    def _digest_is_lost(self) -> bool:
        """The digest of the whole stands before bytes that are not here any more: nothing waits for it."""
        at = self._session.parts.get(self._session.follower.number)
        return at is not None and at.trimmed

    async def _let_go(self, kept: Kept) -> None:
        """From here on the store alone has the part."""
        number = kept.stored.number
        if kept.trimmed:
            return
        kept.trimmed = kept.proven = True
        if self._spooled.pop(number, None) is not None:
            self.spooled_bytes -= kept.stored.size_bytes
        if self.upload is not None:
            self.upload.let_go(number)
        self._session.held.move_beyond(kept.stored.size_bytes)
        await self._session.remove_part_files([number])

    def _in_background(self, name: str, doing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks[name] = asyncio.create_task(_logged(self._session.id, doing))


async def _logged(upload_id: str, doing: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """What fails in the background is told here, since nobody else waits for it."""
    try:
        await doing()
    except RegistryError as error:
        log.warning("upload %s: %s", upload_id, error)


def is_same(kept: Kept, there: RemotePart) -> bool:
    """Whether what the store has is that part."""
    part = kept.stored
    return there.size_bytes == part.size_bytes and normal_etag(there.etag) == normal_etag(part.store_etag)
