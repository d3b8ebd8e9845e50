"""Copies of the catalog in the bucket: the newest always, seven at most, and enough for a machine that is lost."""

import asyncio
import logging
from pathlib import Path

import pytest

from backends.base import KeyMissing, StoreUnavailable
from backends.memory import MemoryBackend
from backends.memory_parts import MemoryStore
from model.errors import StorageFailed, StorageFull
from model.units import DAY_S, HOUR_S, MINUTE_S
from store import backups, setting_rows
from store.backups import FOLDER_NAME, KEPT, keep_daily, list_backups, restore
from store.bucket_copies import BucketCopies, copies_in, fetch, has_copies, keeps_copies, registry_id
from store.layout import BLOBS, CATALOG_COPIES, catalog_copy_key
from store.right_store import WrongStore, require_right_store
from store.setting_rows import keep_noting, note_store
from store.transactions import Transaction
from tests.support.storehooks import failing, no_hook
from tests.unit.store.bucket import LARGE, Bucket, bucket
from tests.unit.store.shop import StillClock


async def names(objects: MemoryStore) -> list[str]:
    """The names of the copies in the bucket, the newest first."""
    return [copy.name for copy in await copies_in(objects)]


async def a_day_passes(shelf: Bucket, copies: BucketCopies) -> None:
    """A copy is taken, and kept up with."""
    shelf.store.clock.at_s += DAY_S
    await shelf.store.catalog.backup()
    await copies.keep_up()


async def test_a_lost_machine_gets_all_its_names_back_from_the_bucket(tmp_path: Path) -> None:
    """Bytes and names are in one place; a folder that is gone costs nothing that was copied."""
    (tmp_path / "lost").mkdir()
    async with bucket(tmp_path / "lost", work=True) as shelf:
        digest = await shelf.committed(LARGE)
        await shelf.store.push_image("a", "v1")
        await shelf.calm()
        await shelf.store.catalog.backup()
        await BucketCopies(shelf.store.catalog, shelf.objects).keep_up()
    here, objects = tmp_path / "new", shelf.objects
    here.mkdir()
    [newest, *_] = await copies_in(objects)
    copy = await fetch(objects, newest.name, here)
    assert copy.stat().st_size == newest.size_bytes
    assert restore(here, copy, StillClock()) is None
    async with bucket(here, objects) as shelf:
        await require_right_store(shelf.store.catalog, objects)
        assert (await shelf.store.tags.page("a")).names == ["v1"]
        assert await shelf.read("a", digest) == LARGE


