"""Blobs: GET, HEAD and DELETE, with ranges and conditions (end-2, end-10)."""

from aiohttp import web

from handlers import answers, params
from handlers.byteranges import blob_answer
from handlers.call import Call
from model.digests import Digest


def _headers(digest: Digest) -> dict[str, str]:
    """What every answer about a blob says. A digest never changes its meaning, so it may be cached for ever."""
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }


async def fetch(call: Call) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for."""
    digest = Digest.parse(call.argument)
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        await call.services.blobs.size(call.repository, digest)
        return answers.empty(304, _headers(digest))
    blob = await call.services.blobs.content(call.repository, digest)
    return blob_answer(call.request, blob, _headers(digest))


async def head(call: Call) -> web.StreamResponse:
    """HEAD: what GET of the whole would say."""
    digest = Digest.parse(call.argument)
    size_bytes = await call.services.blobs.size(call.repository, digest)
    return answers.empty(200, {**_headers(digest), "Content-Length": str(size_bytes)})


async def delete(call: Call) -> web.StreamResponse:
    """DELETE: out of this repository; others keep theirs."""
    await call.services.blobs.delete(call.repository, Digest.parse(call.argument))
    return answers.empty(202)
