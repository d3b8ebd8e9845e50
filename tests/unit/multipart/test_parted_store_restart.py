"""Crashes, restarts, and a store that fails, under buffered uploads in parts: what was acknowledged is never lost."""

import asyncio
import shutil

import pytest

from model.digests import Digest
from model.errors import DigestMismatch, Stopping, StorageFailed, StorageFull, UploadUnknown
from multipart.refusals import PartsInvalid, UploadFinished
from tests.support.storehooks import failing, no_hook
from tests.unit.multipart.harness import HandClock
from tests.unit.multipart.parting import (
    ALL,
    DIGEST,
    KINDS,
    OTHER,
    PARTS,
    WHOLE,
    becomes_the_blob,
    complete,
    files,
    full,
    full_now,
    held,
    opened,
    send,
    send_all,
    send_missing,
)
from tests.unit.multipart.storehouse import OWNER, TEMP, DirectStore, storehouse

RESTART = pytest.mark.parametrize("restart", [False, True], ids=["", "restarted"])


@KINDS
@pytest.mark.parametrize("keep_bytes", [0, 15, 1000])
async def test_sessions_and_parts_come_back_and_go_on(tmp_path, declared, keep_bytes):
    """T09, H115: what is in the spool is not sent again, and the digest is only lost where bytes are not here."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store, keep_bytes=keep_bytes) as h:
        session = await opened(h, declared=declared, parts=[1, 2])
        await h.seen()
    async with storehouse(tmp_path, store, keep_bytes=keep_bytes) as h:
        (found,) = h.parted.all()
        assert found.row == session.row
        await h.parted.verify_all()
        assert await held(h, found) == {1: 10, 2: 10}
        await send(h, found, 3, PARTS[2])
        await complete(h, found)
        assert h.store.verbs().count("send_part") == 3
        assert ("get" in h.store.verbs()) == (keep_bytes < 20)
        await h.keeps_only(WHOLE)


async def test_after_a_restart_parts_go_as_before_though_the_digest_is_lost(tmp_path):
    """A large push that was interrupted does not need its size on the disk either."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        await opened(h, parts=[1])
        await h.seen()
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        await send(h, found, 3, PARTS[2])
        await send(h, found, 2, PARTS[1])
        await h.seen()
        assert files(h) == []
        with pytest.raises(DigestMismatch) as caught:
            await complete(h, found, Digest.of(b"something else"))
        assert caught.value.detail["actual"] == str(DIGEST)
        await h.nothing_is_left()


