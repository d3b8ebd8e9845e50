"""A whole store on a folder, and the few things tests put into it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.base import Backend
from backends.fs import FsBackend
from model.descriptors import OCI_INDEX, OCI_MANIFEST, parse_manifest
from model.digests import Digest
from store.blobs import Blobs
from store.catalog import Catalog
from store.hot import Hot
from store.layout import blob_key
from store.manifests import Manifests
from store.membership import repository_id
from store.referrers import Referrers
from store.repositories import Repositories
from store.tags import Tags

SMALL_BYTES = 4096
EMPTY = b"{}"
EMPTY_DIGEST = Digest.of(EMPTY)


class StillClock:
    """A clock that stands still until it is set."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.at_s = now_s

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


@dataclass
class Shop:
    """Everything of the store, open."""

    folder: Path
    clock: StillClock
    hot: Hot
    catalog: Catalog
    backend: Backend
    blobs: Blobs
    manifests: Manifests
    tags: Tags
    repositories: Repositories
    referrers: Referrers

    def source(self, content: bytes) -> Path:
        """A finished spool file."""
        path = self.folder / "spool" / f"upload-{Digest.of(content).hex[:12]}"
        path.write_bytes(content)
        return path

    def file_of(self, digest: Digest) -> Path:
        """Where a blob's bytes lie."""
        return self.folder / blob_key(digest)

    async def exists(self, repository: str) -> bool:
        """Whether the repository holds anything."""
        return await self.catalog.read(repository_id, repository) is not None

    async def referrers_of(self, repository: str, subject: Digest, *kinds: str) -> list[dict[str, Any]]:
        """All referrers of any of these types, read."""
        page = await self.referrers.page(repository, subject, kinds, limit_bytes=1 << 20)
        assert page.more_behind is None
        return [json.loads(text) for text in page.descriptors]

    async def push_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> Digest:
        """Commit a blob."""
        digest = Digest.of(content, algorithm)
        await self.blobs.commit(repository, digest, self.source(content), len(content))
        return digest

    async def push(
        self, repository: str, content: bytes, *tags: str, algorithm: str = "sha256", media_type: str | None = None
    ) -> Digest:
        """Put a manifest."""
        digest = Digest.of(content, algorithm)
        await self.manifests.put(repository, content, parse_manifest(content, media_type), digest, tags)
        return digest

    async def push_image(self, repository: str, *tags: str, mark: str = "", **fields: Any) -> Digest:
        """Put an image manifest with the empty config, and that config."""
        await self.push_blob(repository, EMPTY)
        return await self.push(repository, image(mark, **fields), *tags)


@asynccontextmanager
async def shop(
    folder: Path,
    *,
    clock: StillClock | None = None,
    backend: Backend | None = None,
    cache_bytes: int = 1 << 20,
    sparse: bool = False,
    durable: bool = False,
) -> AsyncIterator[Shop]:
    """Open a store on `folder`, and close it."""
    (folder / "spool").mkdir(exist_ok=True)
    clock, hot = clock or StillClock(), Hot(cache_bytes)
    catalog = Catalog(folder, clock, durable=durable, drop=hot.drop)
    catalog.open()
    backend = backend or FsBackend(folder, durable=durable)
    blobs = Blobs(catalog, backend, hot, clock, small_blob_bytes=SMALL_BYTES)
    try:
        await blobs.load()
        yield Shop(
            folder,
            clock,
            hot,
            catalog,
            backend,
            blobs,
            Manifests(catalog, hot, clock, sparse_indexes=sparse),
            Tags(catalog, hot, clock),
            Repositories(catalog, hot),
            Referrers(catalog),
        )
    finally:
        await blobs.close()
        catalog.close()


def described(digest: Digest, size_bytes: int = 2, media_type: str = "application/octet-stream") -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": str(digest), "size": size_bytes}


def image(mark: str = "", **fields: Any) -> bytes:
    """An image manifest of the empty config, told apart by `mark`."""
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(EMPTY_DIGEST), "layers": []}
    if mark:
        document["x-mark"] = mark
    return json.dumps(document | fields).encode()


def index(*children: Digest, **fields: Any) -> bytes:
    """An index of the children."""
    manifests = [described(child, media_type=OCI_MANIFEST) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests} | fields).encode()
