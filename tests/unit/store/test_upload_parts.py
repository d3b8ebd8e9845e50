"""The ledger of uploads in parts: its rows, and that a session's end and what it left are never apart."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.digests import Digest
from store import upload_parts, uploads
from store.upload_parts import EndedRow, PartRow
from store.uploads import UploadRow
from tests.unit.store.shop import Shop, shop

ROW = UploadRow("id-1", "a/b", "sha256", 1.0, 2.0, "anna", 100, 10, "open", "parts", "uploads/temp-1")
PARTS = [PartRow("id-1", 1, 10, "aa"), PartRow("id-1", 2, 10, "bb"), PartRow("id-1", 10, 5, "cc")]
ENDED = EndedRow("id-1", "a/b", "anna", "uploads/temp-1", "done", "sha256:aa", 100, 10, 50.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """A store with one session in parts."""
    async with shop(tmp_path) as opened:
        await opened.catalog.run(uploads.insert, ROW)
        for part in reversed(PARTS):
            await opened.catalog.run(upload_parts.add_part, part)
        yield opened


async def test_parts_come_back_by_number(store: Shop) -> None:
    """T09."""
    assert await store.catalog.read(uploads.all_rows) == [ROW]
    assert await store.catalog.read(upload_parts.all_parts) == PARTS


async def test_a_part_recorded_again_replaces_the_row(store: Shop) -> None:
    """H068."""
    await store.catalog.run(upload_parts.add_part, PartRow("id-1", 2, 7, "dd"))
    assert await store.catalog.read(upload_parts.all_parts) == [PARTS[0], PartRow("id-1", 2, 7, "dd"), PARTS[2]]


async def test_removed_parts_are_gone_and_unknown_ones_passed_over(store: Shop) -> None:
    await store.catalog.run(upload_parts.remove_parts, "id-1", [1, 10, 99])
    assert await store.catalog.read(upload_parts.all_parts) == [PARTS[1]]


async def test_a_removed_session_takes_its_parts_along(store: Shop) -> None:
    await store.catalog.run(uploads.remove, "id-1")
    assert await store.catalog.read(upload_parts.all_parts) == []


async def test_an_assembled_session_knows_its_whole(store: Shop) -> None:
    """H110."""
    await store.catalog.run(upload_parts.assemble, "id-1", "sha256:aa", 100)
    assembled = replace(ROW, state="assembled", assembled_digest="sha256:aa", assembled_bytes=100)
    assert await store.catalog.read(uploads.all_rows) == [assembled]


async def test_an_end_replaces_the_session(store: Shop) -> None:
    await store.catalog.run(upload_parts.end, ENDED)
    assert await store.catalog.read(uploads.all_rows) == []
    assert await store.catalog.read(upload_parts.all_parts) == []
    assert await store.catalog.read(upload_parts.all_ended, 0.0, 10) == [ENDED]


async def test_a_commit_writes_the_end_in_its_own_transaction(store: Shop) -> None:
    content = b"some content"
    ended = replace(ENDED, digest=str(Digest.of(content)), size_bytes=len(content))
    before = store.catalog.commits
    await store.blobs.commit("a/b", Digest.of(content), store.source(content), len(content), ended)
    assert store.catalog.commits == before + 1
    assert await store.blobs.size("a/b", Digest.of(content)) == len(content)
    assert await store.catalog.read(uploads.all_rows) == []
    assert await store.catalog.read(upload_parts.all_ended, 0.0, 10) == [ended]


async def test_the_latest_ends_come_first_and_old_ones_are_forgotten(store: Shop) -> None:
    rows = [replace(ENDED, id=f"id-{number}", ended_at_s=float(number)) for number in range(5)]
    for row in rows:
        await store.catalog.run(upload_parts.end, row)
    assert await store.catalog.read(upload_parts.all_ended, 2.0, 2) == [rows[4], rows[3]]
    assert await store.catalog.run(upload_parts.forget_ended, 3.0) == 3
    assert await store.catalog.read(upload_parts.all_ended, 0.0, 10) == [rows[4], rows[3]]
