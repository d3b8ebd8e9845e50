"""Manifests: GET, HEAD, PUT and DELETE by tag and digest (end-3, end-7, end-9).

The stored bytes and the type they were pushed with come back unchanged, whatever Accept says: nothing is ever
converted, and a client that cannot read the type says so better than a 404 would.
"""

import asyncio

from aiohttp import web

from handlers import answers, headers, locations, params
from handlers.body import read_small
from handlers.call import Call
from model import names
from model.descriptors import Manifest, parse_manifest
from model.digests import Digest
from model.errors import DigestMismatch, Invalid, TooManyParameters

MAX_TAG_PARAMETERS = 100


async def fetch(call: Call) -> web.StreamResponse:
    """GET and HEAD."""
    stored = await call.services.manifests.get(call.repository, names.reference(call.argument))
    fields = headers.of_manifest(stored)
    if params.matches(call.request.headers.get("If-None-Match"), stored.digest):
        return answers.empty(304, fields)
    return answers.content(stored.content, fields)


async def store(call: Call) -> web.StreamResponse:
    """PUT: by tag, or by digest with any number of `tag` parameters (end-7b)."""
    reference = names.reference(call.argument)
    tags = _tags(call, reference)
    content = await read_small(call.request, limit_bytes=call.services.max_manifest_bytes)
    manifest, digest = await _understood(content, call.request.headers.get("Content-Type"), reference)
    await call.services.manifests.put(call.repository, content, manifest, digest, tags)
    fields = {"OCI-Subject": str(manifest.subject.digest)} if manifest.subject else {}
    if "tag" in call.query:
        fields["OCI-Tag"] = ", ".join(tags)
    return answers.stored(locations.of_manifest(call.repository, digest), digest, fields)


async def delete(call: Call) -> web.StreamResponse:
    """DELETE: a digest with every tag that points at it, or a tag alone."""
    reference = names.reference(call.argument)
    if isinstance(reference, Digest):
        await call.services.manifests.delete(call.repository, reference)
    else:
        await call.services.manifests.delete_tag(call.repository, reference)
    return answers.empty(202)


def _tags(call: Call, reference: Digest | str) -> list[str]:
    """The tags to move."""
    asked = call.query.get("tag", [])
    if isinstance(reference, str):
        if asked:
            raise Invalid("tag parameters go with a manifest that is pushed by digest", reference=reference)
        return [reference]
    if len(asked) > MAX_TAG_PARAMETERS:
        raise TooManyParameters(f"at most {MAX_TAG_PARAMETERS} tag parameters in one request", tags=len(asked))
    return list(dict.fromkeys(names.tag(name) for name in asked))


async def _understood(content: bytes, media_type: str | None, reference: Digest | str) -> tuple[Manifest, Digest]:
    """What the manifest says, and its digest; a large one is looked at in a thread, since that takes a while."""

    def look() -> tuple[Manifest, Digest]:
        return parse_manifest(content, media_type), _digest(content, reference)

    return look() if len(content) <= answers.AT_ONCE_BYTES else await asyncio.to_thread(look)


def _digest(content: bytes, reference: Digest | str) -> Digest:
    """The digest of the content, in the algorithm it is pushed by; it must be the one it is pushed by."""
    if isinstance(reference, str):
        return Digest.of(content)
    actual = Digest.of(content, reference.algorithm)
    if actual != reference:
        raise DigestMismatch(expected=str(reference), actual=str(actual))
    return actual
