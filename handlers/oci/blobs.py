"""Blobs: GET, HEAD and DELETE, with ranges and conditions (end-2, end-10)."""

from aiohttp import web

from handlers import answers, blob_reads
from handlers.call import Call
from model.digests import Digest


async def fetch(call: Call) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for."""
    return await blob_reads.fetch(call, call.repository, Digest.parse(call.argument))


async def head(call: Call) -> web.StreamResponse:
    """HEAD: what GET of the whole would say."""
    return await blob_reads.head(call, call.repository, Digest.parse(call.argument))


async def delete(call: Call) -> web.StreamResponse:
    """DELETE: out of this repository; others keep theirs."""
    await call.services.blobs.delete(call.repository, Digest.parse(call.argument))
    return answers.empty(202)
