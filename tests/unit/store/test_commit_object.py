"""Objects become blobs: visible at once, settled later, never unproven under a digest, and nothing is left over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.base import KeyMissing, ShortRead, StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import BlobUnknown, DigestMismatch, StorageFailed, StorageFull, Unsupported
from store import store_objects, uploads
from store.condition import FRESH_S
from store.layout import BLOBS, TEMPORARY, blob_key, temporary_key
from store.transactions import Transaction
from store.upload_parts import EndedRow
from tests.support.storehooks import Halt, failing, no_hook
from tests.unit.store.bucket import LARGE, OTHER, UPLOAD, Bucket, bucket
from tests.unit.store.shop import StillClock

DIGEST = Digest.of(LARGE)
SIZE = len(LARGE)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Bucket]:
    """An empty store; nothing is settled or discarded before somebody says `calm` or `work`."""
    async with bucket(tmp_path) as opened:
        yield opened


async def test_a_committed_object_is_a_blob_at_once_and_its_session_is_gone(shelf: Bucket) -> None:
    digest = await shelf.committed(LARGE)
    assert shelf.store.blobs.is_unsettled(digest)
    assert blob_key(digest) not in shelf.objects.values
    assert await shelf.store.blobs.size("a", digest) == SIZE
    assert await shelf.read("a", digest) == LARGE
    assert await shelf.store.catalog.read(uploads.all_rows) == []


async def test_h078_settling_moves_it_to_its_digest_by_a_copy_in_the_store_and_takes_the_rest_away(
    shelf: Bucket,
) -> None:
    """H078: no byte of it comes through here again."""
    digest = await shelf.committed(LARGE)
    asked = len(shelf.objects.asked)
    await shelf.calm()
    assert shelf.holds_only(LARGE)
    assert await shelf.rows() == []
    assert not shelf.store.blobs.is_unsettled(digest)
    assert not {"get", "put"} & {verb for verb, _ in shelf.objects.asked[asked:]}
    assert await shelf.read("a", digest) == LARGE


async def test_an_object_that_was_made_under_its_own_digest_needs_no_settling(shelf: Bucket) -> None:
    """H077: the key is the digest's path."""
    key = await shelf.uploaded(LARGE, key=blob_key(DIGEST))
    assert key == f"docker/registry/v2/blobs/sha256/{DIGEST.hex[:2]}/{DIGEST.hex}/data"
    await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    assert not shelf.store.blobs.is_unsettled(DIGEST)
    await shelf.calm()
    assert shelf.holds_only(LARGE)
    assert await shelf.rows() == []
    assert await shelf.read("a", DIGEST) == LARGE


async def test_how_a_session_in_parts_ended_is_recorded_in_the_same_moment(shelf: Bucket) -> None:
    key = await shelf.uploaded(LARGE)
    ended = EndedRow(UPLOAD, "a", "me", str(DIGEST), "done", str(DIGEST), SIZE, 1, 5.0)
    await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, ended)
    assert await shelf.store.catalog.read(uploads.all_rows) == []
    assert [row.key for row in await shelf.rows()] == [key]


async def test_one_round_trip_is_all_that_a_commit_takes_before_it_is_visible(shelf: Bucket) -> None:
    key = await shelf.uploaded(LARGE)
    asked = len(shelf.objects.asked)
    await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    assert shelf.objects.asked[asked:] == [("size", key)]


@pytest.mark.parametrize("spoil", ["gone", "short"])
async def test_an_object_that_is_not_there_as_it_should_be_is_no_blob_and_the_session_stays(
    shelf: Bucket, spoil: str
) -> None:
    key = await shelf.uploaded(LARGE)
    if spoil == "gone":
        del shelf.objects.values[key]
    else:
        shelf.objects.values[key] = LARGE[:-1]
    with pytest.raises(KeyMissing if spoil == "gone" else ShortRead):
        await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    with pytest.raises(BlobUnknown):
        await shelf.store.blobs.size("a", DIGEST)
    assert len(await shelf.store.catalog.read(uploads.all_rows)) == 1


async def test_an_object_that_is_discarded_already_is_never_acknowledged(shelf: Bucket) -> None:
    key = await shelf.uploaded(LARGE)
    await shelf.store.catalog.run(store_objects.discard, key, UPLOAD)
    with pytest.raises(StorageFailed):
        await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    assert not shelf.store.blobs.is_unsettled(DIGEST)


async def test_no_other_key_can_be_committed(shelf: Bucket) -> None:
    with pytest.raises(ValueError, match="neither"):
        await shelf.store.blobs.commit_object("a", DIGEST, blob_key(Digest.of(OTHER)), SIZE, UPLOAD)


