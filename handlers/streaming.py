"""Bodies that a backend without files streams: written piece by piece, as fast as the reader takes them.

The first piece is fetched before the head is sent, so that a store which cannot be read is a clean refusal. After it
there is nothing left to answer: when a stream breaks the connection is reset, and nothing passes for whole. A reader
that leaves ends the stream at once, wherever that waits; a slow one holds one piece of it, the part of that which is
being written once more, and whatever the backend's own reading ahead is.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

from aiohttp import web

from handlers.connection import connection_of
from handlers.patience import ClientGone, reset
from handlers.sending import FileSpan, send_parts
from model.errors import RegistryError
from model.units import KIB

AT_EASE: Final = 64
"""Of so many streams at a time nobody minds what their connections hold."""
WRITTEN_BYTES: Final = 64 * KIB
"""So much is given to the connection at a time: what it cannot pass on at once it keeps a copy of."""


class BrokenStream(ConnectionAbortedError):
    """A stream ended before its time; the connection was reset, so the client cannot miss it."""


class StreamSpan:
    """`length` bytes that `open` streams; it raises rather than end early. Whoever made it closes it."""

    def __init__(self, open: Callable[[], AsyncIterator[bytes]], length: int) -> None:
        self.length = length
        self._open = open
        self._stream: AsyncIterator[bytes] | None = None
        self._first = b""

    async def begin(self) -> None:
        """Fetch the first piece, and keep it. Whatever the stream raises; then there is nothing to be closed."""
        self._stream = self._open()
        try:
            self._first = await anext(self._stream, b"")
        except BaseException:
            await self.close()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece; begun or not."""
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._stream is None:
            self._stream = self._open()
        return await anext(self._stream)

    async def close(self) -> None:
        """Read no more, and let go of what the stream holds; harmless when repeated, or never begun."""
        stream, self._stream, self._first = self._stream, None, b""
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


Part = bytes | FileSpan | StreamSpan


async def begin(request: web.BaseRequest, parts: Sequence[Part]) -> None:
    """See that the first stream among `parts` can be read, while the client waits.

    Raises:
        RegistryError: it cannot; nothing has been answered yet. A client that left gets no answer either way.
    """
    first = next((part for part in parts if isinstance(part, StreamSpan)), None)
    if first is None:
        return
    try:
        with _while_connected(request):
            await first.begin()
    except ClientGone:
        await first.close()  # the sending finds out by itself that nobody is there


async def send_body(request: web.BaseRequest, response: web.StreamResponse, parts: Sequence[Part]) -> int:
    """Send all parts in order and return how many bytes that were; files by sendfile, streams by writing.

    Streams are closed when this returns or raises, at the latest.

    Raises:
        ClientGone: the reader left.
        BrokenStream: a stream could not be read to its end; nothing can be answered any more.
    """
    files = [part for part in parts if not isinstance(part, StreamSpan)]
    if len(files) == len(parts):
        return await send_parts(request, response, files)
    sent_bytes = 0
    try:
        with _while_connected(request):
            await response.prepare(request)
            request.writer.send_headers()
            with _paced(request) as paced:
                for part in parts:
                    if isinstance(part, FileSpan):
                        raise TypeError("one blob is either a file or a stream, never both")
                    async for piece in _held(part) if isinstance(part, bytes) else part:
                        for at in range(0, len(piece), WRITTEN_BYTES):
                            await response.write(memoryview(piece)[at : at + WRITTEN_BYTES])
                            if paced:
                                await request.writer.drain()
                            sent_bytes += min(WRITTEN_BYTES, len(piece) - at)
            await response.write_eof()
    except RegistryError as error:
        _reset(request)
        raise BrokenStream(f"a stream broke after {sent_bytes} bytes: {error}") from error
    except ConnectionError as error:
        raise ClientGone("the reader left", sent_bytes) from error
    finally:
        for part in parts:
            if isinstance(part, StreamSpan):
                await part.close()
    return sent_bytes


async def _held(part: bytes) -> AsyncIterator[bytes]:
    yield part


@contextmanager
def _paced(request: web.BaseRequest) -> Iterator[bool]:
    """Whether so many streams are on their way that each has to be waited for until its connection holds nothing.

    Else a connection holds up to 64 KiB, which is quicker: for a few readers that is nothing, for thousands it is much.
    """
    connection = connection_of(request)
    server, transport = connection.server, connection.transport
    if transport is None:
        raise ConnectionResetError("the connection is closed")
    server.streams += 1
    paced = server.streams > AT_EASE
    try:
        if paced:
            transport.set_write_buffer_limits(0)
        yield paced
    finally:
        server.streams -= 1
        if paced and not transport.is_closing():
            transport.set_write_buffer_limits()


@contextmanager
def _while_connected(request: web.BaseRequest) -> Iterator[None]:
    """Do what is inside; ClientGone, wherever it waits, as soon as the client has left."""
    task, loss = asyncio.current_task(), connection_of(request).loss
    if task is None:
        raise RuntimeError("only a task can be told that its client has left")
    inside, told = True, False

    def left(lost: "asyncio.Future[None]") -> None:
        nonlocal told
        if inside:
            told = True
            task.cancel()

    loss.add_done_callback(left)
    try:
        yield
    except asyncio.CancelledError:
        if told and task.uncancel() == 0:
            raise ClientGone("the client went away") from None
        raise
    finally:
        inside = False
        loss.remove_done_callback(left)


def _reset(request: web.BaseRequest) -> None:
    transport = connection_of(request).transport
    if transport is not None:
        reset(transport)
