"""Sessions in sequence over an object store in memory, one process after the other; the store outlives them all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backends.base import StoreUnavailable
from model.digests import Digest
from multipart.bodies import EmptyBody
from multipart.place import Place
from multipart.sending import Sending
from multipart.session import Session
from multipart.sessions import UploadLimits
from multipart.sliced_spool import SlicedSpool
from multipart.slices import Slicing
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody
from tests.unit.multipart.process import MortalStore, Process

FIRST = 100
"""How long a slice is here."""
SLICING = Slicing(first_bytes=FIRST, keep_bytes=2 * FIRST, unsent_bytes=1 << 20, patience_s=0.5)


class Store(MortalStore):
    """A store that can be dead, and can fail each verb so many times."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"smallest_part_bytes": 1, **how})
        self.failing: dict[str, int] = {}
        """How often a verb fails before it is done."""
        self.losing: dict[str, int] = {}
        """How often it is done, and only the answer is lost."""
        self.after = self._after

    async def _before(self, verb: str, key: str) -> None:
        await super()._before(verb, key)
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


def _fail(times: dict[str, int], verb: str) -> None:
    if times.get(verb, 0) > 0:
        times[verb] -= 1
        raise StoreUnavailable(f"the store fails at {verb}")


class SliceHouse(Process):
    """A process with sessions in sequence, and what their clients do."""

    def __init__(self, data: Path, store: Store, clock: HandClock, slicing: Slicing, limits: UploadLimits) -> None:
        super().__init__(data, store, clock, limits, small_blob_bytes=10, settles=True, slicing=slicing)
        self.store, self.slicing = store, slicing

    # -- what clients do ----------------------------------------------------------------------------------------------

    async def received(self, content: bytes) -> Session:
        """A session that has received these bytes; not all slices need be in the store by then (`sent`)."""
        session = await self.sessions.open(REPOSITORY)
        await self.append(session.id, content, 0)
        return session

    async def append(self, upload_id: str, content: bytes, at: int, **how: Any) -> int:
        """A PATCH in pieces that are cut nowhere in particular."""
        pieces = [content[start : start + 37] for start in range(0, len(content), 37)]
        return await self.sessions.append(REPOSITORY, upload_id, PlayedBody(pieces, **how), Place(location_offset=at))

    async def finish(self, upload_id: str, at: int, content: bytes, *, algorithm: str = "sha256") -> None:
        """The closing PUT, without a body."""
        digest = Digest.of(content, algorithm)
        await self.sessions.finish(REPOSITORY, upload_id, EmptyBody(), Place(location_offset=at), digest)

    # -- what tests look at -------------------------------------------------------------------------------------------

    async def becomes_the_blob(self, upload_id: str, content: bytes) -> None:
        """The closing PUT is taken, the blob reads as it should, and nothing else is left."""
        await self.finish(upload_id, len(content), content)
        assert await self.stored(content)
        assert await self.nothing_left()

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
        await self.rest()
        await self.ledger.touch({"nobody": 0.0})  # behind everything that was asked of the catalog


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
