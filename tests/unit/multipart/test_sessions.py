"""Upload sessions without HTTP: what stays, what goes, and who has the turn."""

import asyncio
import os

import pytest

from model.digests import Digest
from model.errors import (
    BlobUnknown,
    DigestMismatch,
    OffsetMismatch,
    SizeInvalid,
    Stopping,
    StorageFailed,
    StorageFull,
    TooMany,
    UploadInvalid,
    UploadUnknown,
)
from model.ranges import Span
from multipart.bodies import EmptyBody, Ending
from multipart.interrupted import BodyVanished, TakenOver, TooSlow
from multipart.place import Place
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody, house

ONE, TWO = b"one, and ", b"two"


def at(offset):
    return Place(location_offset=offset)


async def test_chunks_become_a_blob_and_leave_nothing_else(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        assert await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0)) == 9
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)
        assert h.spooled() == [] and h.sessions.all() == []


async def test_rule_2_a_session_belongs_to_one_repository(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(UploadUnknown):
            await h.sessions.offset("another/one", session.id)


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (Ending.VANISHED, BodyVanished),
        (Ending.STALLED, TooSlow),
        (Ending.STOPPED, TakenOver),
        (Ending.MALFORMED, UploadInvalid),
    ],
)
async def test_rules_8_and_9_a_body_that_ends_early_leaves_its_prefix(tmp_path, ending, error):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(error):
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE], ending=ending), at(0), Digest.of(ONE))
        assert await h.sessions.offset(REPOSITORY, session.id) == 9
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)


async def test_rule_3_a_chunked_body_longer_than_its_range_keeps_what_the_range_says(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(SizeInvalid):
            await h.sessions.append(
                REPOSITORY, session.id, PlayedBody([ONE, TWO], counted=False), Place(span=Span(0, 10))
            )
        assert await h.sessions.offset(REPOSITORY, session.id) == 10


async def test_rule_3_a_chunked_body_shorter_than_its_range_is_kept_and_said(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(SizeInvalid):
            await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE], counted=False), Place(span=Span(0, 10)))
        assert await h.sessions.offset(REPOSITORY, session.id) == 9


async def test_rule_4_an_earlier_location_goes_back_to_where_it_was(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([b"lost answer"]), at(9))
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)


@pytest.mark.parametrize("counted", [True, False])
async def test_rule_4_an_empty_body_never_goes_back(tmp_path, counted):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([], counted=counted), at(0), Digest.of(ONE))
        assert await h.stored(ONE)


async def test_rule_7_the_newcomer_takes_over_and_no_bytes_mix(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        old = PlayedBody([ONE, b"from a dead line"], pause_before=1)
        first = asyncio.create_task(h.sessions.append(REPOSITORY, session.id, old, at(0)))
        await old.paused.wait()
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE, TWO]), at(0), Digest.of(ONE + TWO))
        with pytest.raises(TakenOver):
            await first
        assert await h.stored(ONE + TWO)


async def test_rule_7_of_twenty_at_once_each_is_told_and_one_wins(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        content = os.urandom(5000)
        bodies = [PlayedBody([content[:2000], content[2000:]]) for _ in range(20)]
        ended = await asyncio.gather(
            *(h.sessions.finish(REPOSITORY, session.id, body, at(0), Digest.of(content)) for body in bodies),
            return_exceptions=True,
        )
        assert ended.count(None) >= 1
        assert all(result is None or isinstance(result, TakenOver) for result in ended)
        assert await h.stored(content)


async def test_rule_10_a_wrong_digest_ends_the_session_and_stores_nothing(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(DigestMismatch):
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE]), at(0), Digest.of(TWO))
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, session.id)
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, Digest.of(TWO))
        assert h.spooled() == []


async def test_rule_11_the_same_put_again_succeeds_and_reads_the_body(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        for _ in range(2):
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE]), at(0), Digest.of(ONE))
        with pytest.raises(UploadUnknown):
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(0), Digest.of(TWO))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_rule_12_the_empty_blob_can_be_pushed(tmp_path, algorithm):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.finish(REPOSITORY, session.id, EmptyBody(), at(0), Digest.of(b"", algorithm))
        assert await h.blobs.size(REPOSITORY, Digest.of(b"", algorithm)) == 0


@pytest.mark.parametrize("announced", ["sha256", "sha512"])
async def test_rule_13_sha512_works_announced_or_not(tmp_path, announced):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY, algorithm=announced)
        digest = Digest.of(ONE + TWO, "sha512")
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), digest)
        assert await h.blobs.size(REPOSITORY, digest) == 12


async def test_rule_14_a_session_goes_on_in_the_next_process(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(BodyVanished):
            await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE], ending=Ending.VANISHED), at(0))
    async with house(tmp_path) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 9
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)


