"""Native uploads: clients put parts into the store, and what they put there is proven before anybody sees it."""

import asyncio
import hashlib

import pytest

from backends.base import StoreUnavailable
from model.digests import Digest
from model.errors import BlobUnknown, DigestMismatch, StorageFull
from multipart.parts import ListedPart
from multipart.proving import Progress
from multipart.refusals import (
    NativeNotConfigured,
    PartNumberInvalid,
    PartsInvalid,
    UploadAborted,
    UploadTooLarge,
)
from tests.support.storehooks import Halt
from tests.unit.multipart.harness import REPOSITORY, HandClock, house
from tests.unit.multipart.parting import DIGEST, KINDS, OTHER, PARTS, SMALL, WHOLE, full, held, opened, send, send_all
from tests.unit.multipart.storehouse import OWNER, TEMP, DirectStore, Refused, storehouse


async def complete(h, session, listed, digest=DIGEST):
    return await h.parted.complete(session.id, OWNER, listed, digest)


# -- the way ----------------------------------------------------------------------------------------------------------


@KINDS
async def test_parts_that_clients_put_into_the_store_become_the_blob(tmp_path, declared):
    """H017, H040, H041, H063, H170, H179, H190, H191, D8: no byte of them is sent by us."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, native=True)
        assert (session.mode, session.why_buffered) == ("native", "")
        listed = h.puts(session, PARTS)
        done = await complete(h, session, listed)
        assert (done.digest, done.size_bytes, done.parts, done.repository) == (str(DIGEST), 24, 3, REPOSITORY)
        assert await h.stored(WHOLE)
        assert not {"put", "send_part"} & set(h.store.verbs())
        await h.nothing_is_left([WHOLE])


@KINDS
@pytest.mark.parametrize("hashed", [True, False])
async def test_wrong_bytes_are_never_seen_and_do_not_stay(tmp_path, declared, hashed):
    """C07, T01, T10, H080: the client is told, and the object is gone."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, native=True)
        listed = h.puts(session, [PARTS[0], OTHER[1], PARTS[2]], hashed=hashed)
        with pytest.raises(DigestMismatch) as caught:
            await complete(h, session, listed)
        assert caught.value.detail["actual"] == str(Digest.of(PARTS[0] + OTHER[1] + PARTS[2]))
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)
        with pytest.raises(UploadAborted):
            await held(h, session)
        await h.nothing_is_left()


async def test_a_part_has_a_url_of_its_own_with_the_headers_that_go_with_it(tmp_path):
    """H014-H017, H061, M07-M10."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        sha256 = hashlib.sha256(PARTS[0]).hexdigest()
        url = h.parted.part_url(session.id, OWNER, 1, sha256=sha256, lifetime_s=900)
        assert url is not None
        assert url.headers == {"x-amz-content-sha256": sha256}
        assert url.expires_at_s == h.clock.now_s() + 900
        with pytest.raises(Refused):
            h.store.client_puts(url.url, OTHER[0])
        h.store.client_puts(url.url, PARTS[0])
        with pytest.raises(PartNumberInvalid):
            h.parted.part_url(session.id, OWNER, 4, lifetime_s=900)
        with pytest.raises(PartNumberInvalid):
            h.parted.part_url(session.id, OWNER, 0, lifetime_s=900)


# -- the choice of a mode ---------------------------------------------------------------------------------------------


async def test_a_store_that_cannot_begin_makes_the_session_buffered_in_the_same_call(tmp_path):
    """H042, H046, H047: and nothing is left of the attempt."""
    async with storehouse(tmp_path) as h:
        h.store.dead = True
        session = await opened(h, native=True)
        assert session.mode == "buffered"
        assert "does not answer" in session.why_buffered
        assert h.parted.part_url(session.id, OWNER, 1, lifetime_s=900) is None
        h.store.dead = False
        await send_all(h, session)
        await complete(h, session, [ListedPart(p.number, p.etag) for p in session.listing.values()])
        assert await h.stored(WHOLE)


async def test_a_client_that_goes_away_while_its_session_is_begun_leaves_nothing(tmp_path):
    """H192: neither here nor in the store."""
    async with storehouse(tmp_path) as h:
        h.store.after = beginning = Halt("begin")
        opening = asyncio.create_task(opened(h, native=True))
        await beginning.reached.wait()
        opening.cancel()
        beginning.go.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert h.parted.all() == []
        await h.nothing_is_left()


async def test_a_session_that_the_ledger_does_not_take_leaves_nothing_in_the_store(tmp_path, monkeypatch):
    async with storehouse(tmp_path) as h:
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(h.ledger, "add", full)
            await opened(h, native=True)
        assert h.parted.all() == []
        await h.nothing_is_left()


@pytest.mark.parametrize(("why", "told"), [("clients cannot reach it", "clients cannot reach it"), ("", "no URLs")])
async def test_a_store_that_clients_cannot_be_sent_to_says_why(tmp_path, why, told):
    """H044-H047, H051."""
    async with storehouse(tmp_path) as h:
        h.store.is_native, h.store.why_not_native = False, why
        session = await opened(h, native=True)
        assert session.mode == "buffered"
        assert told in session.why_buffered
        with pytest.raises(NativeNotConfigured, match="not configured.*" + told):
            await opened(h, insists=True)
        assert await h.parted.whole_url(REPOSITORY, TEMP, OWNER, None, 900) is None
        h.store.is_native = True
        assert (await opened(h, insists=True)).mode == "native"


async def test_a_directory_has_no_native_uploads_and_says_so(tmp_path):
    """H043, H051."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, native=True)
        assert (session.mode, h.sessions.parted.part_url(session.id, OWNER, 1, lifetime_s=900)) == ("buffered", None)
        assert "directory" in session.why_buffered
        with pytest.raises(NativeNotConfigured, match="storage_driver"):
            await opened(h, insists=True)
        assert await h.sessions.parted.whole_url(REPOSITORY, TEMP, OWNER, None, 900) is None


@pytest.mark.parametrize(
    ("size_bytes", "part_size_bytes", "mode"),
    [
        (24, 10, "native"),
        (24, 7, "buffered"),
        (4, 4, "native"),
        (80, 8, "native"),
        (81, 8, "buffered"),
        (300, 101, "buffered"),
        (101, 101, "buffered"),
    ],
)
async def test_sizes_that_the_store_would_not_take_make_it_buffered(tmp_path, size_bytes, part_size_bytes, mode):
    """H101, H102: the smallest and largest part, and how many."""
    store = DirectStore(HandClock(), smallest_part_bytes=8, largest_part_bytes=100, most_parts=10)
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True, size_bytes=size_bytes, part_size_bytes=part_size_bytes)
        assert session.mode == mode


async def test_a_url_that_cannot_be_signed_sends_the_part_through_us(tmp_path, monkeypatch):
    """H047: credentials that ended, for one."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)

        def ended(*_, **__):
            raise ValueError("the credentials have ended")

        monkeypatch.setattr(h.store, "part_url", ended)
        assert h.parted.part_url(session.id, OWNER, 1, lifetime_s=900) is None
        monkeypatch.undo()
        h.store.is_native = False
        assert h.parted.part_url(session.id, OWNER, 1, lifetime_s=900) is None


# -- parts through us -------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("through_us", [{2}, {1, 3}, {1, 2, 3}])
async def test_a_client_that_does_not_get_through_sends_parts_to_us_in_the_same_session(tmp_path, declared, through_us):
    """H048: into the same object, under the same numbers."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, native=True)
        listed = []
        for number, content in enumerate(PARTS, 1):
            if number in through_us:
                listed.append(ListedPart(number, (await send(h, session, number, content)).etag))
            else:
                listed.append(ListedPart(number, h.store.client_puts(h.url(session, number), content)))
        assert len(await h.parted.parts(session.id, OWNER)) >= 3 - len(through_us)
        await complete(h, session, listed)
        assert await h.stored(WHOLE)
        assert ("get" in h.store.verbs()[: h.store.verbs().index("assemble") + 3]) == (len(through_us) < 3)
        await h.nothing_is_left([WHOLE])


async def test_the_last_of_a_part_that_came_both_ways_counts(tmp_path):
    """H048, H068: whatever the order, the store's word decides."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        url = [h.url(session, number) for number in (1, 2, 3)]
        h.store.client_puts(url[0], OTHER[0])
        first = await send(h, session, 1, PARTS[0])
        await send(h, session, 2, OTHER[1])
        await h.seen()
        etags = [first.etag, h.store.client_puts(url[1], PARTS[1]), h.store.client_puts(url[2], PARTS[2])]
        await complete(h, session, [ListedPart(number, etag) for number, etag in enumerate(etags, 1)])
        await h.keeps_only(WHOLE)


async def test_the_same_bytes_again_through_us_replace_what_the_client_put_there_since(tmp_path):
    """H048: nobody here saw that other part, so that ours cannot be taken for what is there."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True, parts=[1])
        await h.seen()
        listed = h.puts(session, [OTHER[0], PARTS[1], PARTS[2]])
        listed[0] = ListedPart(1, (await send(h, session, 1, PARTS[0])).etag)
        await complete(h, session, listed)
        assert await h.stored(WHOLE)


# -- the list ---------------------------------------------------------------------------------------------------------


SPELLED = ["{0}", '"{0}"', 'W/"{0}"', " {0} ", '  "{0}"', "&quot;{0}&quot;", "W/{0}"]


