"""The answer to "begin an upload" gets lost: what the store has begun all the same does not stay for ever (H180)."""

import asyncio
import random
import shutil

import pytest

from model.digests import Digest
from multipart.bodies import Ending
from multipart.interrupted import BodyVanished
from store.layout import blob_key
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.slicehouse import FIRST, Store, slicehouse

CONTENT = random.Random(9).randbytes(3 * FIRST + 42)
DIGEST = Digest.of(CONTENT)
KEY = blob_key(DIGEST)


class AskedTwice(Store):
    """A store whose first answer to each `begin` is lost on the way, so that it is asked again below us."""

    async def begin(self, key: str) -> str:
        await super().begin(key)
        return await super().begin(key)


def body(pause_before: int | None = None, ending: Ending = Ending.WHOLE) -> PlayedBody:
    pieces = [CONTENT[start : start + FIRST] for start in range(0, len(CONTENT), FIRST)]
    return PlayedBody(pieces, pause_before=pause_before, ending=ending)


def in_one_request(h, received=None):
    """A POST with digest and body: it is sent to the digest's own key (D9)."""
    return h.sessions.receive_whole(REPOSITORY, received or body(), DIGEST)


async def its_begun(h, other_than=()):
    """Return once a session has an upload under the digest's key, by the ledger; its id."""
    while True:
        ids = [row.store_upload_id for row in await h.ledger.objects() if row.key == KEY and row.store_upload_id]
        for found in ids:
            if found not in other_than:
                return found


@pytest.mark.parametrize("kind", [AskedTwice, Store], ids=["asked again below us", "asked again by us"])
async def test_nothing_stays_under_the_key_of_a_digest(tmp_path, kind):
    store = kind()
    store.losing["begin"] = 1 if kind is Store else 0
    async with slicehouse(tmp_path, store) as h:
        await in_one_request(h)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


@pytest.mark.parametrize("first", ["is stored", "is given up"])
async def test_what_another_session_makes_of_the_same_digest_is_left_alone(tmp_path, first):
    store = AskedTwice()
    async with slicehouse(tmp_path, store) as h:
        slow = body(pause_before=2)
        other = asyncio.create_task(in_one_request(h, slow))
        theirs = await its_begun(h)
        if first == "is stored":
            await in_one_request(h)
        else:
            with pytest.raises(BodyVanished):
                await in_one_request(h, body(ending=Ending.VANISHED))
        await h.discarder.done()
        assert list(store.unfinished) == [theirs]
        slow.go.set()
        await other
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_whoever_is_just_beginning_under_the_same_digest_keeps_what_the_store_begins(tmp_path):
    store = AskedTwice()
    reached, gate = asyncio.Event(), asyncio.Event()
    async with slicehouse(tmp_path, store) as h:
        slow = body(pause_before=2)
        first = asyncio.create_task(in_one_request(h, slow))
        await its_begun(h)

        async def answers_late(verb, key):
            if verb == "begin":
                reached.set()
                await gate.wait()

        store.after = answers_late
        second = asyncio.create_task(in_one_request(h))
        await reached.wait()
        slow.ending = Ending.VANISHED
        slow.go.set()
        with pytest.raises(BodyVanished):
            await first
        h.discarder.poke()
        assert len(store.unfinished) >= 2
        gate.set()
        await second
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_whoever_begins_while_the_store_lists_what_is_left_there_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr("store.lanes.FIRST_REST_S", 0)
    store = AskedTwice()
    listing, listed, reached, gate = (asyncio.Event() for _ in range(4))

    async def lists_late(verb, key):
        if verb == "list_unfinished" and not listing.is_set():
            listing.set()
            await listed.wait()

    async def answers_late(verb, key):
        if verb == "begin" and store.count("begin") == 4:
            reached.set()
            await gate.wait()

    async with slicehouse(tmp_path, store) as h:
        store.before, store.after = lists_late, answers_late
        with pytest.raises(BodyVanished):
            await in_one_request(h, body(ending=Ending.VANISHED))
        await listing.wait()
        second = asyncio.create_task(in_one_request(h))
        await reached.wait()
        listed.set()
        await asyncio.wait([second], timeout=0.05)
        gate.set()
        await second
        assert await h.stored(CONTENT)
        assert store.count("begin") == 4  # had its upload been taken away, it would have begun another
        assert await h.nothing_left()


async def test_a_session_that_ends_before_the_store_answers_leaves_nothing_either(tmp_path):
    store = AskedTwice()
    reached, gate = asyncio.Event(), asyncio.Event()

    async def answers_late(verb, key):
        if verb == "begin":
            reached.set()
            await gate.wait()

    store.before = answers_late
    async with slicehouse(tmp_path, store) as h:
        with pytest.raises(BodyVanished):
            await in_one_request(h, body(ending=Ending.VANISHED))
        await reached.wait()
        assert [row.state for row in await h.ledger.objects()] == ["discard"]
        gate.set()
        await h.discarder.done()
        assert store.count("begin") == 2
        assert await h.nothing_left()


@pytest.mark.parametrize("again", [False, True], ids=["", "pushed again meanwhile"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_before_the_answer_leaves_nothing_behind_the_next_start(tmp_path, when, again):
    """Row `making` without an id; a session of the same digest that the next process takes is not touched by it."""
    store, reached = AskedTwice(), asyncio.Event()
    data, killed = tmp_path / "data", tmp_path / "killed"
    data.mkdir()

    async def never_answers(verb, key):
        if verb == "begin" and store.count("begin") == 2:
            reached.set()
            await asyncio.Event().wait()

    setattr(store, when, never_answers)
    async with slicehouse(data, store) as h:
        pushing = asyncio.create_task(in_one_request(h, body(pause_before=3)))
        await reached.wait()
        assert [(row.key, row.state, row.store_upload_id) for row in await h.ledger.objects()] == [
            (KEY, "making", None)
        ]
        await h.ledger.touch({"nobody": 0.0})  # behind everything that was asked of the catalog
        shutil.copytree(data, killed)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        await h._stop_lasting()
    assert len(store.unfinished) == (1 if when == "before" else 2)
    store.before, store.after = store._before, store._after
    async with slicehouse(killed, store) as h:
        if again:
            await in_one_request(h)
            assert await h.stored(CONTENT)
        assert await h.nothing_left()
