"""Uploads in parts over an object store, buffered: sent as they are stored, let go, assembled, proven where needed."""

import asyncio
import errno
import os
from itertools import pairwise

import pytest

from backends.base import StoreUnavailable
from model.digests import Digest
from model.errors import BlobUnknown, DigestMismatch, StorageFull, TooMany, UploadUnknown
from multipart import part_sending
from multipart.interrupted import TakenOver
from multipart.parts import ListedPart
from multipart.refusals import PartsInvalid, UploadAborted, UploadExpired, UploadTooLarge
from tests.support.storehooks import failing
from tests.unit.multipart.harness import REPOSITORY, HandClock, PlayedBody
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
    held,
    listed,
    opened,
    send,
    send_all,
)
from tests.unit.multipart.storehouse import OWNER, TEMP, DirectStore, storehouse

# -- the way ----------------------------------------------------------------------------------------------------------


@KINDS
async def test_parts_in_any_order_become_the_blob_without_being_joined_here(tmp_path, declared):
    """H171, H181, D9: the store assembles them, and nothing of them stays in the spool."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared)
        assert (session.mode, session.why_buffered) == ("buffered", "")
        for number in (3, 1, 2):
            await send(h, session, number, PARTS[number - 1])
        done = await complete(h, session)
        assert (done.digest, done.size_bytes, done.parts) == (str(DIGEST), 24, 3)
        assert not {"put", "get"} & set(h.store.verbs())
        await h.keeps_only(WHOLE)


@KINDS
async def test_files_go_while_later_parts_still_arrive(tmp_path, declared):
    """H206, D2: a large push does not need its size on the disk."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, parts=[1, 2])
        await h.seen()
        assert files(h) == []
        assert h.sessions._accounts.spooled_bytes == 0
        assert await held(h, session) == {1: 10, 2: 10}
        await send(h, session, 3, PARTS[2])
        await complete(h, session)
        assert "get" not in h.store.verbs()
        await h.keeps_only(WHOLE)


async def test_what_may_stay_in_the_spool_stays(tmp_path):
    """Small uploads survive a restart without being read from the store again."""
    async with storehouse(tmp_path, keep_bytes=15) as h:
        await opened(h, parts=ALL)
        await h.seen()
        assert files(h) == ["part2", "part3"]


async def test_a_part_behind_a_gap_stays_until_the_digest_has_passed_it(tmp_path):
    async with storehouse(tmp_path) as h:
        session = await opened(h, parts=[2])
        await h.seen()
        assert files(h) == ["part2"]
        await send(h, session, 1, PARTS[0])
        await h.seen()
        assert files(h) == []


