"""One HTTP connection: aiohttp's parser and response writer, but our own way with heads and bodies.

aiohttp is given exactly one request head at a time and never a byte of a body. So there is one place that says where a
message ends (`handlers.heads`), bodies need not pass through a parser (`handlers.receiving`), and what a client sends
ahead is parsed only when its turn has come.

    data --> head, up to the empty line --> aiohttp's parser --> handler --> answer --> the next head
                        rest --> the body's first bytes, or held for the next request

This file reaches into aiohttp's RequestHandler (`_messages`, `_waiter`, `_parser`, `_handle_request`,
`_process_keepalive`, `_close`, `_force_close`): the version is locked, and the tests in tests/http/ hold every path.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

from aiohttp import web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from handlers.budget import Budget
from handlers.buffers import BufferPool
from handlers.crowd import Crowd, peer_of
from handlers.heads import NO_BODY, Head, HeadCollector, Refusal, no_message
from handlers.incoming import Incoming, discard
from handlers.lending import HELD_BYTES, LendingConnection
from handlers.limits import Limits, Traffic
from handlers.turns import Turns

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnProtocolError = Callable[[int, str, str], web.Response]
"""Status, message and the peer's address into an answer in the protocol's own shape."""
Shortcut = Callable[[RawRequestMessage, str], bytes | None]
"""The whole answer to a request without a body, where it is at hand, from the head and the peer's address."""

REFUSED_AT_ONCE: Final = 64
"""How many connections above the caps get an answer at a time; the others are just closed."""
REFUSED_S: Final = 1.0

_log = logging.getLogger("holdfast.http")