async def test_rule_15_idle_sessions_end_by_their_last_use_not_by_their_start(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100) as h:
        used, idle = await h.sessions.open(REPOSITORY), await h.sessions.open(REPOSITORY)
        clock.time_s += 60
        await h.sessions.append(REPOSITORY, used.id, PlayedBody([ONE]), at(0))
        clock.time_s += 60
        assert await h.sessions.expire() == 1
        assert [session.id for session in h.sessions.all()] == [used.id]
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, idle.id)
        clock.time_s += 200
        await h.sessions.expire()
        assert h.spooled() == []


async def test_rule_15_the_last_use_is_known_after_a_restart(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100) as h:
        session = await h.sessions.open(REPOSITORY)
        clock.time_s += 90
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        await h.sessions.flush()
    clock.time_s += 50
    async with house(tmp_path, clock, expiry_s=100) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 9
    clock.time_s += 101
    async with house(tmp_path, clock, expiry_s=100) as h:
        assert h.sessions.all() == [] and h.spooled() == []


async def test_a_session_that_is_receiving_does_not_expire(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100) as h:
        session = await h.sessions.open(REPOSITORY)
        slow = PlayedBody([ONE, TWO], pause_before=1)
        receiving = asyncio.create_task(h.sessions.append(REPOSITORY, session.id, slow, at(0)))
        await slow.paused.wait()
        clock.time_s += 1000
        assert await h.sessions.expire() == 0
        slow.go.set()
        assert await receiving == 12


async def test_rule_17_cancelling_stops_the_receiver_and_a_second_time_it_is_unknown(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        body = PlayedBody([ONE, TWO], pause_before=1)
        receiving = asyncio.create_task(h.sessions.append(REPOSITORY, session.id, body, at(0)))
        await body.paused.wait()
        await h.sessions.cancel(REPOSITORY, session.id)
        with pytest.raises(TakenOver):
            await receiving
        with pytest.raises(UploadUnknown):
            await h.sessions.cancel(REPOSITORY, session.id)
        assert h.spooled() == []


async def test_files_of_no_session_are_removed_at_start_and_nothing_else(tmp_path):
    async with house(tmp_path) as h:
        spool = h.folder.spool
    for name in ("stray.data", "stray.marks", "notes.txt"):
        (spool / name).write_text("x")
    async with house(tmp_path):
        assert [path.name for path in spool.iterdir()] == ["notes.txt"]


async def test_a_session_whose_file_is_gone_starts_from_nothing(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        (h.folder.spool / f"{session.id}.data").unlink()
    async with house(tmp_path) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 0
        with pytest.raises(OffsetMismatch):
            await h.sessions.append(REPOSITORY, session.id, PlayedBody([TWO]), at(9))


async def test_limits_are_said_and_freed_again(tmp_path):
    async with house(tmp_path, in_all=3, per_repository=2) as h:
        first = await h.sessions.open(REPOSITORY)
        await h.sessions.open(REPOSITORY)
        with pytest.raises(TooMany):
            await h.sessions.open(REPOSITORY)
        await h.sessions.open("another")
        with pytest.raises(TooMany):
            await h.sessions.open("third")
        await h.sessions.cancel(REPOSITORY, first.id)
        await h.sessions.open("third")


async def test_a_blob_in_one_request_needs_no_session_afterwards(tmp_path):
    async with house(tmp_path) as h:
        await h.sessions.receive_whole(REPOSITORY, PlayedBody([ONE, TWO]), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)
        with pytest.raises(BodyVanished):
            await h.sessions.receive_whole(REPOSITORY, PlayedBody([ONE], ending=Ending.VANISHED), Digest.of(ONE))
        with pytest.raises(DigestMismatch):
            await h.sessions.receive_whole(REPOSITORY, PlayedBody([ONE]), Digest.of(TWO))
        assert h.spooled() == [] and h.sessions.all() == []


async def test_after_a_full_disk_the_same_request_can_be_repeated(tmp_path, monkeypatch):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)

        async def full(key, source):
            raise StorageFull("no room")

        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(h.backend, "put", full)
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE]), at(0), Digest.of(ONE))
        await h.sessions.finish(REPOSITORY, session.id, EmptyBody(), at(9), Digest.of(ONE))
        assert await h.stored(ONE)


async def failing_after_the_bytes_are_stored(h, session):
    """Finish, but the catalog cannot commit."""
    real = h.catalog.run

    async def full(operation, *args):
        raise StorageFull("no room for the catalog")

    h.catalog.run = full
    with pytest.raises(StorageFull):
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE]), at(0), Digest.of(ONE))
    h.catalog.run = real


async def test_when_only_the_catalog_failed_finishing_again_is_enough(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await failing_after_the_bytes_are_stored(h, session)
        await h.sessions.finish(REPOSITORY, session.id, EmptyBody(), at(9), Digest.of(ONE))
        assert await h.stored(ONE)


async def test_when_only_the_catalog_failed_more_bytes_never_make_a_blob_with_a_hole(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await failing_after_the_bytes_are_stored(h, session)
        with pytest.raises(OffsetMismatch) as refused:
            await h.sessions.append(REPOSITORY, session.id, PlayedBody([TWO]), at(9))
        assert refused.value.offset_bytes == 0
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE, TWO]), at(0), Digest.of(ONE + TWO))
        assert await h.stored(ONE + TWO)


