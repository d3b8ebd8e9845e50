"""A blob of a repository as an answer to GET and HEAD: the same in every protocol, once somebody may read it."""

from functools import partial

from aiohttp import web

from handlers import answers, headers, params
from handlers.byteranges import blob_answer
from handlers.call import Call
from model.digests import Digest


async def fetch(call: Call, repository: str, digest: Digest) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for; 304 for who has them. BlobUnknown as `Blobs.size`."""
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        await call.services.blobs.size(repository, digest)
        return answers.empty(304, headers.of_blob(digest))
    blob = await call.services.blobs.content(repository, digest)
    damaged = partial(call.services.blobs.note_damaged, digest)
    return blob_answer(call.request, blob, headers.of_blob(digest), damaged=damaged)


async def head(call: Call, repository: str, digest: Digest) -> web.StreamResponse:
    """HEAD: what GET of the whole would say. BlobUnknown as `Blobs.size`."""
    size_bytes = await call.services.blobs.size(repository, digest)
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        return answers.empty(304, headers.of_blob(digest))
    return answers.empty(200, {**headers.of_blob(digest), "Content-Length": str(size_bytes)})
