"""Manifests: exact bytes under a digest and names, complete with what they refer to.

A manifest is answered from memory through two entries: that the repository has it (and by which type), and its bytes,
which all repositories share.
"""

from collections.abc import Sequence
from typing import Final

from model.clock import Clock
from model.descriptors import Manifest
from model.digests import Digest
from model.errors import ManifestUnknown
from store import manifest_rows as rows
from store.catalog import Catalog
from store.hot import Hot, Kind, Shelf
from store.values import StoredManifest

_SHARED: Final = ""
"""In place of a repository, for what belongs to none."""


class Manifests:
    """Manifests of repositories."""

    def __init__(self, catalog: Catalog, hot: Hot, clock: Clock, *, sparse_indexes: bool = False) -> None:
        """With `sparse_indexes`, an index may name children, and an image layers, that the repository does not have."""
        self._catalog = catalog
        self._hot = hot
        self._clock = clock
        self._sparse_indexes = sparse_indexes
        self._tags: Shelf[Digest] = Shelf(hot, Kind.TAG)
        self._known: Shelf[str] = Shelf(hot, Kind.MANIFEST)
        self._bodies: Shelf[StoredManifest] = Shelf(hot, Kind.BODY)

    async def put(
        self, repository: str, content: bytes, manifest: Manifest, digest: Digest, tags: Sequence[str] = ()
    ) -> None:
        """Store `content`, which hashes to `digest` and says `manifest`, and point `tags` at it, in one transaction.

        Putting it again is fine, and moves tags. The subject may be missing (oci.md 1.1 end-7a); a child may be a
        manifest or a blob (oci.md 1.2).

        Raises:
            ManifestBlobUnknown: config, layers or children are not in the repository; nothing was stored.
        """
        await self._catalog.run(
            rows.put,
            repository,
            content,
            manifest,
            digest,
            tuple(tags),
            sparse=self._sparse_indexes,
            now_s=self._clock.now_s(),
        )

    def cached(self, repository: str, reference: Digest | str) -> StoredManifest | None:
        """What `get` would return, if it is in memory."""
        digest = reference if isinstance(reference, Digest) else self._tags.get(repository, reference)
        if digest is None:
            return None
        body = self._known.get(repository, str(digest))
        return None if body is None else self._bodies.get(_SHARED, body)

    async def get(self, repository: str, reference: Digest | str) -> StoredManifest:
        """The manifest by digest or tag; from memory, without awaiting anything, when it is known there.

        Raises:
            ManifestUnknown: the repository has no such manifest or tag, or there is no such repository.
        """
        known = self.cached(repository, reference)
        if known is not None:
            return known
        generation, shared = self._hot.generation(repository), self._hot.generation(_SHARED)
        if isinstance(reference, Digest):
            stored = await self._catalog.read(rows.by_digest, repository, reference)
        else:
            stored = await self._catalog.read(rows.by_tag, repository, reference)
        if stored is None:
            raise ManifestUnknown("the repository has no such manifest", reference=str(reference))
        return self._remember(repository, reference, stored, generation, shared)

    async def delete(self, repository: str, digest: Digest) -> None:
        """Remove the manifest and every tag that points at it, in one transaction (oci.md 1.1 end-9).

        Raises:
            ManifestUnknown: the repository has it not.
        """
        await self._catalog.run(rows.delete, repository, digest)

    async def delete_tag(self, repository: str, tag: str) -> None:
        """Remove the tag alone; the manifest stays.

        Raises:
            ManifestUnknown: there is no such tag.
        """
        await self._catalog.run(rows.delete_tag, repository, tag)

    def _remember(
        self, repository: str, reference: Digest | str, stored: StoredManifest, generation: int, shared: int
    ) -> StoredManifest:
        """Keep what was read; returns the copy that is shared, so that many readers at once hold one."""
        body = f"{stored.digest} {stored.media_type}"
        known = self._bodies.get(_SHARED, body)
        if known is None:
            self._bodies.keep(_SHARED, body, stored, shared, len(stored.content))
            known = stored
        self._known.keep(repository, str(stored.digest), body, generation)
        if not isinstance(reference, Digest):
            self._tags.keep(repository, reference, stored.digest, generation)
        return known
