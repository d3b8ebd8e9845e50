"""URLs of the store itself: only for what lies there for good, and only to who may see it."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from backends.base import StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import BlobUnknown
from sigv4.presigning import Presigned
from store.layout import blob_key
from tests.support.storehooks import failing
from tests.unit.store.bucket import LARGE, Bucket, bucket

DIGEST = Digest.of(LARGE)
SMALL = b"a small blob"


class Reachable(MemoryStore):
    """A store that clients reach by themselves, as long as `native` says so."""

    native = True
    why_not_native = ""
    checks_hashes = True

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        """A URL for a part."""
        return Presigned(f"https://store/{key}", lifetime_s, {})

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        """A URL for an object."""
        return Presigned(f"https://store/{key}?{method}", lifetime_s, answer_headers or {})


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Bucket]:
    """An empty store that clients can reach."""
    async with bucket(tmp_path, Reachable(smallest_part_bytes=1)) as opened:
        yield opened


async def link(shelf: Bucket, digest: Digest, repository: str = "a") -> Presigned | None:
    """A link for GET."""
    headers = {"Content-Type": "application/octet-stream"}
    return await shelf.store.blobs.link(repository, digest, "GET", lifetime_s=60, answer_headers=headers)


async def test_a_large_settled_blob_has_a_link_to_its_own_key(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    made = Presigned(f"https://store/{blob_key(DIGEST)}?GET", 60, {"Content-Type": "application/octet-stream"})
    for _ in range(2):
        assert await link(shelf, DIGEST) == made
    assert [verb for verb, _ in shelf.objects.asked].count("size") == 1, "asked once, then known"


async def test_what_is_not_settled_has_none_until_it_is(shelf: Bucket) -> None:
    digest = await shelf.committed(LARGE)
    assert await link(shelf, digest) is None
    await shelf.calm()
    assert await link(shelf, digest) is not None


async def test_small_blobs_come_from_memory_and_have_none(shelf: Bucket) -> None:
    assert await link(shelf, await shelf.store.push_blob("a", SMALL)) is None


async def test_a_store_that_clients_cannot_reach_now_has_none(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    assert isinstance(shelf.objects, Reachable)
    shelf.objects.native = False
    assert await link(shelf, DIGEST) is None


async def test_nobody_gets_one_to_what_the_repository_has_not_or_what_is_damaged_or_unknown(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    with pytest.raises(BlobUnknown):
        await link(shelf, DIGEST, "b")
    shelf.store.blobs.note_damaged(DIGEST)
    with pytest.raises(BlobUnknown):
        await link(shelf, DIGEST)


async def test_a_link_to_what_is_gone_is_not_handed_out_and_a_dead_store_is_no_absent_blob(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    shelf.objects.before = failing(("size", ""))
    with pytest.raises(StoreUnavailable):
        await link(shelf, DIGEST)
    shelf.objects.before = failing()
    shelf.objects.values.clear()
    with pytest.raises(BlobUnknown):
        await link(shelf, DIGEST)
