"""Uploads in parts: parts in any order, parts again, whose they are, and the end of what is not completed."""

import asyncio
import hashlib
import os
from typing import Any

import pytest

from model.digests import Digest
from model.errors import RegistryError, Stopping, UploadUnknown
from multipart import follower
from multipart.bodies import Ending
from multipart.interrupted import BodyVanished, TakenOver, TooSlow
from multipart.refusals import (
    PartLengthInvalid,
    PartMismatch,
    PartNumberInvalid,
    UploadAborted,
    UploadExpired,
    UploadForeign,
)
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody, house
from tests.unit.multipart.parting import (
    DIGEST,
    KINDS,
    OTHER,
    OWNER,
    PARTS,
    SMALL,
    WHOLE,
    becomes_the_blob,
    complete,
    files,
    held,
    listed,
    opened,
    send,
    send_all,
)


@KINDS
async def test_parts_in_any_order_become_the_blob(tmp_path, declared):
    """H025, H069, H079, H112: and the spool is empty then."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        for number in (3, 1, 2):
            await send(h, session, number, PARTS[number - 1])
        done = await complete(h, session)
        assert (done.digest, done.size_bytes, done.parts, done.repository) == (str(DIGEST), 24, 3, REPOSITORY)
        assert await h.stored(WHOLE)
        assert files(h) == []


@KINDS
async def test_a_part_is_answered_with_its_sha256(tmp_path, declared):
    """H021, H022, H089, T08."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        part = await send(h, session, 2, PARTS[1])
        assert part.etag == f'"{hashlib.sha256(PARTS[1]).hexdigest()}"'
        assert part.size_bytes == 10
        assert await h.sessions.parted.parts(session.id, OWNER) == [part]


@KINDS
async def test_parts_that_arrive_together_do_not_disturb_each_other(tmp_path, declared):
    """H060, H069."""
    whole = [os.urandom(10) for _ in range(40)]
    async with house(tmp_path, **SMALL) as h:
        sizes: dict[str, Any] = {"size_bytes": 400, "part_size_bytes": 10} if declared else {}
        session = await opened(h, declared=False, **sizes)
        bodies = [PlayedBody([content[:3], content[3:]], pause_before=1) for content in whole]
        sending = [asyncio.create_task(send(h, session, number, body)) for number, body in enumerate(bodies, 1)]
        for body in reversed(bodies):
            await body.paused.wait()
            body.go.set()
        await asyncio.gather(*sending)
        await h.sessions.parted.complete(session.id, OWNER, listed(whole), Digest.of(b"".join(whole)))
        assert await h.stored(b"".join(whole))


@KINDS
async def test_the_room_of_a_declared_size_is_taken_with_its_first_part(tmp_path, declared):
    """T07: one preallocated file, or one file for each part."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        assert files(h) == []
        await send(h, session, 3, PARTS[2])
        assert files(h) == (["data"] if declared else ["part3"])
        if declared:
            assert (h.folder.spool / f"{session.id}.data").stat().st_size == len(WHOLE)


@KINDS
@pytest.mark.parametrize("number", [0, -1, 4, 10_001])
async def test_a_number_that_cannot_be_is_refused_before_a_byte_is_read(tmp_path, declared, number):
    """H101: without a declared size any number up to 10,000 is fine."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        body = PlayedBody([b"x"], pause_before=0)
        if number == 4 and not declared:
            return
        with pytest.raises(PartNumberInvalid):
            await send(h, session, number, body)
        assert not body.paused.is_set()


@pytest.mark.parametrize("length", [0, 9, 11])
async def test_a_length_that_is_not_the_parts_is_refused_before_a_byte_is_read(tmp_path, length):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h)
        body = PlayedBody([bytes(length)], pause_before=0)
        with pytest.raises(PartLengthInvalid):
            await send(h, session, 1, body)
        assert not body.paused.is_set()


@pytest.mark.parametrize("length", [0, 9, 11, 25])
async def test_a_chunked_body_has_to_come_to_the_parts_length(tmp_path, length):
    """And never writes behind its own range."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=[2])
        with pytest.raises(PartLengthInvalid):
            await send(h, session, 1, PlayedBody([bytes(length)], counted=False))
        assert await held(h, session) == {2: 10}
        await send(h, session, 1, PlayedBody([PARTS[0]], counted=False))
        await becomes_the_blob(h, session, 3)


@KINDS
async def test_a_part_whose_digest_was_announced_has_to_have_it(tmp_path, declared):
    """M07, M09: what is stored already stays."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        sha256 = hashlib.sha256(PARTS[0]).hexdigest()
        await send(h, session, 1, PARTS[0], sha256=sha256.upper())
        with pytest.raises(PartMismatch):
            await send(h, session, 1, OTHER[0], sha256=sha256)
        with pytest.raises(PartMismatch):
            await send(h, session, 2, OTHER[1], sha256=sha256)
        assert await held(h, session) == {1: 10}


