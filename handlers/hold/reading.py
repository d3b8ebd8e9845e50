"""Blobs by digest alone: in which repository the caller may read one, and its bytes (com.atproto.sync.getBlob)."""

from aiohttp import web

from auth.policy import Action
from handlers import blob_reads
from handlers.call import Call
from handlers.hold import fields
from handlers.hold.fields import Fields
from handlers.readable import readable
from model import names
from model.digests import Digest
from model.errors import BlobUnknown


async def blob(call: Call, said: Fields) -> web.StreamResponse:
    """The blob that `cid` names: all of it, the ranges that are asked for, or what HEAD says of it."""
    fields.did(said)
    digest = read_digest(said, "cid")
    repository = await found(call, said, digest)
    answer = blob_reads.head if call.request.method == "HEAD" else blob_reads.fetch
    return await answer(call, repository, digest)


def read_digest(said: Fields, name: str = "digest") -> Digest:
    """The digest of what is to be read. DigestInvalid as ever; BlobUnknown: it is a temporary name, not yet moved."""
    target = fields.required_target(said, name)
    if not isinstance(target, Digest):
        raise BlobUnknown("what has a temporary name can be read once it was moved to its digest")
    return target


async def found(call: Call, said: Fields, digest: Digest) -> str:
    """The repository in which the caller reads the blob: the one it names, else any that it may read.

    Raises:
        BlobUnknown: nowhere that the caller may read. Clients ask before they push: this is no fault (H140).
        NameUnknown, NameInvalid: of a repository that was named.
    """
    name = said.text("repository")
    if name is None:
        repository = await readable(call, digest)
        if repository is None:
            raise BlobUnknown("there is no such blob that you may read", digest=str(digest))
        return repository
    repository = names.repository(name)
    call.require(Action.PULL, repository)
    await call.services.blobs.size(repository, digest)
    return repository
