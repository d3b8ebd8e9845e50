"""Completing uploads in parts: what has to be right, what is answered, and wholes under temporary names."""

import asyncio
import hashlib
from typing import Any

import pytest

from model.digests import Digest
from model.errors import BlobUnknown, DigestMismatch, UploadUnknown
from multipart.bodies import EmptyBody, Ending
from multipart.interrupted import BodyVanished, TakenOver
from multipart.parts import ListedPart
from multipart.refusals import (
    PartsInvalid,
    UploadAborted,
    UploadFinished,
    UploadForeign,
)
from tests.unit.multipart.harness import REPOSITORY, PlayedBody, house
from tests.unit.multipart.parting import (
    ALL,
    DIGEST,
    KINDS,
    OTHER,
    OWNER,
    PARTS,
    SMALL,
    TEMP,
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
async def test_a_wrong_list_leaves_the_session_as_it_was(tmp_path, declared):
    """H090: one answer that names every problem."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1, 3])
        with pytest.raises(PartsInvalid) as refused:
            await h.sessions.parted.complete(session.id, OWNER, [*listed()[::-1], ListedPart(1, "x")], DIGEST)
        told = refused.value.message
        for problem in ("part 2 is missing", "part 1 is listed twice", "part 2 is listed behind", "another ETag"):
            assert problem in told
        await becomes_the_blob(h, session, 2)


@KINDS
async def test_no_list_is_no_upload(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        with pytest.raises(PartsInvalid):
            await h.sessions.parted.complete(session.id, OWNER, [], DIGEST)
        assert await held(h, session) == {}


@KINDS
async def test_a_wrong_digest_ends_the_session(tmp_path, declared):
    """H080, T10: nothing of it is kept."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        with pytest.raises(DigestMismatch):
            await complete(h, session, Digest.of(b"something else"))
        assert files(h) == []
        with pytest.raises(UploadAborted):
            await send(h, session, 1, PARTS[0])
        with pytest.raises(UploadAborted):
            await complete(h, session)
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)


