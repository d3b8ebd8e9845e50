"""Native uploads: temporary names, the end of them, and crashes and failures at each step."""

import asyncio
import shutil

import pytest

from backends.base import Direct
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import DigestMismatch, Stopping, StorageFailed, StorageFull, UploadUnknown
from multipart.parts import ListedPart
from multipart.refusals import (
    PartsInvalid,
    UploadAborted,
    UploadExpired,
    UploadFinished,
)
from tests.support.storehooks import Halt, failing, no_hook
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody, house
from tests.unit.multipart.parting import (
    ALL,
    DIGEST,
    KINDS,
    PARTS,
    SMALL,
    WHOLE,
    full,
    full_now,
    held,
    opened,
    send,
    send_all,
)
from tests.unit.multipart.storehouse import OWNER, TEMP, DirectStore, storehouse
from tests.unit.multipart.test_native import complete

# -- temporary names --------------------------------------------------------------------------------------------------


@KINDS
async def test_completed_under_a_temporary_name_it_is_unseen_and_proven_when_it_is_moved(tmp_path, declared):
    """H030, H110: the object stays where it is until then."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, native=True)
        listed = h.puts(session, PARTS)
        done = await complete(h, session, listed, None)
        assert (done.digest, done.size_bytes, done.parts) == ("", 24, 3)
        assert await complete(h, session, listed, None) == done
        assert "get" not in h.store.verbs()
        assert len(h.store.temporary()) == 1
        with pytest.raises(UploadFinished):
            h.parted.part_url(session.id, OWNER, 1, lifetime_s=900)
        moved = await h.parted.publish(OWNER, TEMP, DIGEST)
        assert (moved.digest, moved.upload_id) == (str(DIGEST), session.id)
        assert await h.parted.publish(OWNER, TEMP, DIGEST) == moved
        await h.keeps_only(WHOLE)


async def test_moved_to_a_digest_that_it_has_not_it_is_gone(tmp_path):
    """T10, H030."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        await complete(h, session, h.puts(session, PARTS), None)
        with pytest.raises(DigestMismatch):
            await h.parted.publish(OWNER, TEMP, Digest.of(b"something else"))
        with pytest.raises(UploadUnknown):
            await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.nothing_is_left()


@pytest.mark.parametrize("hashed", [True, False])
async def test_a_whole_in_one_request_goes_straight_to_the_store_and_is_proven_when_it_is_moved(tmp_path, hashed):
    """H031, D9: signed with its hash, it is not even read."""
    async with storehouse(tmp_path) as h:
        sha256 = DIGEST.hex if hashed else None
        url = await h.whole_url(sha256)
        with pytest.raises(UploadUnknown):
            await h.parted.publish(OWNER, TEMP, DIGEST)
        h.store.client_puts(url, WHOLE)
        moved = await h.parted.publish(OWNER, TEMP, DIGEST)
        assert (moved.digest, moved.size_bytes, moved.parts) == (str(DIGEST), 24, 1)
        assert await h.parted.publish(OWNER, TEMP, DIGEST) == moved
        assert ("get" in h.store.verbs()) != hashed
        await h.keeps_only(WHOLE)


async def test_a_whole_that_is_asked_for_again_is_the_same_and_what_came_last_counts(tmp_path):
    async with storehouse(tmp_path) as h:
        first = await h.whole_url()
        h.store.client_puts(first, b"other")
        second = await h.whole_url(DIGEST.hex)
        assert len(h.parted.all()) == 1
        h.store.client_puts(second, WHOLE)
        await h.parted.publish(OWNER, TEMP, DIGEST)
        assert "get" in h.store.verbs()
        assert await h.stored(WHOLE)


async def test_what_a_move_would_take_can_be_looked_at(tmp_path):
    """H145: its repository is what the policy is asked about; one name is of one repository."""
    async with storehouse(tmp_path) as h:
        assert h.parted.assembled(OWNER, TEMP) is None
        for repository in (REPOSITORY, "lab/other"):
            await h.whole_url(repository=repository)
            found = h.parted.assembled(OWNER, TEMP)
            assert found is not None
            assert found.row.repository == repository
        assert len(h.parted.all()) == 1
        session = await opened(h, parts=ALL)
        await complete(h, session, [ListedPart(p.number, p.etag) for p in session.listing.values()], None)
        assert h.parted.all() == [session]
        assert h.parted.assembled(OWNER, TEMP) is session


