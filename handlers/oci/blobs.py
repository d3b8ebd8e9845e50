"""Blobs: GET, HEAD and DELETE, with ranges and conditions (end-2, end-10)."""

from functools import partial

from aiohttp import web

from handlers import answers, headers, params
from handlers.byteranges import blob_answer
from handlers.call import Call
from model.digests import Digest


async def fetch(call: Call) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for."""
    digest = Digest.parse(call.argument)
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        await call.services.blobs.size(call.repository, digest)
        return answers.empty(304, headers.of_blob(digest))
    blob = await call.services.blobs.content(call.repository, digest)
    damaged = partial(call.services.blobs.note_damaged, digest)
    return blob_answer(call.request, blob, headers.of_blob(digest), damaged=damaged)


async def head(call: Call) -> web.StreamResponse:
    """HEAD: what GET of the whole would say."""
    digest = Digest.parse(call.argument)
    size_bytes = await call.services.blobs.size(call.repository, digest)
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        return answers.empty(304, headers.of_blob(digest))
    return answers.empty(200, {**headers.of_blob(digest), "Content-Length": str(size_bytes)})


async def delete(call: Call) -> web.StreamResponse:
    """DELETE: out of this repository; others keep theirs."""
    await call.services.blobs.delete(call.repository, Digest.parse(call.argument))
    return answers.empty(202)