# -- the same part again ----------------------------------------------------------------------------------------------


@KINDS
async def test_a_part_sent_again_replaces_the_earlier_one(tmp_path, declared):
    """H068: also after the digest of the whole had gone over it."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        await send_all(h, session, [PARTS[0], OTHER[1], PARTS[2]])
        await session.follower.to_the_end()
        await send(h, session, 2, PARTS[1])
        assert files(h) == (["data"] if declared else ["part1", "part2", "part3"])
        await becomes_the_blob(h, session)


@KINDS
@pytest.mark.parametrize("ending", [Ending.VANISHED, Ending.STALLED, Ending.STOPPED, Ending.MALFORMED])
async def test_a_part_that_broke_off_leaves_what_was_there(tmp_path, declared, ending):
    """H068: a stored one stays, a missing one is missing."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        for number in (1, 2):
            body = PlayedBody([OTHER[number - 1][:4]], ending=ending)
            body.length_bytes = 10
            with pytest.raises(RegistryError):
                await send(h, session, number, body)
        assert await held(h, session) == {1: 10}
        await becomes_the_blob(h, session, 2, 3)


async def test_how_a_body_ended_is_told(tmp_path):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False)
        for ending, error in ((Ending.VANISHED, BodyVanished), (Ending.STALLED, TooSlow), (Ending.STOPPED, TakenOver)):
            with pytest.raises(error):
                await send(h, session, 1, PlayedBody([b"some"], ending=ending))


@KINDS
async def test_the_digest_goes_back_when_a_part_it_read_ahead_in_breaks_off(tmp_path, declared):
    """H080: it reads into parts that still arrive."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        body = PlayedBody([OTHER[1][:5], OTHER[1][5:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 2, body))
        await body.paused.wait()
        await session.follower.to_the_end()
        assert session.follower.digests.digest("sha256") == Digest.of(PARTS[0] + OTHER[1][:5])
        body.ending = Ending.VANISHED
        body.go.set()
        with pytest.raises(BodyVanished):
            await sending
        assert session.follower.digests.digest("sha256") == Digest.of(PARTS[0])
        await becomes_the_blob(h, session, 2, 3)


@KINDS
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_digest_of_the_first_part_is_where_the_whole_begins(tmp_path, monkeypatch, declared, algorithm):
    """An upload of one part is hashed once; with another algorithm it is read, as all parts are."""
    async with house(tmp_path, **SMALL) as h:
        read: list[int] = []
        real = follower.read_into

        def reading(path, start, length_bytes, *updates, **how):
            read.append(length_bytes)
            return real(path, start, length_bytes, *updates, **how)

        monkeypatch.setattr(follower, "read_into", reading)
        session = await opened(h, declared=declared, algorithm=algorithm)
        for content in (OTHER[0], PARTS[0]):
            await send(h, session, 1, content)
            await session.follower.to_the_end()
            assert session.follower.digests.digest(algorithm) == Digest.of(content, algorithm)
        assert (read == []) == (algorithm == "sha256")
        await send(h, session, 2, PARTS[1])
        await send(h, session, 3, PARTS[2])
        await complete(h, session, Digest.of(WHOLE, algorithm))
        assert await h.blobs.size(REPOSITORY, Digest.of(WHOLE, algorithm)) == len(WHOLE)


@KINDS
async def test_of_two_on_one_part_the_last_whole_one_wins(tmp_path, declared):
    """H068, H069: the one that is still on its way is asked to leave, politely."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        slow = PlayedBody([OTHER[0][:5], OTHER[0][5:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 1, slow))
        await slow.paused.wait()
        await send(h, session, 1, PARTS[0])
        with pytest.raises(TakenOver):
            await sending
        await becomes_the_blob(h, session, 2, 3)


