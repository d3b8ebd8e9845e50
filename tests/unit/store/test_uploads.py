"""The ledger's rows, and the one drawing of keys."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.keys import is_key
from model.digests import HEX_LENGTH, Digest
from store import uploads
from store.layout import BLOBS, blob_key
from store.uploads import UploadRow
from tests.unit.store.shop import Shop, shop

FIRST = UploadRow("id-1", "a/b", "sha256", 10.5, 11.25)
SECOND = UploadRow("id-2", "a/b", "sha512", 5.0, 6.0, "me", 1 << 40, 5 << 20, "open")
THIRD = UploadRow("id-3", "c", "sha256", 7.0, 7.0, state="sealing")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """A store with three sessions."""
    async with shop(tmp_path) as opened:
        for row in (FIRST, SECOND, THIRD):
            await opened.catalog.run(uploads.insert, row)
        yield opened


async def test_rows_come_back_as_they_went_in_the_oldest_first(store: Shop) -> None:
    assert await store.catalog.read(uploads.all_rows) == [SECOND, THIRD, FIRST]


async def test_a_session_makes_no_repository(store: Shop) -> None:
    assert not await store.exists("a/b")


async def test_a_removed_one_is_gone_and_cannot_be_removed_again(store: Shop) -> None:
    assert await store.catalog.run(uploads.remove, "id-1")
    assert not await store.catalog.run(uploads.remove, "id-1")
    assert await store.catalog.read(uploads.all_rows) == [SECOND, THIRD]


async def test_many_are_touched_at_once_and_unknown_ones_passed_over(store: Shop) -> None:
    await store.catalog.run(uploads.touch, [("id-1", 100.5), ("id-9", 1.0), ("id-2", 200.0)])
    touched = {row.id: row.touched_at_s for row in await store.catalog.read(uploads.all_rows)}
    assert touched == {"id-1": 100.5, "id-2": 200.0, "id-3": 7.0}


@given(st.sampled_from(sorted(HEX_LENGTH)), st.data())
def test_every_blob_has_a_key_of_its_own_within_the_law(algorithm: str, data: st.DataObject) -> None:
    length = HEX_LENGTH[algorithm]
    digest = Digest(algorithm, data.draw(st.text("0123456789abcdef", min_size=length, max_size=length)))
    key = blob_key(digest)
    assert is_key(key)
    assert key.startswith(BLOBS)
    assert key == f"docker/registry/v2/blobs/{algorithm}/{digest.hex[:2]}/{digest.hex}/data"