@KINDS
async def test_the_same_completion_again_gets_the_same_answer(tmp_path, declared):
    """Also from the next process; with another digest it is refused."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        done = await complete(h, session)
        assert await complete(h, session) == done
    async with house(tmp_path, **SMALL) as h:
        assert await complete(h, session) == done
        with pytest.raises(UploadFinished):
            await complete(h, session, Digest.of(b"something else"))
        with pytest.raises(UploadForeign):
            await h.sessions.parted.complete(session.id, "mallory", listed(), DIGEST)


@KINDS
async def test_two_completions_at_once_both_get_the_answer(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        first, second = await asyncio.gather(complete(h, session), complete(h, session))
        assert first == second


@KINDS
async def test_a_cancelled_completion_is_carried_through(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        completing = asyncio.create_task(complete(h, session))
        await asyncio.sleep(0)
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing
        assert await h.stored(WHOLE)


@KINDS
async def test_a_part_on_its_way_is_not_waited_for(tmp_path, declared):
    """A completion refuses what is not whole; of a stored part, it asks the one who sends it again to leave."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1, 2])
        late = PlayedBody([PARTS[2][:2], PARTS[2][2:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 3, late))
        await late.paused.wait()
        with pytest.raises(PartsInvalid, match="part 3"):
            await complete(h, session)
        late.go.set()
        await sending
        again = PlayedBody([OTHER[1][:2], OTHER[1][2:]], pause_before=1)
        sending = asyncio.create_task(send(h, session, 2, again))
        await again.paused.wait()
        await complete(h, session)
        with pytest.raises(TakenOver):
            await sending
        assert await h.stored(WHOLE)
        assert files(h) == []


@KINDS
async def test_a_finished_session_takes_no_more(tmp_path, declared):
    """H114."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await complete(h, session)
        with pytest.raises(UploadFinished):
            await send(h, session, 1, PARTS[0])
        with pytest.raises(UploadFinished):
            await h.sessions.parted.abort(session.id, OWNER)


@KINDS
async def test_an_upload_of_nothing_is_one_part_of_nothing(tmp_path, declared):
    async with house(tmp_path) as h:
        sizes: dict[str, Any] = {"size_bytes": 0} if declared else {}
        session = await opened(h, declared=False, **sizes)
        await h.sessions.parted.receive(session.id, OWNER, 1, EmptyBody())
        await h.sessions.parted.complete(session.id, OWNER, listed([b""]), Digest.of(b""))
        assert await h.stored(b"")


@KINDS
@pytest.mark.parametrize("known_before", [True, False])
async def test_sha512_is_checked_as_well(tmp_path, declared, known_before):
    """With the algorithm known at the start it runs along; otherwise the whole is read once more."""
    async with house(tmp_path, **SMALL) as h:
        how: dict[str, Any] = {"algorithm": "sha512"} if known_before else {}
        session = await opened(h, declared=declared, **how, parts=ALL)
        digest = Digest.of(WHOLE, "sha512")
        assert (await complete(h, session, digest)).digest == str(digest)
        assert await h.blobs.size(REPOSITORY, digest) == len(WHOLE)


async def test_small_parts_are_refused_unless_they_are_the_last(tmp_path):
    """H095, H096: a setting; checked at the start when the size is declared."""
    async with house(tmp_path, min_part_bytes=8) as h:
        session = await opened(h, declared=False)
        await send_all(h, session, [b"long enough", b"short", b"."])
        with pytest.raises(PartsInvalid, match="part 2 has 5 bytes"):
            await h.sessions.parted.complete(
                session.id, OWNER, listed([b"long enough", b"short", b"."]), Digest.of(b"long enoughshort.")
            )
        await send(h, session, 2, b"long as well")
        whole = [b"long enough", b"long as well", b"."]
        await h.sessions.parted.complete(session.id, OWNER, listed(whole), Digest.of(b"".join(whole)))
        assert await h.stored(b"".join(whole))


# -- under a temporary name -------------------------------------------------------------------------------------------


@KINDS
async def test_completed_under_a_temporary_name_it_is_unseen_until_it_is_moved(tmp_path, declared):
    """H030, H078, H110: the same calls again succeed again."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        done = await complete(h, session, None)
        assert done.digest == str(DIGEST)
        assert await complete(h, session, None) == done
        assert files(h) == ["data"]
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)
        with pytest.raises(UploadFinished):
            await send(h, session, 1, PARTS[0])
        assert await h.sessions.parted.publish(OWNER, TEMP, DIGEST) == done
        assert await h.sessions.parted.publish(OWNER, TEMP, DIGEST) == done
        assert await complete(h, session, None) == done
        assert await h.stored(WHOLE)
        assert files(h) == []


async def test_moving_checks_the_digest(tmp_path):
    """H080, T10."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        with pytest.raises(DigestMismatch):
            await h.sessions.parted.publish(OWNER, TEMP, Digest.of(b"something else"))
        assert files(h) == []
        with pytest.raises(UploadUnknown):
            await h.sessions.parted.publish(OWNER, TEMP, DIGEST)


async def test_a_temporary_name_belongs_to_its_caller(tmp_path):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        with pytest.raises(UploadUnknown):
            await h.sessions.parted.publish("mallory", TEMP, DIGEST)
        await h.sessions.parted.publish(OWNER, TEMP, DIGEST)


async def test_an_assembled_upload_may_be_completed_by_its_digest(tmp_path):
    """T01: complete says the digest, and no move follows."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        await becomes_the_blob(h, session)


@KINDS
async def test_one_body_to_a_temporary_name_takes_the_place_of_the_earlier(tmp_path, declared):
    """H031."""
    async with house(tmp_path) as h:
        for content in (b"earlier", WHOLE):
            part = await h.sessions.parted.receive_whole(
                REPOSITORY, TEMP, PlayedBody([content], counted=declared), owner=OWNER
            )
            assert part.sha256 == hashlib.sha256(content).hexdigest()
        assert len(h.sessions.parted.all()) == 1
        await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
        assert await h.stored(WHOLE)
        assert files(h) == []


async def test_one_body_that_broke_off_leaves_nothing(tmp_path):
    async with house(tmp_path) as h:
        with pytest.raises(BodyVanished):
            await h.sessions.parted.receive_whole(
                REPOSITORY, TEMP, PlayedBody([b"some"], ending=Ending.VANISHED), owner=OWNER
            )
        assert h.sessions.parted.all() == []
        assert files(h) == []
