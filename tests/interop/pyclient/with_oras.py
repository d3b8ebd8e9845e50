"""oras-py at work, in an environment of its own: `push`, `attach`, `pull` or `delete` as words on the command line.

Prints what the registry answered as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import oras.client  # type: ignore[import-not-found]  # in the clients' own environment
import oras.oci  # type: ignore[import-not-found]  # in the clients' own environment


def push(client: oras.client.OrasClient, target: str, file: str, chunk_bytes: str) -> object:
    """Push one file, in chunks unless `chunk_bytes` is 0."""
    size = int(chunk_bytes)
    chunked = {"do_chunked": True, "chunk_size": size} if size else {}
    answer = client.push(target, files=[file], disable_path_validation=True, **chunked)
    return {"status": answer.status_code, "digest": answer.headers["Docker-Content-Digest"]}


def attach(client: oras.client.OrasClient, target: str, file: str, subject: str) -> object:
    """Push one file as an artifact whose subject is the manifest described by `subject`, a descriptor as JSON."""
    described = json.loads(subject)
    about = oras.oci.Subject(described["mediaType"], described["digest"], described["size"])
    answer = client.push(target, files=[file], disable_path_validation=True, subject=about)
    return {"subject": answer.headers["OCI-Subject"], "digest": answer.headers["Docker-Content-Digest"]}


def pull(client: oras.client.OrasClient, target: str, folder: str) -> object:
    """Pull into a folder; the names of the files that came."""
    return sorted(Path(path).name for path in client.pull(target, outdir=folder))


def delete(client: oras.client.OrasClient, target: str, *tags: str) -> object:
    """Delete tags by name; those that are gone."""
    return client.delete_tags(target, list(tags))


VERBS: dict[str, Callable[..., object]] = {"push": push, "attach": attach, "pull": pull, "delete": delete}

if __name__ == "__main__":
    host, verb, *words = sys.argv[1:]
    print(json.dumps(VERBS[verb](oras.client.OrasClient(hostname=host, insecure=True), *words)))
