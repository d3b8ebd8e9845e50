"""One HTTP connection: aiohttp's parser and response writer, but our own way with heads and bodies.

aiohttp is given exactly one request head at a time and never a byte of a body. So there is one place that says where a
message ends (`handlers.heads`), bodies need not pass through a parser (`handlers.receiving`), and what a client sends
ahead is parsed only when its turn has come.

    data --> head, up to the empty line --> aiohttp's parser --> handler --> answer --> the next head
                        rest --> the body's first bytes, or held for the next request

A body that the handler did not want is read for a while and thrown away behind the answer, because closing a socket
with unread bytes makes the kernel send a reset, which may destroy the answer on its way.

This file reaches into aiohttp's RequestHandler (`_messages`, `_waiter`, `_parser`, `_handle_request`,
`_process_keepalive`, `_close`, `_force_close`): the version is locked, and the tests in tests/http/ hold every path.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.http import HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from handlers.buffers import BufferPool
from handlers.crowd import Crowd, peer_of
from handlers.gathering import Gathering
from handlers.heads import NO_BODY, Framing, Head, HeadCollector, Refusal
from handlers.limits import Limits, Traffic
from handlers.patience import while_reading
from model.units import KIB
from multipart.bodies import Body, Ending

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnProtocolError = Callable[[int, str], web.Response]
Shortcut = Callable[[RawRequestMessage, str], bytes | None]
"""The whole answer to a request without a body, where it is at hand, from the head and the peer's address."""

HELD_BYTES: Final = 64 * KIB
"""How much a client may send ahead of its turn before reading stops."""
REFUSED_AT_ONCE: Final = 64
"""How many connections above the caps get an answer at a time; the others are just closed."""
REFUSED_S: Final = 1.0

_READING_ERRORS: Final = (AttributeError, NotImplementedError, RuntimeError)
"""What transports raise when told to pause or resume after their end; asyncio's TLS even AttributeError."""

_log = logging.getLogger("holdfast.http")


@dataclass(slots=True, eq=False)
class Incoming:
    """The body of the request in progress, as far as the connection is concerned."""

    framing: Framing
    first: bytes
    """What came together with the head."""
    body: Body | None = None
    """What `handlers.body` has made of it."""
    claimed: bool = False
    """Somebody has begun to receive it."""
    whole: bool = False
    """It was received to its end; the next request may follow."""
    left_bytes: int | None = None
    """How much of a counted body was not received when its receiver gave up."""

    @property
    def unasked(self) -> bool:
        """The client waits for `100 Continue`, which nobody has sent."""
        return self.framing.expects_continue and not self.claimed and not self.first


