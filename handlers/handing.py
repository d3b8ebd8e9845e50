"""Hands the pieces of one body to its sink: in a worker thread, one at a time, in the order they came.

Hashing and writing release the interpreter's lock, so this is where a second core does its share. A worker's turn ends
after a few pieces, so that many bodies get along with few threads; addresses get their turns in turn.

Everything runs on the event loop except `work` and `_write`, of which at most one runs at a time. The decoder of a
chunked body belongs to them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeVar

from handlers.buffers import Buffer, BufferPool
from handlers.chunked import ChunkedDecoder, State
from handlers.turns import Turns
from multipart.bodies import Sink

PIECES_A_TURN: Final = 3

T = TypeVar("T")


class Piece:
    """Some received bytes on their way to the sink."""

    __slots__ = ("buffer", "data_bytes", "length", "taken", "view")

    def __init__(self, view: memoryview, length: int, buffer: Buffer | None = None) -> None:
        self.view = view
        self.length = length
        """How many bytes of `view` were received."""
        self.buffer = buffer
        """The buffer of the pool that they lie in, to be given back."""
        self.data_bytes = 0
        """How many bytes of data the sink got of it."""
        self.taken = 0
        """How many of the received bytes belong to the body."""

    @property
    def rest(self) -> memoryview:
        """What was received behind the end of the body."""
        return self.view[self.taken : self.length]


class Verdict(Enum):
    """What handing over found out about the body, which receiving cannot see."""

    GOES_ON = "more may come"
    ENDED = "the last chunk has come"
    BROKEN = "the chunked framing is malformed"
    TOO_LONG = "there is more than the limit allows"


_VERDICTS: Final = {State.ENDED: Verdict.ENDED, State.BROKEN: Verdict.BROKEN}


class Handing:
    """The way from a reception to its sink."""

    def __init__(
        self,
        sink: Sink,
        *,
        decoder: ChunkedDecoder | None,
        limit_bytes: int | None,
        pool: BufferPool,
        turns: Turns,
        peer: str,
        on_progress: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._decoder = decoder
        self._limit_bytes = limit_bytes
        self._pool = pool
        self._turns = turns
        self._peer = peer
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[Piece] = deque()
        self._given_bytes = 0
        self._over_limit = False
        self._resting: asyncio.Future[None] | None = None
        self.in_flight = 0
        """Pieces that were handed over and are not yet with the sink."""
        self.working = False
        """Whether a worker has its turn, or waits for it."""
        self.received_bytes = 0
        """Data that the sink has taken."""
        self.rest = bytearray()
        """What came behind the end of the body."""
        self.error: BaseException | None = None
        """What the sink raised."""

    @property
    def verdict(self) -> Verdict:
        """What is known by now; meaningful while no worker is busy."""
        if self._over_limit:
            return Verdict.TOO_LONG
        if self._decoder is None:
            return Verdict.GOES_ON
        return _VERDICTS.get(self._decoder.state, Verdict.GOES_ON)

    def hand_over(self, piece: Piece) -> None:
        """Give `piece` to the sink after all earlier ones; `on_progress` is called on the loop whenever one is done.

        After the end of the body, or a failure of the sink, it is kept from the sink and becomes part of `rest`.
        """
        self.in_flight += 1
        if not self.working and (self.error is not None or self.verdict is not Verdict.GOES_ON):
            self.rest += piece.rest
            self._give_back(piece)
            return
        self._pieces.append(piece)
        if not self.working:
            self._submit()

    async def finish(self) -> None:
        """Hand nothing more over, and return when no thread touches the sink, whatever cancels this wait.

        Raises:
            CancelledError: it was cancelled meanwhile.
        """
        self._drop_pieces()
        cancelled: asyncio.CancelledError | None = None
        while self.working:
            self._resting = self._resting or self._loop.create_future()
            try:
                await asyncio.shield(self._resting)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _submit(self) -> None:
        self.working = True
        self._turns.take(self._peer, self)

    def refused(self, error: RuntimeError) -> None:
        """The pool of workers was shut down."""
        self._worked(error)

    def work(self) -> None:
        """One turn of a worker thread."""
        error: BaseException | None = None
        for _ in range(PIECES_A_TURN):
            try:
                piece = self._pieces.popleft()
            except IndexError:
                break
            try:
                self._write(piece)
            except BaseException as failure:  # noqa: BLE001 - whatever it is, the one who pours raises it again
                error = failure
            self._tell(self._written, piece)
            if error is not None or self.verdict is not Verdict.GOES_ON:
                break
        self._tell(self._turn_ended, error)

    def _write(self, piece: Piece) -> None:
        data_bytes, piece.taken = piece.length, piece.length
        if self._decoder is not None:
            data_bytes, piece.taken = self._decoder.feed(piece.view, piece.length)
        if self._limit_bytes is not None and self._given_bytes + data_bytes > self._limit_bytes:
            data_bytes = self._limit_bytes - self._given_bytes
            self._over_limit = True
        if data_bytes:
            self._sink.write(piece.view[:data_bytes])
        self._given_bytes += data_bytes
        piece.data_bytes = data_bytes

    def _tell(self, what: Callable[[T], None], about: T) -> None:
        """Call `what` on the loop."""
        with contextlib.suppress(RuntimeError):  # the loop was closed under us: nobody is left to be told
            self._loop.call_soon_threadsafe(what, about)

    def _written(self, piece: Piece) -> None:
        self.received_bytes += piece.data_bytes
        self.rest += piece.rest
        self._give_back(piece)
        if self.working and self.error is None:
            self._on_progress()

    def _turn_ended(self, error: BaseException | None) -> None:
        self._turns.ended()
        self._worked(error)

    def _worked(self, error: BaseException | None) -> None:
        self.error = self.error or error
        if self.error is not None or self.verdict is not Verdict.GOES_ON:
            self._drop_pieces()
        elif self._pieces:
            self._submit()
            return
        self.working = False
        if self._resting is not None:
            self._resting.set_result(None)
            self._resting = None
        self._on_progress()

    def _drop_pieces(self) -> None:
        while self._pieces:
            try:
                piece = self._pieces.popleft()
            except IndexError:  # a worker was quicker
                break
            self.rest += piece.rest
            self._give_back(piece)

    def _give_back(self, piece: Piece) -> None:
        self.in_flight -= 1
        if piece.buffer is not None:
            self._pool.give(piece.buffer)
