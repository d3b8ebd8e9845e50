"""A single file as something to push: a SIF as Singularity and Apptainer expect it, anything else as an artifact."""

import os
from pathlib import Path
from typing import Final

from clients.plans import Blob, Digests, OutgoingManifest, Plan, as_json
from clients.reading import Slice
from model.descriptors import OCI_MANIFEST
from model.digests import Digest

SIF_LAYER: Final = "application/vnd.sylabs.sif.layer.v1.sif"
SIF_CONFIG: Final = "application/vnd.sylabs.sif.config.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
ANY_TYPE: Final = "application/octet-stream"
TITLE: Final = "org.opencontainers.image.title"
NOTHING: Final = b"{}"
_SIF_MAGIC_AT: Final = 32
_SIF_MAGIC: Final = b"SIF_MAGIC\0"


def is_sif(path: Path) -> bool:
    """Whether a file is an image of Singularity or Apptainer (library.md section 5)."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), len(_SIF_MAGIC), _SIF_MAGIC_AT) == _SIF_MAGIC


def file_plan(path: Path, media_type: str | None, tag: str) -> Plan:
    """A manifest with the file as its only layer, under its own name.

    A SIF gets the types its own tools look for. Another file, or one that is called a `media_type`, is an artifact of
    that type with the empty config of OCI 1.1.
    """
    content = Blob(Slice(path, 0, path.stat().st_size), None, path.name)
    config = Blob(Slice.of(NOTHING), Digest.of(NOTHING), "config")
    as_sif = is_sif(path) and media_type in (None, SIF_LAYER)
    layer_type = SIF_LAYER if as_sif else media_type or ANY_TYPE

    def manifests(digests: Digests) -> list[OutgoingManifest]:
        layer = {
            "mediaType": layer_type,
            "digest": str(digests[content.bytes.key]),
            "size": content.bytes.size_bytes,
            "annotations": {TITLE: path.name},
        }
        head: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        config_row: dict[str, object] = {"mediaType": SIF_CONFIG, "digest": str(config.digest), "size": len(NOTHING)}
        if not as_sif:
            head["artifactType"] = layer_type
            config_row |= {"mediaType": EMPTY, "data": "e30="}
        return [OutgoingManifest(as_json(head | {"config": config_row, "layers": [layer]}), OCI_MANIFEST, (tag,))]

    return Plan((config, content), manifests)
