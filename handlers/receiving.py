"""Receives one body: from the connection into large buffers, and those in order to a sink.

While a body is received this is the transport's protocol in place of the connection. The transport fills our own
buffers, which is what makes it fast: no `bytes` object per read, and one call of the sink per mebibyte.

    slow:  landing buffer (shared by all) -> a small bytearray of this body -> sink, at 64 KiB or after a second
    fast:  a buffer of the pool, filled by the transport                    -> sink, when full or after 50 ms of silence

A body becomes fast when the landing buffer was filled to its end in one read, or 64 KiB came within 50 ms, and slow
again when its buffer had to be handed over unfilled. So a client that dribbles or stalls costs a few KiB and no pooled
buffer. At most `IN_FLIGHT` pieces of a body wait for its sink; then reading pauses, and TCP tells the client.

Everything here runs on the event loop.
"""

import asyncio
from typing import Final

from handlers.buffers import SQUEEZE_S, Buffer, BufferPool
from handlers.chunked import ChunkedDecoder
from handlers.handing import Handing, Piece, Verdict
from handlers.lending import Borrower, Owner
from handlers.limits import Traffic
from handlers.turns import Turns
from multipart.bodies import Ending, Sink

IN_FLIGHT: Final = 3
"""One being filled, one being hashed and written, one between the two."""
SMALL_BYTES: Final = 64 * 1024
"""How many bytes of a slow body go to the sink at a time."""
SMALL_FLUSH_S: Final = 1.0
"""The longest that bytes of a slow body wait for company."""
SILENCE_S: Final = 0.05
"""A buffer of the pool that got nothing for this long is handed over as it is."""
CHUNKED_SILENCE_S: Final = 0.02
"""The same for a chunked body, whose end may be in the buffer, unseen."""
EARLY_BYTES: Final = 256 * 1024
"""For the same reason an idle worker gets the bytes of a chunked body from here on."""
CHUNKED_END: Final = b"\r\n\r\n"

_ENDINGS: Final = {
    Verdict.ENDED: Ending.WHOLE,  # whatever happened meanwhile: the client has sent all of it
    Verdict.BROKEN: Ending.MALFORMED,
    Verdict.TOO_LONG: Ending.TOO_LONG,
}


