"""The old form of a `docker save` archive as something to push: layer.tar files beside a config (podman writes it too).

Today's form is an OCI layout inside the tar, and clients/layouts.py reads it.
"""

import json
import os
from collections.abc import Sequence
from typing import Any, Final

from clients.layouts import MAX_JSON_BYTES
from clients.plans import Blob, Digests, NotPushable, OutgoingManifest, Plan, as_json, short
from clients.problems import printable
from clients.reading import Slice
from clients.trees import Tree
from model.descriptors import OCI_MANIFEST
from model.digests import Digest
from model.errors import RegistryError

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_GZIP: Final = b"\x1f\x8b"


def is_saved_image(tree: Tree) -> bool:
    """Whether an archive is one of `docker save`."""
    return tree.find("manifest.json") is not None


def saved_plan(tree: Tree, where: str, ref: str | None, tag: str | None) -> Plan:
    """What to push of an archive: its image, or the one called `ref` (as `docker images` would call it).

    Raises:
        NotPushable: nothing of that name, not clear which, or the archive is incomplete.
    """
    image = _chosen(_loaded(tree, "manifest.json", where), ref, where)
    try:
        config_name, layer_names = str(image["Config"]), [str(name) for name in image["Layers"]]
        config = _file(tree, config_name, where)
        diff_ids = [Digest.parse(each) for each in _loaded(tree, config_name, where)["rootfs"]["diff_ids"]]
    except (KeyError, TypeError, RegistryError) as error:
        raise NotPushable(f"{where} is not an archive of docker save: its {error} is missing or wrong") from error
    if len(diff_ids) != len(layer_names):
        raise NotPushable(f"{where} has {len(layer_names)} layers, and its config speaks of {len(diff_ids)}")
    layers = [_layer(_file(tree, name, where), diff_id) for name, diff_id in zip(layer_names, diff_ids, strict=True)]
    head = Blob(config, Digest.of(config.read(MAX_JSON_BYTES)), "config")
    blobs = {blob.bytes.key: blob for blob in (head, *layers)}
    return Plan(tuple(blobs.values()), lambda digests: [_manifest(head, layers, digests, tag or "latest")])


def _layer(found: Slice, diff_id: Digest) -> Blob:
    """A layer: a plain tar is its own diff id; one that somebody compressed has to be hashed."""
    return Blob(found, None if _begins(found) == _GZIP else diff_id, f"layer {short(diff_id)}")


def _begins(found: Slice) -> bytes:
    if found.path is None:
        return found.content[:2]
    with found.path.open("rb") as file:
        return os.pread(file.fileno(), min(2, found.size_bytes), found.start)


def _manifest(head: Blob, layers: Sequence[Blob], digests: Digests, tag: str) -> OutgoingManifest:
    rows = [_descriptor(blob, LAYER if blob.digest else f"{LAYER}+gzip", digests) for blob in layers]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(head, CONFIG, digests),
        "layers": rows,
    }
    return OutgoingManifest(as_json(document), OCI_MANIFEST, (tag,))


def _descriptor(blob: Blob, media_type: str, digests: Digests) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digests[blob.bytes.key]), "size": blob.bytes.size_bytes}


def _chosen(images: Any, ref: str | None, where: str) -> dict[str, Any]:
    """The image that `ref` names among those of manifest.json; the only one without it."""
    known = [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    found = known if ref is None else [image for image in known if ref in (image.get("RepoTags") or [])]
    if len(found) == 1:
        return found[0]
    told = printable(", ".join(str(name) for image in known for name in image.get("RepoTags") or ["(no name)"]))
    reason = "has several images" if ref is None and known else f"has no image {ref}" if ref else "has no image"
    raise NotPushable(f"{where} {reason}: {told}", "choose one with --ref NAME")


def _file(tree: Tree, name: str, where: str) -> Slice:
    found = tree.find(name)
    if found is None:
        raise NotPushable(f"{where} is incomplete: {printable(name)} is not in it")
    return found


def _loaded(tree: Tree, name: str, where: str) -> Any:
    try:
        return json.loads(_file(tree, name, where).read(MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise NotPushable(f"{where}: {printable(name)} is not JSON") from error
