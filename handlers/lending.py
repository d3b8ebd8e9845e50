"""What a connection does with its transport: lends it to the receiver of a body, waits for it, and lets go of it.

While it is lent, the receiver is the transport's protocol and passes on what concerns the connection. Reading is paused
at each change: uvloop chooses its way of reading when reading starts.
"""

import asyncio
from typing import Any, Final, Protocol

from aiohttp import web

from handlers.limits import Traffic
from handlers.patience import while_reading
from model.units import KIB
from multipart.bodies import Ending

HELD_BYTES: Final = 64 * KIB
"""How much a client may send ahead of its turn before reading stops."""

_READING_ERRORS: Final = (AttributeError, NotImplementedError, RuntimeError)
"""What transports raise when told to pause or resume after their end; asyncio's TLS even AttributeError."""


class Owner(Protocol):
    """The connection whose body is received."""

    def lend(self, receiver: asyncio.BufferedProtocol) -> bool:
        """Make `receiver` the transport's protocol, reading paused; False when the connection is gone."""

    def hand_back(self, beyond: bytes) -> None:
        """Become the transport's protocol again; `beyond` came behind the body."""

    def pause(self) -> None:
        """Stop the transport's reading; harmless when it is paused or gone."""

    def resume(self) -> None:
        """Let the transport read; harmless when it does or is gone."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """As asyncio's protocols have it."""

    def pause_writing(self) -> None:
        """As asyncio's protocols have it."""

    def resume_writing(self) -> None:
        """As asyncio's protocols have it."""


class Borrower(asyncio.BufferedProtocol):
    """The protocol of a lent transport: what all receivers of bodies have in common."""

    def __init__(self, owner: Owner, *, length_bytes: int | None, landing: memoryview, traffic: Traffic) -> None:
        self._owner = owner
        self._landing = landing
        self._traffic = traffic
        self._left = length_bytes
        """Bytes of a counted body that have not arrived; None for a chunked one."""
        self._lost = False
        """The connection is gone."""

    def end(self, ending: Ending) -> None:
        """Receive nothing more; later calls change nothing."""
        raise NotImplementedError

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport may put what it reads next: never reaching behind the end of a counted body."""
        return self._landing[: self._left] if self._left else self._landing

    def eof_received(self) -> None:
        """The client has said its last word, and the body is not whole."""
        self.end(Ending.VANISHED)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; aiohttp's side must learn it as well."""
        self._lost = True
        self.end(Ending.VANISHED)
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Passed on: the connection writes the answer."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Passed on: the connection writes the answer."""
        self._owner.resume_writing()


class LendingConnection(web.RequestHandler):
    """aiohttp's side of a connection, whose transport can be lent (an `Owner`)."""

    __slots__ = ("_closing", "_held", "_held_at", "_loss", "_paused_reading", "_stall_timeout_s")

    def __init__(self, server: web.Server, *, stall_timeout_s: float, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._stall_timeout_s = stall_timeout_s
        self._held = b""
        """What came ahead of its turn."""
        self._held_at = 0
        """Where in `_held` that begins."""
        self._paused_reading = False
        self._loss: asyncio.Future[None] | None = None
        self._closing: asyncio.TimerHandle | None = None

    @property
    def loss(self) -> "asyncio.Future[None]":
        """Done when the connection is lost."""
        if self._loss is None:
            self._loss = self._loop.create_future()
            if self.transport is None:
                self._loss.set_result(None)
        return self._loss

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake whoever waits for the transport."""
        self._held = b""
        if self._loss is not None and not self._loss.done():
            self._loss.set_result(None)
        super().connection_lost(exc)
        if self._closing is not None:
            self._closing.cancel()

    def lend(self, receiver: asyncio.BufferedProtocol) -> bool:
        """Make `receiver` the transport's protocol, reading paused; False when the connection is gone."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.pause()
        self.transport.set_protocol(receiver)
        return True

    def hand_back(self, beyond: bytes) -> None:
        """Be the transport's protocol again; `beyond` belongs to the next request."""
        self.hold(beyond)
        if self.transport is None:
            return
        self.pause()
        self.transport.set_protocol(self)
        if len(self._held) <= HELD_BYTES:
            self.resume()

    def hold(self, data: bytes) -> None:
        """Keep `data` for when its turn comes."""
        self._held = self._held[self._held_at :] + data
        self._held_at = 0

    def pause(self) -> None:
        """Stop the transport's reading; harmless when it is paused or gone."""
        self._paused_reading = True
        if self.transport is not None:
            try:
                self.transport.pause_reading()
            except _READING_ERRORS:
                pass

    def resume(self) -> None:
        """Let the transport read; harmless when it does or is gone."""
        self._paused_reading = False
        if self.transport is not None:
            try:
                self.transport.resume_reading()
            except _READING_ERRORS:
                pass

    def send_continue(self) -> None:
        """Tell the client to go on with its body (RFC 9110 section 10.1.1)."""
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _drain_helper(self) -> None:
        """As aiohttp's; a client that takes nothing for too long is cut off."""
        if self.writing_paused and self.transport is not None:
            await while_reading(
                asyncio.ensure_future(super()._drain_helper()),
                loss=self.loss,
                transport=self.transport,
                stall_timeout_s=self._stall_timeout_s,
            )
        else:
            await super()._drain_helper()

    def force_close(self) -> None:
        """Close now; what was written before is still sent, but not for ever."""
        self.limit_closing()
        super().force_close()

    def limit_closing(self) -> None:
        """A transport waits without end for a client that does not read what is left: close it by force then."""
        if self.transport is not None and self._closing is None:
            self._closing = self._loop.call_later(self._stall_timeout_s, self.transport.abort)
