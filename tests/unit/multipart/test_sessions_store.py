"""Sessions in sequence over an object store: slices go up while bytes arrive, and the end costs the last (D9, H206)."""

import asyncio
import random
import threading
from dataclasses import replace

import pytest

from backends.base import StoreUnavailable
from model.digests import Digest
from model.errors import DigestMismatch, OffsetMismatch, StorageFailed, UploadUnknown
from multipart import sending, spool
from multipart.bodies import EmptyBody, Ending
from multipart.place import Place
from multipart.sliced_spool import SlicedSpool
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.slicehouse import FIRST, SLICING, Store, slicehouse

CONTENT = random.Random(4).randbytes(10 * FIRST + 42)


@pytest.fixture(autouse=True)
def marks_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MARK_BYTES", 8)


@pytest.fixture
def store() -> Store:
    return Store()


async def test_slices_are_in_the_store_before_the_upload_is_finished(tmp_path, store):
    """H206: what is left for the end is the last slice."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        assert store.sent() == list(range(1, 11))
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert store.count("send_part") == 11
        assert store.count("put") == 0
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_nothing_is_read_again_to_prove_what_we_hashed_ourselves(tmp_path, store):
    """D9: it was hashed on the way, so it is visible as soon as the last slice is there."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert store.count("get") == 0


async def test_a_small_upload_goes_in_one_piece(tmp_path, store):
    """H193: below one slice no multipart upload is begun."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[: FIRST - 1])
        await h.finish(session.id, FIRST - 1, CONTENT[: FIRST - 1])
        assert (store.count("begin"), store.count("put")) == (0, 1)
        assert await h.stored(CONTENT[: FIRST - 1])
        assert await h.nothing_left()


async def test_an_upload_of_exactly_some_slices_has_no_further_one(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[: 3 * FIRST])
        await h.finish(session.id, 3 * FIRST, CONTENT[: 3 * FIRST])
        assert store.count("send_part") == 3
        assert await h.stored(CONTENT[: 3 * FIRST])


async def test_a_dead_store_fails_no_patch_and_the_upload_goes_on_when_it_is_back(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        store.dead = True
        assert await h.append(session.id, CONTENT[:500], 0) == 500
        assert await h.append(session.id, CONTENT[500:], 500) == len(CONTENT)
        with pytest.raises(StoreUnavailable):
            await h.finish(session.id, len(CONTENT), CONTENT)
        assert await h.sessions.offset(REPOSITORY, session.id) == len(CONTENT)
        store.dead = False
        await h.becomes_the_blob(session.id, CONTENT)


async def test_a_wrong_digest_is_known_before_anything_is_assembled(tmp_path, store):
    """T10, C07: and nothing is left of it."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        with pytest.raises(DigestMismatch):
            await h.finish(session.id, len(CONTENT), b"something else")
        assert store.count("assemble") == 0
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, session.id)
        assert await h.nothing_left()
        assert store.values == {}