@pytest.mark.parametrize("spelled", SPELLED)
async def test_an_etag_of_the_store_may_be_spelled_in_any_way(tmp_path, spelled):
    """H085, H086, H087."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = [ListedPart(part.number, spelled.format(part.etag.strip('"'))) for part in h.puts(session, PARTS)]
        await complete(h, session, listed)
        assert await h.stored(WHOLE)


@KINDS
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda listed: listed[:-1], "part 3 is stored, but not listed"),
        (lambda listed: [*listed[:1], ListedPart(2, "0" * 32), listed[2]], "part 2 has another ETag"),
        (lambda listed: [*listed[:1], ListedPart(2, ""), listed[2]], "part 2 has another ETag"),
        (lambda listed: [*listed, ListedPart(4, "0" * 32)], "part 4 is missing"),
        (lambda listed: listed[::-1], "behind"),
        (lambda listed: [], "no parts"),
    ],
)
async def test_a_list_that_is_not_what_the_store_has_changes_nothing(tmp_path, declared, change, told):
    """H088, H090, H182: and parts left out would make some stores refuse all."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=declared, native=True)
        listed = h.puts(session, PARTS)
        with pytest.raises(PartsInvalid, match=told):
            await complete(h, session, change(listed))
        assert "assemble" not in h.store.verbs()
        await complete(h, session, listed)
        assert await h.stored(WHOLE)


async def test_parts_that_never_came_are_named(tmp_path):
    """H088: what a client says about parts that nobody saw counts for nothing."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        with pytest.raises(PartsInvalid, match="part 1 is missing"):
            await complete(h, session, [ListedPart(number, "0" * 32) for number in (1, 2, 3)])
        assert await h.parted.parts(session.id, OWNER) == []


async def test_a_part_of_another_size_than_was_declared_is_named(tmp_path):
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, [PARTS[0] + b"!", PARTS[1], PARTS[2]])
        with pytest.raises(PartsInvalid, match="part 1 has 11 bytes; it needs 10"):
            await complete(h, session, listed)
        await complete(h, session, h.puts(session, PARTS))
        assert await h.stored(WHOLE)


async def test_a_part_that_is_too_small_for_the_store_is_named(tmp_path):
    """H101: before the store is asked, which would say it of all."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, declared=False, native=True)
        listed = h.puts(session, [b"small", b"also small"])
        with pytest.raises(PartsInvalid, match="part 1 has 5 bytes; all but the last need 8"):
            await complete(h, session, listed, Digest.of(b"smallalso small"))


async def test_more_than_an_upload_may_have_is_refused_also_when_we_never_saw_it(tmp_path):
    """H103."""
    async with storehouse(tmp_path, max_upload_bytes=20) as h:
        with pytest.raises(UploadTooLarge):
            await opened(h, native=True)
        session = await opened(h, declared=False, native=True)
        with pytest.raises(UploadTooLarge):
            await complete(h, session, h.puts(session, PARTS))
        await h.parted.abort(session.id, OWNER)
        await h.nothing_is_left()


