"""Requests, spelled out as the bytes they are, and the handler that most stories about bodies need."""

from aiohttp import web

from handlers.body import body_of
from tests.support.stage import Gathered, poured_json

HOST = b"Host: here\r\n"
PATCH = b"PATCH /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /y HTTP/1.1\r\n" + HOST + b"\r\n"


def put(length: int, *headers: bytes, path: bytes = b"/x", method: bytes = b"PUT") -> bytes:
    """The head of a request with a counted body."""
    counted = b"Content-Length: %d\r\n" % length
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + counted + b"".join(headers) + b"\r\n"


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body."""
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return sent + b"0\r\n" + trailers + b"\r\n"


def some(size: int) -> bytes:
    """`size` bytes in which a piece that is lost, doubled or misplaced shows."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Keeper:
    """Answers with how the body ended, and keeps what it got."""

    def __init__(self, *, limit_bytes: int | None = None) -> None:
        self.bodies: list[bytes] = []
        self.endings: list[str] = []
        self._limit_bytes = limit_bytes

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        sink = Gathered()
        poured = await body_of(request).pour(sink, limit_bytes=self._limit_bytes)
        assert poured.received_bytes == len(sink.content)
        self.bodies.append(bytes(sink.content))
        self.endings.append(poured.ending.name)
        return poured_json(poured, method=request.method, path=request.path)