@pytest.mark.parametrize("verb", ["begin", "send_part", "assemble", "size"])
@pytest.mark.parametrize("lost", [False, True], ids=["fails", "answer lost"])
async def test_whatever_fails_once_is_done_again(tmp_path, store, verb, lost):
    """T01: retried in the background, or by the client's own repetition of its request."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        (store.losing if lost else store.failing)[verb] = 1
        await h.append(session.id, CONTENT, 0)
        try:
            await h.finish(session.id, len(CONTENT), CONTENT)
        except StorageFailed:
            await h.finish(session.id, len(CONTENT), CONTENT)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_finishing_again_what_was_finished_succeeds(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.finish(session.id, len(CONTENT), CONTENT)
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert store.count("assemble") == 1


async def test_a_blob_in_one_request_goes_straight_to_the_key_of_its_digest(tmp_path, store):
    """D9: with the digest known before the first byte nothing has to be settled."""
    async with slicehouse(tmp_path, store) as h:
        await h.sessions.receive_whole(REPOSITORY, PlayedBody([CONTENT[:333], CONTENT[333:]]), Digest.of(CONTENT))
        assert await h.stored(CONTENT)
        assert store.count("copy") == 0
        assert not h.blobs.is_unsettled(Digest.of(CONTENT))
        assert await h.nothing_left()


async def test_a_blob_in_one_request_that_is_another_leaves_nothing_under_its_key(tmp_path, store):
    """Nothing unproven is ever under the key of a digest."""
    async with slicehouse(tmp_path, store) as h:
        with pytest.raises(DigestMismatch):
            await h.sessions.receive_whole(REPOSITORY, PlayedBody([CONTENT]), Digest.of(b"another"))
        assert await h.nothing_left()
        assert store.values == {}


async def test_a_blob_in_one_request_that_breaks_off_leaves_nothing(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        body = PlayedBody([CONTENT], ending=Ending.VANISHED)
        with pytest.raises(Exception, match="went away"):
            await h.sessions.receive_whole(REPOSITORY, body, Digest.of(CONTENT))
        assert await h.nothing_left()
        assert store.values == {}


@pytest.mark.parametrize("how", ["cancel", "expire"])
async def test_a_session_that_ends_leaves_nothing_in_the_store(tmp_path, store, how):
    """H180, H183: also what was on its way."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        if how == "cancel":
            await h.sessions.cancel(REPOSITORY, session.id)
        else:
            h.clock.time_s += h.limits.expiry_s + 1
            assert await h.sessions.expire() == 1
        assert await h.nothing_left()


# -- going back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 99, 100, 101, 250, 1000, 1041])
async def test_a_client_may_go_back_anywhere_in_what_is_here(tmp_path, store, at):
    """A rewind below a slice that is stored sends that part number again."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        h.sending(session.id)._can_trim = False
        other = CONTENT[:at] + bytes(len(CONTENT) - at)
        await h.append(session.id, other, 0)
        await h.sent(session.id)
        assert await h.append(session.id, CONTENT[at:], at) == len(CONTENT)
        await h.becomes_the_blob(session.id, CONTENT)
        assert store.count("get") == 1  # that of the line above


async def test_an_upload_that_becomes_shorter_has_no_parts_too_many(tmp_path, store):
    """Some stores refuse to assemble when there are parts that were not listed (s3-sigv4 3)."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        h.sending(session.id)._can_trim = False
        await h.append(session.id, CONTENT, 0)
        await h.sent(session.id)
        shorter = CONTENT[:350] + b"end"
        await h.append(session.id, b"end", 350)
        seen = []
        assemble = store.assemble

        async def assembling(key, store_upload_id, parts):
            seen.append(sorted(store.unfinished[store_upload_id].parts) == [part.number for part in parts])
            await assemble(key, store_upload_id, parts)

        store.assemble = assembling
        await h.finish(session.id, len(shorter), shorter)
        assert seen == [True]
        assert await h.stored(shorter)
        assert await h.nothing_left()


async def test_bytes_that_come_after_a_failed_end_are_taken(tmp_path, store):
    """The last slice was sent as the last; it is sent again when it is not."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:530])
        store.failing["assemble"] = 1
        with pytest.raises(StoreUnavailable):
            await h.finish(session.id, 530, CONTENT[:530])
        await h.append(session.id, CONTENT[530:], 530)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_bytes_that_come_after_the_store_assembled_it_are_taken(tmp_path, store, monkeypatch):
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        h.sending(session.id)._can_trim = False
        await h.append(session.id, CONTENT[:530], 0)
        store.failing["size"] = 1  # the commit looks at what it is to show
        with pytest.raises(StoreUnavailable):
            await h.finish(session.id, 530, CONTENT[:530])
        assert store.count("assemble") == 1
        await h.append(session.id, CONTENT[530:], 530)
        await h.becomes_the_blob(session.id, CONTENT)


# -- letting go -------------------------------------------------------------------------------------------------------


async def test_what_the_store_has_is_let_go_but_for_the_last(tmp_path, store):
    """D2: a large upload does not need its size on the disk."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        spool = h.spool(session.id)
        assert spool.floor_bytes == 800  # 242 bytes are within the 200 that are kept, and one slice
        assert spool.path.read_bytes() == bytes(800) + CONTENT[800:]
        await h.becomes_the_blob(session.id, CONTENT)


