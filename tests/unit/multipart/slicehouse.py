"""Sessions in sequence over an object store in memory, one process after the other; the store outlives them all."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from backends.base import StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from multipart.bodies import EmptyBody
from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.place import Place
from multipart.remote import RemoteUploads
from multipart.sending import Sending
from multipart.sessions import Sessions, UploadLimits
from multipart.sliced_spool import SlicedSpool
from multipart.slices import Slicing
from store.blobs import Blobs
from store.catalog import Catalog
from store.discarding import Discarder
from store.folder import DataFolder
from store.hot import Hot
from store.settling import Settler
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody

FIRST = 100
"""How long a slice is here."""
SLICING = Slicing(first_bytes=FIRST, keep_bytes=2 * FIRST, unsent_bytes=1 << 20, patience_s=0.5)


class Store(MemoryStore):
    """A store that can be dead, and can fail each verb so many times."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"smallest_part_bytes": 1, **how})
        self.dead = False
        self.failing: dict[str, int] = {}
        """How often a verb fails before it is done."""
        self.losing: dict[str, int] = {}
        """How often it is done, and only the answer is lost."""
        self.before, self.after = self._before, self._after

    async def _before(self, verb: str, key: str) -> None:
        if self.dead:
            raise StoreUnavailable("the store does not answer")
        _fail(self.failing, verb)

    async def _after(self, verb: str, key: str) -> None:
        _fail(self.losing, verb)

    def sent(self) -> list[int]:
        """The numbers of the parts that unfinished objects have."""
        return sorted(number for unfinished in self.unfinished.values() for number in unfinished.parts)

    def count(self, verb: str) -> int:
        """How often it was asked for that."""
        return sum(1 for asked, _ in self.asked if asked == verb)

    def drop_uploads(self) -> None:
        """As stores do with uploads that are too old in their eyes."""
        self.unfinished.clear()

    def temporary(self) -> list[str]:
        """The keys of objects that are no blobs' own."""
        return [key for key in self.values if key.startswith("holdfast/")]


def _fail(times: dict[str, int], verb: str) -> None:
    if times.get(verb, 0) > 0:
        times[verb] -= 1
        raise StoreUnavailable(f"the store fails at {verb}")


class SliceHouse:
    """Everything below the handlers, as one process over the store has it."""

    def __init__(self, data: Path, store: Store, clock: HandClock, slicing: Slicing, limits: UploadLimits) -> None:
        self.store, self.clock, self.slicing, self.limits = store, clock, slicing, limits
        self.folder = DataFolder(data, data)
        self.hot = Hot(1 << 20)
        self.catalog = Catalog(data, clock, drop=self.hot.drop)
        self.workers = ThreadPoolExecutor(4)

    async def start(self) -> None:
        self.folder.__enter__()
        self.catalog.open()
        self.blobs = Blobs(self.catalog, self.store, self.hot, self.clock, small_blob_bytes=10)
        await self.blobs.load()
        self.discarder = Discarder(self.catalog, self.store)
        self.settler = Settler(self.catalog, self.store, self.blobs)
        self.blobs.tell(self.discarder.poke)
        self.ledger = Ledger(self.catalog)
        self.remotes = RemoteUploads(self.store, self.ledger, self.clock, discarding=self.discarder.poke, pause_s=0.001)
        self.sessions = Sessions(
            ledger=self.ledger,
            blobs=self.blobs,
            spool_folder=self.folder.spool,
            workers=self.workers,
            clock=self.clock,
            limits=self.limits,
            objects=ObjectStore(self.store, self.remotes),
            slicing=self.slicing,
        )
        await self.discarder.settle()
        await self.sessions.settle()
        self._lasting = [asyncio.create_task(self.discarder.run()), asyncio.create_task(self.settler.run())]

    async def stop(self) -> None:
        self.sessions.stop()
        await self.remotes.close()
        await self._stop_lasting()
        await self.blobs.close()
        self.catalog.close()
        self.workers.shutdown()
        self.folder.__exit__(None, None, None)

    # -- what clients do ----------------------------------------------------------------------------------------------

    async def append(self, upload_id: str, content: bytes, at: int, **how: Any) -> int:
        """A PATCH in pieces that are cut nowhere in particular."""
        pieces = [content[start : start + 37] for start in range(0, len(content), 37)]
        return await self.sessions.append(REPOSITORY, upload_id, PlayedBody(pieces, **how), Place(location_offset=at))

    async def finish(self, upload_id: str, at: int, content: bytes, *, algorithm: str = "sha256") -> None:
        """The closing PUT, without a body."""
        digest = Digest.of(content, algorithm)
        await self.sessions.finish(REPOSITORY, upload_id, EmptyBody(), Place(location_offset=at), digest)

    # -- what tests look at -------------------------------------------------------------------------------------------

    def spool(self, upload_id: str) -> SlicedSpool:
        """The spool file of a session."""
        spool = next(session.spool for session in self.sessions.all() if session.id == upload_id)
        assert isinstance(spool, SlicedSpool)
        return spool

    def sending(self, upload_id: str) -> Sending:
        """What sends its slices."""
        found = next(session.sending for session in self.sessions.all() if session.id == upload_id)
        assert found is not None
        return found

    async def sent(self, upload_id: str) -> None:
        """Return when the store has every slice that is whole."""
        await asyncio.sleep(0)  # what threads told the loop is taken up
        remote = self.remotes.of(upload_id)
        if remote is not None:
            await remote.all_sent(patience_s=5)

    async def stored(self, content: bytes, algorithm: str = "sha256") -> bool:
        """Whether the repository has the blob, and it reads as it should."""
        digest = Digest.of(content, algorithm)
        if await self.blobs.size(REPOSITORY, digest) != len(content):
            return False
        blob: Any = await self.blobs.content(REPOSITORY, digest)
        inside = getattr(blob, "content", None)
        return (inside or b"".join([piece async for piece in blob.read(0, len(content))])) == content

    async def nothing_left(self) -> bool:
        """Once all is settled and discarded: no upload in the making, no temporary object, no row, no spool file."""
        self.settler.wake()
        await self.settler.settled()
        self.discarder.wake()
        await self.discarder.done()
        rows = [*await self.ledger.objects(), *await self.ledger.parts()]
        return not (self.store.unfinished or self.store.temporary() or rows or list(self.folder.spool.iterdir()))

    async def freeze(self) -> None:
        """From here on nothing of this process happens any more, as if it were killed: the folder can be copied."""
        self.store.dead = True
        await self.remotes.close()
        await self._stop_lasting()
        await self.ledger.touch({"nobody": 0.0})  # behind everything that was asked of the catalog

    async def _stop_lasting(self) -> None:
        for task in self._lasting:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def slicehouse(
    data: Path, store: Store, clock: HandClock | None = None, slicing: Slicing = SLICING, **limits: Any
) -> AsyncIterator[SliceHouse]:
    """One process's life on `data` and a store."""
    built = SliceHouse(data, store, clock or HandClock(), slicing, UploadLimits(**limits))
    await built.start()
    try:
        yield built
    finally:
        await built.stop()
