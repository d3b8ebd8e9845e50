"""Sessions in parts over an object store in memory, with clients that put parts into it themselves."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backends.base import MultipartGone, StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.parted import PartedSession
from multipart.parts import ListedPart
from multipart.remote import PartStore, RemoteUploads
from multipart.sessions import Sessions, UploadLimits
from sigv4.presigning import Presigned
from store.blobs import Blobs
from store.catalog import Catalog
from store.discarding import Discarder
from store.folder import DataFolder
from store.hot import Hot
from store.values import SmallBlob
from tests.unit.multipart.harness import REPOSITORY, HandClock

OWNER = "anna"
TEMP = "uploads/temp-1"
OF_OBJECTS = {"keep_bytes", "ahead_bytes", "patience_s", "copies_prove"}
SMALLEST = 8
"""The least that all parts but the last need in the store."""


class Refused(Exception):
    """What the store says to a client that may not, or sends what its URL was not signed for."""


class DirectStore(MemoryStore):
    """A store in memory that clients reach themselves; it outlives the processes of a test, as a store does."""

    def __init__(self, clock: HandClock, **how: Any) -> None:
        super().__init__(**{"smallest_part_bytes": SMALLEST, **how})
        self.clock = clock
        self.is_native, self.why_not_native, self.checks_hashes = True, "", True
        self.dead = False
        self.before = self._before

    @property
    def native(self) -> bool:
        return self.is_native

    async def _before(self, verb: str, key: str) -> None:
        if self.dead:
            raise StoreUnavailable("the store does not answer")

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        until_s = int(self.clock.now_s()) + lifetime_s
        hashed = sha256 if sha256 is not None and self.checks_hashes else ""
        url = f"store:{key}?uploadId={store_upload_id}&partNumber={number}&sha256={hashed}&until={until_s}"
        return Presigned(url, until_s, {"x-amz-content-sha256": sha256} if sha256 is not None else {})

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        return Presigned(f"store:{key}", int(self.clock.now_s()) + lifetime_s, {})

    def client_puts(self, url: str, content: bytes) -> str:
        """What a client's PUT to a URL of the store is answered with: the ETag, in quotes. Refused, MultipartGone."""
        split = urlsplit(url)
        said = {name: values[0] for name, values in parse_qs(split.query).items()}
        if self.clock.now_s() > int(said["until"]):
            raise Refused("expired")
        if said.get("sha256") not in (None, hashlib.sha256(content).hexdigest()):
            raise Refused("XAmzContentSHA256Mismatch")
        found = self.unfinished.get(said["uploadId"])
        if found is None or found.key != split.path:
            raise MultipartGone("NoSuchUpload")
        found.parts[int(said["partNumber"])] = content
        return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'

    def temporary(self) -> list[str]:
        """The keys of whole objects that are no blobs' own."""
        return [key for key in self.values if key.startswith("holdfast/")]

    def nothing_unfinished(self) -> bool:
        return not self.unfinished


