"""A whole upload in one PUT: its digest is known before its first byte, so it goes to its own place at once (D9)."""

import random
import shutil

import pytest

from backends.base import KeyMissing, StoreUnavailable
from model.digests import Digest
from model.errors import DigestMismatch, RegistryError
from multipart import spool
from multipart.bodies import Ending
from multipart.place import Place
from multipart.slices import Slicing
from store.layout import blob_key
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.slicehouse import FIRST, SliceHouse, Store, slicehouse

CONTENT = random.Random(5).randbytes(10 * FIRST + 42)
ROOMY = Slicing(first_bytes=FIRST, keep_bytes=20 * FIRST, unsent_bytes=1 << 20, patience_s=0.5)


@pytest.fixture(autouse=True)
def marks_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MARK_BYTES", 8)


@pytest.fixture
def store() -> Store:
    return Store()


async def put(h: SliceHouse, upload_id: str, content: bytes, *, of: bytes = CONTENT, at: int = 0, **how) -> None:
    """The PUT that closes an upload, with a body."""
    pieces = [content[start : start + 37] for start in range(0, len(content), 37)]
    place = Place(location_offset=at)
    await h.sessions.finish(REPOSITORY, upload_id, PlayedBody(pieces, **how), place, Digest.of(of))


def keys_of(store: Store, verb: str) -> set[str]:
    return {key for asked, key in store.asked if asked == verb}


def only_temporary(keys: set[str]) -> bool:
    return bool(keys) and all(key.startswith("holdfast/") for key in keys)


async def broken_off(h: SliceHouse) -> str:
    """An upload of which a PUT of the whole broke off; what came of it is in the store under the digest's key."""
    session = await h.sessions.open(REPOSITORY)
    with pytest.raises(RegistryError):
        await put(h, session.id, CONTENT[:500], ending=Ending.VANISHED)
    await h.sent(session.id)
    assert keys_of(h.store, "send_part") == {blob_key(Digest.of(CONTENT))}
    return session.id


async def test_it_goes_to_its_own_key_and_nothing_is_copied(tmp_path, store):
    """Containerd, oras and helm push so; a copy can cost a store more than the upload did."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await put(h, session.id, CONTENT)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()
        assert (store.count("copy"), store.count("send_part")) == (0, 11)
        assert keys_of(store, "assemble") == {blob_key(Digest.of(CONTENT))}


@pytest.mark.parametrize("how", ["closing PUT", "one request"])
async def test_what_is_there_already_is_not_made_again_over_itself(tmp_path, store, how):
    """Some stores keep the parts of what is replaced (Swift): every base layer would cost once for each repository."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        first = await h.sessions.open(REPOSITORY)
        await put(h, first.id, CONTENT)
        store.asked.clear()
        if how == "one request":
            pieces = [CONTENT[start : start + 37] for start in range(0, len(CONTENT), 37)]
            await h.sessions.receive_whole("other/repository", PlayedBody(pieces), Digest.of(CONTENT))
        else:
            second = await h.sessions.open(REPOSITORY)
            await put(h, second.id, CONTENT)
        assert only_temporary(keys_of(store, "assemble"))
        assert await h.stored(CONTENT)
        assert await h.nothing_left()
        assert store.count("copy") == 0


