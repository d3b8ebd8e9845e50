"""Manifests in the catalog: the operations that `store/manifests.py` and `store/tags.py` run."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from model.descriptors import Descriptor, Manifest
from model.digests import Digest
from model.errors import ManifestBlobUnknown, ManifestUnknown
from store.membership import (
    blobs_among,
    end_if_empty,
    made_repository,
    manifest_key,
    manifests_among,
    repository_id,
    tag_key,
)
from store.repositories import forget_body
from store.transactions import Transaction, frees
from store.values import StoredManifest

NAMED_MISSING: Final = 10
"""How many missing digests an error names; a manifest of 4 MiB could miss tens of thousands."""


def put(
    tx: Transaction,
    repository: str,
    content: bytes,
    manifest: Manifest,
    digest: Digest,
    tags: Sequence[str],
    *,
    sparse: bool,
    now_s: float,
) -> None:
    """Record the manifest and point `tags` at it; ManifestBlobUnknown when what it needs is not in the repository."""
    if not sparse:
        _check_complete(tx, repository, manifest)
    owner = made_repository(tx, repository, now_s)
    name = str(digest)
    new_bytes = tx.execute(
        "INSERT INTO manifest_body (digest, content) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, content)
    )
    if new_bytes:
        tx.execute_many(
            "INSERT INTO manifest_reference (manifest, referenced, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(name, str(referred.digest), kind) for kind, referred in _references(manifest)],
        )
    tx.execute(
        "INSERT INTO manifest"
        " (repository_id, digest, media_type, size_bytes, subject, artifact_type, referrer, pushed_at_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (repository_id, digest) DO UPDATE SET media_type = excluded.media_type,"
        " subject = excluded.subject, artifact_type = excluded.artifact_type, referrer = excluded.referrer",
        (owner, name, manifest.media_type, len(content), *_referrer(manifest, name, len(content)), now_s),
    )
    tx.invalidate(manifest_key(repository, name))
    for tag in tags:
        point(tx, repository, owner, tag, name, now_s)


def point(tx: Transaction, repository: str, owner: int, tag: str, digest: str, now_s: float) -> None:
    """Let the tag point at a manifest of its repository, whatever it pointed at before."""
    tx.execute(
        "INSERT INTO tag (repository_id, name, digest, updated_at_s) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (repository_id, name) DO UPDATE"
        " SET digest = excluded.digest, updated_at_s = excluded.updated_at_s",
        (owner, tag, digest, now_s),
    )
    tx.invalidate(tag_key(repository, tag))


def by_digest(tx: Transaction, repository: str, digest: Digest) -> StoredManifest | None:
    """The manifest of that digest, if the repository has it."""
    row = tx.one(
        "SELECT m.media_type, b.content FROM repository r"
        " JOIN manifest m ON m.repository_id = r.id JOIN manifest_body b ON b.digest = m.digest"
        " WHERE r.name = ? AND m.digest = ?",
        (repository, str(digest)),
    )
    return None if row is None else StoredManifest(digest, row[0], row[1])


def by_tag(tx: Transaction, repository: str, tag: str) -> StoredManifest | None:
    """The manifest the tag points at, if there is such a tag."""
    row = tx.one(
        "SELECT m.digest, m.media_type, b.content FROM repository r"
        " JOIN tag t ON t.repository_id = r.id"
        " JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest"
        " JOIN manifest_body b ON b.digest = m.digest"
        " WHERE r.name = ? AND t.name = ?",
        (repository, tag),
    )
    return None if row is None else StoredManifest(Digest.parse(row[0]), row[1], row[2])


def pointed_at(tx: Transaction, repository: str, tag: str) -> str | None:
    """The digest the tag points at, if there is such a tag."""
    row = tx.one(
        "SELECT t.digest FROM repository r JOIN tag t ON t.repository_id = r.id WHERE r.name = ? AND t.name = ?",
        (repository, tag),
    )
    return None if row is None else str(row[0])


@frees
def delete(tx: Transaction, repository: str, digest: Digest) -> None:
    """Remove the manifest and the tags that point at it; ManifestUnknown when the repository has it not."""
    owner, name = repository_id(tx, repository), str(digest)
    if owner is None or not manifests_among(tx, owner, [name]):
        raise ManifestUnknown("the repository has no such manifest", reference=name)
    for (tag,) in tx.all("SELECT name FROM tag WHERE repository_id = ? AND digest = ?", (owner, name)):
        tx.invalidate(tag_key(repository, tag))
    tx.execute("DELETE FROM tag WHERE repository_id = ? AND digest = ?", (owner, name))
    tx.execute("DELETE FROM manifest WHERE repository_id = ? AND digest = ?", (owner, name))
    tx.invalidate(manifest_key(repository, name))
    forget_body(tx, name)
    end_if_empty(tx, owner)


@frees
def delete_tag(tx: Transaction, repository: str, tag: str) -> None:
    """Remove the tag; ManifestUnknown when there is none."""
    owner = repository_id(tx, repository)
    if owner is None or not tx.execute("DELETE FROM tag WHERE repository_id = ? AND name = ?", (owner, tag)):
        raise ManifestUnknown("the repository has no such tag", reference=tag)
    tx.invalidate(tag_key(repository, tag))


def copy_tag(tx: Transaction, repository: str, source: str, target: str, now_s: float) -> None:
    """Point `target` at what `source` points at; ManifestUnknown when there is no `source`."""
    owner, digest = repository_id(tx, repository), pointed_at(tx, repository, source)
    if owner is None or digest is None:
        raise ManifestUnknown("the repository has no such tag", reference=source)
    point(tx, repository, owner, target, digest, now_s)


def _check_complete(tx: Transaction, repository: str, manifest: Manifest) -> None:
    """What the manifest needs is there: blobs, and children as manifests or blobs (oci.md 1.2, invariant 4)."""
    owner = repository_id(tx, repository)
    blobs = _digests(manifest.blobs)
    children = _digests(manifest.children)
    if owner is None:
        missing = blobs + children
    else:
        have = blobs_among(tx, owner, blobs + children)
        missing = [digest for digest in blobs if digest not in have]
        left = [digest for digest in children if digest not in have]
        there = manifests_among(tx, owner, left)
        missing += [digest for digest in left if digest not in there]
    if missing:
        raise ManifestBlobUnknown(
            f"the repository lacks {len(missing)} of what the manifest refers to", missing=missing[:NAMED_MISSING]
        )


def _digests(descriptors: Iterable[Descriptor]) -> list[str]:
    """Each digest once, in order."""
    return list(dict.fromkeys(str(descriptor.digest) for descriptor in descriptors))


def _references(manifest: Manifest) -> list[tuple[str, Descriptor]]:
    """Everything the manifest refers to, and as what."""
    found = [("foreign" if layer.foreign else "layer", layer) for layer in manifest.layers]
    found += [("child", child) for child in manifest.children]
    if manifest.config:
        found.append(("config", manifest.config))
    if manifest.subject:
        found.append(("subject", manifest.subject))
    return found


def _referrer(manifest: Manifest, digest: str, size_bytes: int) -> tuple[str | None, str | None, str | None]:
    """The subject, the artifact type, and the descriptor that the referrers API shows (oci.md 1.1 end-12)."""
    if manifest.subject is None:
        return None, None, None
    descriptor: dict[str, Any] = {"mediaType": manifest.media_type, "size": size_bytes, "digest": digest}
    if manifest.artifact_type:
        descriptor["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        descriptor["annotations"] = dict(manifest.annotations)
    kind = manifest.artifact_type
    askable = kind if kind and kind == _as_text(kind) else None
    text = json.dumps(descriptor, ensure_ascii=False, separators=(",", ":"))
    return str(manifest.subject.digest), askable, _as_text(text)


def _as_text(text: str) -> str:
    """`text` with half surrogate pairs, which neither UTF-8 nor the catalog can hold, written the way JSON does."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