@KINDS
async def test_the_same_bytes_again_change_nothing(tmp_path, declared):
    """H068: whoever sends a part again because the answer was lost gets the same answer."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        first = await send(h, session, 1, PARTS[0])
        kept = session.parts[1]
        assert await send(h, session, 1, PARTS[0]) == first
        assert session.parts[1] is kept


@KINDS
async def test_a_part_in_place_that_is_whole_first_is_replaced_by_the_later_one(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        first, second = (PlayedBody([each[:5], each[5:]], pause_before=1) for each in (OTHER[0], PARTS[0]))
        one = asyncio.create_task(send(h, session, 1, first))
        await first.paused.wait()
        two = asyncio.create_task(send(h, session, 1, second))
        await second.paused.wait()
        first.go.set()
        assert (await one).sha256 == hashlib.sha256(OTHER[0]).hexdigest()
        second.go.set()
        await two
        assert session.parts[1].stored.sha256 == hashlib.sha256(PARTS[0]).hexdigest()
        await becomes_the_blob(h, session, 2, 3)


@KINDS
async def test_a_cancelled_request_leaves_the_part_as_it_was(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        for number in (1, 2):
            body = PlayedBody([OTHER[number - 1][:5], OTHER[number - 1][5:]], pause_before=1)
            sending = asyncio.create_task(send(h, session, number, body))
            await body.paused.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert await held(h, session) == {1: 10}
        assert not session.receiving
        assert files(h) == (["data"] if declared else ["part1"])


# -- whose it is, and its end -----------------------------------------------------------------------------------------


async def test_every_request_is_for_the_owner_only(tmp_path):
    """H020, T06: unless authority came another way, by a signed URL."""
    async with house(tmp_path, **SMALL) as h:
        session, parted = await opened(h), h.sessions.parted
        for asked in (
            parted.receive(session.id, "mallory", 1, PlayedBody([PARTS[0]])),
            parted.parts(session.id, "mallory"),
            parted.complete(session.id, "mallory", listed(), DIGEST),
            parted.abort(session.id, "mallory"),
        ):
            with pytest.raises(UploadForeign):
                await asked
        await parted.receive(session.id, None, 1, PlayedBody([PARTS[0]]))
        assert await held(h, session) == {1: 10}


async def test_the_two_kinds_do_not_know_each_other(tmp_path):
    """H018, H019: a session in sequence is unknown to the parts, and the other way round."""
    async with house(tmp_path, **SMALL) as h:
        in_parts, in_sequence = await opened(h), await h.sessions.open(REPOSITORY)
        with pytest.raises(UploadUnknown):
            await h.sessions.offset(REPOSITORY, in_parts.id)
        with pytest.raises(UploadUnknown):
            h.sessions.parted.find(in_sequence.id, None)


@KINDS
async def test_aborting_removes_everything(tmp_path, declared):
    """H028, H111, T03: what arrives is asked to leave."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        bodies = [PlayedBody([OTHER[0][:5], OTHER[0][5:]], pause_before=1) for _ in range(2)]
        sending = [
            asyncio.create_task(send(h, session, number, body)) for number, body in zip((1, 2), bodies, strict=True)
        ]
        for body in bodies:
            await body.paused.wait()
        await h.sessions.parted.abort(session.id, OWNER)
        for each in sending:
            with pytest.raises(TakenOver):
                await each
        assert files(h) == []
        with pytest.raises(UploadAborted):
            await held(h, session)


async def test_idle_sessions_expire_and_used_ones_stay(tmp_path):
    """H064, H065, H066, H115: parts, URLs and completions are use."""
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100, **SMALL) as h:
        idle, asked, sent = await opened(h), await opened(h), await opened(h)
        await send(h, idle, 1, PARTS[0])
        clock.time_s += 60
        h.sessions.parted.find(asked.id, OWNER)
        await send(h, sent, 1, PARTS[0])
        clock.time_s += 60
        assert await h.sessions.expire() == 1
        assert [session.id for session in h.sessions.parted.all()] == [asked.id, sent.id]
        with pytest.raises(UploadExpired):
            await send(h, idle, 2, PARTS[1])
        assert sent.expires_at_s == clock.time_s + 40
    async with house(tmp_path, clock, expiry_s=100, **SMALL) as h:
        with pytest.raises(UploadExpired):
            await held(h, idle)


@KINDS
async def test_a_session_whose_part_arrives_never_expires(tmp_path, declared):
    """H064."""
    clock = HandClock()
    async with house(tmp_path, clock, expiry_s=100, **SMALL) as h:
        session = await opened(h, declared=declared)
        body = PlayedBody([PARTS[0][:5], PARTS[0][5:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 1, body))
        await body.paused.wait()
        clock.time_s += 1000
        assert await h.sessions.expire() == 0
        body.go.set()
        await sending
        assert await h.sessions.expire() == 0
        clock.time_s += 1000
        assert await h.sessions.expire() == 1
        assert files(h) == []


async def test_an_end_is_forgotten_after_some_days(tmp_path):
    clock = HandClock()
    async with house(tmp_path, clock, **SMALL) as h:
        session = await opened(h)
        await h.sessions.parted.abort(session.id, OWNER)
        clock.time_s += 8 * 24 * 3600
        await h.sessions.flush()
        with pytest.raises(UploadUnknown):
            await held(h, session)
    async with house(tmp_path, clock, **SMALL) as h:
        with pytest.raises(UploadUnknown):
            await held(h, session)


async def test_stopping_keeps_whole_parts_and_refuses_new_ones(tmp_path):
    """T09."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=[1])
        body = PlayedBody([PARTS[1][:5], PARTS[1][5:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 2, body))
        await body.paused.wait()
        h.sessions.stop()
        for asked in (sending, send(h, session, 2, PARTS[1]), opened(h), complete(h, session)):
            with pytest.raises(Stopping):
                await asked
    async with house(tmp_path, **SMALL) as h:
        assert await held(h, session) == {1: 10}
