"""One upload on its way into an object store: its parts are sent from the spool in the background, until it is whole.

What is to be sent waits here, not in memory but as slices of spool files. A store that is dead, or full, is tried again
for as long as the session lives; whoever finishes the session waits with patience (`all_sent`), and is told then. What
the store has is known by its own answers; after a restart by the ledger, and believed once the store lists it (H088).
When the store drops the upload, it is begun again, and what is still in the spool is sent again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from backends.base import FileSlice, MultipartGone, RemotePart
from model.errors import RegistryError, StorageFailed
from model.units import MIB
from multipart.line import Line
from multipart.making import Making
from multipart.uninterrupted import ended
from store.store_objects import ObjectRow
from store.upload_parts import PartRow

Then: TypeAlias = Callable[[RemotePart], Awaitable[None]]

SLOW_BYTES_S: Final = 4 * MIB
GRACE_S: Final = 10.0
"""A store that does not fail is given up by whoever waits for it when it is slower than this, and so much later."""
PATIENCE_S: Final = 60.0
FAILING_S: Final = 10.0
"""A store that fails, though it was tried again, is waited for no longer than this: the client is told, and may ask
again, while the parts go on being sent (H003)."""

log = logging.getLogger("holdfast.uploads")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A part whose bytes are here."""

    source: FileSlice
    sha256: str
    then: Then


