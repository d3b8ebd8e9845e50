"""A blob of a repository as an answer to GET and HEAD: the same in every protocol, once somebody may read it."""

from functools import partial

from aiohttp import web

from handlers import answers, headers, params, streaming
from handlers.answers import FileResponse
from handlers.byteranges import blob_answer
from handlers.call import Call
from model.digests import Digest


async def fetch(call: Call, repository: str, digest: Digest, *, here: bool = False) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for; 304 for who has them; 307 to where the store has them.

    `here`: never the last of these; whoever chose the URL has decided that.

    Raises:
        BlobUnknown: as `Blobs.size`. StorageFailed: the bytes cannot be read; nothing has been answered.
    """
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        await call.services.blobs.size(repository, digest)
        return answers.empty(304, headers.of_blob(digest))
    elsewhere = None if here else await _elsewhere(call, repository, digest)
    if elsewhere is not None:
        return elsewhere
    blob = await call.services.blobs.content(repository, digest)
    damaged = partial(call.services.blobs.note_damaged, digest)
    answer = blob_answer(call.request, blob, headers.of_blob(digest), damaged=damaged)
    if isinstance(answer, FileResponse):
        await streaming.begin(call.request, answer.parts)
    return answer


async def head(call: Call, repository: str, digest: Digest) -> web.StreamResponse:
    """HEAD: what GET of the whole would say. BlobUnknown as `Blobs.size`."""
    size_bytes = await call.services.blobs.size(repository, digest)
    if params.matches(call.request.headers.get("If-None-Match"), digest):
        return answers.empty(304, headers.of_blob(digest))
    return answers.empty(200, {**headers.of_blob(digest), "Content-Length": str(size_bytes)})


async def _elsewhere(call: Call, repository: str, digest: Digest) -> web.StreamResponse | None:
    """307 to the store's own URL of a large blob, where the operator wants that and the store can; None otherwise.

    A client that follows sends its Range along, and what the store answers is the same for anybody: but it is this
    client that was let in, so nobody in between may keep the answer, nor this client until the URL has ended.
    """
    lifetime_s = call.services.border.redirect_s
    if not lifetime_s:
        return None
    fields = headers.of_blob(digest)
    link = await call.services.blobs.link(
        repository, digest, "GET", lifetime_s=lifetime_s, answer_headers=headers.by_store(digest)
    )
    if link is None:
        return None
    left_s = link.expires_at_s - call.services.clock.now_s()
    kept = f"private, max-age={max(0, int(left_s / 2))}"
    return answers.empty(307, {**fields, "Location": link.url, "Cache-Control": kept})
