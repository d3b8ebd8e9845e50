"""Headers that answers have in common, so that both ways of answering say the same."""

from typing import Final

from model.digests import Digest
from store.values import StoredManifest

API_VERSION: Final = "Docker-Distribution-Api-Version"
REGISTRY_2: Final = "registry/2.0"
SERVER: Final = "holdfast"


def of_manifest(stored: StoredManifest) -> dict[str, str]:
    """What every answer about a manifest says (end-3): the type it was pushed with, and its digest."""
    return {
        "Content-Type": stored.media_type,
        "Docker-Content-Digest": str(stored.digest),
        "ETag": f'"{stored.digest}"',
    }


def by_store(digest: Digest) -> dict[str, str]:
    """What a store shall answer in our stead with a blob, as far as a URL can make it."""
    return {"Content-Type": of_blob(digest)["Content-Type"]}


def of_blob(digest: Digest) -> dict[str, str]:
    """What every answer about a blob says (end-2). A digest never changes its meaning: it may be cached for ever."""
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }
