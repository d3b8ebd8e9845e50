"""Sessions on a real folder and catalog, with bodies that tests play piece by piece."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from backends.fs import FsBackend
from model.digests import Digest
from multipart.bodies import Ending, Poured, Sink
from multipart.ledger import Ledger
from multipart.sessions import Sessions, UploadLimits
from store.blobs import Blobs
from store.catalog import Catalog
from store.folder import DataFolder
from store.hot import Hot

REPOSITORY = "lab/tools"


class HandClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time_s = 1_000_000.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


class PlayedBody:
    """A body that arrives as `pieces`, waits for `go` before the one numbered `pause_before`, and ends as told."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        *,
        ending: Ending = Ending.WHOLE,
        counted: bool = True,
        pause_before: int | None = None,
    ) -> None:
        self.pieces = list(pieces)
        self.ending = ending
        self.length_bytes = sum(map(len, pieces)) if counted else None
        self.pause_before = pause_before
        self.paused, self.go, self.stopped = asyncio.Event(), asyncio.Event(), False

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        received = 0
        for number, piece in enumerate(self.pieces):
            if number == self.pause_before:
                self.paused.set()
                await self.go.wait()
            if self.stopped:
                return Poured(received, Ending.STOPPED)
            if limit_bytes is not None and received + len(piece) > limit_bytes:
                await asyncio.to_thread(sink.write, memoryview(piece[: limit_bytes - received]))
                return Poured(limit_bytes, Ending.TOO_LONG)
            await asyncio.to_thread(sink.write, memoryview(piece))
            received += len(piece)
        return Poured(received, self.ending)

    def stop(self) -> None:
        self.stopped = True
        self.go.set()


class House:
    """Everything below the handlers, as one process has it."""

    def __init__(
        self, data: Path, clock: HandClock, limits: UploadLimits, *, durable: bool = True, uncached: bool = False
    ) -> None:
        self.clock, self.durable, self.uncached = clock, durable, uncached
        self.folder = DataFolder(data, data)
        self.hot = Hot(1 << 20)
        self.catalog = Catalog(data, clock, drop=self.hot.drop)
        self.backend = FsBackend(data)
        self.blobs = Blobs(self.catalog, self.backend, self.hot, clock, small_blob_bytes=1024)
        self.workers = ThreadPoolExecutor(4)
        self.limits = limits
        self.sessions: Sessions

    def start(self) -> None:
        self.folder.__enter__()
        self.catalog.open()
        self.sessions = Sessions(
            ledger=Ledger(self.catalog),
            blobs=self.blobs,
            spool_folder=self.folder.spool,
            workers=self.workers,
            clock=self.clock,
            limits=self.limits,
            durable=self.durable,
            uncached=self.uncached,
        )

    async def stop(self) -> None:
        self.sessions.stop()
        await self.blobs.close()
        self.catalog.close()
        self.workers.shutdown()
        self.folder.__exit__(None, None, None)

    def spooled(self) -> list[str]:
        """The files of uploads, by their endings."""
        return sorted(path.suffix for path in self.folder.spool.iterdir())

    async def stored(self, content: bytes) -> bool:
        """Whether the blob is in the repository and the file is what it should be."""
        digest = Digest.of(content)
        await self.blobs.size(REPOSITORY, digest)
        hexadecimal = hashlib.sha256(content).hexdigest()
        pattern = f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
        return (self.folder.data_dir / pattern).read_bytes() == content


@asynccontextmanager
async def house(
    data: Path, clock: HandClock | None = None, *, durable: bool = True, uncached: bool = False, **limits: float
) -> AsyncIterator[House]:
    """One process's life on `data`: settled at its start as a real one is."""
    allowed = UploadLimits(**limits)  # type: ignore[arg-type]  # counts and seconds mixed
    built = House(data, clock or HandClock(), allowed, durable=durable, uncached=uncached)
    built.start()
    try:
        await built.sessions.settle()
        yield built
    finally:
        await built.stop()
