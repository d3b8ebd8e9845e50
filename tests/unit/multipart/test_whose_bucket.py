"""A store that was away at the start: nothing is put there before it is known whose bucket it is, and then at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from backends.base import StoreUnavailable
from backends.memory_parts import MemoryStore
from backends.s3.findings import Findings
from model.digests import Digest
from multipart.parts import ListedPart
from multipart.place import Place
from rooms import open_rooms
from store.layout import BLOBS, REGISTRY
from store.right_store import NotProvenOurs
from tests.support.inside import config_of
from tests.unit.multipart.harness import REPOSITORY, PlayedBody

THEIRS = b'{"id": "theirs", "since": "2026-01-01T00:00:00Z"}'
PARTS = [random.Random(number).randbytes(100) for number in range(3)]
WHOLE = b"".join(PARTS)
S3 = {
    "storage_driver": "s3",
    "s3_bucket": "images",
    "s3_endpoint": "http://store.example",
    "aws_access_key_id": "id",
    "aws_secret_access_key": "secret",
    "min_part_bytes": "1",
}


class Away(MemoryStore):
    """A store that is away, until it is not; as `stores.Remote` and without URLs for clients."""

    def __init__(self) -> None:
        super().__init__(smallest_part_bytes=1)
        self.findings, self.calls = Findings(when_s=0.0, reachable=True), SimpleNamespace(asked=0, failed=0)
        self.is_away, self.before, self.after = True, self._answers, self._notes
        self.has_parts = asyncio.Event()
        """All of `PARTS` were sent to it."""

    @property
    def health(self):
        return SimpleNamespace(ok=not self.is_away, reason="nobody answers")

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def _answers(self, verb, key):
        if self.is_away:
            raise StoreUnavailable("the store does not answer")

    async def _notes(self, verb, key):
        if [len(found.parts) for found in self.unfinished.values()] == [len(PARTS)]:
            self.has_parts.set()

    def put_there(self) -> set[str]:
        """The keys that something was put to, or begun at."""
        return {key for verb, key in self.asked if verb in ("put", "begin", "copy", "assemble")} - {REGISTRY}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Away:
    found = Away()

    @asynccontextmanager
    async def open_backend(config, clock, *, look) -> AsyncIterator[Away]:
        yield found

    monkeypatch.setattr("rooms.open_backend", open_backend)
    monkeypatch.setattr("multipart.remote_upload.FAILING_S", 0.05)
    return found


@asynccontextmanager
async def working(rooms):
    """What goes on in the background of a server."""
    tasks = [asyncio.create_task(run()) for run in rooms.lasting]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def push(rooms, content):
    """A blob in one request."""
    await rooms.services.sessions.receive_whole(REPOSITORY, PlayedBody([content]), Digest.of(content))


async def in_parts(rooms):
    """An upload whose parts are received; how it is completed."""
    parted = rooms.services.sessions.parted
    session = await parted.open(REPOSITORY, owner="anna", target="uploads/temp-1", size_bytes=300, part_size_bytes=100)
    listed = []
    for number, content in enumerate(PARTS, 1):
        listed.append(
            ListedPart(number, (await parted.receive(session.id, "anna", number, PlayedBody([content]))).etag)
        )
    return lambda: parted.complete(session.id, "anna", listed, Digest.of(WHOLE))


async def test_nothing_is_put_into_the_bucket_of_another_registry(tmp_path, store, monkeypatch):
    """What comes is received; what is to be stored is answered 503 with the reason, and goes on once that is right."""
    monkeypatch.setattr("store.right_store.LOOK_S", 0.001)
    monkeypatch.setattr("store.right_store.LOOK_AGAIN_S", 0.001)
    store.values[REGISTRY] = THEIRS
    async with open_rooms(config_of(tmp_path, **S3)) as rooms, working(rooms):
        complete = await in_parts(rooms)
        session = await rooms.services.sessions.open(REPOSITORY)
        await rooms.services.sessions.append(REPOSITORY, session.id, PlayedBody([PARTS[0]]), Place())
        store.is_away = False
        for _ in range(2):
            with pytest.raises(NotProvenOurs, match="another registry"):
                await push(rooms, WHOLE)
            with pytest.raises(NotProvenOurs, match="another registry"):
                await complete()
            with pytest.raises(NotProvenOurs, match="another registry"):
                await finish(rooms, session)
        assert (store.put_there(), store.unfinished, store.values) == (set(), {}, {REGISTRY: THEIRS})
        del store.values[REGISTRY]  # somebody puts it right
        await store.has_parts.wait()
        await complete()
        await finish(rooms, session)
        await push(rooms, WHOLE)
        assert await rooms.services.blobs.size(REPOSITORY, Digest.of(WHOLE)) == 300
        assert await rooms.services.blobs.size(REPOSITORY, Digest.of(PARTS[0])) == 100


async def finish(rooms, session):
    """The closing PUT."""
    place = Place(location_offset=100)
    await rooms.services.sessions.finish(REPOSITORY, session.id, PlayedBody([]), place, Digest.of(PARTS[0]))


async def test_what_waited_for_the_store_is_sent_by_itself_when_the_bucket_is_ours(tmp_path, store, monkeypatch):
    """H206: before anybody completes it."""
    monkeypatch.setattr("store.right_store.LOOK_S", 0.001)
    async with open_rooms(config_of(tmp_path, **S3)) as rooms, working(rooms):
        await in_parts(rooms)
        store.is_away = False
        await store.has_parts.wait()
        assert rooms.ownership.is_proven()


@pytest.mark.parametrize("how", ["in one request", "in parts"])
async def test_whose_bucket_it_is_is_found_out_by_the_first_who_needs_to_know(tmp_path, store, how):
    """No clock has to tick: nothing works in the background here."""
    async with open_rooms(config_of(tmp_path, **S3)) as rooms:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await push(rooms, WHOLE)
        complete = await in_parts(rooms)
        store.is_away = False
        await asyncio.gather(
            *((push(rooms, WHOLE), push(rooms, PARTS[0])) if how == "in one request" else (complete(),))
        )
        assert rooms.ownership.is_proven()
        assert [verb for verb, key in store.asked if key == REGISTRY and verb == "put"] == ["put"]


async def test_a_start_with_the_store_there_asks_whose_bucket_it_is_once(tmp_path, store):
    store.is_away = False
    async with open_rooms(config_of(tmp_path, **S3)) as rooms:
        before = [verb for verb, key in store.asked if key == REGISTRY]
        await push(rooms, WHOLE)
        await (await in_parts(rooms))()
        assert [verb for verb, key in store.asked if key == REGISTRY] == before == ["get", "put", "get"]


async def test_a_catalog_whose_blobs_are_not_in_the_bucket_puts_nothing_there(tmp_path, store):
    """A bucket that was emptied, or mistyped: the same words as at a start, without the names of anything."""
    store.is_away = False
    async with open_rooms(config_of(tmp_path, **S3)) as rooms:
        await push(rooms, WHOLE)
    store.is_away, store.asked = True, []
    store.values.clear()
    async with open_rooms(config_of(tmp_path, **S3)) as rooms:
        store.is_away = False
        for _ in range(2):
            with pytest.raises(NotProvenOurs) as caught:
                await push(rooms, PARTS[0])
            assert (
                caught.value.message
                == "the bucket has none of the blobs that are known here, so nothing is stored there"
            )
        assert rooms.ownership.trouble.startswith("the catalog knows blobs, but there are none at all below " + BLOBS)
        assert store.values == {}
