"""Bodies that a backend without files streams: written piece by piece, as fast as the reader takes them."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from handlers.sending import ClientGone, FileSpan, send_parts


@dataclass(frozen=True, slots=True)
class StreamSpan:
    """`length` bytes that `open` streams; it raises rather than end early."""

    open: Callable[[], AsyncIterator[bytes]]
    length: int


Part = bytes | FileSpan | StreamSpan


async def send_body(request: web.BaseRequest, response: web.StreamResponse, parts: Sequence[Part]) -> int:
    """Send all parts in order and return how many bytes that were; files by sendfile, streams by writing.

    Raises:
        ClientGone: the reader left. Anything a stream raises: the head is out, so the connection has to end.
    """
    files = [part for part in parts if not isinstance(part, StreamSpan)]
    if len(files) == len(parts):
        return await send_parts(request, response, files)
    await response.prepare(request)
    sent_bytes = 0
    try:
        for part in parts:
            async for piece in _pieces(part):
                await response.write(piece)
                sent_bytes += len(piece)
        await response.write_eof()
    except ConnectionError as error:
        raise ClientGone("the reader left", sent_bytes) from error
    return sent_bytes


async def _pieces(part: Part) -> AsyncIterator[bytes]:
    match part:
        case bytes():
            yield part
        case StreamSpan():
            async for piece in part.open():
                yield piece
        case FileSpan():
            raise TypeError("one blob is either a file or a stream, never both")