async def test_a_whole_survives_a_restart(tmp_path):
    """T09."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        url = await h.whole_url()
    store.client_puts(url, WHOLE)
    async with storehouse(tmp_path, store) as h:
        await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.keeps_only(WHOLE)


async def test_a_whole_that_comes_through_us_takes_the_place_of_one_that_was_announced(tmp_path):
    """H031: what the client sent last is what it moves."""
    async with storehouse(tmp_path) as h:
        url = await h.whole_url()
        h.store.client_puts(url, b"other")
        await h.parted.receive_whole(REPOSITORY, TEMP, PlayedBody([WHOLE]), owner=OWNER)
        await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.keeps_only(WHOLE)


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_an_abort_leaves_nothing_in_the_store(tmp_path):
    """H028, H111, H180, H192."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        h.puts(session, PARTS[:2])
        await send(h, session, 3, PARTS[2])
        await h.parted.abort(session.id, OWNER)
        with pytest.raises(UploadAborted):
            h.parted.part_url(session.id, OWNER, 1, lifetime_s=900)
        await h.nothing_is_left()


async def test_what_expires_is_aborted_in_the_store_but_not_before_its_urls_end(tmp_path):
    """H064, H067, H115: a client that was sent there has the time that its URL says."""
    async with storehouse(tmp_path, expiry_s=100) as h:
        session = await opened(h, native=True)
        h.puts(session, PARTS[:1])
        h.clock.time_s += 500
        assert await h.parted.expire() == 0
        h.clock.time_s += 500
        assert await h.parted.expire() == 1
        with pytest.raises(UploadExpired):
            await held(h, session)
        await h.nothing_is_left()


async def test_a_dead_store_does_not_hinder_an_end(tmp_path):
    """H067: the ledger knows what is to be removed when it is back."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        h.puts(session, PARTS[:1])
        store.dead = True
        await h.parted.abort(session.id, OWNER)
        assert len(store.unfinished) == 1
    store.dead = False
    async with storehouse(tmp_path, store) as h:
        await h.nothing_is_left()


async def test_stopping_breaks_a_proof_off_and_the_next_process_goes_on(tmp_path):
    """T09."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        store.before = reading = Halt("get")
        completing = asyncio.create_task(complete(h, session, listed))
        await reading.reached.wait()
        h.parted.stop()
        with pytest.raises(Stopping):
            await completing
    store.before = no_hook
    async with storehouse(tmp_path, store) as h:
        await complete(h, session, listed)
        await h.keeps_only(WHOLE)


# -- crashes and failures at each step --------------------------------------------------------------------------------


STEPS = ["list_parts", "assemble", "size", "get"]


@KINDS
@pytest.mark.parametrize("applied", [False, True], ids=["not done", "answer lost"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("restart", [False, True])
async def test_a_store_that_fails_at_any_step_of_a_completion_is_asked_again(
    tmp_path, declared, step, applied, restart
):
    """T09, H191: by the same process or the next."""
    store = DirectStore(HandClock())
    breaks_off = failing((step, ""), error=StorageFailed("broken off"))
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, declared=declared, native=True)
        listed = h.puts(session, PARTS)
        if applied:
            store.after = breaks_off
        else:
            store.before = breaks_off
        if applied and step in ("list_parts", "size", "get"):
            await complete(h, session, listed)  # nothing changes by them, so there is no answer to be lost
            return
        with pytest.raises(StorageFailed):
            await complete(h, session, listed)
        store.before = store.after = no_hook
        if not restart:
            await complete(h, session, listed)
            await h.keeps_only(WHOLE)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await complete(h, session, listed)
            await h.keeps_only(WHOLE)


@pytest.mark.parametrize("what", ["set_parts", "object_whole"])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_ledger_that_fails_during_a_completion_loses_nothing(tmp_path, monkeypatch, what, restart):
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(h.ledger, what, full)
            await complete(h, session, listed)
        if not restart:
            await complete(h, session, listed)
            assert await h.stored(WHOLE)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await complete(h, session, listed)
            assert await h.stored(WHOLE)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("unseen", [False, True])
async def test_a_catalog_that_fails_when_the_blob_is_to_be_shown_can_be_asked_again(
    tmp_path, monkeypatch, restart, unseen
):
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        if unseen:
            await complete(h, session, listed, None)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr("store.blob_rows.record_at", full_now)
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, session, listed))
        if not unseen:
            with pytest.raises(UploadFinished):
                await send(h, session, 1, PARTS[0])
        if not restart:
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, session, listed))
            assert await h.stored(WHOLE)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, session, listed))
            await h.keeps_only(WHOLE)