@KINDS
async def test_a_part_that_is_replaced_is_sent_again_under_its_number(tmp_path, declared):
    """H068: also when nothing of what is behind it is here any more; then the whole is read again (T10)."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared)
        await send_all(h, session, [OTHER[0], PARTS[1], PARTS[2]])
        await h.seen()
        assert files(h) == ([] if declared else ["part3"])
        await send(h, session, 1, PARTS[0])
        await complete(h, session)
        assert h.store.verbs().count("get") == 1
        await h.keeps_only(WHOLE)


async def test_a_part_that_is_replaced_while_it_is_on_its_way_is_the_later_one_in_the_end(tmp_path):
    """H068, H069."""
    async with storehouse(tmp_path, keep_bytes=1000) as h:
        go = h.store.stall()
        session = await opened(h)
        await send_all(h, session, OTHER)
        await asyncio.sleep(0)
        await send_all(h, session)
        go.set()
        await becomes_the_blob(h, session)


@pytest.mark.parametrize(
    ("parts", "how"),
    [
        ([b"a", b"b", b"c"], {}),
        ([b"a", b"b", b"c"], {"size_bytes": 3, "part_size_bytes": 1}),
        ([WHOLE], {}),
        ([WHOLE], {"size_bytes": 24, "part_size_bytes": 24}),
        ([PARTS[0], b"small", PARTS[1]], {}),
        ([PARTS[0], b""], {}),
        ([b""], {}),
        ([bytes(101), bytes(20)], {}),
    ],
    ids=["small", "small declared", "one", "one declared", "small inside", "empty last", "empty", "large"],
)
async def test_what_the_store_would_not_take_in_parts_is_joined_and_put(tmp_path, parts, how):
    """H112, H139: as for a directory; nothing of an upload that was begun for it stays."""
    whole = b"".join(parts)
    store = DirectStore(HandClock(), largest_part_bytes=100)
    async with storehouse(tmp_path, store, keep_bytes=1000) as h:
        session = await opened(h, declared=False, **how)
        await send_all(h, session, parts)
        await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(whole))
        assert "assemble" not in h.store.verbs()
        assert "put" in h.store.verbs()
        assert await h.stored(whole)
        await h.nothing_is_left([whole])


async def test_a_join_that_fails_leaves_a_session_that_goes_on(tmp_path, monkeypatch):
    """Parts that the store would take are sent there again."""
    parts = [PARTS[0], b"small", PARTS[1]]
    async with storehouse(tmp_path, keep_bytes=1000) as h:
        session = await opened(h, declared=False)
        await send_all(h, session, parts)
        h.store.before = failing(("put", ""), error=StorageFull("no room"))
        with pytest.raises(StorageFull):
            await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(b"".join(parts)))
        await send(h, session, 2, PARTS[1])
        await send(h, session, 3, PARTS[2])
        await complete(h, session)
        assert "assemble" in h.store.verbs()
        await h.keeps_only(WHOLE)


async def test_parts_too_small_for_the_store_are_named_when_others_are_there_alone(tmp_path):
    """H101: what was let go cannot be joined here any more."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=False, parts=[1, 2])
        await h.seen()
        await send(h, session, 3, b"small")
        await send(h, session, 4, PARTS[2])
        parts = [PARTS[0], PARTS[1], b"small", PARTS[2]]
        with pytest.raises(PartsInvalid, match="part 3 has 5 bytes; all but the last need 8"):
            await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(b"".join(parts)))
        await send(h, session, 3, OTHER[1])
        parts[2] = OTHER[1]
        await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(b"".join(parts)))
        assert await h.stored(b"".join(parts))


async def test_an_empty_part_behind_others_is_not_sent(tmp_path):
    """Some stores would not take it; nothing is nothing."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=False)
        parts = [PARTS[0], PARTS[1], b""]
        await send_all(h, session, parts[:2])
        await h.seen()
        await send(h, session, 3, b"")
        await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(b"".join(parts)))
        assert h.store.verbs().count("send_part") == 2
        assert await h.stored(b"".join(parts))


@KINDS
async def test_a_wrong_digest_is_known_before_the_store_assembles_anything(tmp_path, declared):
    """T10: what we hashed on its way need not be proven."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, parts=ALL)
        with pytest.raises(DigestMismatch):
            await complete(h, session, Digest.of(b"something else"))
        assert "assemble" not in h.store.verbs()
        with pytest.raises(UploadAborted):
            await held(h, session)
        await h.nothing_is_left()


async def test_a_digest_that_did_not_run_along_is_proven_by_reading(tmp_path):
    """H080: right or wrong."""
    async with storehouse(tmp_path) as h:
        for right in (True, False):
            session = await opened(h, parts=ALL)
            digest = Digest.of(WHOLE if right else b"else", "sha512")
            if right:
                await complete(h, session, digest)
                assert await h.blobs.size(REPOSITORY, digest) == 24
            else:
                with pytest.raises(DigestMismatch):
                    await complete(h, session, digest)
        await h.nothing_is_left([WHOLE])