async def test_what_left_the_spool_is_known_to_have_left_it_when_the_sending_is_broken_off(
    tmp_path, store, monkeypatch
):
    punching, may_go_on = asyncio.Event(), threading.Event()
    really = SlicedSpool.punch

    def slowly(spool: SlicedSpool, stop: int) -> bool:
        loop.call_soon_threadsafe(punching.set)
        return may_go_on.wait(10) and really(spool, stop)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(SlicedSpool, "punch", slowly)
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await punching.wait()
        leaving = asyncio.create_task(h.sending(session.id).leave())
        await asyncio.sleep(0)
        may_go_on.set()
        await leaving
        spool = h.spool(session.id)
        assert spool.floor_bytes == spool.path.read_bytes().index(CONTENT[spool.floor_bytes :]) > 0
        await h.becomes_the_blob(session.id, CONTENT)


@pytest.mark.parametrize("at", [800, 801, 950, 1000, 1041, 1042])
async def test_a_client_may_go_back_into_what_is_kept(tmp_path, store, at):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:at] + bytes(len(CONTENT) - at))
        await h.sent(session.id)
        assert await h.append(session.id, CONTENT[at:], at) == len(CONTENT)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_a_client_may_begin_from_nothing_when_the_beginning_was_let_go(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(bytes(len(CONTENT)))
        await h.sent(session.id)
        assert h.spool(session.id).floor_bytes
        assert await h.append(session.id, CONTENT, 0) == len(CONTENT)
        await h.becomes_the_blob(session.id, CONTENT)


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "chunked"])
async def test_going_back_to_what_was_let_go_is_refused_with_where_it_stands(tmp_path, store, counted):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        with pytest.raises(OffsetMismatch) as refused:
            await h.append(session.id, b"again", 799, counted=counted)
        assert refused.value.offset_bytes == len(CONTENT)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_an_empty_body_goes_nowhere_also_when_the_beginning_was_let_go(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        assert await h.append(session.id, b"", 10, counted=False) == len(CONTENT)
        assert await h.append(session.id, b"", 10) == len(CONTENT)


async def test_nothing_is_let_go_that_the_store_does_not_have(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        store.dead = True
        await h.append(session.id, CONTENT, 0)
        assert h.spool(session.id).floor_bytes == 0
        assert h.spool(session.id).path.read_bytes() == CONTENT


async def test_where_the_file_system_cannot_let_go_all_is_kept_and_said_once(tmp_path, store, monkeypatch, caplog):
    monkeypatch.setattr("multipart.filesystem.punch", lambda *_: False)
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        assert h.spool(session.id).floor_bytes == 0
        assert caplog.text.count("cannot let go") == 1
        await h.append(session.id, CONTENT, 0)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_another_algorithm_is_proven_by_reading_again_when_bytes_were_let_go(tmp_path, store):
    """Rule 13: its digest did not run along."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        assert h.spool(session.id).floor_bytes
        await h.finish(session.id, len(CONTENT), CONTENT, algorithm="sha512")
        assert await h.stored(CONTENT, "sha512")
        assert await h.nothing_left()


async def test_another_algorithm_that_does_not_match_leaves_nothing(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        with pytest.raises(DigestMismatch):
            await h.finish(session.id, len(CONTENT), b"another", algorithm="sha512")
        assert await h.nothing_left()
        assert store.values == {}


async def test_a_body_that_is_far_ahead_of_the_store_is_held_back_but_never_stopped(tmp_path, store, monkeypatch):
    """The spool takes what the store does not, more slowly; and at full speed again once the store is through."""
    rests: list[float] = []
    monkeypatch.setattr("multipart.sending.time.sleep", rests.append)
    async with slicehouse(tmp_path, store, slicing=replace(SLICING, unsent_bytes=300)) as h:
        session = await h.sessions.open(REPOSITORY)
        store.dead = True
        assert await h.append(session.id, CONTENT[:300], 0) == 300
        assert rests == []
        assert await h.append(session.id, CONTENT[300:600], 300) == 600
        await asyncio.sleep(0)
        assert await h.append(session.id, CONTENT[600:900], 600) == 900
        assert 0 < len(rests) <= 20 * sending.PAUSES
        assert set(rests) == {sending.PAUSE_S}
        store.dead = False
        await h.sent(session.id)
        rests.clear()
        await h.append(session.id, CONTENT[900:], 900)
        assert rests == []
        await h.becomes_the_blob(session.id, CONTENT)


async def test_few_threads_rest_at_a_time(tmp_path, store, monkeypatch):
    """The others of the pool are there for everybody."""
    rests: list[float] = []
    monkeypatch.setattr("multipart.sending.time.sleep", rests.append)
    monkeypatch.setattr(sending, "_PAUSING", threading.BoundedSemaphore(1))
    async with slicehouse(tmp_path, store, slicing=replace(SLICING, unsent_bytes=0)) as h:
        session = await h.sessions.open(REPOSITORY)
        store.dead = True
        await h.append(session.id, CONTENT[:500], 0)
        await asyncio.sleep(0)
        rests.clear()
        with sending._PAUSING:
            await h.append(session.id, CONTENT[500:], 500)
        assert rests == []


# -- the store drops uploads ------------------------------------------------------------------------------------------


async def test_an_upload_that_the_store_dropped_is_begun_again(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        h.sending(session.id)._can_trim = False
        await h.append(session.id, CONTENT[:500], 0)
        await h.sent(session.id)
        store.drop_uploads()
        await h.append(session.id, CONTENT[500:], 500)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_an_upload_that_the_store_dropped_at_the_very_end_is_begun_again(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        h.sending(session.id)._can_trim = False
        await h.append(session.id, CONTENT[:1000], 0)
        await h.sent(session.id)
        store.drop_uploads()
        await h.becomes_the_blob(session.id, CONTENT[:1000])


@pytest.mark.parametrize("then", ["append", "finish"])
async def test_an_upload_whose_beginning_is_nowhere_any_more_ends(tmp_path, store, then, caplog):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
        assert h.spool(session.id).floor_bytes
        store.drop_uploads()
        with pytest.raises(UploadUnknown):
            if then == "append":
                await h.append(session.id, CONTENT, len(CONTENT))
                await h.sent(session.id)
                await h.append(session.id, CONTENT, 2 * len(CONTENT))
            await h.finish(session.id, len(CONTENT), CONTENT)
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, session.id)
        assert "lost slice 1" in caplog.text
        assert h.sessions.all() == []
        assert await h.nothing_left()


# -- restarts ---------------------------------------------------------------------------------------------------------


async def test_what_the_store_has_is_not_sent_again_after_a_restart(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:290])
        await h.sent(session.id)
    async with slicehouse(tmp_path, store) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 290
        await h.append(session.id, CONTENT[290:], 290)
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert store.count("send_part") == 11
        assert store.count("get") == 0
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_with_the_beginning_let_go_a_session_stands_where_it_stood(tmp_path, store):
    """What was acknowledged is there: in the store, or in the spool file behind that."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:750])
        await h.sent(session.id)
        assert h.spool(session.id).floor_bytes
        store.dead = True
        await h.append(session.id, CONTENT[750:930], 750)
    async with slicehouse(tmp_path, store) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 930
        store.dead = False
        await h.append(session.id, CONTENT[930:], 930)
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert store.count("get") == 1
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_after_a_restart_without_the_beginning_the_object_is_read_before_it_is_shown(tmp_path, store):
    """D9, C07: the running digest is lost, so the proof comes from the store."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
    async with slicehouse(tmp_path, store) as h:
        with pytest.raises(DigestMismatch):
            await h.finish(session.id, len(CONTENT), b"another")
        assert store.count("get") == 1
        assert await h.nothing_left()
        assert store.values == {}


@pytest.mark.parametrize("at", [800, 950, 1042, 0])
async def test_after_a_restart_without_the_beginning_a_client_may_go_back(tmp_path, store, at):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:at] + bytes(len(CONTENT) - at))
        await h.sent(session.id)
    async with slicehouse(tmp_path, store) as h:
        await h.append(session.id, CONTENT[at:], at)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_a_part_that_the_store_lost_meanwhile_is_sent_again(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:250])
        await h.sent(session.id)
    for unfinished in store.unfinished.values():
        del unfinished.parts[1]
    async with slicehouse(tmp_path, store) as h:
        await h.becomes_the_blob(session.id, CONTENT[:250])


async def test_an_upload_that_the_store_dropped_over_a_restart_is_begun_again(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:250])
        await h.sent(session.id)
    store.drop_uploads()
    async with slicehouse(tmp_path, store) as h:
        await h.append(session.id, CONTENT[250:], 250)
        await h.becomes_the_blob(session.id, CONTENT)


async def test_an_upload_whose_beginning_the_store_dropped_over_a_restart_ends(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
    store.drop_uploads()
    async with slicehouse(tmp_path, store) as h:
        with pytest.raises(UploadUnknown):
            await h.finish(session.id, len(CONTENT), CONTENT)
        assert h.sessions.all() == []
        assert await h.nothing_left()


@pytest.mark.parametrize("size", [450, 1042], ids=["all here", "beginning let go"])
async def test_an_end_that_broke_off_behind_the_assembling_is_gone_on_with_after_a_restart(tmp_path, store, size):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:size])
        await h.sent(session.id)
        store.losing["assemble"] = 1
        with pytest.raises(StoreUnavailable):
            await h.finish(session.id, size, CONTENT[:size])
        assert len(store.temporary()) == 1
    async with slicehouse(tmp_path, store) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == size
        sent = store.count("send_part")
        await h.finish(session.id, size, CONTENT[:size])
        assert store.count("send_part") == sent
        assert await h.stored(CONTENT[:size])
        assert await h.nothing_left()


async def test_a_session_that_nobody_comes_back_to_leaves_nothing(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT)
        await h.sent(session.id)
    async with slicehouse(tmp_path, store) as h:
        h.clock.time_s += h.limits.expiry_s + 1
        await h.sessions.expire()
        assert await h.nothing_left()


async def test_a_body_that_is_larger_than_the_disk_is_not_refused_for_that(tmp_path, store, monkeypatch):
    """Only what has to lie here at a time needs room here."""
    asked = []
    monkeypatch.setattr("multipart.filesystem.require_room", lambda _, length_bytes: asked.append(length_bytes))
    monkeypatch.setattr("multipart.session.RESERVED_BYTES", 1)
    async with slicehouse(tmp_path, store) as h:
        body = PlayedBody([CONTENT])
        body.length_bytes = 1 << 50
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, body, Place(location_offset=0))
        assert asked == [h.slicing.reserved_bytes]


async def test_without_an_object_store_nothing_of_this_is_there(tmp_path):
    """The engine for a directory is what it was."""
    from tests.unit.multipart.harness import house

    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        assert session.sending is None
        assert type(session.spool) is spool.SpoolFile
        await h.sessions.finish(REPOSITORY, session.id, EmptyBody(), Place(), Digest.of(b""))