async def test_a_catalog_that_fails_leaves_everything_as_it_was_and_the_commit_can_be_repeated(
    shelf: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tx: Transaction, *args: object) -> None:
        raise StorageFull("the disk is full")

    key = await shelf.uploaded(LARGE)
    with monkeypatch.context() as patched:
        patched.setattr("store.blob_rows.record_at", refuse)
        with pytest.raises(StorageFull):
            await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    assert not shelf.store.blobs.is_unsettled(DIGEST)
    with pytest.raises(BlobUnknown):
        await shelf.store.blobs.size("a", DIGEST)
    await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    await shelf.calm()
    assert shelf.holds_only(LARGE)


async def test_many_who_bring_the_same_content_each_their_way_all_succeed_and_one_copy_is_kept(
    shelf: Bucket,
) -> None:
    """By file, by object and by an object under the digest's own key, at once, while it is settled and discarded."""
    shelf.work()

    async def by_file(number: int) -> None:
        source = shelf.store.folder / "spool" / f"file-{number}"
        source.write_bytes(LARGE)
        await shelf.store.blobs.commit(f"repo-{number}", DIGEST, source, SIZE)
        assert not source.exists()

    async def by_object(number: int) -> None:
        upload_id = f"upload-{number}"
        key = await shelf.uploaded(LARGE, upload_id, blob_key(DIGEST) if number % 5 == 0 else None)
        await shelf.store.blobs.commit_object(f"repo-{number}", DIGEST, key, SIZE, upload_id)

    await asyncio.gather(*(by_file(number) if number % 3 == 0 else by_object(number) for number in range(24)))
    await shelf.calm()
    assert shelf.holds_only(LARGE)
    assert await shelf.rows() == []
    for number in range(24):
        assert await shelf.read(f"repo-{number}", DIGEST) == LARGE


async def test_the_same_content_again_keeps_the_first_object_and_discards_the_second(shelf: Bucket) -> None:
    await shelf.committed(LARGE)
    [first] = shelf.temporary()
    await shelf.committed(LARGE, "upload-2", "b")
    assert shelf.store.blobs.places.unsettled == {DIGEST: first}
    await shelf.calm()
    assert shelf.holds_only(LARGE)
    assert await shelf.store.blobs.holders(DIGEST) == ["a", "b"]


async def test_the_same_content_again_without_a_session_leaves_nothing_either(shelf: Bucket) -> None:
    await shelf.committed(LARGE)
    key = temporary_key("none", "t")
    await shelf.store.catalog.run(store_objects.intend, store_objects.ObjectRow(key, "none", "", 1.0))
    shelf.objects.values[key] = LARGE
    await shelf.store.blobs.commit_object("b", DIGEST, key, SIZE, None)
    await shelf.calm()
    assert shelf.holds_only(LARGE)


@pytest.mark.parametrize("settled", [False, True])
async def test_content_that_was_stored_long_ago_is_replaced_by_what_was_proven_just_now(
    tmp_path: Path, settled: bool
) -> None:
    """Of the right length but with other bytes: nothing but the proof of the newcomer can tell."""
    clock = StillClock()
    async with bucket(tmp_path, clock=clock) as shelf:
        await shelf.committed(LARGE)
        if settled:
            await shelf.calm()
        shelf.objects.values[shelf.store.blobs.places.key_of(DIGEST)] = bytes(SIZE)
        clock.at_s += FRESH_S
        await shelf.committed(LARGE, "upload-2", "b")
        assert [await shelf.read(repository, DIGEST) for repository in "ab"] == [LARGE, LARGE]
        await shelf.calm()
        assert shelf.holds_only(LARGE)


async def test_a_file_that_is_stored_under_the_digest_makes_an_unsettled_object_needless(tmp_path: Path) -> None:
    clock = StillClock()
    async with bucket(tmp_path, clock=clock) as shelf:
        await shelf.committed(LARGE)
        clock.at_s += FRESH_S
        await shelf.store.push_blob("b", LARGE)
        assert not shelf.store.blobs.is_unsettled(DIGEST)
        await shelf.calm()
        assert shelf.holds_only(LARGE)
    async with bucket(tmp_path, shelf.objects) as shelf:
        assert not shelf.store.blobs.is_unsettled(DIGEST)
        assert await shelf.read("a", DIGEST) == LARGE


