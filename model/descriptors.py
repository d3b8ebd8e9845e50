"""Manifests as values: what a manifest's JSON refers to, read once from its exact bytes (image-spec; oci.md 1.2).

Accepted are OCI images and indexes, and Docker's schema 2 and list. The bytes themselves are never changed, so unknown
fields, types and annotations all pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from model.digests import Digest
from model.documents import json_object
from model.errors import DigestInvalid, ManifestInvalid

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

IMAGE_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})

MAX_DEPTH: Final = 64
"""Deeper JSON than any manifest has; refused before the parser's own recursion limit is near."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content, as a manifest writes it."""

    media_type: str
    digest: Digest
    size_bytes: int
    foreign: bool = False
    """The content is to be fetched from elsewhere (`urls` of a foreign layer) and need not be here."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says, beside its exact bytes."""

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    """Entries of an index; mostly manifests, but BuildKit's cache lists blobs here."""
    subject: Descriptor | None = None
    artifact_type: str | None = None
    """As the referrers API shows it: the manifest's own, else the config's media type of an image, else None."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers that have to be in the repository."""
        config = (self.config,) if self.config else ()
        return tuple(blob for blob in (*config, *self.layers) if not blob.foreign)


def parse_manifest(content: bytes, content_type: str | None) -> Manifest:
    """What the manifest `content`, sent as `content_type`, says.

    Raises:
        ManifestInvalid: not UTF-8 JSON in the shape of a manifest, or of a type that is not served here, or its
            `mediaType` contradicts `content_type`.
    """
    document = _load(content)
    media_type = _media_type(document, content_type)
    if media_type in INDEX_TYPES:
        return _index(document, media_type)
    return _image(document, media_type)


def _load(content: bytes) -> dict[str, object]:
    try:
        document = json_object(content)
    except ValueError as error:
        raise ManifestInvalid(f"the manifest {error}") from error
    if _too_deep(document):
        raise ManifestInvalid(f"the manifest is nested more than {MAX_DEPTH} levels deep")
    if document.get("schemaVersion") != 2 or isinstance(document["schemaVersion"], bool):
        raise ManifestInvalid("schemaVersion is not 2; manifests of schema 1 are not served")
    return document


def _too_deep(value: dict[str, object]) -> bool:
    level: list[dict[str, object] | list[object]] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _media_type(document: dict[str, object], content_type: str | None) -> str:
    """The one type that header and content agree on."""
    sent = (content_type or "").partition(";")[0].strip().lower()
    written = document.get("mediaType")
    if written is not None and not isinstance(written, str):
        raise ManifestInvalid("mediaType is not a string")
    if sent and written and sent != written:
        raise ManifestInvalid("Content-Type and mediaType differ", contentType=sent[:200], mediaType=written[:200])
    media_type = sent or written or (OCI_INDEX if "manifests" in document else OCI_MANIFEST)
    if media_type not in IMAGE_TYPES | INDEX_TYPES:
        raise ManifestInvalid("manifests of this type are not served", mediaType=media_type[:200])
    if media_type in INDEX_TYPES and ("layers" in document or "config" in document):
        raise ManifestInvalid("an index has neither config nor layers")
    if media_type in IMAGE_TYPES and "manifests" in document:
        raise ManifestInvalid("an image manifest lists no manifests")
    return media_type


def _image(document: dict[str, object], media_type: str) -> Manifest:
    config = _descriptor(document.get("config"), "config")
    artifact_type = _text(document, "artifactType") or config.media_type
    return Manifest(
        media_type=media_type,
        config=config,
        layers=_descriptors(document.get("layers"), "layers"),
        subject=_subject(document),
        artifact_type=artifact_type or None,
        annotations=_annotations(document),
    )


def _index(document: dict[str, object], media_type: str) -> Manifest:
    return Manifest(
        media_type=media_type,
        children=_descriptors(document.get("manifests"), "manifests"),
        subject=_subject(document),
        artifact_type=_text(document, "artifactType") or None,
        annotations=_annotations(document),
    )


def _subject(document: dict[str, object]) -> Descriptor | None:
    subject = document.get("subject")
    return None if subject is None else _descriptor(subject, "subject")


def _descriptors(value: object, where: str) -> tuple[Descriptor, ...]:
    if value is None and where == "layers":
        return ()
    if not isinstance(value, list):
        raise ManifestInvalid(f"{where} is not a list")
    return tuple(_descriptor(item, f"{where}[{number}]") for number, item in enumerate(value))


def _descriptor(value: object, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{where} is not a descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise ManifestInvalid(f"{where} lacks mediaType or digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise ManifestInvalid(f"{where} has a size that is not a count of bytes")
    try:
        parsed = Digest.parse(digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{where}: {error.message}", digest=digest[:200]) from error
    return Descriptor(media_type, parsed, size, _is_foreign(media_type, value))


def _is_foreign(media_type: str, value: dict[str, object]) -> bool:
    """Whether the layer is one that clients fetch from its `urls` (Windows base layers)."""
    return bool(value.get("urls")) and ("nondistributable" in media_type or "foreign" in media_type)


def _text(document: dict[str, object], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ManifestInvalid(f"{key} is not a string")
    return value


def _annotations(document: dict[str, object]) -> dict[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ManifestInvalid("annotations are not a map of strings")
    return value
