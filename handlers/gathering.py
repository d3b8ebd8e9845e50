"""Receives a body on the event loop, without a thread: small ones that are wanted, and large ones that are not.

The bytes land in the buffer that all slow bodies share and are taken from there at once. Used for manifests, which are
small, and for discarding what nobody will read.
"""

import asyncio
from collections.abc import Callable

from handlers.chunked import ChunkedDecoder, State
from handlers.lending import Borrower, Owner
from handlers.limits import Traffic
from multipart.bodies import Ending


class Gathering(Borrower):
    """The receiving of one body, piece by piece into `take`."""

    def __init__(
        self,
        owner: Owner,
        take: Callable[[memoryview], object],
        *,
        length_bytes: int | None,
        limit_bytes: int,
        landing: memoryview,
        traffic: Traffic,
    ) -> None:
        super().__init__(owner, length_bytes=length_bytes, landing=landing, traffic=traffic)
        self._take = take
        self._limit_bytes = limit_bytes
        self._decoder = ChunkedDecoder() if length_bytes is None else None
        self._beyond = bytearray()
        self.received_bytes = 0
        """What has come so far, with the framing of a chunked body."""
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def run(self, first: bytes, *, stall_timeout_s: float) -> Ending:
        """Receive to the end, beginning with `first`, and let the connection be itself again.

        What lies behind `limit_bytes` is not taken, and not waited for: TOO_LONG.
        """
        self._lost = not self._owner.lend(self)
        if self._lost:
            return Ending.VANISHED
        try:
            if first:
                self._arrived(memoryview(bytearray(first)))
            if not self.ended.done():
                self._owner.resume()
            return await self._end_or_stall(stall_timeout_s)
        finally:
            self.end(Ending.STOPPED)
            if not self._lost:
                self._owner.hand_back(bytes(self._beyond))

    async def _end_or_stall(self, stall_timeout_s: float) -> Ending:
        while not self.ended.done():
            before = self.received_bytes
            await asyncio.wait({self.ended}, timeout=stall_timeout_s)
            if self.received_bytes == before:
                self.end(Ending.STALLED)
        return self.ended.result()

    def end(self, ending: Ending) -> None:
        """Receive nothing more; later calls change nothing."""
        if not self.ended.done():
            self.ended.set_result(ending)
            if not self._lost:
                self._owner.pause()

    def _arrived(self, view: memoryview) -> None:
        self.received_bytes += len(view)
        if self.ended.done():
            self._beyond += view
            return
        if self._decoder is not None:
            data_bytes, taken = self._decoder.feed(view, len(view))
        else:
            data_bytes = taken = min(len(view), self._left or 0)
        self._beyond += view[taken:]
        allowed = min(data_bytes, self._limit_bytes)
        self._limit_bytes -= allowed
        self._take(view[:allowed])
        self._judge(data_bytes, too_long=allowed < data_bytes)

    def _judge(self, data_bytes: int, *, too_long: bool) -> None:
        if self._left is not None:
            self._left -= data_bytes
        if too_long:
            self.end(Ending.TOO_LONG)
        elif self._left == 0 or (self._decoder is not None and self._decoder.state is State.ENDED):
            self.end(Ending.WHOLE)
        elif self._decoder is not None and self._decoder.state is State.BROKEN:
            self.end(Ending.MALFORMED)

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has put `nbytes` there."""
        self._traffic.received_bytes += nbytes
        self._arrived(self._landing[:nbytes])