@KINDS
@pytest.mark.parametrize("missing", [1, 2, 3])
async def test_a_missing_part_is_named(tmp_path, declared, missing):
    """H182."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared)
        for number in {1, 2, 3} - {missing}:
            await send(h, session, number, PARTS[number - 1])
        with pytest.raises(PartsInvalid, match=f"part {missing} is missing"):
            await complete(h, session)
        await becomes_the_blob(h, session, missing)


async def test_the_stores_own_etags_are_right_in_a_list_as_well(tmp_path):
    """H085-H087: a client that lists the parts of its session may have them from either side."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, parts=ALL)
        await h.seen()
        theirs = [ListedPart(number, f'"{part.store_etag}"') for number, part in session.listing.items()]
        await h.parted.complete(session.id, OWNER, theirs, DIGEST)
        assert await h.stored(WHOLE)


# -- temporary names --------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("restart", [False, True])
async def test_completed_under_a_temporary_name_it_stays_unseen_until_it_is_moved(tmp_path, declared, restart):
    """H030, H110: under its temporary key, with the digest that is known already."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, declared=declared, parts=ALL)
        done = await complete(h, session, None)
        assert (done.digest, done.size_bytes) == (str(DIGEST), 24)
        assert files(h) == []
        assert len(h.store.temporary()) == 1
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)
        if not restart:
            await h.parted.publish(OWNER, TEMP, DIGEST)
            await h.keeps_only(WHOLE)
    if restart:
        async with storehouse(tmp_path, store) as h:
            assert h.parted.all()[0].assembled == done
            await h.parted.verify_all()
            moved = await h.parted.publish(OWNER, TEMP, DIGEST)
            assert await h.parted.publish(OWNER, TEMP, DIGEST) == moved
            assert "get" not in h.store.verbs()
            await h.keeps_only(WHOLE)


@pytest.mark.parametrize("parts", [PARTS, [b"a", b"b"]], ids=["in the store", "in the spool"])
async def test_a_move_to_another_digest_ends_it(tmp_path, parts):
    """T10."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=False)
        await send_all(h, session, parts)
        await h.parted.complete(session.id, OWNER, listed(parts), None)
        with pytest.raises(DigestMismatch):
            await h.parted.publish(OWNER, TEMP, Digest.of(b"something else"))
        await h.nothing_is_left()


async def test_a_later_one_under_the_same_name_takes_its_place(tmp_path):
    """H031: and the earlier object goes."""
    async with storehouse(tmp_path) as h:
        for parts in (OTHER, PARTS):
            session = await opened(h, declared=False)
            await send_all(h, session, parts)
            await h.parted.complete(session.id, OWNER, listed(parts), None)
        await h.discarder.done()
        assert len(h.store.temporary()) == 1
        await h.parted.receive_whole(REPOSITORY, TEMP, PlayedBody([b"in one body"]), owner=OWNER)
        await h.parted.publish(OWNER, TEMP, Digest.of(b"in one body"))
        await h.nothing_is_left([b"in one body"])


async def test_an_object_that_is_lost_before_it_is_moved_never_becomes_a_blob(tmp_path):
    async with storehouse(tmp_path) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        h.store.values.clear()
        with pytest.raises(UploadUnknown):
            await h.parted.publish(OWNER, TEMP, DIGEST)
        assert h.parted.all() == []


# -- pace and room ----------------------------------------------------------------------------------------------------


async def test_a_client_that_is_far_ahead_of_the_store_waits_before_its_next_part_is_read(tmp_path):
    async with storehouse(tmp_path, ahead_bytes=15) as h:
        go = h.store.stall()
        session = await opened(h, parts=[1, 2])
        body = PlayedBody([PARTS[2]], pause_before=0)
        sending = asyncio.create_task(send(h, session, 3, body))
        await asyncio.wait([sending], timeout=0.05)
        assert not body.paused.is_set()
        go.set()
        await body.paused.wait()
        body.go.set()
        await sending
        await becomes_the_blob(h, session)


async def test_a_part_that_is_held_back_leaves_when_it_is_asked(tmp_path):
    """H028, H067: an abort does not wait for the store."""
    async with storehouse(tmp_path, ahead_bytes=15) as h:
        go = h.store.stall()
        session = await opened(h, parts=[1, 2])
        sending = asyncio.create_task(send(h, session, 3, PARTS[2]))
        await asyncio.wait([sending], timeout=0.05)
        await h.parted.abort(session.id, OWNER)
        with pytest.raises(TakenOver):
            await sending
        go.set()
        await h.nothing_is_left()


