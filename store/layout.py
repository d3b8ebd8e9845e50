"""THE key layout, and the only maker of keys: where what we keep lies below the storage root or bucket prefix.

    docker/registry/v2/                                 distribution's own tree (oci.md 4.1)
      blobs/
        <algorithm>/                                    sha256, sha512
          <first 2 hex>/
            <hex>/
              data                                      the bytes, whole and checked, or not there at all
    holdfast/                                           ours; in an object store only
      uploads/
        <upload id>/
          <token>                                       what an upload makes; gone once its blob is settled
      catalog/
        <registry id>/
          catalog-<UTC>.sqlite3                         daily copies of that registry's catalog
      registry                                          whose bucket it is
      probe/
        <token>                                         what a look at the store leaves for a moment

Manifests have no file: their bytes live in the catalog. Names, tags and membership live there as well, so nothing
else stands below `docker/`. Everything below `holdfast/` is ours to remove; nothing below `docker/` is.
"""

from typing import Final

from model.digests import Digest

BLOBS: Final = "docker/registry/v2/blobs/"
"""The prefix of every blob's key."""
OURS: Final = "holdfast/"
"""The prefix of everything that may be removed without looking at what refers to it."""
TEMPORARY: Final = f"{OURS}uploads/"
"""The prefix of objects in the making, and of those that are not settled yet."""
CATALOG_COPIES: Final = f"{OURS}catalog/"
"""The prefix of the catalog's copies."""
REGISTRY: Final = f"{OURS}registry"
"""The object that says which registry the bucket belongs to."""
PROBES: Final = f"{OURS}probe/"
"""The prefix of what a look at the store puts there."""


def blob_key(digest: Digest) -> str:
    """Where the bytes with that digest lie."""
    return f"{BLOBS}{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def temporary_key(upload_id: str, token: str) -> str:
    """Where an upload makes an object; `token` is random and never used twice."""
    return f"{TEMPORARY}{upload_id}/{token}"


def is_temporary(key: str) -> bool:
    """Whether the object under the key is one in the making, and may be removed when nothing refers to it."""
    return key.startswith(TEMPORARY)


def catalog_copy_key(name: str, registry_id: str = "") -> str:
    """Where the copy of that file name of the registry's catalog lies; without an id, where copies of none lie."""
    return f"{CATALOG_COPIES}{registry_id}/{name}" if registry_id else f"{CATALOG_COPIES}{name}"