async def test_completed_under_a_temporary_name_with_a_lost_digest_it_is_proven_by_the_move(tmp_path):
    """H030, H110, C07."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        await opened(h, parts=ALL)
        await h.seen()
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        assert (await complete(h, found, None)).digest == ""
    async with storehouse(tmp_path, store) as h:
        await h.parted.verify_all()
        await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.keeps_only(WHOLE)


@KINDS
async def test_what_was_not_sent_before_the_restart_is_sent_behind_it(tmp_path, declared):
    """T09: also when nobody asks for the session."""
    store = DirectStore(HandClock())
    normal = store.before
    async with storehouse(tmp_path, store) as h:
        store.stall()
        await opened(h, declared=declared, parts=ALL)
    store.before = normal
    async with storehouse(tmp_path, store) as h:
        await h.parted.verify_all()
        await h.seen()
        assert h.store.verbs().count("send_part") >= 3 if declared else 2
        await becomes_the_blob(h, h.parted.all()[0])


@KINDS
@pytest.mark.parametrize("how", ["flipped", "short", "gone"])
async def test_damage_to_what_the_store_has_as_well_costs_nothing(tmp_path, declared, how):
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store, keep_bytes=1000) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await h.seen()
    damage(tmp_path / "spool" / f"{session.id}.part2", how)
    async with storehouse(tmp_path, store, keep_bytes=1000) as h:
        (found,) = h.parted.all()
        await complete(h, found)
        assert "get" in h.store.verbs()
        await h.keeps_only(WHOLE)


@KINDS
@pytest.mark.parametrize("how", ["flipped", "short", "gone"])
@pytest.mark.parametrize("verified", [True, False])
async def test_damage_to_what_only_the_spool_had_makes_the_part_missing(tmp_path, declared, how, verified):
    """T09: nothing damaged is sent."""
    store = DirectStore(HandClock())
    normal = store.before
    async with storehouse(tmp_path, store) as h:
        store.stall()
        session = await opened(h, declared=declared, parts=ALL)
    store.before = normal
    damage(tmp_path / "spool" / f"{session.id}.part2", how)
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        if verified:
            await h.parted.verify_all()
        with pytest.raises(PartsInvalid, match="part 2"):
            await complete(h, found)
        assert await held(h, found) == {1: 10, 3: 4}
        await becomes_the_blob(h, found, 2)
        await h.nothing_is_left([WHOLE])


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "short":
        path.write_bytes(content[:3])
    else:
        content[0] ^= 1
        path.write_bytes(content)


# -- a store that fails -----------------------------------------------------------------------------------------------


@KINDS
@RESTART
@pytest.mark.parametrize("applied", [False, True], ids=["not done", "answer lost"])
@pytest.mark.parametrize("step", ["begin", "send_part", "assemble", "size"])
async def test_a_store_that_fails_at_any_step_is_asked_again(tmp_path, declared, restart, step, applied):
    """T09: the session is as it was, and the completion goes on where it stands."""
    store = DirectStore(HandClock())
    breaks_off = failing((step, ""), error=StorageFailed("broken off"))
    async with storehouse(tmp_path, store, patience_s=0.3) as h:
        if applied:
            store.after = breaks_off
        else:
            store.before = breaks_off
        session = await opened(h, declared=declared, parts=ALL)
        if applied and step == "size":
            await complete(h, session)  # nothing changes by it, so there is no answer to be lost
            return
        with pytest.raises(StorageFailed):
            await complete(h, session)
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        store.before = store.after = no_hook
        if not restart:
            await becomes_the_blob(h, session)
            await h.nothing_is_left([WHOLE])
    if restart:
        async with storehouse(tmp_path, store) as h:
            await becomes_the_blob(h, h.parted.all()[0])
            await h.nothing_is_left([WHOLE])


@RESTART
@pytest.mark.parametrize("what", ["sent", "assemble", "object_whole", "intend_object", "object_begun"])
async def test_a_ledger_that_fails_loses_nothing(tmp_path, monkeypatch, restart, what):
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store, patience_s=0.3) as h:
        session = await opened(h)
        with monkeypatch.context() as broken:
            broken.setattr(h.ledger, what, full)
            await send_all(h, session)
            await asyncio.sleep(0)
            if what == "sent":
                assert len(files(h)) == 3  # without its row, no file goes
            else:
                with pytest.raises(StorageFull):
                    await complete(h, session, None)
        if not restart:
            await becomes_the_blob(h, session)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await becomes_the_blob(h, h.parted.all()[0])
            await h.nothing_is_left([WHOLE])


@KINDS
@RESTART
@pytest.mark.parametrize("unseen", [False, True], ids=["", "unseen"])
async def test_a_catalog_that_fails_when_the_blob_is_to_be_shown_can_be_asked_again(
    tmp_path, monkeypatch, declared, restart, unseen
):
    """T09: the object is whole in the store by then, and no part is taken any more that would not be in it."""

    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, declared=declared, parts=ALL)
        if unseen:
            await complete(h, session, None)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr("store.blob_rows.record_at", full_now)
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, session))
        for number in (1, 4):
            if number == 1 or not declared:
                with pytest.raises(UploadFinished):
                    await send(h, session, number, OTHER[0])
        if not restart:
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, session))
            await h.keeps_only(WHOLE)
    if restart:
        async with storehouse(tmp_path, store) as h:
            await h.parted.verify_all()
            (found,) = h.parted.all()
            await (h.parted.publish(OWNER, TEMP, DIGEST) if unseen else complete(h, found))
            await h.keeps_only(WHOLE)


@KINDS
@pytest.mark.parametrize("step", ["begin", "send_part", "assemble"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("keep_bytes", [0, 1000])
async def test_a_crash_at_any_step_is_gone_on_from(tmp_path, declared, step, when, keep_bytes):
    """T09: the folder as it was at that moment, and the store as it was made by then."""
    store = DirectStore(HandClock())
    data, crashed = tmp_path / "data", tmp_path / "crashed"
    data.mkdir()
    normal, gone, over = (store.before, store.after), asyncio.Event(), asyncio.Event()

    async def crash(verb, key):
        if verb == step:
            if not gone.is_set():
                shutil.copytree(data, crashed)
                gone.set()
            await over.wait()
            raise StorageFailed("this process is gone")

    async with storehouse(data, store, keep_bytes=keep_bytes, patience_s=0.05) as h:
        if when == "before":
            store.before = crash
        else:
            store.after = crash
        session = await opened(h, declared=declared, parts=ALL)
        completing = asyncio.create_task(complete(h, session))
        await gone.wait()
        h.parted.stop()
        with pytest.raises((Stopping, StorageFailed)):
            await completing
        over.set()
    store.before, store.after = normal
    async with storehouse(crashed, store, keep_bytes=keep_bytes) as h:
        (found,) = h.parted.all()
        await send_missing(h, found)
        await becomes_the_blob(h, found)
        await h.nothing_is_left([WHOLE])


@RESTART
@pytest.mark.parametrize("keep_bytes", [0, 1000])
async def test_an_upload_that_the_store_dropped_is_sent_again_from_what_is_here(tmp_path, restart, keep_bytes):
    """Some stores remove uploads that are a day old; only what is not here any more has to come again."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store, keep_bytes=keep_bytes) as h:
        session = await opened(h, parts=ALL)
        await h.seen()
        store.unfinished.clear()
        if not restart:
            await goes_on(h, session, keep_bytes)
    if restart:
        async with storehouse(tmp_path, store, keep_bytes=keep_bytes) as h:
            await goes_on(h, h.parted.all()[0], keep_bytes)