async def test_a_dead_store_slows_its_clients_down_and_stops_nobody(tmp_path, monkeypatch):
    """What was acknowledged is there when the store comes back (G15)."""
    monkeypatch.setattr(part_sending, "HELD_BACK_S", 0.01)
    async with storehouse(tmp_path, ahead_bytes=5) as h:
        h.store.dead = True
        session = await opened(h, parts=ALL)
        with pytest.raises(StoreUnavailable):
            await complete(h, session)
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        await send(h, session, 2, OTHER[1])
        await send(h, session, 2, PARTS[1])
        h.store.dead = False
        await becomes_the_blob(h, session)
        await h.nothing_is_left([WHOLE])


async def test_a_full_disk_is_told_for_each_part_and_not_at_the_start(tmp_path, monkeypatch):
    """Nothing is taken ahead for a declared size: most of it will never be here at once."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, size_bytes=1 << 60, part_size_bytes=1 << 50)
        assert h.sessions._accounts.pledged_bytes == 0
        await h.parted.abort(session.id, OWNER)
        session = await opened(h, parts=[1])

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(os, "pwrite", full)
            await send(h, session, 2, PARTS[1])
        await becomes_the_blob(h, session, 2, 3)


@KINDS
async def test_of_what_the_store_has_nothing_counts_as_spooled(tmp_path, declared):
    """H148, H188: but all of it counts as the upload's."""
    async with storehouse(tmp_path, max_spooled_bytes=38, max_upload_bytes=30) as h:
        session = await opened(h, declared=declared)
        other = await opened(h, declared=False)
        go = h.store.stall()
        await send(h, other, 1, b"15 bytes of it!")
        with pytest.raises(TooMany):
            await send_all(h, session)
        go.set()
        await h.seen()
        assert h.sessions._accounts.spooled_bytes == 15  # one part alone is not sent
        await send(h, other, 2, b"15 bytes of it?")
        await h.seen()
        assert h.sessions._accounts.spooled_bytes == 0
        with pytest.raises(UploadTooLarge):
            await send(h, other, 3, b"more")
        with pytest.raises(UploadTooLarge):
            await opened(h, size_bytes=31, part_size_bytes=10)
        await send(h, session, 3, PARTS[2])
        await send(h, session, 2, PARTS[1])
        await complete(h, session)
        await h.parted.abort(other.id, OWNER)
        await h.nothing_is_left([WHOLE])


# -- the end ----------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("how", ["abort", "expiry"])
async def test_an_end_leaves_nothing_anywhere(tmp_path, declared, how):
    """H028, H067, H183, H192: while parts are on their way, and when the store has some."""
    async with storehouse(tmp_path, expiry_s=100) as h:
        session = await opened(h, declared=declared, parts=[1, 2])
        await h.seen()
        go = h.store.stall()
        await send(h, session, 3, PARTS[2])
        if how == "abort":
            await h.parted.abort(session.id, OWNER)
            error: type[Exception] = UploadAborted
        else:
            h.clock.time_s += 1000
            assert await h.parted.expire() == 1
            error = UploadExpired
        with pytest.raises(error):
            await held(h, session)
        go.set()
        await h.nothing_is_left()


async def test_many_sessions_at_once_stay_apart(tmp_path):
    """H176, H177, H186."""
    wholes = [os.urandom(95) for _ in range(20)]
    async with storehouse(tmp_path, keep_bytes=20) as h:

        async def push(whole):
            parts = [whole[a:b] for a, b in pairwise([*range(0, 95, 10), 95])]
            session = await opened(h, size_bytes=95)
            await asyncio.gather(*(send(h, session, number, each) for number, each in enumerate(parts, 1)))
            await h.parted.complete(session.id, OWNER, listed(parts), Digest.of(whole))

        await asyncio.gather(*map(push, wholes))
        for whole in wholes:
            assert await h.stored(whole)
        await h.nothing_is_left(wholes)