async def test_a_spool_file_that_somebody_touched_is_not_taken_for_the_blob(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        os.truncate(h.folder.spool / f"{session.id}.data", 4)
        with pytest.raises(StorageFailed):
            await h.sessions.finish(REPOSITORY, session.id, EmptyBody(), at(9), Digest.of(ONE))


async def test_a_cancelled_request_still_leaves_the_blob_or_the_session(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        body = PlayedBody([ONE, TWO], pause_before=1)
        request = asyncio.create_task(h.sessions.append(REPOSITORY, session.id, body, at(0)))
        await body.paused.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await h.sessions.offset(REPOSITORY, session.id) == 9


async def test_stopping_leaves_every_upload_resumable(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        body = PlayedBody([ONE, TWO], pause_before=1)
        request = asyncio.create_task(h.sessions.append(REPOSITORY, session.id, body, at(0)))
        await body.paused.wait()
        h.sessions.stop()
        with pytest.raises(Stopping):
            await request
        with pytest.raises(Stopping):
            await h.sessions.open(REPOSITORY)
    async with house(tmp_path) as h:
        assert await h.sessions.offset(REPOSITORY, session.id) == 9


async def test_the_same_blob_by_many_at_once_is_stored_once_and_all_succeed(tmp_path):
    async with house(tmp_path) as h:
        content = os.urandom(10_000)

        async def push():
            session = await h.sessions.open(REPOSITORY)
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([content]), at(0), Digest.of(content))

        await asyncio.gather(*(push() for _ in range(32)))
        assert await h.stored(content)
        assert h.spooled() == []


async def test_flushing_syncs_what_open_sessions_hold(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        assert session.spool.dirty
        await h.sessions.flush()
        assert not session.spool.dirty


async def without_a_catalog(h):
    async def full(operation, *args):
        raise StorageFull("no room for the catalog")

    h.catalog.run = full


async def test_a_full_disk_ends_nothing_in_the_background(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        real = h.catalog.run
        await without_a_catalog(h)
        clock.time_s += 10
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([TWO]), at(9))
        await h.sessions.flush()
        clock.time_s += 1000
        assert await h.sessions.expire() == 0
        h.catalog.run = real  # type: ignore[method-assign]
        assert await h.sessions.expire() == 1


async def test_cancelling_on_a_full_disk_changes_nothing(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, session.id, PlayedBody([ONE]), at(0))
        real = h.catalog.run
        await without_a_catalog(h)
        with pytest.raises(StorageFull):
            await h.sessions.cancel(REPOSITORY, session.id)
        h.catalog.run = real  # type: ignore[method-assign]
        await h.sessions.finish(REPOSITORY, session.id, PlayedBody([TWO]), at(9), Digest.of(ONE + TWO))


async def test_rule_10_a_wrong_digest_is_said_on_a_full_disk_too(tmp_path):
    async with house(tmp_path) as h:
        session = await h.sessions.open(REPOSITORY)
        await without_a_catalog(h)
        with pytest.raises(DigestMismatch):
            await h.sessions.finish(REPOSITORY, session.id, PlayedBody([ONE]), at(0), Digest.of(TWO))
        assert h.spooled() == []


async def test_a_repository_full_of_sessions_nobody_used_makes_room_for_a_new_one(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, per_repository=2) as h:
        used, unused = await h.sessions.open(REPOSITORY), await h.sessions.open(REPOSITORY)
        await h.sessions.append(REPOSITORY, used.id, PlayedBody([ONE]), at(0))
        with pytest.raises(TooMany):
            await h.sessions.open(REPOSITORY)
        clock.time_s += 1000
        await h.sessions.open(REPOSITORY)
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, unused.id)
        assert await h.sessions.offset(REPOSITORY, used.id) == 9


async def test_rule_15_asking_where_a_session_stands_does_not_keep_it(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100) as h:
        session = await h.sessions.open(REPOSITORY)
        clock.time_s += 90
        await h.sessions.offset(REPOSITORY, session.id)
        clock.time_s += 20
        assert await h.sessions.expire() == 1


async def test_many_who_need_room_at_once_each_get_a_session_or_a_clear_no(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, per_repository=4) as h:
        for _ in range(4):
            await h.sessions.open(REPOSITORY)
        clock.time_s += 1000
        made = await asyncio.gather(*(h.sessions.open(REPOSITORY) for _ in range(8)), return_exceptions=True)
        assert any(not isinstance(found, BaseException) for found in made)
        assert all(isinstance(found, TooMany) for found in made if isinstance(found, BaseException))
        assert len(h.sessions.all()) <= 4


async def test_a_blob_in_one_request_finds_room_as_well(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, per_repository=1) as h:
        await h.sessions.open(REPOSITORY)
        clock.time_s += 1000
        await h.sessions.receive_whole(REPOSITORY, PlayedBody([ONE]), Digest.of(ONE))
        assert await h.stored(ONE)
