"""Content that tests push: noise, digests, descriptors and manifests, all made from seeds and never from files."""

import hashlib
import json
import random
from typing import Any, Final

IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP: Final = LAYER + "+gzip"
FOREIGN_LAYER: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EMPTY_JSON: Final = "application/vnd.oci.empty.v1+json"
ALGORITHMS: Final = ("sha256", "sha512")

Json = dict[str, Any]


def noise(length_bytes: int, seed: object = 0) -> bytes:
    """The same bytes for the same seed, that nothing can compress."""
    return random.Random(str(seed)).randbytes(length_bytes)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """`algorithm:hex`."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def descriptor(content: bytes, media_type: str, algorithm: str = "sha256", **more: Any) -> Json:
    """What refers to `content`."""
    return {"mediaType": media_type, "digest": digest_of(content, algorithm), "size": len(content), **more}


def written(document: Json) -> bytes:
    """A manifest's bytes; written with spaces and line ends, so that a server that writes JSON anew is found out."""
    return json.dumps(document, indent=3).encode()


def image(config: Json, layers: list[Json], **more: Any) -> bytes:
    """An OCI image manifest."""
    return written({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, **more})


def index(children: list[Json], **more: Any) -> bytes:
    """An OCI index."""
    return written({"schemaVersion": 2, "mediaType": INDEX, "manifests": children, **more})


EMPTY_CONFIG: Final = descriptor(b"{}", EMPTY_JSON)


def artifact(seed: object, **more: Any) -> bytes:
    """A manifest that needs nothing but the empty config `{}`; another one for each seed."""
    return image(EMPTY_CONFIG, [], **{"annotations": {"seed": str(seed)}, **more})
