"""THE key layout, and the only maker of keys: where the bytes of a blob lie below the storage root or bucket prefix.

    docker/registry/v2/                                 distribution's own tree (oci.md 4.1)
      blobs/
        <algorithm>/                                    sha256, sha512
          <first 2 hex>/
            <hex>/
              data                                      the bytes, whole and checked, or not there at all

Manifests have no file: their bytes live in the catalog. Names, tags and membership live there as well, so nothing
else stands below `docker/`.
"""

from typing import Final

from model.digests import Digest

BLOBS: Final = "docker/registry/v2/blobs/"
"""The prefix of every blob's key."""


def blob_key(digest: Digest) -> str:
    """Where the bytes with that digest lie."""
    return f"{BLOBS}{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"
