"""A closing PUT that brings everything goes to the key of its digest at once, and nothing else ever gets there (D9)."""

import random

import pytest

from model.digests import Digest
from model.errors import OffsetMismatch, StorageFull
from model.ranges import Span
from multipart.bodies import Ending
from multipart.interrupted import BodyVanished
from multipart.place import Place
from multipart.slices import Slicing
from store.layout import blob_key
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.slicehouse import FIRST, SliceHouse, Store, slicehouse

CONTENT, OTHER = random.Random(5).randbytes(4 * FIRST + 42), random.Random(6).randbytes(4 * FIRST + 42)
DIGEST = Digest.of(CONTENT)
ROOMY = Slicing(first_bytes=FIRST, keep_bytes=100 * FIRST, unsent_bytes=1 << 20, patience_s=0.5)


@pytest.fixture
def store() -> Store:
    return Store()


def played(content: bytes, ending: Ending = Ending.WHOLE) -> PlayedBody:
    return PlayedBody([content[at : at + 37] for at in range(0, len(content), 37)], ending=ending)


async def pushed(h: SliceHouse) -> None:
    """A blob, of which others know the digest."""
    await h.sessions.receive_whole(REPOSITORY, played(CONTENT), DIGEST)


async def broken_off(h: SliceHouse, upload_id: str) -> None:
    """A closing PUT that says the digest of a blob to come, brings other bytes, and is not brought to its end."""
    with pytest.raises(BodyVanished):
        await h.sessions.finish(REPOSITORY, upload_id, played(OTHER, Ending.VANISHED), Place(), DIGEST)


async def nothing_else_is_there(h: SliceHouse) -> None:
    """The blob is what it was, and what came beside it is a blob of its own."""
    assert h.store.values[blob_key(DIGEST)] == CONTENT
    assert await h.stored(OTHER)
    assert await h.nothing_left()


async def test_a_closing_put_with_all_bytes_needs_no_settling(tmp_path, store):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.finish(REPOSITORY, session.id, played(CONTENT), Place(), DIGEST)
        assert await h.stored(CONTENT)
        assert store.count("copy") == 0
        assert await h.nothing_left()


async def test_t10_what_came_is_never_put_under_a_digest_that_was_said_before(tmp_path, store):
    """T10: nothing need come any more for the end with the right one."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await broken_off(h, session.id)
        await pushed(h)
        await h.finish(session.id, len(OTHER), OTHER)
        await nothing_else_is_there(h)


@pytest.mark.parametrize("place", [Place(location_offset=7), Place(span=Span(7, 7 + len(OTHER)))])
async def test_t10_a_put_that_was_refused_says_nothing_about_the_bytes_that_come_later(tmp_path, store, place):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(OffsetMismatch):
            await h.sessions.finish(REPOSITORY, session.id, played(OTHER), place, DIGEST)
        await pushed(h)
        await h.append(session.id, OTHER, 0)
        await h.finish(session.id, len(OTHER), OTHER)
        await nothing_else_is_there(h)


@pytest.mark.parametrize("at", [0, 150, len(OTHER)])
async def test_t10_bytes_that_come_after_a_broken_put_are_another_upload(tmp_path, store, at):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await broken_off(h, session.id)
        await pushed(h)
        whole = OTHER[:at] + CONTENT
        await h.append(session.id, CONTENT, at)
        await h.finish(session.id, len(whole), whole)
        assert await h.stored(whole)
        assert store.values[blob_key(DIGEST)] == CONTENT
        assert await h.nothing_left()


async def test_t10_a_catalog_that_fails_in_between_changes_nothing_about_that(tmp_path, store, monkeypatch):
    def full(*_: object) -> None:
        raise StorageFull("no room")

    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await broken_off(h, session.id)
        await pushed(h)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr("store.store_objects.discard", full)
            await h.append(session.id, b"more", len(OTHER))
        await h.finish(session.id, len(OTHER), OTHER)
        await nothing_else_is_there(h)
