"""A whole store on an object store in memory, with what works in its background, and objects put into it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.base import FileSlice
from backends.memory_parts import MemoryStore
from model.digests import Digest
from store import store_objects, uploads
from store.discarding import Discarder
from store.layout import TEMPORARY, blob_key, temporary_key
from store.settling import Settler, never
from store.store_objects import ObjectRow
from store.uploads import UploadRow
from store.values import LocalBlob, SmallBlob
from tests.unit.store.shop import Shop, StillClock, shop

LARGE = bytes(range(256)) * 64
OTHER = bytes(reversed(range(256))) * 64
UPLOAD = "upload-1"


@dataclass
class Bucket:
    """A store, its object store, and the two that work in the background."""

    store: Shop
    objects: MemoryStore
    settler: Settler
    discarder: Discarder
    _working: list[asyncio.Task[None]]

    def work(self) -> None:
        """From now on, settle and discard."""
        self._working += [asyncio.create_task(self.settler.run()), asyncio.create_task(self.discarder.run())]

    async def calm(self) -> None:
        """Work until nothing is left to be settled or discarded."""
        if not self._working:
            self.work()
        await self.settler.settled()
        await self.discarder.done()

    async def uploaded(self, content: bytes, upload_id: str = UPLOAD, key: str | None = None) -> str:
        """A session that has made its object in the store; the key. What `multipart/` does on the way."""
        key = key or temporary_key(upload_id, f"token-{len(self.objects.asked)}")
        run = self.store.catalog.run
        if upload_id not in [row.id for row in await self.store.catalog.read(uploads.all_rows)]:
            await run(uploads.insert, UploadRow(upload_id, "a", "sha256", 1.0, 2.0))
        await run(store_objects.intend, ObjectRow(key, upload_id, "", 1.0))
        store_upload_id = await self.objects.begin(key)
        await run(store_objects.begun, key, upload_id, store_upload_id)
        source = self.store.folder / "spool" / f"{upload_id}.part"
        source.write_bytes(content)
        part = await self.objects.send_part(key, store_upload_id, 1, FileSlice(source, 0, len(content)))
        source.unlink()
        await self.objects.assemble(key, store_upload_id, [part])
        await run(store_objects.whole, key, upload_id)
        return key

    async def committed(self, content: bytes, upload_id: str = UPLOAD, repository: str = "a") -> Digest:
        """A blob that lies under a temporary key."""
        digest = Digest.of(content)
        key = await self.uploaded(content, upload_id)
        await self.store.blobs.commit_object(repository, digest, key, len(content), upload_id)
        return digest

    async def rows(self) -> list[ObjectRow]:
        """What is recorded of objects in the making."""
        return await self.store.catalog.read(store_objects.all_rows)

    def temporary(self) -> list[str]:
        """The temporary objects there are."""
        return [key for key in self.objects.values if key.startswith(TEMPORARY)]

    async def read(self, repository: str, digest: Digest, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a blob."""
        blob = await self.store.blobs.content(repository, digest)
        stop = blob.size_bytes if length is None else start + length
        if isinstance(blob, SmallBlob):
            return blob.content[start:stop]
        assert not isinstance(blob, LocalBlob)
        return b"".join([piece async for piece in blob.read(start, stop - start)])

    def holds_only(self, *contents: bytes) -> bool:
        """Whether these blobs lie under their own keys, and nothing else is in the store."""
        return self.objects.values == {blob_key(Digest.of(each)): each for each in contents} and not (
            self.objects.unfinished
        )


@asynccontextmanager
async def bucket(
    folder: Path,
    objects: MemoryStore | None = None,
    *,
    clock: StillClock | None = None,
    work: bool = False,
    is_busy: Callable[[], bool] = never,
) -> AsyncIterator[Bucket]:
    """Open all that, as a start of the server does; at once at work, or when it is told to."""
    objects = objects or MemoryStore(smallest_part_bytes=1)
    working: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(shop(folder, backend=objects, clock=clock))
        discarder = Discarder(store.catalog, objects)
        settler = Settler(store.catalog, objects, store.blobs, is_busy=is_busy)
        store.blobs.tell(discarder.poke)
        await discarder.settle()
        opened = Bucket(store, objects, settler, discarder, working)
        if work:
            opened.work()
        try:
            yield opened
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
