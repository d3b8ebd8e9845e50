"""A blob as an answer: whole (200), one range (206), or several as multipart/byteranges (206; RFC 9110 section 14.6).

podman's partial pulls of zstd:chunked layers ask for several ranges at once and give up on a 416 (oci.md 7).
"""

import secrets
from collections.abc import Callable

from aiohttp import web

from handlers.answers import FileResponse
from handlers.sending import FileSpan
from handlers.streaming import Part, StreamSpan
from model import ranges
from model.errors import RangeNotSatisfiable
from model.ranges import Span
from store.values import LocalBlob, SmallBlob, StreamedBlob

Blob = SmallBlob | LocalBlob | StreamedBlob


def blob_answer(
    request: web.BaseRequest, blob: Blob, headers: dict[str, str], *, damaged: Callable[[], None]
) -> web.StreamResponse:
    """What to answer to a GET of `blob`. A file that is open is closed when the answer is through, or refused.

    `damaged` is called when the stored bytes end before their end while they are sent.
    """
    try:
        spans = _requested(request, blob.size_bytes, headers["ETag"])
    except RangeNotSatisfiable:
        _closer(blob)()
        raise
    if spans is None:
        answer = _answer(200, blob, headers, [Span(0, blob.size_bytes)], None)
    elif len(spans) == 1:
        content_range = f"bytes {spans[0].start}-{spans[0].stop - 1}/{blob.size_bytes}"
        answer = _answer(206, blob, {**headers, "Content-Range": content_range}, spans, None)
    else:
        answer = _answer(206, blob, headers, spans, secrets.token_hex(16))
    if isinstance(answer, FileResponse):
        answer.damaged = damaged
    return answer


def _requested(request: web.BaseRequest, size_bytes: int, etag: str) -> list[Span] | None:
    """The spans to send, or None for the whole; If-Range with another ETag asks for the whole."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != etag:
        return None
    return ranges.requested(request.headers.get("Range"), size_bytes)


def _answer(
    status: int, blob: Blob, headers: dict[str, str], spans: list[Span], boundary: str | None
) -> web.StreamResponse:
    parts = _multipart(blob, spans, boundary, headers["Content-Type"]) if boundary else [_part(blob, spans[0])]
    if boundary:
        headers = {**headers, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
    if isinstance(blob, SmallBlob):
        return web.Response(
            status=status, body=b"".join(part for part in parts if isinstance(part, bytes)), headers=headers
        )
    length = sum(len(part) if isinstance(part, bytes) else part.length for part in parts)
    return FileResponse(status, {**headers, "Content-Length": str(length)}, parts, close=_closer(blob))


def _multipart(blob: Blob, spans: list[Span], boundary: str, media_type: str) -> list[Part]:
    """Each span behind a head of its own, and the closing boundary."""
    parts: list[Part] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: bytes {span.start}-{span.stop - 1}/{blob.size_bytes}\r\n\r\n"
        )
        parts += [head.encode(), _part(blob, span)]
    return [*parts, f"\r\n--{boundary}--\r\n".encode()]


def _part(blob: Blob, span: Span) -> Part:
    match blob:
        case SmallBlob():
            return blob.content[span.start : span.stop]
        case LocalBlob():
            return FileSpan(blob.fd, span.start, span.length)
        case StreamedBlob():
            return StreamSpan(lambda: blob.read(span.start, span.length), span.length)


def _closer(blob: Blob) -> Callable[[], None]:
    return blob.close if isinstance(blob, LocalBlob) else _nothing


def _nothing() -> None:
    """Bytes in memory and streams need no closing."""