async def goes_on(h, session, keep_bytes):
    if not keep_bytes:
        with pytest.raises(PartsInvalid, match="part 1"):
            await complete(h, session)
        assert await held(h, session) == {}
        await send_all(h, session)
    await becomes_the_blob(h, session)
    await h.nothing_is_left([WHOLE])


async def test_an_object_that_is_lost_before_it_is_shown_is_made_again(tmp_path, monkeypatch):
    """Whoever removed it: the parts that are not here are missing, and the client is told which."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, parts=ALL)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr("store.blob_rows.record_at", full_now)
            await complete(h, session)
        store.values.clear()
        with pytest.raises(StorageFailed):
            await complete(h, session)
        await h.seen()
        await send_missing(h, session)
        await becomes_the_blob(h, session)


async def test_stopping_does_not_wait_for_the_store(tmp_path):
    """T09: and what was acknowledged goes on behind the restart."""
    store = DirectStore(HandClock())
    normal = store.before
    async with storehouse(tmp_path, store, patience_s=1000) as h:
        store.stall()
        session = await opened(h, parts=ALL)
        completing = asyncio.create_task(complete(h, session))
        await asyncio.wait([completing], timeout=0.05)
        h.parted.stop()
        with pytest.raises(Stopping):
            await completing
    store.before = normal
    async with storehouse(tmp_path, store) as h:
        await becomes_the_blob(h, h.parted.all()[0])
        await h.nothing_is_left([WHOLE])


async def test_a_row_without_its_upload_is_a_missing_part(tmp_path):
    """What the store had of a session is only worth something as long as we know where it is."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        await opened(h, parts=ALL)
        await h.seen()

        def forget(tx):
            tx.execute("DELETE FROM store_object")

        await h.catalog.run(forget)
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        assert await held(h, found) == {}
        await send_all(h, found)
        await becomes_the_blob(h, found)


async def test_an_end_while_the_store_is_dead_is_carried_out_when_it_is_back(tmp_path):
    """H067, H183."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, parts=ALL)
        await h.seen()
        store.dead = True
        await h.parted.abort(session.id, OWNER)
        with pytest.raises(UploadUnknown):
            await h.parted.publish(OWNER, TEMP, DIGEST)
    async with storehouse(tmp_path, store) as h:
        store.dead = False
        h.discarder.poke()
        await h.nothing_is_left()


async def test_a_store_that_lists_no_unfinished_uploads_for_us_takes_parts_all_the_same(tmp_path, monkeypatch):
    """The answer to the first beginning was lost, and our key may not list: that must not end the upload."""
    store = DirectStore(HandClock())
    begin, abort, lost = store.begin, store.abort, [True]

    async def begin_unheard(key):
        store_upload_id = await begin(key)
        if lost:
            lost.clear()
            raise StorageFailed("the answer was lost")
        return store_upload_id

    async def abort_known(key, store_upload_id):
        if store_upload_id is None:
            raise StorageFailed("AccessDenied")
        await abort(key, store_upload_id)

    monkeypatch.setattr(store, "begin", begin_unheard)
    monkeypatch.setattr(store, "abort", abort_known)
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, parts=ALL)
        await becomes_the_blob(h, session)