class Reception(Borrower):
    """The receiving of one body; `handlers.body` begins it and awaits `ended`."""

    def __init__(
        self,
        owner: Owner,
        sink: Sink,
        *,
        length_bytes: int | None,
        limit_bytes: int | None,
        stall_timeout_s: float,
        pool: BufferPool,
        turns: Turns,
        peer: str,
        traffic: Traffic,
    ) -> None:
        super().__init__(owner, length_bytes=length_bytes, landing=pool.landing, traffic=traffic)
        self._pool = pool
        self._peer = peer
        self._stall_timeout_s = stall_timeout_s
        self._chunked = length_bytes is None
        self._silence_s = CHUNKED_SILENCE_S if self._chunked else SILENCE_S
        self._above_limit = 0
        """Bytes of a counted body behind the limit that have not arrived, and will not be received."""
        if limit_bytes is not None and length_bytes is not None:
            self._above_limit = max(0, length_bytes - limit_bytes)
        self._too_long = self._above_limit > 0
        if self._left is not None:
            self._left -= self._above_limit
        self._loop = asyncio.get_running_loop()
        self.handing = Handing(
            sink,
            decoder=ChunkedDecoder() if self._chunked else None,
            limit_bytes=limit_bytes,
            pool=pool,
            turns=turns,
            peer=peer,
            on_progress=self._sink_progressed,
        )
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        """How it ended, once everything that was received is with the sink and the connection is itself again."""
        self._ending: Ending | None = None
        """Why nothing more is received; set once."""
        self._lent = False
        """Whether the transport is ours for now."""
        self._late = bytearray()
        """What the transport delivered although it was told to stop."""
        self._small = bytearray()
        self._small_since_s = 0.0
        self._buffer: Buffer | None = None
        self._fill = 0
        self._wants_buffer = False
        self._queued = False
        self._reading = False
        self._tail = b""
        self._progress_at_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    @property
    def left_bytes(self) -> int | None:
        """How much of a counted body has not arrived; None for a chunked one."""
        return None if self._left is None else self._left + self._above_limit

    # -- the life of it -----------------------------------------------------------------------------------------------

    def begin(self, first: bytes) -> None:
        """Start, with what came together with the head; when that is the whole body, nothing is read at all."""
        self._lent = self._left is None or len(first) < self._left
        if self._lent:
            self._lost = not self._owner.lend(self)
        view = memoryview(first)[: self._left]
        self._above_limit -= len(first) - len(view)
        if self._left == 0:
            self.end(Ending.WHOLE)
        elif view:
            self._landed(view, filled=len(view) >= len(self._landing))
        if self._lost:
            self.end(Ending.VANISHED)
        elif not self._queued and not self._wants_buffer:
            self._resume()
        self._arm()

    def end(self, ending: Ending) -> None:
        """Receive nothing more; what is here is handed over, then `ended` tells. Later calls change nothing."""
        if self._ending is not None:
            return
        self._stop_reading(ending)
        self._flush()
        self._settle()

    async def abandon(self) -> None:
        """Hand nothing more over, and return when no thread touches the sink, even if this is cancelled meanwhile."""
        self._stop_reading(self._ending or Ending.STOPPED)
        self.ended.cancel()
        try:
            await self.handing.finish()
        finally:
            self._release()

    def _stop_reading(self, ending: Ending) -> None:
        self._ending = ending
        self._reading = False
        if self._lent and not self._lost:
            self._owner.pause()
        self._wants_buffer = False
        if self._queued:
            self._queued = False
            self._pool.leave(self._peer, self._granted)

    def _settle(self) -> None:
        """Tell how it ended, if it has."""
        if self._ending is None or self.handing.working or self.ended.done():
            return
        ending = _ENDINGS.get(self.handing.verdict, self._ending)
        if self._too_long and ending is Ending.WHOLE:
            ending = Ending.TOO_LONG
        self._release()
        self.ended.set_result(ending)

    def _release(self) -> None:
        """Give everything back, once, and let the connection be itself again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        beyond = self.handing.rest
        if self._buffer is not None:
            beyond += self._buffer.view[: self._fill]
            self._drop_buffer()
        beyond += self._small
        beyond += self._late
        if self._lent and not self._lost:
            self._lent = False
            self._owner.hand_back(bytes(beyond))

    # -- the transport's side -----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport may put what it reads next: never reaching behind the end of a counted body."""
        if self._buffer is None or self._ending is not None:
            return super().get_buffer(sizehint)
        if self._left:
            return self._buffer.view[self._fill : self._fill + self._left]
        return self._buffer.view[self._fill :]

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has put `nbytes` where `get_buffer` told it."""
        self._traffic.received_bytes += nbytes
        if self._ending is not None:
            self._late += self._landing[:nbytes]  # TLS may have had a read scheduled already
            return
        self._progress_at_s = self._loop.time()
        if self._buffer is None:
            self._landed(self._landing[:nbytes], filled=nbytes == len(self._landing))
        else:
            self._filled(self._buffer, nbytes)

    # -- slow and fast ------------------------------------------------------------------------------------------------

    def _landed(self, data: memoryview, *, filled: bool) -> None:
        """Bytes of a slow body; `filled` says that more was waiting than fitted."""
        if not self._small:
            self._small_since_s = self._progress_at_s
        self._small += data
        if self._left is not None:
            self._left -= len(data)
            if self._left == 0:
                self.end(Ending.WHOLE)
                return
        quick = self._progress_at_s - self._small_since_s < SILENCE_S
        if filled or (quick and len(self._small) >= SMALL_BYTES):
            self._want_buffer()
        elif len(self._small) >= SMALL_BYTES or (self._chunked and self._may_hold_the_end(data)):
            self._flush()
            if self.handing.in_flight >= IN_FLIGHT:
                self._pause()
        self._arm()

    def _may_hold_the_end(self, data: memoryview) -> bool:
        """Whether the empty line that ends a chunked body may have come: then it must not wait for company."""
        window = self._tail + data
        self._tail = window[-3:]
        return CHUNKED_END in window

    def _filled(self, buffer: Buffer, nbytes: int) -> None:
        """Bytes of a fast body."""
        self._fill += nbytes
        if self._fill == nbytes:
            self._arm()
        if self._left is not None:
            self._left -= nbytes
            if self._left == 0:
                self.end(Ending.WHOLE)
                return
        full = self._fill == len(buffer.view)
        if full or (self._chunked and self._may_be_awaited(buffer)):
            self._flush()
            if self._left is None or self._left > SMALL_BYTES:
                self._want_buffer()

    def _may_be_awaited(self, buffer: Buffer) -> bool:
        """Whether a chunked body's bytes should not wait for a full buffer: the end may be among them."""
        if bytes(buffer.view[max(0, self._fill - len(CHUNKED_END)) : self._fill]) == CHUNKED_END:
            return True
        return self._fill >= EARLY_BYTES and not self.handing.working

    def _want_buffer(self) -> None:
        """Get a buffer of the pool; nothing more is read until there is one."""
        if self._buffer is not None or self._queued or self._ending is not None:
            return
        self._wants_buffer = self.handing.in_flight >= IN_FLIGHT
        if not self._wants_buffer:
            buffer = self._pool.take(self._peer, self._granted)
            if buffer is not None:
                self._use(buffer)
                return
            self._queued = True
        self._pause()

    def _granted(self, buffer: Buffer) -> None:
        """Our turn has come."""
        self._queued = False
        self._use(buffer)
        self._resume()
        self._arm()

    def _use(self, buffer: Buffer) -> None:
        if len(self._small) >= len(buffer.view):
            self._flush()  # never in practice: reading was paused long before
        self._buffer, self._fill = buffer, len(self._small)
        buffer.view[: self._fill] = self._small
        self._small = bytearray()
        self._pool.filling(self)

    def squeeze(self) -> None:
        """Others wait for a buffer: part with ours if nothing came for a moment."""
        if self._ending is None and self._loop.time() - self._progress_at_s >= SQUEEZE_S:
            self._flush()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._owner.pause()

    def _resume(self) -> None:
        if not self._reading and self._ending is None:
            self._reading = True
            self._progress_at_s = self._loop.time()  # the silence was ours
            self._owner.resume()

    # -- to the sink --------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Hand over what is here, however little."""
        if self._buffer is not None:
            buffer, self._buffer = self._buffer, None
            self._pool.settled(self)
            if self._fill:
                self.handing.hand_over(Piece(buffer.view, self._fill, buffer))
            else:
                self._pool.give(buffer)
        if self._small:
            small, self._small = self._small, bytearray()
            self.handing.hand_over(Piece(memoryview(small), len(small)))

    def _drop_buffer(self) -> None:
        buffer, self._buffer = self._buffer, None
        self._pool.settled(self)
        if buffer is not None:
            self._pool.give(buffer)

    def _sink_progressed(self) -> None:
        """The sink has taken a piece, failed, or the worker has rested."""
        if self._ending is None and not self.handing.working:
            if self.handing.error is not None:
                self.end(Ending.STOPPED)
            elif self.handing.verdict is not Verdict.GOES_ON:
                # What came behind the end stays where it is; the connection gets it back.
                self._stop_reading(Ending.WHOLE)
        if self._ending is not None:
            self._settle()
        elif self.handing.in_flight < IN_FLIGHT and not self._queued:
            if self._wants_buffer:
                self._want_buffer()
            if not self._queued:
                self._resume()
            self._arm()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have `_tick` called when something is due, unless it is called earlier anyway."""
        if self._ending is not None:
            return
        due_s = self._progress_at_s + self._stall_timeout_s
        if self._buffer is not None and self._fill:
            due_s = min(due_s, self._progress_at_s + self._silence_s)
        elif self._small and self._reading:
            due_s = min(due_s, self._small_since_s + SMALL_FLUSH_S)
        if self._timer is not None:
            if self._due_s <= due_s:
                return
            self._timer.cancel()
        self._due_s = due_s
        self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        silent_s = now_s - self._progress_at_s
        if not self._reading:
            self._progress_at_s = now_s  # we are the ones who make the client wait
        elif silent_s >= self._stall_timeout_s:
            self.end(Ending.STALLED)
        elif self._buffer is not None:
            if silent_s >= self._silence_s:
                self._flush()
        elif self._small and now_s - self._small_since_s >= SMALL_FLUSH_S:
            self._flush()
        self._arm()
