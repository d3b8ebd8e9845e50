"""An OCI image layout as something to push: what its index.json names, or the one image that was asked for."""

import json
from collections.abc import Mapping
from typing import Any, Final

from clients.plans import Blob, NotPushable, OutgoingManifest, Plan, short
from clients.problems import printable
from clients.reading import Slice
from clients.references import DEFAULT_TAG
from clients.trees import Tree
from model import names
from model.descriptors import IMAGE_TYPES, INDEX_TYPES, Descriptor, parse_manifest
from model.digests import Digest
from model.errors import RegistryError
from model.units import MIB

REF_NAME: Final = "org.opencontainers.image.ref.name"
NAMES: Final = (REF_NAME, "io.containerd.image.name")
MAX_JSON_BYTES: Final = 32 * MIB
MANIFEST_TYPES: Final = IMAGE_TYPES | INDEX_TYPES


def is_layout(tree: Tree) -> bool:
    """Whether a folder or an archive is a layout."""
    return tree.find("index.json") is not None and tree.find("oci-layout") is not None


def layout_plan(tree: Tree, where: str, ref: str | None, tag: str | None) -> Plan:
    """What to push of a layout called `where`: the image called `ref`, or all that index.json names.

    One image gets `tag`. Of several that are not one image's relatives, each goes under its own name, if `tag` is not
    said and all have one.

    Raises:
        NotPushable: nothing of that name, not clear which, or the layout is incomplete.
    """
    layout = _Layout(tree, where)
    entries = _entries(tree, where)
    if ref is not None:
        layout.visit(_named(layout, entries, ref, where), (tag or _default_tag(ref),))
    else:
        for entry, tags in _all(layout, entries, tag, where):
            layout.visit(entry, tags)
    blobs, manifests = tuple(layout.blobs.values()), tuple(layout.manifests.values())
    return Plan(blobs, lambda digests: manifests)


class _Layout:
    """Follows descriptors and collects what they lead to, children first."""

    def __init__(self, tree: Tree, where: str) -> None:
        self._tree, self._where = tree, where
        self.blobs: dict[Digest, Blob] = {}
        self.manifests: dict[Digest, OutgoingManifest] = {}

    def visit(self, digest: Digest, tags: tuple[str, ...]) -> None:
        """Collect a manifest and everything below it."""
        if digest in self.manifests:
            found = self.manifests[digest]
            tags = (*found.tags, *(tag for tag in tags if tag not in found.tags))
            self.manifests[digest] = OutgoingManifest(found.content, found.media_type, tags)
            return
        content = self.content(digest)
        try:
            manifest = parse_manifest(content, None)
        except RegistryError as error:
            raise NotPushable(f"{self._where}: {short(digest)} is no manifest: {error.message}") from error
        for child in manifest.children:
            if child.media_type in MANIFEST_TYPES:
                self.visit(child.digest, ())
            else:
                self._collect(child)
        for blob in manifest.blobs:
            self._collect(blob)
        self.manifests[digest] = OutgoingManifest(content, manifest.media_type, tags)

    def content(self, digest: Digest) -> bytes:
        """The bytes of a manifest, which must hash to its name."""
        content = self._file(digest).read(MAX_JSON_BYTES)
        if Digest.of(content, digest.algorithm) != digest:
            raise NotPushable(f"{self._where} is damaged: the file of {digest} holds something else")
        return content

    def _collect(self, blob: Descriptor) -> None:
        if blob.digest in self.blobs:
            return
        found = self._file(blob.digest)
        if found.size_bytes != blob.size_bytes:
            raise NotPushable(
                f"{self._where} is damaged: {blob.digest} has {found.size_bytes} bytes instead of {blob.size_bytes}"
            )
        self.blobs[blob.digest] = Blob(found, blob.digest, short(blob.digest))

    def _file(self, digest: Digest) -> Slice:
        found = self._tree.find(f"blobs/{digest.algorithm}/{digest.hex}")
        if found is None:
            raise NotPushable(
                f"{self._where} is incomplete: {digest} is not in it",
                "choose an image that is whole with --ref sha256:..., or make the layout again with all platforms",
            )
        return found


def _entries(tree: Tree, where: str) -> list[tuple[Digest, set[str]]]:
    """What index.json lists: digest and names."""
    found = tree.find("index.json")
    try:
        document = json.loads(found.read(MAX_JSON_BYTES)) if found else {}
        rows = document["manifests"]
        return [(Digest.parse(row["digest"]), _names(row)) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError, RegistryError) as error:
        raise NotPushable(f"the index.json of {where} is not that of an OCI layout") from error


def _names(row: Mapping[str, Any]) -> set[str]:
    annotations = row.get("annotations") or {}
    return {str(annotations[name]) for name in NAMES if name in annotations}


def _named(layout: _Layout, entries: list[tuple[Digest, set[str]]], ref: str, where: str) -> Digest:
    if ":" in ref:
        try:
            digest = Digest.parse(ref)
        except RegistryError:
            pass  # then it is a name with a colon in it
        else:
            layout.content(digest)
            return digest
    found = {digest for digest, known in entries if ref in known}
    if len(found) != 1:
        reason = "names several images" if found else "is in it nowhere"
        raise NotPushable(f"{ref!r} {reason}; {where} has {_told(entries)}", "say --ref NAME, or --ref sha256:...")
    return found.pop()


def _all(
    layout: _Layout, entries: list[tuple[Digest, set[str]]], tag: str | None, where: str
) -> list[tuple[Digest, tuple[str, ...]]]:
    """Every entry with the tags it gets; what only refers to others (signatures) gets none."""
    heads = {digest for digest, _ in entries if not _refers(layout, digest)} or {digest for digest, _ in entries}
    if not heads:
        raise NotPushable(f"{where} holds no image")
    if len(heads) == 1:
        (head,) = heads
        return [(digest, (tag or DEFAULT_TAG,) if digest == head else ()) for digest, _ in entries]
    own = [(digest, tuple(sorted(name for name in known if _is_tag(name)))) for digest, known in entries]
    if tag is None and all(tags for digest, tags in own if digest in heads):
        return own
    raise NotPushable(f"{where} has several images: {_told(entries)}", "choose one with --ref NAME")


def _refers(layout: _Layout, digest: Digest) -> bool:
    try:
        return parse_manifest(layout.content(digest), None).subject is not None
    except RegistryError:
        return False


def _is_tag(text: str) -> bool:
    try:
        return bool(names.tag(text))
    except RegistryError:
        return False


def _default_tag(ref: str) -> str:
    return ref if _is_tag(ref) else DEFAULT_TAG


def _told(entries: list[tuple[Digest, set[str]]]) -> str:
    return printable(
        ", ".join(sorted({name for _, known in entries for name in known} or {str(d) for d, _ in entries}))
    )