async def test_sessions_and_what_is_in_the_store_come_back_after_a_restart(tmp_path):
    """T09, H048: and go on either way."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        url = h.url(session, 3)
        first = await send(h, session, 1, PARTS[0])
    listed = {1: first.etag, 3: store.client_puts(url, PARTS[2])}
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        assert (found.mode, found.row) == ("native", session.row)
        await h.parted.verify_all()
        assert await held(h, found) == {1: 10, 3: 4}
        listed[2] = store.client_puts(h.url(session, 2), PARTS[1])
        await complete(h, found, [ListedPart(number, listed[number]) for number in (1, 2, 3)])
        await h.keeps_only(WHOLE)


@pytest.mark.parametrize("restart", [False, True])
async def test_an_upload_that_the_store_dropped_goes_on_from_nothing(tmp_path, restart):
    """Some stores remove uploads that are a day old: the client is told what is missing, and sends it again."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        store.unfinished.clear()
        if not restart:
            await goes_on_from_nothing(h, session, listed)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await goes_on_from_nothing(h, h.parted.all()[0], listed)


async def goes_on_from_nothing(h, session, listed):
    with pytest.raises(PartsInvalid, match="part 1"):
        await complete(h, session, listed)
    assert await held(h, session) == {}
    for number, content in enumerate(PARTS, 1):
        url = h.parted.part_url(session.id, OWNER, number, lifetime_s=900)
        if url is None:
            etag = (await send(h, session, number, content)).etag
        else:
            etag = h.store.client_puts(url.url, content)
        listed[number - 1] = ListedPart(number, etag)
    await complete(h, session, listed)
    await h.keeps_only(WHOLE)


async def test_a_native_session_goes_on_in_a_directory_when_the_driver_was_changed(tmp_path):
    """What was in the store is missing then, and has to be sent again."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        h.puts(session, PARTS)
        await held(h, session)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert found.mode == "buffered"
        assert await held(h, found) == {}
        await send_all(h, found)
        await h.sessions.parted.complete(
            found.id, OWNER, [ListedPart(p.number, p.etag) for p in found.listing.values()], DIGEST
        )
        assert await h.stored(WHOLE)


def test_a_store_without_urls_for_clients_is_no_direct_one():
    """The memory store of other tests has parts and copies only."""
    assert not isinstance(MemoryStore(), Direct)
    assert isinstance(DirectStore(HandClock()), Direct)


async def test_a_kill_while_the_store_copies_costs_nothing_but_the_copy(tmp_path):
    """The copy that proves is not taken for the session's own object at the next start."""
    store = DirectStore(HandClock(), hashes_copies=True)
    copying, killed = Halt("copy"), tmp_path / "killed"
    async with storehouse(tmp_path / "alive", store, copies_prove=lambda: True) as h:
        session = await opened(h, native=True)
        await complete(h, session, h.puts(session, PARTS), None)
        kept, store.before = dict(store.values), copying
        publishing = asyncio.create_task(h.parted.publish(OWNER, TEMP, DIGEST))
        await copying.reached.wait()
        shutil.copytree(tmp_path / "alive", killed)
        publishing.cancel()
        for task in h.blobs.commits._running:
            task.cancel()
        await asyncio.wait([publishing])
        store.before = store._before
    store.values.clear()
    store.values.update(kept)
    async with storehouse(killed, store, copies_prove=lambda: True) as h:
        await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.keeps_only(WHOLE)


async def test_a_whole_that_is_asked_for_twice_at_a_time_is_one(tmp_path, monkeypatch):
    """A client that gave up waiting asks again, and uses either URL."""
    async with storehouse(tmp_path) as h:
        begin, begun, go_on = h.store.begin, asyncio.Event(), asyncio.Event()

        async def slowly(key):
            begun.set()
            await go_on.wait()
            return await begin(key)

        monkeypatch.setattr(h.store, "begin", slowly)
        asking = [asyncio.create_task(h.whole_url()) for _ in range(2)]
        await begun.wait()
        go_on.set()
        first, _ = await asyncio.gather(*asking)
        assert len(h.parted.all()) == 1
        h.store.client_puts(first, WHOLE)
        await h.parted.publish(OWNER, TEMP, DIGEST)
        assert await h.stored(WHOLE)
