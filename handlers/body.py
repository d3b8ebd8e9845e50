"""The body of a request: poured into a sink, or read whole when it is small.

A client that goes away is not a storage failure. However a body ends, what arrived of it is with the sink when `pour`
returns; the caller learns how it ended and decides (oci.md 2.3 rules 8 and 9).
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from aiohttp import web

from handlers.connection import Connection, connection_of
from handlers.gathering import Gathering
from handlers.incoming import Incoming
from handlers.receiving import Reception
from model.errors import TooLarge
from model.units import KIB
from multipart.bodies import Body, EmptyBody, Ending, Poured, Sink
from multipart.interrupted import require_whole

FREE_BYTES: Final = 64 * KIB
"""Bodies announced to be no longer than this are read without asking the budget."""


def body_of(request: web.BaseRequest) -> Body:
    """The body of `request`, the same object at every call; an `EmptyBody` when it announces none.

    Nothing is received before `pour`. When nobody pours, the connection throws the body away behind the answer.
    """
    connection, incoming = _incoming(request)
    if incoming is None:
        return EmptyBody()
    if incoming.body is None:
        incoming.body = HttpBody(connection, incoming)
    return incoming.body


async def read_small(request: web.BaseRequest, *, limit_bytes: int) -> bytes:
    """The whole body of `request`, which is small: received on the event loop, with no hop to a thread.

    Raises:
        TooLarge: it is, or says that it will be, longer than `limit_bytes`; the rest is not kept.
        TooMany: so much is being read at once that there was no room for this one.
        Interrupted, UploadInvalid: it ended before its end, or its framing is malformed (`multipart.interrupted`).
    """
    connection, incoming = _incoming(request)
    if incoming is None:
        return b""
    length_bytes = incoming.framing.length_bytes
    if length_bytes is not None and length_bytes > limit_bytes:
        raise TooLarge("the body is too large", limit=limit_bytes)
    _claim(connection, incoming)
    if length_bytes is not None and len(incoming.first) == length_bytes:
        incoming.whole = True
        return incoming.first
    async with _room(connection, limit_bytes if length_bytes is None else length_bytes):
        ending, content = await _gathered(connection, incoming, limit_bytes)
    incoming.whole = ending is Ending.WHOLE
    if ending is Ending.TOO_LONG:
        raise TooLarge("the body is too large", limit=limit_bytes)
    require_whole(Poured(len(content), ending))
    return content


def _room(connection: Connection, wanted_bytes: int) -> AbstractAsyncContextManager[None]:
    """Room in memory for a body; what nearly every manifest is needs no turn, so that large ones cannot hold it up."""
    if wanted_bytes <= FREE_BYTES:
        return nullcontext()
    server = connection.server
    return server.whole_bodies.hold(connection.peer, wanted_bytes, within_s=server.limits.stall_timeout_s)


async def _gathered(connection: Connection, incoming: Incoming, limit_bytes: int) -> tuple[Ending, bytes]:
    """Receive into memory; the whole must be there within the time a body may make no progress."""
    server, content = connection.server, bytearray()
    gathering = Gathering(
        connection,
        content.extend,
        length_bytes=incoming.framing.length_bytes,
        limit_bytes=limit_bytes,
        landing=server.buffers.landing,
        traffic=server.traffic,
    )
    try:
        async with asyncio.timeout(server.limits.stall_timeout_s):
            ending = await gathering.run(incoming.first, stall_timeout_s=server.limits.stall_timeout_s)
    except TimeoutError:
        ending = Ending.STALLED
    return ending, bytes(content)


class HttpBody:
    """A counted or chunked body that has not been received yet (`multipart.bodies.Body`)."""

    def __init__(self, connection: Connection, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming
        self._reception: Reception | None = None
        self._stopped = False

    @property
    def length_bytes(self) -> int | None:
        """The declared Content-Length; None for a chunked body."""
        return self._incoming.framing.length_bytes

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        """Receive the body to its end into `sink`; may be called once.

        On return no thread touches the sink any more, also when cancelled. What the sink raises is raised here; the
        rest of the body is then thrown away by the connection, behind the answer.
        """
        if self._stopped:
            self._incoming.claimed = True
            return Poured(0, Ending.STOPPED)
        _claim(self._connection, self._incoming)
        server = self._connection.server
        reception = self._reception = Reception(
            self._connection,
            sink,
            length_bytes=self.length_bytes,
            limit_bytes=limit_bytes,
            stall_timeout_s=server.limits.stall_timeout_s,
            pool=server.buffers,
            turns=server.turns,
            peer=self._connection.peer,
            traffic=server.traffic,
        )
        reception.begin(self._incoming.first)
        try:
            ending = await reception.ended
        except asyncio.CancelledError:
            await reception.abandon()
            raise
        finally:
            self._incoming.left_bytes = reception.left_bytes
        if reception.handing.error is not None:
            raise reception.handing.error
        self._incoming.whole = ending is Ending.WHOLE
        return Poured(reception.handing.received_bytes, ending)

    def stop(self) -> None:
        """Make a running `pour` hand over what it has and end with STOPPED; does nothing after the end."""
        self._stopped = True
        if self._reception is not None:
            self._reception.end(Ending.STOPPED)


def _incoming(request: web.BaseRequest) -> tuple[Connection, Incoming | None]:
    connection = connection_of(request)
    return connection, connection.incoming


def _claim(connection: Connection, incoming: Incoming) -> None:
    """Say that this body is being received; the client that waits for our word is told to go on."""
    if incoming.claimed:
        raise RuntimeError("a body can be received once")
    if incoming.unasked:
        connection.send_continue()
    incoming.claimed = True
