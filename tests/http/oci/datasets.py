"""The data sets of the official conformance suite, made anew: what is pushed, under which names, and what refers to it.

A data set is built in the order in which a client pushes it: blobs first, then manifests, children before their index.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.http.oci.content import (
    CONFIG,
    EMPTY_CONFIG,
    EMPTY_JSON,
    FOREIGN_LAYER,
    IMAGE,
    LAYER,
    LAYER_GZIP,
    Json,
    descriptor,
    digest_of,
    image,
    index,
    noise,
)

SIGNATURE: Final = "application/vnd.example.signature.v1"
SBOM: Final = "application/vnd.example.sbom.v1+json"


@dataclass
class DataSet:
    """Something to push, to find, to pull and to delete."""

    name: str
    algorithm: str = "sha256"
    tag_parameters: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Bytes and type by digest, in the order of pushing."""
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[Json]] = field(default_factory=dict)
    """By subject, what the referrers API has to say."""

    def blob(self, content: bytes, media_type: str, **more: Any) -> Json:
        """Add a blob."""
        found = descriptor(content, media_type, self.algorithm, **more)
        self.blobs[found["digest"]] = content
        return found

    def layers(self, count: int, media_type: str = LAYER_GZIP) -> list[Json]:
        """Add layers, each with its own content."""
        made = [noise(700, f"{self.name} {len(self.blobs)} {number}") for number in range(count)]
        return [self.blob(content, media_type) for content in made]

    def manifest(self, content: bytes, tag: str | None = None) -> Json:
        """Add a manifest; what refers to its subject is written down apart from what the server thinks."""
        document = json.loads(content)
        found = descriptor(content, document["mediaType"], self.algorithm)
        self.manifests[found["digest"]] = (content, document["mediaType"])
        if tag is not None:
            self.tags[tag] = found["digest"]
        if "subject" in document:
            entry = dict(found)
            artifact_type = document.get("artifactType") or document.get("config", {}).get("mediaType")
            if artifact_type:
                entry["artifactType"] = artifact_type
            if "annotations" in document:
                entry["annotations"] = document["annotations"]
            self.referrers.setdefault(document["subject"]["digest"], []).append(entry)
        return found

    def image(self, *, tag: str | None = None, layer_type: str = LAYER_GZIP, layers: int = 2, **more: Any) -> Json:
        """Add an image with a config and layers of its own."""
        config = self.blob(noise(300, f"{self.name} config {len(self.manifests)}"), CONFIG)
        return self.manifest(image(config, self.layers(layers, layer_type), **more), tag)

    def artifact(self, *, tag: str | None = None, layers: int = 1, kind: str = SIGNATURE, **more: Any) -> Json:
        """Add an artifact: the empty config, and a type."""
        config = self.blob(b"{}", EMPTY_JSON)
        content = image(config, self.layers(layers, kind), **{"artifactType": kind, **more})
        return self.manifest(content, tag)

    def platforms(self, *, tag: str | None = None, make: Callable[..., Json] | None = None, **more: Any) -> Json:
        """Add an index of two, one for each architecture."""
        children = [
            {**(make or self.image)(), "platform": {"os": "linux", "architecture": architecture}}
            for architecture in ("amd64", "arm64")
        ]
        return self.manifest(index(children, **more), tag)


def plain_image(data: DataSet) -> None:
    data.image(tag="image")


def image_uncompressed(data: DataSet) -> None:
    data.image(tag="uncompressed", layer_type=LAYER)


def large_manifest(data: DataSet) -> None:
    data.image(tag="large", annotations={f"annotation-{number}": "A" * 10_000 for number in range(388)})


def plain_index(data: DataSet) -> None:
    data.platforms(tag="index")


def nested_index(data: DataSet) -> None:
    children = [data.platforms(annotations={"number": str(number)}) for number in range(2)]
    data.manifest(index(children), "nested")


def empty_index(data: DataSet) -> None:
    data.manifest(index([]), "empty")


def artifact(data: DataSet) -> None:
    data.artifact(tag="artifact")


def artifact_index(data: DataSet) -> None:
    data.platforms(tag="artifacts", make=data.artifact, artifactType=SIGNATURE)