class HttpServer(web.Server):
    """The factory of connections: what `loop.create_server` and `web.ServerRunner` want.

    Made inside the running loop. `handler` gets every well-formed request as a plain `web.BaseRequest`, whose body is
    read through `handlers.body` and nothing else. `on_protocol_error` makes the answer to requests that are not
    well-formed or above a limit, and to exceptions that leave `handler`; it must not raise. `workers` hash and write
    what is received, `senders` (4 threads) send files. Both belong to the caller. `shortcut`, when there is one, is
    asked first about each request without a body.
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
        self.turns = Turns(workers)
        """For bodies that go to a sink (`handlers.handing`)."""
        self.senders = senders
        self.on_protocol_error = on_protocol_error
        self.shortcut = shortcut
        self.traffic = Traffic()
        self.crowd = Crowd(self.limits)
        self.refused_now = 0
        self.whole_bodies = Budget(self.limits.whole_bodies_bytes)
        """For bodies that are read into memory (`handlers.body.read_small`)."""
        self.bursts = 0
        """How many files are being sent by a thread just now (`handlers.sending`)."""
        self.streams = 0
        """How many bodies are being streamed (`handlers.streaming`)."""

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


class Connection(LendingConnection):
    """One connection, over any transport: plain, asyncio's or uvloop's TLS, or a facade of our own."""

    __slots__ = (
        "_deadline",
        "_engaged",
        "_heads",
        "_incoming",
        "_refusal",
        "_turned_away",
        "peer",
        "server",
    )

    def __init__(self, server: HttpServer, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            stall_timeout_s=server.limits.stall_timeout_s,
            loop=loop,
            keepalive_timeout=server.limits.keepalive_timeout_s,
            access_log=None,  # the boundary writes access lines
            logger=_log,
        )
        self.server = server
        self.peer = ""
        self._engaged = False
        """A request is waiting for the handler, in it, or being answered: nothing more is parsed."""
        self._incoming: Incoming | None = None
        self._refusal: Refusal | None = None
        self._heads = HeadCollector(
            self._make_parser, max_bytes=server.limits.head_bytes, max_line_bytes=server.limits.line_bytes
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._turned_away = False
        """There was no place for this connection; it only gets its answer."""

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
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, or ahead of their turn."""
        if not data or self._force_close or self._close:
            return
        self.server.traffic.received_bytes += len(data)
        if not self._engaged:
            self._parse(data)
            return
        self.hold(data)
        if len(self._held) > HELD_BYTES:
            self.pause()

    @property
    def idle(self) -> bool:
        """No request is in progress, so closing it costs nobody anything."""
        return not self._engaged

    @property
    def incoming(self) -> Incoming | None:
        """The body of the request in progress; None when it has none."""
        return self._incoming

    # -- one request after the other -----------------------------------------------------------------------------------

    def _parse(self, data: bytes, at: int = 0) -> None:
        """Go on with the head that is due, in `data` from `at`."""
        found = self._heads.feed(data, at)
        if isinstance(found, Refusal):
            self._refuse(found)
        elif found is not None:
            self._cancel_deadline()
            self._accept(found, data)
        elif self._deadline is None and self._heads.pending_bytes:
            self._deadline = self._loop.call_later(self.server.limits.head_timeout_s, self._head_is_late)

    def _accept(self, head: Head, data: bytes) -> None:
        """Keep what lies behind the head in `data`, and let the handler have the request."""
        length_bytes = head.framing.length_bytes
        self._held, self._held_at = data, head.end
        if head.end == len(data):
            self._held, self._held_at = b"", 0
        if head.framing is NO_BODY:
            if self._answer_at_once(head.message):
                return
        elif length_bytes is not None and head.end + length_bytes <= len(data):
            self._held_at += length_bytes
            self._incoming = Incoming(head.framing, data[head.end : self._held_at])
        else:
            self._held, self._held_at = b"", 0
            self._incoming = Incoming(head.framing, data[head.end :])
            self.pause()
        self._engage(head.message)

    def _answer_at_once(self, message: RawRequestMessage) -> bool:
        """Write the answer now if it is in memory; whether it was. Then the connection waits for the next head."""
        if self.server.shortcut is None or self.transport is None or self.writing_paused:
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
        self._engage(no_message())

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
                self.limit_closing()
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
        """Throw a body away; whether its end was found. `last`: the client learns that nothing more will come."""
        if self.transport is None:
            return False
        if last and self.transport.can_write_eof():
            self.transport.write_eof()
        return await discard(
            self,
            length_bytes,
            first=first,
            limits=self.server.limits,
            limit_s=REFUSED_S if self._turned_away else self.server.limits.discard_s,
            landing=self.server.buffers.landing,
            traffic=self.server.traffic,
        )

    def _next_request(self) -> None:
        """Take up what was sent ahead, and read on."""
        self._engaged = False
        if self.transport is None:
            return
        if self._paused_reading:
            self.resume()
        held, at = self._held, self._held_at
        self._held, self._held_at = b"", 0
        if at < len(held):
            self._parse(held, at)

    # -- answers that are not the handler's ---------------------------------------------------------------------------

    def _refuser(self, refusal: Refusal) -> Handler:
        async def refuse(request: web.BaseRequest) -> web.StreamResponse:
            return self.server.on_protocol_error(refusal.status, refusal.message, self.peer)

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
        path = request.raw_path.partition("?")[0]  # as it was sent: what it decodes to may begin a line of its own
        _log.error("a request failed: %s %s", request.method, path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun already")
        response = self.server.on_protocol_error(status, "internal error", self.peer)
        response.force_close()
        return response

    # -- time ---------------------------------------------------------------------------------------------------------

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._heads.pending_bytes:
            self._refuse(Refusal(408, "the request head took too long"))
        elif not self._engaged:
            self.force_close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _process_keepalive(self) -> None:
        if self._heads.pending_bytes:
            self._keepalive_handle = None  # the head has a deadline of its own
        else:
            super()._process_keepalive()


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection that `request` came on.

    Raises:
        TypeError: it came from a server that is not an `HttpServer`.
    """
    connection = request.protocol
    if not isinstance(connection, Connection):
        raise TypeError("the request is not from an HttpServer")
    return connection