class StoreHouse:
    """Everything below the handlers, as one process over the store has it."""

    def __init__(
        self, data: Path, store: DirectStore, limits: UploadLimits, backend: PartStore | None = None, **objects: Any
    ) -> None:
        """Another `backend` than the store in memory, for one test or the other."""
        self.clock, self.store, self.limits = store.clock, store, limits
        self.backend: PartStore = backend or store
        self.folder = DataFolder(data, data)
        self.hot = Hot(1 << 20)
        self.catalog = Catalog(data, self.clock, drop=self.hot.drop)
        self.workers = ThreadPoolExecutor(4)
        self.how = objects
        self.sessions: Sessions

    async def start(self) -> None:
        self.folder.__enter__()
        self.catalog.open()
        self.ledger = Ledger(self.catalog)
        self.blobs = Blobs(self.catalog, self.backend, self.hot, self.clock, small_blob_bytes=1024)
        await self.blobs.load()
        self.discarder = Discarder(self.catalog, self.backend)
        self.remote = RemoteUploads(
            self.backend, self.ledger, self.clock, discarding=self.discarder.poke, pause_s=0.001
        )
        how = {"keep_bytes": 0, "patience_s": 0.5, **self.how}
        self.sessions = Sessions(
            ledger=self.ledger,
            blobs=self.blobs,
            spool_folder=self.folder.spool,
            workers=self.workers,
            clock=self.clock,
            limits=self.limits,
            objects=ObjectStore(self.backend, self.remote, **how),
        )
        self.parted = self.sessions.parted
        await self.sessions.settle()
        await self.discarder.settle()
        self._discarding = asyncio.create_task(self.discarder.run())

    async def stop(self) -> None:
        self.sessions.stop()
        await self.remote.close()
        self._discarding.cancel()
        with suppress(asyncio.CancelledError):
            await self._discarding
        await self.blobs.close()
        self.catalog.close()
        self.workers.shutdown()
        self.folder.__exit__(None, None, None)

    async def stored(self, content: bytes) -> bool:
        """Whether the repository has the blob, and it reads as it should."""
        digest = Digest.of(content)
        if await self.blobs.size(REPOSITORY, digest) != len(content):
            return False
        return await self.blobs_bytes(digest) == content

    async def blobs_bytes(self, digest: Digest) -> bytes:
        blob = await self.blobs.content(REPOSITORY, digest)
        assert isinstance(blob, SmallBlob)
        return blob.content

    def url(self, session: PartedSession, number: int, sha256: str | None = None) -> str:
        """A URL of the store for one part."""
        url = self.parted.part_url(session.id, None, number, sha256=sha256, lifetime_s=900)
        assert url is not None
        return url.url

    async def whole_url(self, sha256: str | None = None, repository: str = REPOSITORY) -> str:
        """A URL of the store for everything in one request."""
        url = await self.parted.whole_url(repository, TEMP, OWNER, sha256, 900)
        assert url is not None
        return url.url

    def urls(self, session: PartedSession, parts: Sequence[bytes], *, hashed: bool = False) -> list[str]:
        """A URL of the store for each of these parts."""
        hashes = [hashlib.sha256(content).hexdigest() if hashed else None for content in parts]
        return [self.url(session, number, sha256) for number, sha256 in enumerate(hashes, 1)]

    def puts(self, session: PartedSession, parts: Sequence[bytes], *, hashed: bool = False) -> list[ListedPart]:
        """A client puts these parts straight into the store; the list it has then."""
        urls = self.urls(session, parts, hashed=hashed)
        etags = [self.store.client_puts(url, content) for url, content in zip(urls, parts, strict=True)]
        return [ListedPart(number, etag) for number, etag in enumerate(etags, 1)]

    async def seen(self) -> None:
        """Return when the background has sent and removed all it can."""
        for session in self.parted.all():
            sending = session.sending
            if sending is not None and sending.upload is not None and not self.store.dead:
                await sending.upload.all_sent(patience_s=5)
                await session.follower.to_the_end()
            while sending is not None and (running := [task for task in sending._tasks.values() if not task.done()]):
                await asyncio.wait(running)
        await self.discarder.done()


@asynccontextmanager
async def storehouse(
    data: Path, store: DirectStore | None = None, backend: PartStore | None = None, **how: Any
) -> AsyncIterator[StoreHouse]:
    """One process's life on `data` and a store; `keep_bytes` and such are for the sessions, the rest are limits."""
    of_objects = {
        name: how.pop(name) for name in ("keep_bytes", "ahead_bytes", "patience_s", "copies_prove") if name in how
    }
    limits = UploadLimits(**{"min_part_bytes": 1, **how})
    built = StoreHouse(data, store or DirectStore(HandClock()), limits, backend, **of_objects)
    await built.start()
    try:
        yield built
    finally:
        await built.stop()
