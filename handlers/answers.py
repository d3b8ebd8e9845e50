"""Answers that several handlers give, each in one place, and the answer whose body is a file."""

import json
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from aiohttp import web

from handlers.streaming import Part
from model.digests import Digest

JSON = "application/json"

AT_ONCE_BYTES = 64 * 1024
"""Answers up to this size are given to the connection in one piece."""


def _nothing() -> None:
    """Bytes in memory need no closing, and are not damaged."""


class FileResponse(web.StreamResponse):
    """An answer whose body is sent in pieces by the boundary, after it has put its own headers on.

    `parts` are sent in order; `close` is called once, whatever happens; `damaged` when a file proves too short.
    """

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        parts: Sequence[Part],
        *,
        close: Callable[[], None] = _nothing,
        damaged: Callable[[], None] = _nothing,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.parts = parts
        self.close = close
        self.damaged = damaged


def empty(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """An answer with headers only."""
    return web.Response(status=status, headers=headers)


def content(body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """200 with `body`; a large one is passed on as the reader takes it, so that slow readers cost no copies of it."""
    if len(body) <= AT_ONCE_BYTES:
        return web.Response(body=body, headers=headers)
    return FileResponse(200, {**headers, "Content-Length": str(len(body))}, [body])


def document(
    value: object, *, status: int = 200, headers: dict[str, str] | None = None, media_type: str = JSON
) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=as_json(value), headers={"Content-Type": media_type, **(headers or {})})


def listing(value: object, headers: dict[str, str], *, media_type: str = JSON) -> web.StreamResponse:
    """A JSON answer that may be long."""
    return content(as_json(value), {"Content-Type": media_type, **headers})


def as_json(value: object) -> bytes:
    """`value` as JSON, short; half a surrogate pair, which UTF-8 cannot hold, is written the way JSON escapes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def stored(location: str, digest: Digest, headers: dict[str, str] | None = None) -> web.Response:
    """201 for content that is durable now; the Location can be fetched (end-6, end-7a, end-11)."""
    return empty(201, {"Location": location, "Docker-Content-Digest": str(digest), **(headers or {})})


def next_link(path: str, query: Sequence[tuple[str, str | int]]) -> dict[str, str]:
    """The Link header to the next page; path only, as every URL we hand out."""
    return {"Link": f'<{path}?{urlencode(query)}>; rel="next"'}
