"""Sessions in parts over an object store in memory, with clients that put parts into it themselves."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backends.base import MultipartGone
from multipart.parted import PartedSession
from multipart.parts import ListedPart
from multipart.remote import PartStore
from multipart.sessions import UploadLimits
from sigv4.presigning import Presigned
from tests.support.storehooks import Halt
from tests.unit.multipart.harness import REPOSITORY, HandClock
from tests.unit.multipart.process import MortalStore, Process

OWNER = "anna"
TEMP = "uploads/temp-1"
OF_OBJECTS = {"keep_bytes", "ahead_bytes", "patience_s", "copies_prove", "is_ours", "is_away"}
"""What the sessions are told about objects; the rest are limits."""
SMALLEST = 8
"""The least that all parts but the last need in the store."""


class Refused(Exception):
    """What the store says to a client that may not, or sends what its URL was not signed for."""


class DirectStore(MortalStore):
    """A store that clients reach themselves."""

    def __init__(self, clock: HandClock, **how: Any) -> None:
        super().__init__(**{"smallest_part_bytes": SMALLEST, **how})
        self.clock = clock
        self.is_native, self.why_not_native, self.checks_hashes = True, "", True

    @property
    def native(self) -> bool:
        return self.is_native

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

    def stall(self) -> asyncio.Event:
        """It takes no parts from us until the event is set."""
        halt = Halt("send_part")
        self.before = halt
        return halt.go

    def verbs(self) -> list[str]:
        """What it was asked for, in order."""
        return [verb for verb, _ in self.asked]


class StoreHouse(Process):
    """A process with sessions in parts, and what their clients do."""

    def __init__(
        self, data: Path, store: DirectStore, limits: UploadLimits, backend: PartStore | None = None, **objects: Any
    ) -> None:
        """Another `backend` than the store in memory, for one test or the other."""
        how = {"keep_bytes": 0, "patience_s": 0.5, **objects}
        super().__init__(data, backend or store, store.clock, limits, small_blob_bytes=1024, settles=False, **how)
        self.store = store

    async def keeps_only(self, *blobs: bytes) -> None:
        """These blobs can be read, and beside them nothing is left: in the store, in the spool, or counted."""
        for content in blobs:
            assert await self.stored(content)
        await self.nothing_is_left(blobs)

    async def nothing_is_left(self, blobs: Sequence[bytes] = ()) -> None:
        """Neither in the store, but for these blobs, nor in the spool, nor counted."""
        await self.discarder.done()
        spooled = [path.name for path in self.folder.spool.iterdir()]
        counted = (self.sessions._accounts.spooled_bytes, self.sessions._accounts.pledged_bytes)
        left = (self.store.unfinished, sorted(self.store.values.values()), spooled, counted)
        assert left == ({}, sorted(blobs), [], (0, 0)), left

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
    """One process's life on `data` and a store; `how` is `OF_OBJECTS` and limits."""
    of_objects = {name: how.pop(name) for name in OF_OBJECTS & how.keys()}
    limits = UploadLimits(**{"min_part_bytes": 1, **how})
    built = StoreHouse(data, store or DirectStore(HandClock()), limits, backend, **of_objects)
    await built.start()
    try:
        yield built
    finally:
        await built.stop()
