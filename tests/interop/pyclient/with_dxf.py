"""python-dxf at work, in an environment of its own: a blob and an alias go up, come down, are listed and deleted.

Prints what it saw as JSON.
"""

import json
import sys
from pathlib import Path

import dxf  # type: ignore[import-not-found]  # in the clients' own environment


def story(host: str, repo: str, file: str) -> dict[str, object]:
    """Push `file` as a blob under the alias `latest`, and go through every verb the library has."""
    with dxf.DXF(host, repo, insecure=True) as client:
        digest = client.push_blob(file, check_exists=True)
        client.set_alias("latest", digest)
        seen: dict[str, object] = {
            "digest": digest,
            "size": client.blob_size(digest),
            "same": b"".join(client.pull_blob(digest)) == Path(file).read_bytes(),
            "aliases": client.list_aliases(),
            "alias": client.get_alias("latest"),
        }
        with dxf.DXF(host, f"{repo}/other", insecure=True) as other:
            seen["mounted"] = other.mount_blob(repo, digest)
        return seen | {"deleted": client.del_alias("latest")}


if __name__ == "__main__":
    print(json.dumps(story(*sys.argv[1:])))
