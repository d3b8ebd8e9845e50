"""What a signed URL to ourselves reaches: GET, HEAD and PUT of a whole blob, and PUT under a temporary name.

    GET, HEAD  /signed/blobs/{digest}?repository=R              as the OCI face answers, ranges and conditions included
    PUT        /signed/blobs/{digest}?repository=R              a whole blob, checked against its digest (H031)
    PUT        /signed/uploads/temp-{id}?repository=R&owner=O   a whole blob that stays invisible until /move (H031)

The boundary has checked the signature when a handler begins; a URL that ends while its request is under way does not
end the request. The parameters are taken from what was signed, and from nowhere else.
"""

from aiohttp import web

from handlers import answers, blob_reads
from handlers.announced import AnnouncedBody
from handlers.body import body_of
from handlers.call import Call
from model.digests import Digest
from model.errors import Invalid
from multipart.bodies import Body
from multipart.refusals import PartMismatch


async def fetch(call: Call) -> web.StreamResponse:
    """GET: the bytes, or the ranges of them that are asked for."""
    return await blob_reads.fetch(call, _parameter(call, "repository"), Digest.parse(call.argument), here=True)


async def head(call: Call) -> web.StreamResponse:
    """HEAD: what GET of the whole would say. The URL must have been signed for HEAD, as with S3."""
    return await blob_reads.head(call, _parameter(call, "repository"), Digest.parse(call.argument))


async def store(call: Call) -> web.StreamResponse:
    """PUT: one whole blob; 200 with its ETag when it is durable. Repeating it is harmless.

    Raises:
        DigestMismatch, PartMismatch: the bytes are not the digest's, or not those that were announced; nothing is kept.
    """
    digest, repository = Digest.parse(call.argument), _parameter(call, "repository")
    body = _announced(call, known=digest)
    await call.services.sessions.receive_whole(repository, body, digest, owner=_owner(call))
    return answers.empty(200, {"ETag": f'"{digest.hex}"', "Docker-Content-Digest": str(digest)})


async def store_temporary(call: Call) -> web.StreamResponse:
    """PUT under a temporary name: as `store`, but nobody sees it before it is moved to its digest."""
    repository, name = _parameter(call, "repository"), f"uploads/{call.argument}"
    stored = await call.services.sessions.parted.receive_whole(repository, name, _announced(call), owner=_owner(call))
    return answers.empty(200, {"ETag": stored.etag})


def _announced(call: Call, *, known: Digest | None = None) -> Body:
    """The body, which must hash to what its URL was signed for.

    Where the digest says the same hash it is checked anyway; where it says another one, no body can be right.
    """
    body, sha256 = body_of(call.request), call.grant.payload_sha256 if call.grant else None
    if sha256 is None or (known is not None and known.algorithm == "sha256" and known.hex == sha256):
        return body
    if known is not None and known.algorithm == "sha256":
        raise PartMismatch("the URL was signed for a body with another SHA-256 than the digest says")
    return AnnouncedBody(body, sha256)


def _owner(call: Call) -> str:
    """Who asked for the URL; "-" is nobody in particular."""
    return (call.grant.parameters.get("owner") if call.grant else None) or "-"


def _parameter(call: Call, name: str) -> str:
    """A parameter that was signed. Invalid when there is none: the URL is true, but not for this."""
    value = call.grant.parameters.get(name) if call.grant else None
    if not value:
        raise Invalid(f"the URL was signed without {name}")
    return value
