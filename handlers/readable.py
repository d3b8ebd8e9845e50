"""Where a caller may read a blob that it knows by digest alone: for mounts and for reads that name no repository."""

from auth.policy import Action
from handlers.call import Call
from model.digests import Digest
from model.errors import BlobUnknown


async def readable(call: Call, digest: Digest) -> str | None:
    """A repository that has the blob whole and that the caller may read; None when there is none.

    Repositories that the caller may not read count for nothing: the answer would tell a stranger what is stored here.
    """
    for repository in await call.services.blobs.holders(digest):
        if call.may(Action.PULL, repository) and await _has(call, repository, digest):
            return repository
    return None


async def _has(call: Call, repository: str, digest: Digest) -> bool:
    try:
        await call.services.blobs.size(repository, digest)
    except BlobUnknown:
        return False
    return True