class HttpServer(web.Server):
    """The factory of connections: what `loop.create_server` and `web.ServerRunner` want.

    Made inside the running loop. `handler` gets every well-formed request as a plain `web.BaseRequest`, whose body is
    read through `handlers.body` and nothing else. `on_protocol_error` makes the answer to requests that are not
    well-formed or above a limit, and to exceptions that leave `handler`; it must not raise. `workers` hash and write
    what is received, `senders` (4 threads) send files. Both belong to the caller.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        on_protocol_error: OnProtocolError,
        shortcut: Shortcut | None = None,
        workers: Executor,
        senders: Executor,
        limits: Limits | None = None,
        buffers: BufferPool | None = None,
    ) -> None:
        super().__init__(handler)
        self.limits = limits or Limits()
        self.buffers = buffers or BufferPool()
        self.workers = workers
        self.senders = senders
        self.on_protocol_error = on_protocol_error
        self.shortcut: Shortcut = shortcut or _no_shortcut
        self.traffic = Traffic()
        self.crowd = Crowd(self.limits)
        self.refused_now = 0

    def __call__(self) -> web.RequestHandler:
        """A protocol for one more connection."""
        return Connection(self, loop=self._loop)

    @property
    def open_connections(self) -> int:
        """How many connections are open, those that are being refused not counted."""
        return self.crowd.count

    async def shutdown(self, timeout: float | None = None) -> None:
        """Give requests in progress `timeout` seconds, then close everything."""
        await super().shutdown(timeout)
        self.buffers.close()


class Connection(web.RequestHandler):
    """One connection, over any transport: plain, asyncio's or uvloop's TLS, or a facade of our own."""

    __slots__ = (
        "_deadline",
        "_engaged",
        "_heads",
        "_held",
        "_incoming",
        "_loss",
        "_paused_reading",
        "_refusal",
        "_turned_away",
        "peer",
        "server",
    )

    def __init__(self, server: HttpServer, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=server.limits.keepalive_timeout_s,
            access_log=None,  # type: ignore[arg-type]  # the boundary writes access lines
            logger=_log,
        )
        self.server = server
        self.peer = ""
        self._engaged = False
        """A request is waiting for the handler, in it, or being answered: nothing more is parsed."""
        self._incoming: Incoming | None = None
        self._refusal: Refusal | None = None
        self._held = b""
        """What came ahead of its turn."""
        self._heads = HeadCollector(
            self._make_parser, max_bytes=server.limits.head_bytes, max_line_bytes=server.limits.line_bytes
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._paused_reading = False
        self._turned_away = False
        """There was no place for this connection; it only gets its answer."""
        self._loss: asyncio.Future[None] | None = None

    def _make_parser(self) -> HttpRequestParser:
        limits = self.server.limits
        return HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=limits.line_bytes,
            max_field_size=limits.head_bytes,
            max_headers=limits.header_count,
            auto_decompress=False,
        )

    # -- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the newcomer in, or tell it why not."""
        super().connection_made(transport)
        self.peer = peer_of(transport.get_extra_info("peername"))
        refusal = self.server.crowd.enter(self)
        if refusal is None:
            self._deadline = self._loop.call_later(self.server.limits.head_timeout_s, self._head_is_late)
            return
        self.server.traffic.refused_connections += 1
        if self.server.refused_now >= REFUSED_AT_ONCE:
            self.force_close()
            return
        self.server.refused_now += 1
        self._turned_away = True
        self._refuse(refusal)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it out and wake whoever waits for the transport."""
        self.server.crowd.leave(self)
        if self._turned_away:
            self.server.refused_now -= 1
            self._turned_away = False
        self._held = b""
        if self._loss is not None and not self._loss.done():
            self._loss.set_result(None)
        super().connection_lost(exc)
        self._cancel_deadline()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, or ahead of their turn."""
        if not data or self._force_close or self._close:
            return
        self.server.traffic.received_bytes += len(data)
        if not self._engaged:
            self._parse(data)
            return
        self._held += data
        if len(self._held) > HELD_BYTES:
            self.pause()

    @property
    def idle(self) -> bool:
        """No request is in progress, so closing it costs nobody anything."""
        return not self._engaged

    @property
    def loss(self) -> asyncio.Future[None]:
        """Done when the connection is lost."""
        if self._loss is None:
            self._loss = self._loop.create_future()
            if self.transport is None:
                self._loss.set_result(None)
        return self._loss

    # -- what receivers of a body need (handlers.receiving.Owner) -----------------------------------------------------

    def lend(self, receiver: asyncio.BufferedProtocol) -> bool:
        """Make `receiver` the transport's protocol, reading paused; False when the connection is gone."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.pause()  # uvloop chooses the way of reading when reading starts
        self.transport.set_protocol(receiver)
        return True

    def hand_back(self, beyond: bytes) -> None:
        """Be the transport's protocol again; `beyond` belongs to the next request."""
        self._held += beyond
        if self.transport is None:
            return
        self.pause()
        self.transport.set_protocol(self)
        if len(self._held) <= HELD_BYTES:
            self.resume()

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

    @property
    def incoming(self) -> Incoming | None:
        """The body of the request in progress; None when it has none."""
        return self._incoming

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
                stall_timeout_s=self.server.limits.stall_timeout_s,
            )
        else:
            await super()._drain_helper()

    # -- one request after the other -----------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Go on with the head that is due."""
        found = self._heads.feed(data)
        if isinstance(found, Refusal):
            self._refuse(found)
        elif found is not None:
            self._cancel_deadline()
            self._accept(found)
        elif self._deadline is None and self._heads.pending_bytes:
            self._deadline = self._loop.call_later(self.server.limits.head_timeout_s, self._head_is_late)

    def _accept(self, head: Head) -> None:
        """Keep what lies behind the head, and let the handler have the request."""
        length_bytes = head.framing.length_bytes
        if head.framing is NO_BODY:
            self._held = head.rest
            if self._answer_at_once(head.message):
                return
        elif length_bytes is not None and len(head.rest) >= length_bytes:
            self._incoming = Incoming(head.framing, head.rest[:length_bytes])
            self._held = head.rest[length_bytes:]
        else:
            self._incoming = Incoming(head.framing, head.rest)
            self.pause()
        self._engage(head.message)

    def _answer_at_once(self, message: RawRequestMessage) -> bool:
        """Write the answer now if it is in memory; whether it was. Then the connection waits for the next head."""
        if self.transport is None or self.writing_paused:
            return False
        answer = self.server.shortcut(message, self.peer)
        if answer is None:
            return False
        self.transport.write(answer)
        self.server.traffic.sent_bytes += len(answer)
        self._request_count += 1
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._held:
            self._engaged = True
            self._loop.call_soon(self._next_request)
        return True

    def _refuse(self, refusal: Refusal) -> None:
        """Answer `refusal` instead of calling the handler, and close the connection after it."""
        self.server.traffic.protocol_errors += 1
        self._refusal = refusal
        self._cancel_deadline()
        self._engage(_no_message())

    def _engage(self, message: RawRequestMessage) -> None:
        self._engaged = True
        self._request_count += 1
        self._messages.append((message, EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: Handler
    ) -> tuple[web.StreamResponse, bool]:
        """As aiohttp's, then what its lingering and its queue of messages would have done."""
        if self._refusal is not None:
            request_handler = self._refuser(self._refusal)
        try:
            response, lost = await super()._handle_request(request, start_time, request_handler)
        finally:
            self.server.traffic.sent_bytes += request.writer.output_size
        if not lost:
            going_on = await self._settle_body(response)
            if going_on and response.keep_alive and not self._close:
                self._next_request()
            else:
                self._close = True
                self._limit_closing()
        return response, lost

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """As aiohttp's; says `Connection: close` when it is known that the body keeps this connection from going on."""
        incoming = self._incoming
        if incoming is not None and not incoming.whole and (incoming.claimed or incoming.unasked):
            with suppress(AttributeError):  # aiohttp has its own words for a handler that returns no response
                resp.force_close()
        return await super().finish_response(request, resp, start_time)

    async def _settle_body(self, response: web.StreamResponse) -> bool:
        """Throw away what is left of the body, within limits; whether the next request can be found behind it."""
        incoming, self._incoming = self._incoming, None
        if self._refusal is not None:
            await self._discard(self.server.limits.discard_bytes, last=True)
            return False
        if incoming is None or incoming.whole:
            return True
        if incoming.unasked:
            return False
        if incoming.claimed:
            left_bytes = incoming.left_bytes
            await self._discard(self.server.limits.discard_bytes if left_bytes is None else left_bytes, last=True)
            return False
        return await self._discard(incoming.framing.length_bytes, first=incoming.first, last=not response.keep_alive)

    async def _discard(self, length_bytes: int | None, *, first: bytes = b"", last: bool) -> bool:
        """Read and forget a body; whether its end was found. `last`: the client learns that nothing more will come."""
        limit_s = REFUSED_S if self._turned_away else self.server.limits.discard_s
        if self.transport is None:
            return False
        if last and self.transport.can_write_eof():
            self.transport.write_eof()
        gathering = Gathering(
            self,
            _forget,
            length_bytes=length_bytes,
            limit_bytes=self.server.limits.discard_bytes,
            landing=self.server.buffers.landing,
            traffic=self.server.traffic,
        )
        try:
            async with asyncio.timeout(limit_s):
                return await gathering.run(first, stall_timeout_s=limit_s) is Ending.WHOLE
        except TimeoutError:
            return False

    def _next_request(self) -> None:
        """Take up what was sent ahead, and read on."""
        self._engaged = False
        if self.transport is None:
            return
        if self._paused_reading:
            self.resume()
        held, self._held = self._held, b""
        if held:
            self._parse(held)

    # -- answers that are not the handler's ---------------------------------------------------------------------------

    def _refuser(self, refusal: Refusal) -> Handler:
        async def refuse(request: web.BaseRequest) -> web.StreamResponse:
            return self.server.on_protocol_error(refusal.status, refusal.message)

        return refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to an exception that left the handler; a client that is gone gets none, and no noise is made."""
        if isinstance(exc, ConnectionError):
            raise exc
        _log.error("a request failed: %s %s", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun already")
        response = self.server.on_protocol_error(status, "internal error")
        response.force_close()
        return response

    # -- time ---------------------------------------------------------------------------------------------------------

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._heads.pending_bytes:
            self._refuse(Refusal(408, "the request head took too long"))
        elif not self._engaged:
            self.force_close()

    def force_close(self) -> None:
        """Close now; what was written before is still sent, but not for ever."""
        self._limit_closing()
        super().force_close()

    def _limit_closing(self) -> None:
        """A transport waits without end for a client that does not read what is left: close it by force then."""
        self._cancel_deadline()
        if self.transport is not None:
            self._deadline = self._loop.call_later(self.server.limits.stall_timeout_s, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _process_keepalive(self) -> None:
        if self._heads.pending_bytes:
            self._keepalive_handle = None  # the head has a deadline of its own
        else:
            super()._process_keepalive()


def _forget(data: memoryview) -> None:
    """What becomes of a body that nobody wants."""


def _no_message() -> RawRequestMessage:
    """Stands for a request that was not understood, so that its refusal takes the way of every answer."""
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    return RawRequestMessage("UNKNOWN", "/", HttpVersion11, headers, (), True, None, False, False, URL("/"))


def _no_shortcut(message: RawRequestMessage, peer: str) -> None:
    """Everything goes to the handler."""
