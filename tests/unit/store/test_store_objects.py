"""Rows of what is in the making in an object store: nothing is forgotten before it is gone, no blob is discarded."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model.digests import Digest
from model.errors import StorageFailed
from store import blob_rows, store_objects, uploads
from store.layout import blob_key, is_temporary, temporary_key
from store.store_objects import DISCARD, MAKING, WHOLE, ObjectRow
from store.transactions import Transaction, Values
from store.uploads import UploadRow
from tests.unit.store.shop import Shop, shop

KEY = temporary_key("u", "t")
DIGEST = Digest.of(b"content")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """An empty store with a session and its object."""
    async with shop(tmp_path) as opened:
        await opened.catalog.run(uploads.insert, UploadRow("u", "a", "sha256", 1.0, 2.0))
        await opened.catalog.run(store_objects.intend, ObjectRow(KEY, "u", "me", 1.0))
        yield opened


async def rows(store: Shop) -> list[ObjectRow]:
    """All there are."""
    return await store.catalog.read(store_objects.all_rows)


async def point(store: Shop, key: str, upload: str | None = None) -> None:
    """Let a blob lie under the key."""
    await store.catalog.run(blob_rows.record_at, "a", DIGEST, 7, key, upload, 3.0)


async def test_an_object_goes_from_making_to_whole_to_discard_to_nothing(store: Shop) -> None:
    run = store.catalog.run
    assert await rows(store) == [ObjectRow(KEY, "u", "me", 1.0, None, MAKING)]
    assert await run(store_objects.begun, KEY, "u", "id-1")
    await run(store_objects.whole, KEY, "u")
    assert await store.catalog.read(store_objects.of_upload, "u") == [ObjectRow(KEY, "u", "me", 1.0, "id-1", WHOLE)]
    await run(store_objects.discard, KEY, "u")
    assert [row.state for row in await store.catalog.read(store_objects.to_discard)] == [DISCARD]
    await run(store_objects.removed, KEY, "u")
    assert await rows(store) == []


async def test_a_row_that_is_not_to_be_discarded_is_never_forgotten(store: Shop) -> None:
    await store.catalog.run(store_objects.removed, KEY, "u")
    assert [row.state for row in await rows(store)] == [MAKING]


async def test_an_id_that_comes_after_the_end_of_the_session_is_refused_so_that_it_is_aborted(store: Shop) -> None:
    await store.catalog.run(uploads.remove, "u")
    assert not await store.catalog.run(store_objects.begun, KEY, "u", "id-1")
    await store.catalog.run(store_objects.whole, KEY, "u")
    assert [row.state for row in await rows(store)] == [DISCARD]


async def test_the_same_object_begun_anew_replaces_what_was_recorded(store: Shop) -> None:
    await store.catalog.run(store_objects.begun, KEY, "u", "id-1")
    await store.catalog.run(store_objects.intend, ObjectRow(KEY, "u", "me", 5.0))
    assert await rows(store) == [ObjectRow(KEY, "u", "me", 5.0, None, MAKING)]


async def test_every_end_of_a_session_discards_what_it_made_but_for_what_a_blob_lies_in(store: Shop) -> None:
    second = temporary_key("u", "second")
    await store.catalog.run(store_objects.intend, ObjectRow(second, "u", "me", 1.0))
    await point(store, KEY, "u")
    assert {row.key: row.state for row in await rows(store)} == {KEY: WHOLE, second: DISCARD}


@pytest.mark.parametrize("way", ["discard", "discard_at", "discard_of_upload", "discard_orphans"])
async def test_no_way_of_discarding_takes_what_a_blob_lies_in(store: Shop, way: str) -> None:
    await point(store, KEY, "u")
    arguments = {"discard": (KEY, "u"), "discard_at": (KEY,), "discard_of_upload": ("u",), "discard_orphans": ()}[way]
    await store.catalog.run(getattr(store_objects, way), *arguments)
    assert [row.state for row in await rows(store)] == [WHOLE]
    await store.catalog.run(blob_rows.settled, DIGEST, KEY)
    assert [row.state for row in await rows(store)] == [DISCARD]


async def test_no_blob_points_at_what_is_not_recorded_or_being_discarded(store: Shop) -> None:
    with pytest.raises(StorageFailed):
        await point(store, temporary_key("u", "unknown"))
    await store.catalog.run(store_objects.discard, KEY, "u")
    with pytest.raises(StorageFailed):
        await point(store, KEY)
    assert await store.catalog.read(blob_rows.bytes_of, DIGEST) is None


async def test_at_start_what_has_neither_session_nor_blob_is_to_be_discarded(store: Shop) -> None:
    lost, lies = temporary_key("gone", "1"), temporary_key("gone", "2")
    for key in (lost, lies):
        await store.catalog.run(store_objects.intend, ObjectRow(key, "gone", "", 1.0))
    await point(store, lies)
    assert await store.catalog.run(store_objects.discard_orphans) == 1
    assert {row.key: row.state for row in await rows(store)} == {KEY: MAKING, lost: DISCARD, lies: WHOLE}


async def test_a_blob_that_gets_another_object_gives_up_the_former_one(store: Shop) -> None:
    second = temporary_key("u", "second")
    await store.catalog.run(store_objects.intend, ObjectRow(second, "u", "me", 1.0))
    await point(store, KEY)
    await point(store, second)
    assert {row.key: row.state for row in await rows(store)} == {KEY: DISCARD, second: WHOLE}
    assert await store.catalog.read(blob_rows.unsettled) == [(DIGEST, second)]
    assert not await store.catalog.run(blob_rows.settled, DIGEST, KEY)
    assert await store.catalog.read(blob_rows.unsettled) == [(DIGEST, second)]


async def test_which_sessions_make_an_object_under_the_same_key_is_known(store: Shop) -> None:
    own = blob_key(DIGEST)
    for upload_id in ("u", "v", "w"):
        await store.catalog.run(store_objects.intend, ObjectRow(own, upload_id, "", 1.0))
    await store.catalog.run(store_objects.begun, own, "v", "id-1")
    await store.catalog.run(store_objects.discard, own, "w")
    made = await store.catalog.read(store_objects.making_at, own)
    assert [(row.upload_id, row.store_upload_id) for row in made] == [("u", None), ("v", "id-1")]
    await store.catalog.run(store_objects.whole, own, "v")
    assert [row.upload_id for row in await store.catalog.read(store_objects.making_at, own)] == ["u"]


async def test_where_nothing_is_in_the_making_the_end_of_a_session_asks_no_more_than_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content in a folder: what is new here must cost it nothing."""
    asked: list[str] = []
    async with shop(tmp_path) as store:
        await store.catalog.run(uploads.insert, UploadRow("u", "a", "sha256", 1.0, 2.0))
        really = Transaction.execute

        def watched(self: Transaction, sql: str, values: Values = ()) -> int:
            asked.append(sql)
            return really(self, sql, values)

        monkeypatch.setattr(Transaction, "execute", watched)
        await store.catalog.run(uploads.remove, "u")
        assert not [sql for sql in asked if "store_object" in sql]
        assert len(asked) == 2


async def test_what_was_in_the_making_before_a_restart_is_discarded_with_its_session_after_it(tmp_path: Path) -> None:
    async with shop(tmp_path) as store:
        await store.catalog.run(uploads.insert, UploadRow("u", "a", "sha256", 1.0, 2.0))
        await store.catalog.run(store_objects.intend, ObjectRow(KEY, "u", "me", 1.0))
    async with shop(tmp_path) as store:
        await store.catalog.run(uploads.remove, "u")
        assert [row.state for row in await rows(store)] == [DISCARD]


def test_only_what_is_made_for_uploads_is_temporary() -> None:
    assert is_temporary(temporary_key("u", "t"))
    assert not is_temporary(blob_key(DIGEST))
    assert not is_temporary("holdfast/catalog/catalog-1.sqlite3")
    assert not is_temporary("another/holdfast/uploads/u/t")