async def test_parts_are_recorded_before_they_are_made_an_object(tmp_path):
    """H061, H062, H063, H088."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        recorded: list[tuple[int, int, str | None]] = []

        async def look(verb, key):
            if verb == "assemble":
                recorded.extend((row.number, row.size_bytes, row.store_etag) for row in await h.ledger.parts())

        h.store.before = look
        await complete(h, session, listed)
        assert recorded == [(p.number, len(c), p.etag.strip('"')) for p, c in zip(listed, PARTS, strict=True)]


async def test_what_the_store_has_is_listed_for_a_client_that_comes_back(tmp_path):
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS[:2])
        assert await held(h, session) == {1: 10, 2: 10}
        assert [part.etag for part in await h.parted.parts(session.id, OWNER)] == [part.etag for part in listed]
        h.store.dead = True
        with pytest.raises(StoreUnavailable):
            await held(h, session)


# -- the proof --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["hashed", "unhashed", "both", "unchecked", "other first", "restarted", "sha512"])
async def test_a_body_that_the_store_held_to_the_digest_is_not_read_again(tmp_path, case):
    """s3-sigv4 4, option a: only when no URL was ever handed out by which other bytes could have come."""
    store = DirectStore(HandClock())
    store.checks_hashes = case != "unchecked"
    digest = Digest.of(WHOLE, "sha512" if case == "sha512" else "sha256")
    async with storehouse(tmp_path / "data", store) as h:
        session = await opened(h, declared=False, native=True, algorithm=digest.algorithm)
        if case in ("unhashed", "both"):
            h.urls(session, [WHOLE])
        if case == "other first":
            h.urls(session, [OTHER[0]], hashed=True)
        if case != "unhashed":
            listed = h.puts(session, [WHOLE], hashed=True)
        else:
            listed = h.puts(session, [WHOLE])
        if case != "restarted":
            await complete(h, session, listed, digest)
            assert ("get" in h.store.verbs()) == (case != "hashed")
    if case == "restarted":
        async with storehouse(tmp_path / "data", store) as h:
            await complete(h, session, listed, digest)
            assert "get" in h.store.verbs()


async def test_the_stores_own_hash_of_a_copy_is_a_proof(tmp_path):
    """s3-sigv4 4, option d: right or wrong, nothing is read by us."""
    store = DirectStore(HandClock(), hashes_copies=True)
    async with storehouse(tmp_path, store, copies_prove=lambda: True) as h:
        session = await opened(h, native=True)
        await complete(h, session, h.puts(session, PARTS))
        assert "get" not in h.store.verbs()
        assert await h.stored(WHOLE)
        wrong = await opened(h, native=True)
        with pytest.raises(DigestMismatch) as caught:
            await complete(h, wrong, h.puts(wrong, OTHER[:2] + PARTS[2:]))
        assert caught.value.detail["actual"] == str(Digest.of(b"".join(OTHER[:2] + PARTS[2:])))
        await h.nothing_is_left([WHOLE])


async def test_a_store_that_says_no_hash_after_all_is_read(tmp_path):
    async with storehouse(tmp_path, copies_prove=lambda: True) as h:
        session = await opened(h, native=True)
        await complete(h, session, h.puts(session, PARTS))
        assert "get" in h.store.verbs()
        await h.keeps_only(WHOLE)


async def test_nobody_sees_the_blob_before_it_is_proven_and_how_far_that_is_can_be_seen(tmp_path):
    """C07, T01: `uploads list` shows it; a repeated completion joins the one under way, an abort or expiry waits."""
    async with storehouse(tmp_path, expiry_s=10) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        h.store.before = reading = Halt("get")

        def progress():
            return session.proving

        first = asyncio.create_task(complete(h, session, listed))
        await reading.reached.wait()
        again = asyncio.create_task(complete(h, session, listed))
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)
        assert progress() == Progress(0, 24)
        h.clock.time_s += 5000
        assert await h.parted.expire() == 0
        reading.go.set()
        assert await first == await again
        assert progress() is None
        assert h.store.verbs().count("assemble") == 1


async def test_an_abort_does_not_wait_for_a_proof(tmp_path):
    """H028, H180."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS)
        h.store.before = reading = Halt("get")
        completing = asyncio.create_task(complete(h, session, listed))
        await reading.reached.wait()
        await h.parted.abort(session.id, OWNER)
        with pytest.raises(UploadAborted):
            await completing
        await h.nothing_is_left()


# -- what clients might try, and what happens at the same time --------------------------------------------------------


@KINDS
async def test_a_url_that_was_signed_with_the_digest_proves_nothing_of_what_came_through_us(tmp_path, declared):
    """C07, D9: who asks for such a URL and sends other bytes through us does not get them shown under the digest."""
    evil = b"evil bytes, as many long"
    assert len(evil) == len(WHOLE)
    async with storehouse(tmp_path) as h:
        size = len(evil) if declared else None
        session = await h.parted.open(
            REPOSITORY, owner=OWNER, target=TEMP, native=True, size_bytes=size, part_size_bytes=size
        )
        h.url(session, 1, DIGEST.hex)
        part = await send(h, session, 1, evil)
        with pytest.raises(DigestMismatch):
            await complete(h, session, [ListedPart(1, part.etag)])
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, DIGEST)
        await h.nothing_is_left()


async def test_a_part_that_the_store_took_while_it_was_listed_is_not_taken_for_gone(tmp_path, monkeypatch):
    """What was answered with an ETag stays, whatever an older listing says."""
    async with storehouse(tmp_path) as h:
        session = await opened(h, native=True)
        listed = h.puts(session, PARTS[:1])
        looked, go_on, list_parts = asyncio.Event(), asyncio.Event(), h.store.list_parts

        async def slowly(key, store_upload_id):
            found = await list_parts(key, store_upload_id)
            looked.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(h.store, "list_parts", slowly)
        looking = asyncio.create_task(h.parted.parts(session.id, OWNER))
        await looked.wait()
        parts = [await send(h, session, number, PARTS[number - 1]) for number in (2, 3)]
        sending = session.sending
        assert sending is not None and sending.upload is not None
        await sending.upload.all_sent(patience_s=5)
        go_on.set()
        assert set(parts) <= set(await looking)
        await complete(h, session, listed + [ListedPart(part.number, part.etag) for part in parts])
        assert await h.stored(WHOLE)