class RemoteUpload:
    """What the store has of a session, and what it is still to get. Made by `RemoteUploads` only."""

    def __init__(self, home: Line, upload_id: str, owner: str, key: str, at_once: int) -> None:
        self.upload_id = upload_id
        self.on_lost: Callable[[Sequence[int]], None] = _nobody
        """Told of parts that the store does not have any more, though it said so, and whose bytes are not here."""
        self._home = home
        self._making = Making(home, upload_id, owner, key, self._saw)
        self._slots = asyncio.Semaphore(at_once)
        self._confirmed: dict[int, RemotePart] = {}
        self._hashes: dict[int, str] = {}  # of those confirmed
        self._pending: dict[int, _Wanted] = {}
        self._kept: dict[int, _Wanted] = {}  # of those confirmed, whose bytes are here
        self._touched: set[int] = set()  # numbers that the store may have
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._advances = self._awaited = 0
        self._failure: RegistryError | None = None

    def restore(self, row: ObjectRow, parts: Iterable[PartRow]) -> None:
        """An earlier process began it: go on from its rows."""
        self._making.restore(row)
        if self._making.unchecked:
            for part in parts:
                if part.store_etag is not None:
                    self._confirmed[part.number] = RemotePart(part.number, part.size_bytes, part.store_etag)
                    self._hashes[part.number] = part.sha256

    @property
    def key(self) -> str:
        """Where it will be, or is, an object; another one when it had to be begun again."""
        return self._making.key

    @property
    def store_upload_id(self) -> str | None:
        """The store's own id of it; None while it has not begun."""
        return self._making.store_upload_id

    @property
    def assembled(self) -> bool:
        """It is an object now, under `key`; parts are not taken any more, unless by `begin_again`."""
        return self._making.assembled

    @property
    def was_found(self) -> bool:
        """It was assembled by an earlier process that fell before it could say so, so that parts could be sent anew
        since: what the parts here hash to is no proof of it.
        """
        return self._making.found

    @property
    def is_checked(self) -> bool:
        """What is confirmed was said by the store to this process; only then bytes of the spool may be let go."""
        return not self._making.unchecked

    @property
    def confirmed(self) -> Mapping[int, RemotePart]:
        """The parts that the store has; while not `is_checked`, those that the ledger says it has."""
        return self._confirmed

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait to be sent, or are being sent."""
        return sum(wanted.source.length_bytes for wanted in self._pending.values())

    @property
    def failure(self) -> RegistryError | None:
        """Why nothing gets into the store now; None while nothing is known to be wrong."""
        return self._failure

    async def begin(self) -> None:
        """Begin now, if it has not begun. Raises: StorageFailed."""
        await self._making.ready()

    def send(self, number: int, source: FileSlice, sha256: str, *, then: Then) -> None:
        """Send a part in the background; returns at once.

        A newer one of the same number replaces the older, unless it is the same. `then` runs once the store has it, in
        the background; what it raises of the registry's own errors is logged. When the part is confirmed with this
        hash and length already, nothing is sent and `then` is not run, but the bytes are known to be here should the
        store lose them.
        The bytes of `source` have to stay until `let_go` or `forget`.
        """
        wanted = _Wanted(source, sha256, then)
        part, waiting = self._confirmed.get(number), self._pending.get(number)
        if part is not None and part.size_bytes == source.length_bytes and self._hashes.get(number) == sha256:
            self._kept[number] = wanted
        elif waiting is None or (waiting.source, waiting.sha256) != (source, sha256):
            self._confirmed.pop(number, None)
            self._kept.pop(number, None)
            self._pending[number] = wanted
            self._start(number)
        self.wake()

    def adopt(self, parts: Iterable[RemotePart]) -> None:
        """The store has these parts by another way: clients put them there, and it listed them."""
        for part in parts:
            if self._confirmed.get(part.number) != part:
                self.forget(part.number)
                self._confirmed[part.number] = part

    def let_go(self, number: int) -> None:
        """The bytes of this confirmed part are about to leave the spool."""
        self._kept.pop(number, None)

    def forget(self, number: int) -> None:
        """The part was replaced or dropped: it is no part of the whole from now on; a sending of it is cancelled."""
        for known in (self._pending, self._kept, self._confirmed, self._hashes):
            known.pop(number, None)
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    def wake(self) -> None:
        """Send what waits, unless the server stops and nobody waits for it."""
        if not self._may_go_on():
            return
        for number in self._pending:
            if number not in self._tasks:
                self._start(number)
        if self._making.unchecked and self._looking is None and not self._pending:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)

    async def all_sent(self, *, patience_s: float = PATIENCE_S) -> None:
        """Return when the store has every part that was given to `send`, and each `then` has run.

        Raises:
            StorageFailed: the store took nothing for `patience_s` seconds, or for FAILING_S when it fails (a large part
                that is on its way gets the time that it needs on a slow line). Sending goes on; ask again.
        """
        self._awaited += 1
        self._home.hurry()
        try:
            while self._is_behind():
                self.wake()
                sending = [self._pending[number].source.length_bytes for number in self._tasks.keys() & self._pending]
                slowly_s = patience_s + GRACE_S + sum(sending) / SLOW_BYTES_S
                waits_s = slowly_s if self._failure is None else min(patience_s, FAILING_S)
                try:
                    async with asyncio.timeout(waits_s):
                        await self._advance()
                except TimeoutError:
                    raise self._gave_up() from None
        finally:
            self._awaited -= 1

    async def assemble(self, numbers: Sequence[int], *, patience_s: float = PATIENCE_S) -> None:
        """Make these parts, which were sent, the object under `key`; the ledger knows it on return.

        Asked again after it succeeded, also by another process, it succeeds again. When the store dropped the upload
        meanwhile, what is still in the spool is sent again first.

        Raises:
            MultipartGone: the store dropped parts that are not here any more; they were told to `on_lost`.
            StorageFailed: it can be asked again.
        """
        strays = not self.assembled and not self._touched <= set(numbers)
        if strays and all(number in self._kept or number in self._pending for number in numbers):
            log.info("upload %s is sent again: the store holds parts that do not belong to it", self.upload_id)
            await self.begin_again()  # some stores refuse to assemble when there are others beside
        await self.all_sent(patience_s=patience_s)
        parts = self._parts(numbers)
        try:
            await self._making.assemble(parts)
        except MultipartGone:
            await self._making.give_up()
            await self.all_sent(patience_s=patience_s)
            await self._making.assemble(self._parts(numbers))

    async def begin_again(self) -> None:
        """Give up what the store has, and begin under a new key with what is still here; sent in the background.

        Raises:
            StorageFailed: the ledger cannot be told; nothing has changed but that nothing is being sent.
        """
        await self.leave()
        await self._making.give_up()
        self.wake()

    async def leave(self) -> None:
        """Stop sending; on return nothing is on its way. `send`, `wake` and `all_sent` go on with it."""
        tasks = self._running()
        for task in tasks:
            task.cancel()
        for task in tasks:
            await ended(task)

    async def abort(self) -> None:
        """Give the upload up: nothing of it is left in the store soon. Never raises for a store that is dead."""
        await self.leave()
        try:
            await self._making.discard()
        except RegistryError as error:
            log.warning("what upload %s left in the store is removed at the next start: %s", self.upload_id, error)
        self._home.ended(self.upload_id)

    def rest(self) -> None:
        """The server stops: what nobody waits for is not sent any more."""
        if not self._may_go_on():
            for task in self._running():
                task.cancel()
        self._progress()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _running(self) -> list[asyncio.Task[None]]:
        return [*self._tasks.values(), *([self._looking] if self._looking is not None else [])]

    def _is_behind(self) -> bool:
        return bool(self._pending or self._tasks) or self._making.unchecked

    def _may_go_on(self) -> bool:
        return not self._home.resting or self._awaited > 0

    async def _advance(self) -> None:
        """Return once something went well, or began to go wrong; raises what is wrong when the server stops."""
        before = self._advances
        while self._is_behind() and self._advances == before:
            if self._home.resting and self._failure is not None:
                raise self._failure
            await self._moved.wait()

    def _start(self, number: int) -> None:
        """Send a pending part, behind an older sending of the same number."""
        older = self._tasks.get(number)
        if older is not None:
            older.cancel()
        if self._may_go_on():
            task = self._tasks[number] = asyncio.create_task(self._send(number, self._pending[number], older))
            task.add_done_callback(lambda done: self._left(number, done))

    def _left(self, number: int, done: "asyncio.Task[None]") -> None:
        if self._tasks.get(number) is done:
            del self._tasks[number]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("upload %s: sending part %d broke off", self.upload_id, number, exc_info=error)
        self._progress()

    async def _send(self, number: int, wanted: _Wanted, older: "asyncio.Task[None] | None") -> None:
        """Until the store has it, or nobody wants it any more."""
        if older is not None:
            await ended(older)  # were it still on its way, it could come behind this one
        pause_s = self._home.pause_s
        while self._pending.get(number) is wanted:
            try:
                part = await self._attempt(number, wanted)
            except RegistryError as error:
                self._failed(error)
                pause_s = await self._home.pause(pause_s)
            else:
                if part is not None and self._pending.get(number) is wanted:
                    await self._sent(wanted, part)

    async def _attempt(self, number: int, wanted: _Wanted) -> RemotePart | None:
        """The part as the store has it; None when what was begun is given up meanwhile."""
        store_upload_id = await self._making.ready()
        if self.assembled:
            return RemotePart(number, wanted.source.length_bytes, "")  # in the object, if that has the length
        backend, key = self._home.backend, self.key
        try:
            async with self._slots, self._home.slots:
                if self.store_upload_id != store_upload_id:
                    return None
                self._touched.add(number)
                part = await backend.send_part(key, store_upload_id, number, wanted.source, wanted.sha256)
        except MultipartGone:
            if await self._making.gone(store_upload_id):
                log.warning("the store dropped upload %s; what is still here is sent again", self.upload_id)
            return None
        return part if self.store_upload_id == store_upload_id else None

    async def _sent(self, wanted: _Wanted, part: RemotePart) -> None:
        del self._pending[part.number]
        self._confirmed[part.number] = part
        self._kept[part.number], self._hashes[part.number] = wanted, wanted.sha256
        if self._failure is not None:
            log.info("upload %s: the store takes parts again", self.upload_id)
            self._failure = None
            self._home.hurry()
        self._advances += 1
        self._progress()
        if not self.assembled:
            try:
                await wanted.then(part)
            except RegistryError as error:
                log.warning("upload %s: part %d is stored, but not recorded: %s", self.upload_id, part.number, error)

    def _failed(self, error: RegistryError) -> None:
        if self._failure is None:
            log.warning("upload %s: the store takes no parts for now: %s", self.upload_id, error)
            self._advances += 1
        self._failure = error
        self._progress()

    def _progress(self) -> None:
        """Something happened: whoever waits looks again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _gave_up(self) -> RegistryError:
        return self._failure or StorageFailed("the store is too slow for now; what was received is kept, try again")

    async def _look(self) -> None:
        """Find out what the store has, when nothing is sent that would."""
        pause_s = self._home.pause_s
        while self._making.unchecked:
            try:
                await self._making.ready()
            except RegistryError as error:
                self._failed(error)
                pause_s = await self._home.pause(pause_s)

    def _looked(self, done: "asyncio.Task[None]") -> None:
        self._looking = None
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("upload %s: looking at the store broke off", self.upload_id, exc_info=error)
        self._progress()

    def _saw(self, listed: Mapping[int, RemotePart]) -> None:
        """The store has these and nothing else: send again what is missing; tell of what is not here either."""
        self._touched = set(listed)
        lost = []
        for number in [number for number, part in self._confirmed.items() if listed.get(number) != part]:
            wanted = self._kept.get(number)
            self.forget(number)
            if wanted is None:
                lost.append(number)
            else:
                self._pending[number] = wanted
                self._start(number)
        if lost:
            self.on_lost(lost)

    def _parts(self, numbers: Sequence[int]) -> list[RemotePart]:
        missing = [number for number in numbers if number not in self._confirmed]
        if missing:
            raise MultipartGone(f"the store does not have part {missing[0]} of the upload any more")
        return [self._confirmed[number] for number in numbers]


def _nobody(numbers: Sequence[int]) -> None:
    """Nobody keeps parts elsewhere than here."""