async def test_what_was_found_damaged_is_made_again_over_itself(tmp_path, store):
    """Pushing it again heals it."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        first = await h.sessions.open(REPOSITORY)
        await put(h, first.id, CONTENT)
        h.blobs.condition.note_damaged(Digest.of(CONTENT))
        store.values[blob_key(Digest.of(CONTENT))] = bytes(len(CONTENT))
        second = await h.sessions.open(REPOSITORY)
        await put(h, second.id, CONTENT)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_one_that_the_spool_cannot_keep_whole_is_copied_to_its_place(tmp_path, store):
    """Its bytes leave the spool, so that its digest could be lost in a restart: it is never at its place unproven."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.sessions.open(REPOSITORY)
        await put(h, session.id, CONTENT)
        assert only_temporary(keys_of(store, "assemble"))
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_one_of_unknown_length_is_copied_to_its_place(tmp_path, store):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        await put(h, session.id, CONTENT, counted=False)
        assert only_temporary(keys_of(store, "assemble"))
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_of_a_wrong_digest_nothing_is_assembled(tmp_path, store):
    """C07, T10."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        with pytest.raises(DigestMismatch):
            await put(h, session.id, CONTENT, of=b"something else")
        assert (store.count("assemble"), store.values) == (0, {})
        assert await h.nothing_left()


async def test_one_that_broke_off_goes_on_under_a_temporary_key(tmp_path, store):
    """H003: what comes behind it may be of anything."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        upload_id = await broken_off(h)
        await h.append(upload_id, CONTENT[500:900], 500)
        await put(h, upload_id, CONTENT[900:], at=900)
        assert only_temporary(keys_of(store, "assemble"))
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_one_that_broke_off_may_become_another_blob(tmp_path, store):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        upload_id = await broken_off(h)
        other = CONTENT[:500] + b"and quite another end" * 20
        await put(h, upload_id, other[500:], of=other, at=500)
        assert await h.stored(other)
        assert await h.nothing_left()
        assert blob_key(Digest.of(CONTENT)) not in store.values


async def test_one_that_broke_off_may_begin_from_nothing(tmp_path, store):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        upload_id = await broken_off(h)
        await put(h, upload_id, CONTENT, at=0)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_one_that_broke_off_is_gone_on_with_after_a_kill(tmp_path, store):
    """H003: what is in the store is not believed in; the spool has everything."""
    first, second = tmp_path / "first", tmp_path / "second"
    async with slicehouse(first, store, slicing=ROOMY) as h:
        upload_id = await broken_off(h)
        await h.freeze()
        shutil.copytree(first, second)
    store.dead = False
    async with slicehouse(second, store, slicing=ROOMY) as h:
        assert await h.sessions.offset(REPOSITORY, upload_id) == 500
        await put(h, upload_id, CONTENT[500:], at=500)
        assert only_temporary(keys_of(store, "assemble"))
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_when_the_store_is_away_at_the_end_the_same_put_without_a_body_is_enough(tmp_path, store):
    """T01: what was received whole is kept."""
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        session = await h.sessions.open(REPOSITORY)
        store.dead = True
        with pytest.raises(StoreUnavailable):
            await put(h, session.id, CONTENT)
        store.dead = False
        await h.finish(session.id, len(CONTENT), CONTENT)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_two_may_bring_the_same_blob_at_a_time(tmp_path, store):
    async with slicehouse(tmp_path, store, slicing=ROOMY) as h:
        one, other = await h.sessions.open(REPOSITORY), await h.sessions.open(REPOSITORY)
        with pytest.raises(RegistryError):
            await put(h, one.id, CONTENT[:700], ending=Ending.VANISHED)
        await put(h, other.id, CONTENT)
        assert await h.stored(CONTENT)
        await put(h, one.id, CONTENT[700:], at=700)
        assert await h.stored(CONTENT)
        assert await h.nothing_left()


async def test_an_object_that_is_gone_before_it_is_shown_is_made_again(tmp_path, store):
    """T01: what was received is still in the spool; somebody removed it from the bucket, or the store lost it."""
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(CONTENT[:150])

        async def losing(verb: str, key: str) -> None:
            if verb == "assemble":
                store.values.clear()
                store.after = nothing

        async def nothing(verb: str, key: str) -> None:
            pass

        store.after = losing
        with pytest.raises(KeyMissing):
            await h.finish(session.id, 150, CONTENT[:150])
        await h.finish(session.id, 150, CONTENT[:150])
        assert await h.stored(CONTENT[:150])
        assert await h.nothing_left()
