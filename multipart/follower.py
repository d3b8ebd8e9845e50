"""The running digest of the whole: it follows the parts in order, as far as they have come, while later ones arrive.

    parts   1 [stored] 2 [stored] 3 [arriving ......    ] 4 (missing) 5 [stored]
            ─────────── read and hashed ───────────▶│ waits

It reads what was just written, from the page cache, in slices: each is one job in a thread, and between two others get
their turn. It also reads into a part that still arrives. When such a part fails, or a part is replaced, it goes back to
the part's beginning, by a copy of the digest that it kept there. Completion then has only the rest to hash.

Part 1 is never read when only sha256 runs: its own digest, taken as it arrived, is where the whole's begins. So an
upload of one part is hashed once. A part of an earlier process is proven in the same pass: it has to hash to what the
ledger says.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from model.errors import RegistryError
from model.units import KIB, MIB
from multipart import filesystem
from multipart.hashing import ALWAYS, RunningDigests
from multipart.spool import storage_error

if TYPE_CHECKING:
    from hashlib import _Hash

SLICE_BYTES: Final = 8 * MIB
LET_GO_BEHIND_BYTES: Final = 32 * MIB
"""Pages are let go again so far behind the reader: those that were not on the disk yet when they were read."""
PIECE_BYTES: Final = 512 * KIB
SLICE_PARTS: Final = 256
"""A job reads at most so much, and of so many parts."""
CHECKPOINTS: Final = 32
"""So many part beginnings are remembered; going back to another one reads a little more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of one part that can be read now."""

    number: int
    path: Path
    start: int
    """In the file."""
    length_bytes: int
    ends: bool
    """The part ends with them."""
    sha256: str | None = None
    """What the whole part has to hash to, if that is not proven yet."""
    let_go: bool = False
    """Once read, it need not stay in the page cache."""


@dataclass(frozen=True, slots=True)
class Place:
    """The beginning of a part: its number, how many bytes lie before it, and their digests."""

    number: int
    before_bytes: int
    digests: RunningDigests


@dataclass(slots=True)
class Read:
    """What came of reading some stretches."""

    bytes: int
    passed: list[tuple[int, Place]]
    """Parts that were read to their end, with the place behind them."""
    bad: int | None = None
    """A part whose bytes are not there, or not those of the ledger; nothing behind its beginning counts."""


class Followed(Protocol):
    """What is followed: asked and told on the event loop."""

    def ahead(self, number: int, within: int) -> Stretch | None:
        """What can be read of part `number` behind its first `within` bytes; None when that is nothing yet."""
        ...

    def proven(self, number: int) -> None:
        """The part's bytes are those of the ledger."""
        ...

    async def lost(self, number: int) -> None:
        """They are not: it has to be sent again."""
        ...

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run something that blocks in a thread."""
        ...


class Follower:
    """The digest of the contiguous prefix of one session."""

    def __init__(self, followed: Followed, algorithms: Sequence[str]) -> None:
        self._followed = followed
        self._places = {1: Place(1, 0, RunningDigests(algorithms))}
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._error: RegistryError | None = None
        self._resting, self._awaited = False, 0
        self.number = 1
        """The part it stands in."""
        self._within = 0
        self._digests = self._places[1].digests.copy()
        self._part: _Hash | None = None

    @property
    def within(self) -> int:
        """How many bytes of that part it has read."""
        return self._within

    @property
    def digests(self) -> RunningDigests:
        """The digests of all before the place where it stands."""
        return self._digests

    def wake(self) -> None:
        """There may be more to read."""
        idle = self._task is None or self._task.done()
        if idle and self._may_go_on() and self._next(self.number, self._within) is not None:
            self._task = asyncio.create_task(self._follow())

    async def to_the_end(self) -> None:
        """Return when everything that can be read now was read.

        Raises:
            StorageFailed: the disk failed; the next call tries again.
        """
        self._awaited += 1
        try:
            while True:
                self.wake()
                if self._task is None or self._task.done():
                    return
                await asyncio.shield(self._task)
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
        finally:
            self._awaited -= 1

    def rest(self) -> None:
        """From now on read only what somebody waits for: the server stops."""
        self._resting = True

    def _may_go_on(self) -> bool:
        return not self._resting or self._awaited > 0

    @property
    def adopts_first(self) -> bool:
        """Whether the digest of part 1, which is hashed as it arrives, is the digest of the whole so far."""
        return self._digests.algorithms == {ALWAYS}

    def adopt_first(self, size_bytes: int, sha256: "_Hash") -> None:
        """Part 1 is stored, and has this digest: nothing of it need be read, unless that has begun."""
        if self.adopts_first and self.number == 1 and self._within == 0 and not self._lock.locked():
            self._digests, self.number = RunningDigests.going_on_from(sha256), 2
            self._keep(Place(2, size_bytes, self._digests.copy()))

    async def go_back(self, number: int) -> None:
        """Forget what was read of part `number` and behind it; on return nothing reads there any more.

        Whoever calls has seen to it that the part can not be read now.
        """
        async with self._lock:
            self._back(number)

    async def _follow(self) -> None:
        """Slice after slice until nothing is left to read now."""
        self._error = None
        while self._may_go_on():
            async with self._lock:
                stretches = self._slice()
                if not stretches:
                    return
                try:
                    await self._read(stretches)
                except RegistryError as error:
                    self._error = error
                    return

    def _slice(self) -> list[Stretch]:
        """The next stretches, up to the size of a slice."""
        stretches: list[Stretch] = []
        number, within, left = self.number, self._within, SLICE_BYTES
        while left > 0 and len(stretches) < SLICE_PARTS:
            stretch = self._next(number, within)
            if stretch is None:
                break
            if stretch.length_bytes > left:
                stretch = replace(stretch, length_bytes=left, ends=False)
            stretches.append(stretch)
            left -= stretch.length_bytes
            if not stretch.ends:
                break
            number, within = number + 1, 0
        return stretches

    def _next(self, number: int, within: int) -> Stretch | None:
        stretch = self._followed.ahead(number, within)
        return stretch if stretch is not None and (stretch.length_bytes or stretch.ends) else None

    async def _read(self, stretches: list[Stretch]) -> None:
        before = self._places[self.number].before_bytes + self._within
        found, digests, part, within = await self._followed.call(
            _read_stretches, stretches, self._digests, self._part, before, self._within
        )
        for number, place in found.passed:
            self._followed.proven(number)
            self._keep(place)
        self._digests, self._part, self._within = digests, part, within
        if found.passed:
            self.number = found.passed[-1][1].number
        if found.bad is not None:
            self._stand(found.bad)  # first, for some of its bytes are in the digests, and telling may fail
            await self._followed.lost(found.bad)

    def _keep(self, place: Place) -> None:
        """Remember the beginning of a part; when there are too many, every other one goes, never the first or last."""
        self._places[place.number] = place
        if len(self._places) > CHECKPOINTS:
            numbers = sorted(self._places)
            for number in numbers[1:-1:2]:
                del self._places[number]

    def _back(self, number: int) -> None:
        if number < self.number or (number == self.number and self._within > 0):
            self._stand(number)

    def _stand(self, number: int) -> None:
        """Stand at the beginning of part `number`, or of the last one before it that is remembered."""
        self._places = {at: place for at, place in self._places.items() if at <= number}
        place = self._places[max(self._places)]
        self.number, self._within, self._part = place.number, 0, None
        self._digests = place.digests.copy()


def _read_stretches(
    stretches: list[Stretch], digests: RunningDigests, part: "_Hash | None", before: int, within: int
) -> tuple[Read, RunningDigests, "_Hash | None", int]:
    """In a thread: hash the stretches. What was given is not touched, so that a failure leaves all as it was."""
    digests, part = digests.copy(), part.copy() if part is not None else None
    found = Read(0, [])
    for stretch in stretches:
        if within == 0:
            part = hashlib.sha256() if stretch.sha256 is not None else None
        updates = [digests.update] if part is None else [digests.update, part.update]
        if not read_into(stretch.path, stretch.start, stretch.length_bytes, *updates, let_go=stretch.let_go):
            found.bad = stretch.number
            break
        within += stretch.length_bytes
        found.bytes += stretch.length_bytes
        if stretch.ends:
            if part is not None and part.hexdigest() != stretch.sha256:
                found.bad = stretch.number
                break
            found.passed.append((stretch.number, Place(stretch.number + 1, before + found.bytes, digests.copy())))
            within, part = 0, None
    return found, digests, part, within


_OF_THREAD: Final = threading.local()


def _buffer() -> memoryview:
    """This thread's own buffer: a fresh one for each piece would leave its traces in each thread's memory."""
    buffer: memoryview | None = getattr(_OF_THREAD, "buffer", None)
    if buffer is None:
        buffer = _OF_THREAD.buffer = memoryview(bytearray(PIECE_BYTES))
    return buffer


def read_into(
    path: Path, start: int, length_bytes: int, *updates: Callable[[memoryview], None], let_go: bool = False
) -> bool:
    """Give the bytes of a stretch of a file to each of `updates`, in pieces; False when they are not there. Blocks.

    Raises:
        StorageFailed: the disk failed.
    """
    at, stop, buffer = start, start + length_bytes, _buffer()
    if at == stop:
        return True
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, "reading the upload") from error
    try:
        while at < stop:
            read = os.preadv(fd, [buffer[: min(len(buffer), stop - at)]], at)
            if not read:
                return False
            for update in updates:
                update(buffer[:read])
            at += read
        if let_go:
            behind = max(0, start - LET_GO_BEHIND_BYTES)
            filesystem.let_go(fd, behind, stop - behind)
    except OSError as error:
        raise storage_error(error, "reading the upload") from error
    finally:
        os.close(fd)
    return True