def artifact_without_layers(data: DataSet) -> None:
    data.manifest(image(data.blob(b"{}", EMPTY_JSON), [EMPTY_CONFIG], artifactType=SIGNATURE), "bare")


def artifacts_with_subject(data: DataSet) -> None:
    subject = data.image(tag="image")
    data.image(subject=subject)
    data.artifact(tag="signature", subject=subject, annotations={"org.example.number": "1"})
    data.artifact(tag="sbom", kind=SBOM, subject=subject, annotations={"org.example.number": "2"})


def index_with_subject(data: DataSet) -> None:
    subject = data.platforms(tag="index")
    data.platforms(tag="signature", make=data.artifact, artifactType=SIGNATURE, subject=subject)
    data.manifest(index([], subject=subject, annotations={"org.example.number": "3"}))


def missing_subject(data: DataSet) -> None:
    data.artifact(tag="orphan", subject=descriptor(b"never pushed", IMAGE))


def data_field(data: DataSet) -> None:
    content = b'{"small": true}'
    layer = data.blob(content, LAYER, data="eyJzbWFsbCI6IHRydWV9")
    data.manifest(image(data.blob(b"{}", EMPTY_JSON, data="e30="), [layer]), "data")


def non_distributable_layers(data: DataSet) -> None:
    urls = ["https://store.example.com/layer"]
    foreign = [descriptor(noise(100, number), FOREIGN_LAYER, urls=urls) for number in range(2)]
    config = data.blob(noise(300, data.name), CONFIG)
    data.manifest(image(config, [*foreign, *data.layers(1)]), "windows")


def custom_fields(data: DataSet) -> None:
    extra: dict[str, Any] = {"org.example.extra": {"deep": [1, 2.5, None, "ü"]}}
    children = [data.image(**extra), data.image(**extra)]
    data.manifest(index([{**child, "org.example.extra": "x"} for child in children], **extra), "custom")


def no_layers(data: DataSet) -> None:
    data.image(tag="no-layers", layers=0)


def sparse(data: DataSet) -> None:
    lacking = data.image(tag="sparse-image")
    lost_layer = json.loads(data.manifests[lacking["digest"]][0])["layers"][0]["digest"]
    del data.blobs[lost_layer]
    here, elsewhere = data.image(), descriptor(noise(1024, "elsewhere"), IMAGE)
    data.manifest(index([here, elsewhere]), "sparse-index")


def by_sha512(data: DataSet) -> None:
    data.platforms()


def tag_parameters(data: DataSet) -> None:
    data.tag_parameters = True
    data.platforms(tag="both")
    data.tags |= {f"tag-{number}": digest for number, digest in enumerate(data.manifests)}


BUILDERS: Final[dict[str, tuple[Callable[[DataSet], None], str]]] = {
    "image": (plain_image, "sha256"),
    "image-uncompressed": (image_uncompressed, "sha256"),
    "large-manifest": (large_manifest, "sha256"),
    "index": (plain_index, "sha256"),
    "nested-index": (nested_index, "sha256"),
    "empty-index": (empty_index, "sha256"),
    "artifact": (artifact, "sha256"),
    "artifact-index": (artifact_index, "sha256"),
    "artifact-without-layers": (artifact_without_layers, "sha256"),
    "artifacts-with-subject": (artifacts_with_subject, "sha256"),
    "index-with-subject": (index_with_subject, "sha256"),
    "missing-subject": (missing_subject, "sha256"),
    "data-field": (data_field, "sha256"),
    "non-distributable-layers": (non_distributable_layers, "sha256"),
    "custom-fields": (custom_fields, "sha256"),
    "no-layers": (no_layers, "sha256"),
    "sparse": (sparse, "sha256"),
    "sha512": (by_sha512, "sha512"),
    "tag-param-sha256": (tag_parameters, "sha256"),
    "tag-param-sha512": (tag_parameters, "sha512"),
}


def data_set(name: str) -> DataSet:
    """The data set of that name."""
    build, algorithm = BUILDERS[name]
    made = DataSet(name, algorithm)
    build(made)
    assert all(digest_of(content, algorithm) == digest for digest, content in made.blobs.items())
    return made