async def test_a_cancelled_commit_is_carried_through(shelf: Bucket) -> None:
    halt = Halt("size")
    key = await shelf.uploaded(LARGE)
    shelf.objects.before = halt
    task = asyncio.create_task(shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD))
    await halt.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    halt.go.set()
    await shelf.store.blobs.close()
    assert shelf.store.blobs.is_unsettled(DIGEST)
    assert await shelf.store.blobs.holders(DIGEST) == ["a"]


async def test_a_dead_store_refuses_the_commit_and_loses_nothing_of_it(shelf: Bucket) -> None:
    key = await shelf.uploaded(LARGE)
    shelf.objects.before = failing(("size", ""))
    with pytest.raises(StoreUnavailable):
        await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    shelf.objects.before = no_hook
    await shelf.store.blobs.commit_object("a", DIGEST, key, SIZE, UPLOAD)
    assert await shelf.read("a", DIGEST) == LARGE


@pytest.fixture
async def proving(tmp_path: Path) -> AsyncIterator[Bucket]:
    """A store that says what its copies hash to."""
    async with bucket(tmp_path, MemoryStore(smallest_part_bytes=1, hashes_copies=True)) as opened:
        yield opened


async def test_what_clients_put_there_is_proven_by_the_store_itself_where_it_says_the_hash(proving: Bucket) -> None:
    """C07: no byte of it is read back."""
    key = await proving.uploaded(LARGE)
    assert await proving.store.blobs.commit_by_copy("a", DIGEST, key, SIZE, UPLOAD)
    proving.objects.values[key] = OTHER
    assert await proving.read("a", DIGEST) == LARGE, "whoever can still write under the first key changes no blob"
    await proving.calm()
    assert proving.holds_only(LARGE)
    assert await proving.rows() == []


async def test_what_hashes_to_something_else_is_never_under_the_digest_nor_left_over(proving: Bucket) -> None:
    """T10: an error, and nothing visible."""
    key = await proving.uploaded(OTHER)
    under_a_digest: list[str] = []

    async def watch(verb: str, source: str) -> None:
        under_a_digest.extend(each for each in proving.objects.values if each.startswith(BLOBS))

    proving.objects.after = watch
    with pytest.raises(DigestMismatch):
        await proving.store.blobs.commit_by_copy("a", DIGEST, key, len(OTHER), UPLOAD)
    with pytest.raises(BlobUnknown):
        await proving.store.blobs.size("a", DIGEST)
    await proving.store.catalog.run(uploads.remove, UPLOAD)
    await proving.calm()
    assert under_a_digest == []
    assert proving.holds_only()


async def test_a_store_that_says_no_hash_changes_nothing(shelf: Bucket) -> None:
    key = await shelf.uploaded(LARGE)
    assert not await shelf.store.blobs.commit_by_copy("a", DIGEST, key, SIZE, UPLOAD)
    await shelf.calm()
    assert list(shelf.objects.values) == [key]
    assert [row.key for row in await shelf.rows()] == [key]
    assert len(await shelf.store.catalog.read(uploads.all_rows)) == 1


async def test_a_store_cannot_prove_digests_of_another_algorithm(proving: Bucket) -> None:
    key = await proving.uploaded(LARGE)
    digest = Digest.of(LARGE, "sha512")
    assert not await proving.store.blobs.commit_by_copy("a", digest, key, SIZE, UPLOAD)
    assert ("copy", key) not in proving.objects.asked


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_proof_that_breaks_off_leaves_no_copy(proving: Bucket, when: str) -> None:
    key = await proving.uploaded(LARGE)
    setattr(proving.objects, when, failing(("copy", TEMPORARY)))
    with pytest.raises(StoreUnavailable):
        await proving.store.blobs.commit_by_copy("a", DIGEST, key, SIZE, UPLOAD)
    setattr(proving.objects, when, no_hook)
    await proving.calm()
    assert list(proving.objects.values) == [key]
    assert await proving.store.blobs.commit_by_copy("a", DIGEST, key, SIZE, UPLOAD)


async def test_a_copy_of_something_else_than_was_said_is_not_committed(proving: Bucket) -> None:
    key = await proving.uploaded(LARGE)
    with pytest.raises(ShortRead):
        await proving.store.blobs.commit_by_copy("a", DIGEST, key, SIZE + 1, UPLOAD)
    await proving.calm()
    assert list(proving.objects.values) == [key]


async def test_a_store_that_cannot_copy_says_so(shelf: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.store.blobs.commits, "_backend", object())
    with pytest.raises(Unsupported):
        await shelf.store.blobs.commit_by_copy("a", DIGEST, "key", SIZE, UPLOAD)
