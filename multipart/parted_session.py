"""One session in parts, in memory: which parts are stored, which arrive, how far the digest of the whole has come."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from model.digests import Digest
from model.errors import StorageFailed
from multipart.follower import SLICE_BYTES, Follower, Stretch, read_into
from multipart.handed import BUFFERED, NATIVE, Handed
from multipart.hashing import ALWAYS
from multipart.kept import Arrival, Completed, Kept
from multipart.ledger import Ledger
from multipart.limits import Held
from multipart.part_sending import PartSending
from multipart.partfiles import PartFiles
from multipart.parts import Layout, StoredPart
from multipart.proving import Progress, Proof
from multipart.states import Event, State, after
from multipart.uninterrupted import to_its_end
from multipart.waits import Waits
from store.uploads import UploadRow

__all__ = ["Arrival", "Completed", "Kept", "PartedSession"]

T = TypeVar("T")


class PartedSession:
    """A session in parts. What several requests must not do at once is done by whoever holds `turn`."""

    def __init__(
        self,
        row: UploadRow,
        files: PartFiles,
        ledger: Ledger,
        workers: Executor,
        held: Held,
        log_lost: Callable[[str, int], None],
        expiry_s: float,
    ) -> None:
        self.row, self.files, self.held = row, files, held
        self._ledger, self._workers, self._log_lost, self._expiry_s = ledger, workers, log_lost, expiry_s
        self.state = State.OPEN
        self.parts: dict[int, Kept] = {}
        self.arriving: dict[int, Arrival] = {}
        """Who writes to a part's place just now."""
        self.beside: set[Arrival] = set()
        """Who writes to side files."""
        self.turn = asyncio.Lock()
        """Completing, publishing and ending: one at a time."""
        self.touched_at_s = self.ledger_touched_at_s = row.touched_at_s
        self.ending = False
        """It is about to end, and takes no more parts."""
        self.moved_away = False
        """The bytes were made a blob by a commit that then failed; they are not in the spool any more."""
        self.stored: Digest | None = None
        """That blob, if it was this process that stored it."""
        self.assembled: Completed | None = None
        self.whole_proven = True
        """Of an assembled one: its file was hashed by this process."""
        self.sending: PartSending | None = None
        """How its parts come into the object store; None when content lies in a directory."""
        self.why_buffered = ""
        """Why it is not native, when that was asked for."""
        self.proof: Proof | None = None
        """What is proven of the whole in the object store."""
        self.handed = Handed()
        """The URLs of the store that were handed out for it."""
        self.waits = Waits()
        """What its completion waits for, if that may be broken off."""
        self._allocating = asyncio.Lock()
        self._part_locks: dict[int, tuple[asyncio.Lock, int]] = {}
        algorithms = () if row.algorithm == ALWAYS else (row.algorithm,)
        self.follower = Follower(self, algorithms)

    @property
    def id(self) -> str:
        """The upload id."""
        return self.row.id

    @property
    def layout(self) -> Layout | None:
        """How a declared size is cut; None when none was declared."""
        return self.files.layout

    @property
    def expires_at_s(self) -> float:
        """When it ends, if nobody uses it until then."""
        return max(self.touched_at_s + self._expiry_s, self.handed.until_s)

    @property
    def mode(self) -> str:
        """Whether clients may put parts into the store themselves: `native` or `buffered` (H013, H040)."""
        return NATIVE if self.is_native else BUFFERED

    @property
    def is_native(self) -> bool:
        """As `mode`; never where there is no object store."""
        return self.sending is not None and self.row.mode == NATIVE

    @property
    def whole_afar(self) -> bool:
        """Its parts are one object in the store already, so there is nothing left but to prove and to show it."""
        return self.sending is not None and self.sending.whole

    @property
    def proving(self) -> Progress | None:
        """How far its proof has come, while one is under way."""
        return self.proof.progress if self.proof is not None and self.turn.locked() else None

    @property
    def receiving(self) -> bool:
        """Whether a part arrives now."""
        return bool(self.arriving or self.beside)

    @property
    def stored_bytes(self) -> int:
        """How much of it is stored, in whole parts."""
        if self.assembled is not None:
            return self.assembled.size_bytes
        return sum(kept.stored.size_bytes for kept in self.parts.values())

    @property
    def listing(self) -> Mapping[int, StoredPart]:
        """The stored parts by number, in order."""
        return {number: self.parts[number].stored for number in sorted(self.parts)}

    def move(self, event: Event) -> None:
        """Go to the state that follows; WrongState if there is none."""
        self.state = after(self.state, event)

    def take_up_assembled(self, digest: str, size_bytes: int) -> None:
        """After a restart: the session was complete under its temporary name; its bytes are to be proven."""
        self.assembled = Completed(self.id, self.row.repository, digest, size_bytes, len(self.parts))
        self.state, self.whole_proven = State.ASSEMBLED, False

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run something that blocks in a thread; returns only when the thread is through, also if cancelled."""
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._workers, function, *args))

    # -- what the follower asks and tells -----------------------------------------------------------------------------

    def ahead(self, number: int, within: int) -> Stretch | None:
        """See `Followed`: a stored part to its end, an arriving one as far as it has come."""
        if self.moved_away or self.state not in (State.OPEN, State.SEALING):
            return None
        kept, arrival = self.parts.get(number), self.arriving.get(number)
        if kept is not None and kept.trimmed:
            return None
        if kept is not None:
            length, ends = kept.stored.size_bytes - within, True
        elif arrival is not None and not (number == 1 and self.follower.adopts_first):
            length, ends = max(0, arrival.written_bytes - within), False
        else:
            return None
        expected = kept.stored.sha256 if kept is not None and not kept.proven else None
        path, start = self.files.path_of(number), self.files.offset_of(number)
        return Stretch(number, path, start + within, length, ends, expected, let_go=self.files.uncached)

    def is_ahead(self, far_bytes: int) -> bool:
        """Whether what has arrived without a gap is so far ahead of the follower; may be asked in any thread.

        It is asked with every piece that arrives, so it looks at no more parts than it has to.
        """
        number, unread = self.follower.number, -self.follower.within
        while unread <= far_bytes and (kept := self.parts.get(number)) is not None:
            unread += kept.stored.size_bytes
            number += 1
        arrival = self.arriving.get(number)
        if number == 1 and self.follower.adopts_first:
            return False  # it does not read there
        return unread + (arrival.written_bytes if arrival is not None else 0) > far_bytes

    def proven(self, number: int) -> None:
        """See `Followed`."""
        kept = self.parts.get(number)
        if kept is not None:
            kept.proven = True
            if self.sending is not None:
                self.sending.passed(kept)

    async def lost(self, number: int) -> None:
        """See `Followed`: the part is missing from now on."""
        kept = self.parts.get(number)
        if kept is not None and not kept.trimmed and not await self.is_afar(kept):
            self._log_lost(self.id, number)
            await self.drop([number])
        elif kept is None and number in self.arriving:
            raise StorageFailed("the file of an arriving part is not there any more")

    # -- parts --------------------------------------------------------------------------------------------------------

    async def drop(self, numbers: list[int], *, files: bool = True) -> None:
        """These stored parts are missing from now on, in the ledger first; the `files` of their own go, too.

        Known they stay until their files are gone: whoever sends one meanwhile does so beside it.
        """
        await self._ledger.remove_parts(self.id, numbers)
        if self.sending is not None:
            self.sending.forget(numbers)
        if files:
            await self.remove_part_files(numbers)
        for number in numbers:
            kept = self.parts.pop(number, None)
            if kept is not None and not self.files.in_one:
                self.unclaim(kept)

    def unclaim(self, kept: Kept) -> None:
        """The bytes of a part that has a file of its own are not the upload's any more."""
        if kept.stored.is_native:
            return  # nobody counted them
        if kept.trimmed:
            self.held.beyond_bytes -= kept.stored.size_bytes
        else:
            self.held.release(kept.stored.size_bytes)

    async def remove_part_files(self, numbers: Iterable[int]) -> None:
        """Remove the parts' own files; of a declared size there are none."""
        if not self.files.in_one:
            await self.call(self.files.remove, [self.files.path_of(number) for number in numbers])

    @asynccontextmanager
    async def part_turn(self, number: int) -> AsyncIterator[None]:
        """One at a time for each part: putting something in the place of what is there."""
        lock, waiting = self._part_locks.get(number, (asyncio.Lock(), 0))
        self._part_locks[number] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._part_locks.pop(number)
            if waiting > 1:
                self._part_locks[number] = (lock, waiting - 1)

    @asynccontextmanager
    async def part_turns(self, numbers: Iterable[int]) -> AsyncIterator[None]:
        """The same for several parts."""
        async with AsyncExitStack() as stack:
            for number in sorted({*numbers}):  # in one order, so that nobody waits for anybody who waits for him
                await stack.enter_async_context(self.part_turn(number))
            yield

    async def quiet(self) -> None:
        """Ask every body that arrives to leave, and return when none does."""
        while self.receiving:
            arrival = next(iter([*self.arriving.values(), *self.beside]))
            arrival.ask_to_leave()
            await arrival.left.wait()

    async def make_room(self) -> None:
        """Be ready for a part: the one file of a declared size has its room, and what was moved away is given up.

        Raises:
            StorageFull, StorageFailed.
        """
        if self.files.allocated and not self.moved_away:
            return
        async with self._allocating:
            if self.moved_away:
                await self.give_up_moved()
            if self.files.in_one and not self.files.allocated:
                await to_its_end(asyncio.ensure_future(self._allocate()))

    async def _allocate(self) -> None:
        await self.call(self.files.allocate)
        self.held.allocated()

    async def give_up_moved(self) -> None:
        """The bytes that were moved away will not come back: all parts are missing."""
        await self.drop(sorted(self.parts))
        self.moved_away, self.stored, self.files.allocated = False, None, False
        if self.layout is not None and self.files.in_one:
            self.held.pledge(self.layout.size_bytes)
        await self.follower.go_back(1)

    async def remove_files(self) -> None:
        """Remove everything of it in the spool."""
        await self.quiet()
        await self.follower.go_back(1)  # nothing reads any more, or would find that bytes are lost
        await self.call(self.files.remove, [self.files.data_path])
        await self.remove_part_files(self.parts)

    async def verify(self) -> None:
        """Hash again what earlier processes received: the prefix by the follower, then what lies beyond a gap.

        An assembled whole that is not what it was is left for `publish` to refuse.
        """
        if self.assembled is not None:
            if self.whole_afar:
                return  # what the store has is as it was when it was assembled
            whole = StoredPart(0, self.assembled.size_bytes, self.assembled.digest.partition(":")[2])
            if not self.whole_proven and await self._hashes(whole, self.files.data_path, 0):
                self.whole_proven = True
            return
        await self.follower.to_the_end()
        for number in sorted(self.parts):
            # A completion would move the files away under our hands, and whoever replaces a part that one.
            async with self.turn, self.part_turn(number):
                await self.verify_part(number)

    async def verify_parts(self) -> None:
        """Hash again what is not proven yet, however it lies; whoever calls holds the session's turn."""
        for number in sorted(number for number, kept in self.parts.items() if not kept.proven):
            async with self.part_turn(number):
                await self.verify_part(number)

    async def is_afar(self, kept: Kept) -> bool:
        """Whether the object store has a part whose file was found damaged; then that file is not needed any more."""
        return self.sending is not None and await self.sending.let_go_damaged(kept)

    async def verify_part(self, number: int) -> None:
        """Hash one again, if it is not proven yet; whoever calls has the part's turn."""
        kept = self.parts.get(number)
        if kept is None or kept.proven or self.moved_away or self.state not in (State.OPEN, State.SEALING):
            return
        right = await self._hashes(kept.stored, self.files.path_of(number), self.files.offset_of(number))
        if self.parts.get(number) is not kept:
            return  # it was replaced meanwhile
        kept.proven = right
        if right and self.sending is not None:
            self.sending.passed(kept)
        if not right and not await self.is_afar(kept):
            self._log_lost(self.id, number)
            await self.drop([number])
            await self.follower.go_back(number)

    async def _hashes(self, part: StoredPart, path: Path, start: int) -> bool:
        """Whether these bytes hash to what they should; read a slice at a time."""
        running = hashlib.sha256()
        for at in range(0, part.size_bytes, SLICE_BYTES):
            length_bytes = min(SLICE_BYTES, part.size_bytes - at)
            if not await self.call(read_into, path, start + at, length_bytes, running.update):
                return False
        return running.hexdigest() == part.sha256
