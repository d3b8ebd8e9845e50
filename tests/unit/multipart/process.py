"""One process's life over an object store in memory, below the handlers: put together as `rooms.py` does it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from backends.base import StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.remote import PartStore, RemoteUploads
from multipart.sessions import Sessions, UploadLimits
from multipart.slices import Slicing
from store.blobs import Blobs
from store.catalog import Catalog
from store.discarding import Discarder
from store.folder import DataFolder
from store.hot import Hot
from store.settling import Settler
from store.values import SmallBlob, StreamedBlob
from tests.unit.multipart.harness import REPOSITORY, HandClock


class MortalStore(MemoryStore):
    """A store that can be dead; it outlives the processes of a test, as a store does."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.dead = False
        self.before = self._before

    async def _before(self, verb: str, key: str) -> None:
        if self.dead:
            raise StoreUnavailable("the store does not answer")

    def temporary(self) -> list[str]:
        """The keys of whole objects that are no blobs' own."""
        return [key for key in self.values if key.startswith("holdfast/")]


class Process:
    """Everything below the handlers.

    Args:
        data: the data folder.
        backend: the store.
        small_blob_bytes: blobs up to there are read whole.
        settles: whether blobs are copied to the keys of their digests in the background.
        slicing: how sessions in sequence are cut.
        objects: what `ObjectStore` is told.
    """

    def __init__(
        self,
        data: Path,
        backend: PartStore,
        clock: HandClock,
        limits: UploadLimits,
        *,
        small_blob_bytes: int,
        settles: bool,
        slicing: Slicing | None = None,
        **objects: Any,
    ) -> None:
        self.backend, self.clock, self.limits = backend, clock, limits
        self.small_blob_bytes, self.settles = small_blob_bytes, settles
        self.folder = DataFolder(data, data)
        self.hot = Hot(1 << 20)
        self.catalog = Catalog(data, clock, drop=self.hot.drop)
        self.workers = ThreadPoolExecutor(4)
        self._slicing, self._objects = slicing, objects

    async def start(self) -> None:
        """As a server starts."""
        self.folder.__enter__()
        self.catalog.open()
        self.ledger = Ledger(self.catalog)
        self.blobs = Blobs(self.catalog, self.backend, self.hot, self.clock, small_blob_bytes=self.small_blob_bytes)
        await self.blobs.load()
        self.discarder = Discarder(self.catalog, self.backend)
        self.settler = Settler(self.catalog, self.backend, self.blobs)
        self.blobs.tell(self.discarder.poke)
        self.remotes = RemoteUploads(
            self.backend, self.ledger, self.clock, discarding=self.discarder.poke, pause_s=0.001
        )
        self.discarder.is_beginning = self.remotes.is_beginning
        self.sessions = Sessions(
            ledger=self.ledger,
            blobs=self.blobs,
            spool_folder=self.folder.spool,
            workers=self.workers,
            clock=self.clock,
            limits=self.limits,
            objects=ObjectStore(self.backend, self.remotes, **self._objects),
            slicing=self._slicing,
        )
        self.parted = self.sessions.parted
        await self.discarder.settle()
        await self.sessions.settle()
        lasting = [self.discarder.run, self.settler.run] if self.settles else [self.discarder.run]
        self._lasting = [asyncio.create_task(run()) for run in lasting]

    async def stop(self) -> None:
        """As a server stops."""
        self.sessions.stop()
        await self.rest()
        await self.blobs.close()
        self.catalog.close()
        self.workers.shutdown()
        self.folder.__exit__(None, None, None)

    async def rest(self) -> None:
        """Nothing happens in the background any more."""
        await self.remotes.close()
        await self._stop_lasting()

    async def _stop_lasting(self) -> None:
        for task in self._lasting:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def stored(self, content: bytes, algorithm: str = "sha256") -> bool:
        """Whether the repository has the blob, and it reads as it should."""
        digest = Digest.of(content, algorithm)
        if await self.blobs.size(REPOSITORY, digest) != len(content):
            return False
        blob = await self.blobs.content(REPOSITORY, digest)
        if isinstance(blob, SmallBlob):
            return blob.content == content
        assert isinstance(blob, StreamedBlob)
        return b"".join([piece async for piece in blob.read(0, len(content))]) == content