async def test_a_catalog_that_was_copied_in_the_middle_of_settling_is_good_after_it(tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    async with bucket(tmp_path / "lost") as shelf:
        digest = await shelf.committed(LARGE)
        await shelf.store.catalog.backup()
        await BucketCopies(shelf.store.catalog, shelf.objects).keep_up()
        await shelf.calm()
    here, objects = tmp_path / "new", shelf.objects
    here.mkdir()
    restore(here, await fetch(objects, (await names(objects))[0], here), StillClock())
    async with bucket(here, objects, work=True) as shelf:
        assert shelf.store.blobs.is_unsettled(digest)
        assert await shelf.read("a", digest) == LARGE
        await shelf.calm()
        assert not shelf.store.blobs.is_unsettled(digest)
        assert await shelf.read("a", digest) == LARGE
        assert await shelf.rows() == []


async def test_the_newest_copy_is_there_and_seven_are_kept(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        copies = BucketCopies(shelf.store.catalog, shelf.objects)
        for _ in range(KEPT + 3):
            await a_day_passes(shelf, copies)
        assert await names(shelf.objects) == [copy.path.name for copy in list_backups(tmp_path)]
        assert len(await names(shelf.objects)) == KEPT
        assert sorted(path.name for path in (tmp_path / FOLDER_NAME).iterdir()) == sorted(await names(shelf.objects))
        for copy in await copies_in(shelf.objects):
            assert copy.taken_at_s == backups.taken_at_s(copy.name)
            assert copy.size_bytes == len(shelf.objects.values[catalog_copy_key(copy.name, copy.registry)])


async def test_what_is_there_already_is_not_sent_again(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        await shelf.store.catalog.backup()
        for _ in range(2):
            copies = BucketCopies(shelf.store.catalog, shelf.objects)
            await copies.keep_up()
            asked = len(shelf.objects.asked)
            await copies.keep_up()
            assert len(shelf.objects.asked) == asked
        assert [verb for verb, _ in shelf.objects.asked].count("put") == 2  # the config blob, and one copy


async def test_a_new_catalog_beside_the_copies_of_another_takes_none_of_them_away(tmp_path: Path) -> None:
    """A server that was started on an empty folder by mistake."""
    theirs = [catalog_copy_key(f"catalog-2020010{day}T000000000000Z.sqlite3") for day in range(1, 8)]
    async with bucket(tmp_path) as shelf:
        shelf.objects.values |= dict.fromkeys(theirs, b"a catalog")
        copies = BucketCopies(shelf.store.catalog, shelf.objects)
        await a_day_passes(shelf, copies)
        assert list(shelf.objects.values) == theirs, "a catalog that holds nothing is not copied there"
        await shelf.store.push_image("a", "v1")
        for _ in range(KEPT + 3):
            await a_day_passes(shelf, copies)
        assert set(theirs) < set(shelf.objects.values)
        assert len(await names(shelf.objects)) == 2 * KEPT


async def test_copies_say_which_registry_they_are_of_in_the_bucket_as_in_themselves(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        await shelf.store.catalog.backup()  # before there is an id
        await BucketCopies(shelf.store.catalog, shelf.objects).keep_up()
        own = await registry_id(shelf.store.catalog)
        [copy] = await copies_in(shelf.objects)
        assert copy.registry == own == backups.registry_in(list_backups(tmp_path)[0].path)


async def test_a_bucket_that_is_not_known_to_be_ours_gets_no_copy(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        await shelf.store.catalog.backup()
        with pytest.raises(StorageFailed, match="not known to be this registry's"):
            await BucketCopies(shelf.store.catalog, shelf.objects, lambda: False).keep_up()
        assert await copies_in(shelf.objects) == []


async def test_a_restored_catalog_knows_which_copies_are_its_own(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        copies = BucketCopies(shelf.store.catalog, shelf.objects)
        for _ in range(KEPT):
            await a_day_passes(shelf, copies)
    here, objects, now_s = tmp_path / "new", shelf.objects, shelf.store.clock.at_s
    here.mkdir()
    restore(here, await fetch(objects, (await names(objects))[-1], here), StillClock())
    async with bucket(here, objects, clock=StillClock(now_s)) as shelf:
        copies = BucketCopies(shelf.store.catalog, objects)
        for _ in range(KEPT):
            await a_day_passes(shelf, copies)
    assert len(await names(objects)) == KEPT


async def test_nothing_but_copies_is_listed_or_let_go(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        mine = f"{CATALOG_COPIES}catalog-mine.sqlite3"
        shelf.objects.values |= {mine: b"somebody's", f"{CATALOG_COPIES}notes.txt": b"text"}
        assert not await has_copies(shelf.objects)
        await shelf.store.push_image("a", "v1")
        copies = BucketCopies(shelf.store.catalog, shelf.objects)
        for _ in range(KEPT + 1):
            await a_day_passes(shelf, copies)
        assert mine in shelf.objects.values
        assert len(await names(shelf.objects)) == KEPT


async def test_a_store_that_is_dead_is_asked_again_every_minute_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        shelf.objects.before = failing(("put", CATALOG_COPIES), ("keys", ""))

        async def pass_time(delay_s: float) -> None:
            nonlocal rounds
            rounds += 1
            assert delay_s == (MINUTE_S if rounds <= 3 else HOUR_S)
            shelf.store.clock.at_s += delay_s
            if rounds == 3:
                assert [record.levelname for record in caplog.records] == ["ERROR"]
                assert not [key for key in shelf.objects.values if key.startswith(CATALOG_COPIES)]
                shelf.objects.before = no_hook
            elif rounds == 5:
                raise asyncio.CancelledError

        copies = BucketCopies(shelf.store.catalog, shelf.objects)
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", pass_time)
            with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
                await keep_daily(tmp_path, shelf.store.clock, copies.keep_up)
        assert (await names(shelf.objects))[0] == list_backups(tmp_path)[0].path.name
        assert len(caplog.records) == 1


async def test_a_copy_that_was_not_sent_leaves_nothing_beside_the_copies(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_image("a", "v1")
        await shelf.store.catalog.backup()
        shelf.objects.before = failing(("put", CATALOG_COPIES))
        with pytest.raises(StoreUnavailable):
            await BucketCopies(shelf.store.catalog, shelf.objects).keep_up()
        assert {path.name for path in (tmp_path / FOLDER_NAME).iterdir()} == {
            copy.path.name for copy in list_backups(tmp_path)
        }


@pytest.mark.parametrize("trouble", ["missing", "short", "dead"])
async def test_a_copy_that_does_not_come_whole_does_not_come_at_all(tmp_path: Path, trouble: str) -> None:
    name = "catalog-20200101T000000000000Z.sqlite3"
    objects = MemoryStore()
    if trouble != "missing":
        objects.values[catalog_copy_key(name)] = b"a catalog"

    async def cut(verb: str, key: str) -> None:
        if verb == "get" and trouble == "short":
            objects.values[key] = b"a cat"
        elif verb == "get":
            raise StoreUnavailable("dead")

    objects.before = cut
    with pytest.raises(KeyMissing if trouble == "missing" else StorageFailed):
        await fetch(objects, name, tmp_path)
    assert list((tmp_path / FOLDER_NAME).iterdir()) == []


def test_content_on_this_machine_needs_no_copies_elsewhere() -> None:
    assert keeps_copies(MemoryStore())
    assert not keeps_copies(MemoryBackend())


async def test_a_bucket_without_any_blob_is_refused_when_the_catalog_knows_some(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await require_right_store(shelf.store.catalog, shelf.objects)
        await shelf.store.push_blob("a", LARGE)
        await require_right_store(shelf.store.catalog, shelf.objects)
        wrong = MemoryStore()
        with pytest.raises(WrongStore, match="s3_bucket"):
            await require_right_store(shelf.store.catalog, wrong)
        assert wrong.values == {}, "nothing says that it is ours"


async def test_a_bucket_whose_blobs_are_all_not_settled_yet_is_the_right_one(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        assert not [key for key in shelf.objects.values if key.startswith(BLOBS)]
        await require_right_store(shelf.store.catalog, shelf.objects)
        with pytest.raises(WrongStore):
            await require_right_store(shelf.store.catalog, MemoryStore())


async def test_a_dead_store_does_not_keep_the_server_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_blob("a", LARGE)
        shelf.objects.before = failing(("keys", ""))
        with caplog.at_level(logging.INFO):
            await require_right_store(shelf.store.catalog, shelf.objects)
    assert "not known" in caplog.text


async def test_the_stores_version_is_kept_and_a_change_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G12: kept in the catalog, with a line when it changes."""
    with caplog.at_level(logging.INFO, "holdfast.store"):
        for server in ("MinIO/1", "MinIO/1", "", "MinIO/2"):
            async with bucket(tmp_path) as shelf:
                await note_store(shelf.store.catalog, server)
        async with bucket(tmp_path) as shelf:
            assert await shelf.store.catalog.read(setting_rows.get, setting_rows.STORE_SERVER) == "MinIO/2"
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "MinIO/2 now; it was MinIO/1" in caplog.text


async def test_a_store_that_is_replaced_while_the_server_runs_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """G12: an upgrade of the store needs no restart of ours to be seen."""
    found = ["", "MinIO/1", "MinIO/1", "MinIO/2"]

    async def pass_time(delay_s: float) -> None:
        found.pop(0)
        if not found:
            raise asyncio.CancelledError

    async with bucket(tmp_path) as shelf:
        with monkeypatch.context() as patched, caplog.at_level(logging.INFO, "holdfast.store"):
            patched.setattr(asyncio, "sleep", pass_time)
            with pytest.raises(asyncio.CancelledError):
                await keep_noting(shelf.store.catalog, lambda: found[0])
        assert await shelf.store.catalog.read(setting_rows.get, setting_rows.STORE_SERVER) == "MinIO/2"
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


async def test_a_catalog_that_is_full_is_asked_again_to_note_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def refuse(tx: Transaction, *arguments: object) -> None:
        raise StorageFull("the disk is full")

    really = setting_rows.put
    async with bucket(tmp_path) as shelf:

        async def pass_time(delay_s: float) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                monkeypatch.setattr(setting_rows, "put", really)
            else:
                raise asyncio.CancelledError

        monkeypatch.setattr(setting_rows, "put", refuse)
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", pass_time)
            with pytest.raises(asyncio.CancelledError):
                await keep_noting(shelf.store.catalog, lambda: "MinIO/1")
        assert await shelf.store.catalog.read(setting_rows.get, setting_rows.STORE_SERVER) == "MinIO/1"
