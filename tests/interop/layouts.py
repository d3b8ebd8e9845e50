"""OCI image layouts made from nothing: images, indexes, artifacts and odd shapes, in folders any client can copy.

The same arguments make the same bytes, so a digest that changes on its way through a registry is the registry's doing.
Manifests are written by hand rather than by a client's library, because half of the shapes here are ones that libraries
refuse to make: foreign layers, blobs as children of an index, artifacts without layers.
"""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Descriptor = dict[str, Any]
"""A descriptor as JSON has it: mediaType, digest, size, and whatever else a case wants."""

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

BUSYBOX = Path("/bin/busybox")
GREETING = "hello from an image"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""This machine's architecture in an image's words."""


def sha256(data: bytes) -> str:
    """The digest of `data` as descriptors write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def filler(seed: str, size_bytes: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size_bytes)


class Layout:
    """An OCI image layout on disk; every addition keeps it valid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._named: list[Descriptor] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._write_index()

    def blob(self, data: bytes, media_type: str, **fields: object) -> Descriptor:
        """Store `data` and return its descriptor, with `fields` added."""
        digest = sha256(data)
        (self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **fields}

    def json(self, value: Mapping[str, object], media_type: str, **fields: object) -> Descriptor:
        """Store a JSON document and return its descriptor."""
        return self.blob(json.dumps(value, separators=(",", ":")).encode(), media_type, **fields)

    def read(self, descriptor: Descriptor) -> bytes:
        """The bytes a descriptor of this layout names."""
        digest: str = descriptor["digest"]
        return (self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def name(self, descriptor: Descriptor, tag: str = "latest") -> Descriptor:
        """List `descriptor` in the layout's index under `tag`, and return it unchanged."""
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
        self._named.append(named)
        self._write_index()
        return descriptor

    def ref(self, tag: str = "latest") -> str:
        """What skopeo and buildah call a tag of this layout."""
        return f"oci:{self.path}:{tag}"

    def _write_index(self) -> None:
        index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": self._named}
        (self.path / "index.json").write_text(json.dumps(index))


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of regular, executable files, with no time of making in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            writer.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def image(
    layout: Layout,
    *layers: Mapping[str, bytes],
    arch: str = HERE,
    command: Sequence[str] = (),
    more: Mapping[str, object] | None = None,
) -> Descriptor:
    """An image whose layers hold the given files; the descriptor carries the platform, the manifest also `more`."""
    plain = [tar(files) for files in layers]
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in plain]},
        "history": [{"created_by": "tests"} for _ in plain],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": layout.json(config, IMAGE_CONFIG),
        "layers": [layout.blob(gzip.compress(data, 6, mtime=0), IMAGE_LAYER) for data in plain],
        **(more or {}),
    }
    return layout.json(manifest, IMAGE_MANIFEST, platform={"architecture": arch, "os": "linux"})


def runnable_image(layout: Layout, seed: str) -> Descriptor:
    """An image for this machine that prints GREETING when run: a static busybox, and a second layer from `seed`."""
    return image(
        layout,
        {"bin/busybox": BUSYBOX.read_bytes(), "bin/echo": BUSYBOX.read_bytes()},
        {"data/filler": filler(seed, 200_000)},
        command=["/bin/busybox", "echo", GREETING],
    )


def small_image(layout: Layout, seed: str, arch: str = HERE, more: Mapping[str, object] | None = None) -> Descriptor:
    """An image of two layers of random bytes, 64 KiB and 1 KiB."""
    return image(
        layout,
        {"a": filler(f"{seed} a {arch}", 65_536)},
        {"b": filler(f"{seed} b {arch}", 1024)},
        arch=arch,
        more=more,
    )


def index(layout: Layout, manifests: Sequence[Descriptor], **fields: object) -> Descriptor:
    """An index of the given descriptors."""
    return layout.json(
        {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": list(manifests), **fields}, IMAGE_INDEX
    )


def two_platforms(layout: Layout, seed: str) -> Descriptor:
    """An index of one image for amd64 and one for arm64."""
    return index(layout, [small_image(layout, seed, arch) for arch in ("amd64", "arm64")])


def artifact(
    layout: Layout, artifact_type: str, files: Mapping[str, bytes], subject: Descriptor | None = None
) -> Descriptor:
    """An artifact as the image specification packs one: an empty config, a layer per file, perhaps a subject."""
    layers = [
        layout.blob(data, "application/octet-stream", annotations={"org.opencontainers.image.title": name})
        for name, data in files.items()
    ]
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": artifact_type,
        "config": layout.blob(b"{}", EMPTY_JSON),
        "layers": layers,
    }
    if subject is not None:
        manifest["subject"] = {name: subject[name] for name in ("mediaType", "digest", "size")}
    return layout.json(manifest, IMAGE_MANIFEST)


class Maker(Protocol):
    """Something above that makes one thing from a seed, for tests that are told with several of them."""

    def __call__(self, layout: Layout, seed: str) -> Descriptor: ...
