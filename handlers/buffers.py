"""The large buffers that bodies are received into: a capped pool, whose turns go round by address.

A buffer is anonymous memory of its own, made when it is first needed and handed back to the system after a quiet while,
so an idle server holds none. Everything here happens on the event loop; only the bytes inside a buffer are touched by
worker threads.

Who holds a partly filled buffer without making progress is asked to part with it as soon as somebody waits: a client
that stalls must not keep memory from one that does not (ARCHITECTURE.md, invariant 6).
"""

import asyncio
import mmap
from collections.abc import Callable
from typing import Final, Protocol

from handlers.turns import Lines
from model.units import KIB, MIB

BUFFER_BYTES: Final = MIB
"""Larger ones gain 10 % with one stream and cost memory with many; smaller ones lose a quarter of the rate."""
LANDING_BYTES: Final = 64 * KIB
"""Where bytes arrive while a body is slow: one buffer for all of them, copied out at once."""
QUIET_S: Final = 5.0
"""Buffers that nobody needed for so long are given back to the system, however busy the others are."""
SQUEEZE_S: Final = 0.005
"""How long a buffer may rest without progress while others wait for one."""


class Buffer:
    """One large buffer."""

    __slots__ = ("_memory", "view")

    def __init__(self, size_bytes: int) -> None:
        self._memory = mmap.mmap(-1, size_bytes)
        self.view = memoryview(self._memory)


class Holder(Protocol):
    """Somebody who is filling a buffer."""

    def squeeze(self) -> None:
        """Others wait: hand over what is in the buffer if it rests."""
        ...


class BufferPool:
    """At most `capacity` buffers of `buffer_bytes` for everybody together."""

    def __init__(self, capacity: int = 48, *, buffer_bytes: int = BUFFER_BYTES, quiet_s: float = QUIET_S) -> None:
        self.capacity = capacity
        self.buffer_bytes = buffer_bytes
        self._quiet_s = quiet_s
        self.in_use = 0
        self.landing = memoryview(bytearray(LANDING_BYTES))
        self._free: list[Buffer] = []
        self._spare = 0
        """So many of the free ones nobody has needed since `_trim` looked last."""
        self._queue: Lines[Callable[[Buffer], None]] = Lines()
        self._holders: set[Holder] = set()
        self._squeezer: asyncio.TimerHandle | None = None
        self._trimmer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many are queueing for a buffer."""
        return len(self._queue)

    @property
    def free(self) -> int:
        """How many buffers are kept for the next who wants one."""
        return len(self._free)

    def take(self, peer: str, granted: Callable[[Buffer], None]) -> Buffer | None:
        """A buffer at once; else None, and `granted` is called with one when it is the turn of `peer` and this caller.

        The addresses that wait get one each in turn, however many streams they have.
        """
        if self.in_use < self.capacity and not self._queue:
            self.in_use += 1
            buffer = self._free.pop() if self._free else Buffer(self.buffer_bytes)
            self._spare = min(self._spare, len(self._free))
            return buffer
        self._queue.append(peer, granted)
        self._press()
        return None

    def leave(self, peer: str, granted: Callable[[Buffer], None]) -> None:
        """Stop waiting."""
        self._queue.remove(peer, granted)

    def give(self, buffer: Buffer) -> None:
        """Take `buffer` back; the next in the queue gets it."""
        if self._queue:
            self._queue.popleft()(buffer)
            return
        self.in_use -= 1
        self._free.append(buffer)
        if self._trimmer is None:
            self._trimmer = asyncio.get_running_loop().call_later(self._quiet_s, self._trim)

    def filling(self, holder: Holder) -> None:
        """`holder` has a buffer that is being filled, and may be squeezed."""
        self._holders.add(holder)

    def settled(self, holder: Holder) -> None:
        """`holder` fills no buffer any more."""
        self._holders.discard(holder)

    def close(self) -> None:
        """Drop the timers and the free buffers; for the end of the server."""
        for timer in (self._trimmer, self._squeezer):
            if timer is not None:
                timer.cancel()
        self._trimmer = self._squeezer = None
        self._free.clear()

    def _press(self) -> None:
        if self._squeezer is None:
            self._squeezer = asyncio.get_running_loop().call_later(SQUEEZE_S, self._squeeze)

    def _squeeze(self) -> None:
        self._squeezer = None
        if not self._queue:
            return
        for holder in list(self._holders):
            holder.squeeze()
        if self._queue:
            self._press()

    def _trim(self) -> None:
        self._trimmer = None
        del self._free[: self._spare]  # the last ones are warm
        self._spare = len(self._free)
        if self._free:
            self._trimmer = asyncio.get_running_loop().call_later(self._quiet_s, self._trim)
