"""Reading from an object store: without asking beforehand, while bytes move, and never short or wrong as whole."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from backends.base import ShortRead, StoreUnavailable
from backends.memory_parts import Hook, MemoryStore
from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed
from model.units import MIB
from store.layout import TEMPORARY, blob_key
from store.values import StreamedBlob
from tests.support.storehooks import Halt, failing, no_hook
from tests.unit.store.bucket import LARGE, Bucket, bucket
from tests.unit.store.shop import image, shop

DIGEST = Digest.of(LARGE)
SMALL = b"a small blob"
PIECES = bytes(range(256)) * (3 * MIB // 256) + b"the end"
"""Several pieces, as backends hand them out."""


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Bucket]:
    """An empty store; nothing is settled before somebody says so."""
    async with bucket(tmp_path) as opened:
        yield opened


async def opened(shelf: Bucket, digest: Digest) -> StreamedBlob:
    """A blob that is streamed."""
    blob = await shelf.store.blobs.content("a", digest)
    assert isinstance(blob, StreamedBlob)
    return blob


async def test_a_get_is_one_round_trip_the_first_time_and_every_time(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    shelf.objects.asked.clear()
    for _ in range(2):
        assert await shelf.read("a", DIGEST) == LARGE
    assert shelf.objects.asked == [("get", blob_key(DIGEST))] * 2


async def test_a_small_blob_is_one_round_trip_as_well_and_then_none(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", SMALL)
    shelf.objects.asked.clear()
    for _ in range(5):
        assert await shelf.read("a", digest) == SMALL
    assert shelf.objects.asked == [("get", blob_key(digest))] * 2


async def test_a_size_is_asked_for_once_and_not_at_all_after_the_blob_was_read(shelf: Bucket) -> None:
    await shelf.store.push_blob("a", LARGE)
    shelf.objects.asked.clear()
    for _ in range(3):
        assert await shelf.store.blobs.size("a", DIGEST) == len(LARGE)
    assert shelf.objects.asked == [("size", blob_key(DIGEST))]
    await shelf.store.push_blob("b", LARGE)
    assert await shelf.read("b", DIGEST) == LARGE
    shelf.objects.asked.clear()
    assert await shelf.store.blobs.size("b", DIGEST) == len(LARGE)
    assert shelf.objects.asked == []


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(("start", "length"), [(0, 10), (100, 5000), (len(LARGE) - 1, 1), (7, len(LARGE) - 7)])
async def test_ranges_are_read_before_and_after_settling(shelf: Bucket, settled: bool, start: int, length: int) -> None:
    digest = await shelf.committed(LARGE)
    if settled:
        await shelf.calm()
    assert await shelf.read("a", digest, start, length) == LARGE[start : start + length]


@pytest.mark.parametrize("start", [0, 12_345])
async def test_a_stream_that_began_on_the_temporary_key_goes_on_at_the_digests_own(shelf: Bucket, start: int) -> None:
    digest = await shelf.committed(PIECES)
    [temporary] = shelf.temporary()
    blob = await opened(shelf, digest)
    stream = aiter(blob.read(start, len(PIECES) - start))
    read = await anext(stream)
    await shelf.calm()
    assert shelf.holds_only(PIECES)
    shelf.objects.after = failing(("get", temporary))  # what the stream holds of the object that is gone
    read += b"".join([piece async for piece in stream])
    assert read == PIECES[start:]
    assert ("get", blob_key(digest)) in shelf.objects.asked


async def test_a_range_in_the_middle_goes_on_there_too(shelf: Bucket) -> None:
    digest = await shelf.committed(PIECES)
    [temporary] = shelf.temporary()
    stream = aiter((await opened(shelf, digest)).read(100, 2 * MIB))
    read = await anext(stream)
    await shelf.calm()
    shelf.objects.after = failing(("get", temporary), error=ShortRead("the object went away"))
    read += b"".join([piece async for piece in stream])
    assert read == PIECES[100 : 100 + 2 * MIB]


async def test_a_blob_is_read_while_it_is_copied(shelf: Bucket) -> None:
    copying = Halt("copy")
    digest = await shelf.committed(LARGE)
    shelf.objects.after = copying
    shelf.work()
    await copying.reached.wait()
    assert await shelf.read("a", digest) == LARGE
    assert shelf.objects.asked[-1] == ("get", shelf.temporary()[0])
    copying.go.set()
    await shelf.calm()
    assert await shelf.read("a", digest) == LARGE


async def test_a_size_asked_for_while_the_object_moves_is_found_where_it_went(shelf: Bucket) -> None:
    digest = await shelf.committed(LARGE)

    async def move(verb: str, key: str) -> None:
        if verb == "size" and key.startswith(TEMPORARY):
            shelf.objects.before = no_hook
            await shelf.calm()

    shelf.objects.before = move
    assert await shelf.store.blobs.size("a", digest) == len(LARGE)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_restored_catalog_that_points_at_an_object_long_settled_finds_it_under_its_digest(
    shelf: Bucket, content: bytes
) -> None:
    digest = await shelf.committed(content)
    [temporary] = shelf.temporary()
    shelf.objects.values[blob_key(digest)] = shelf.objects.values.pop(temporary)
    assert await shelf.read("a", digest) == content
    assert await shelf.store.blobs.size("a", digest) == len(content)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("unsettled", [False, True])
async def test_a_blob_whose_object_is_gone_is_unknown_until_it_is_pushed_again(
    shelf: Bucket, content: bytes, unsettled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    digest = await shelf.committed(content) if unsettled else await shelf.store.push_blob("a", content)
    assert await shelf.read("a", digest) == content
    shelf.objects.values.clear()
    with caplog.at_level(logging.ERROR), pytest.raises(BlobUnknown):
        await shelf.read("a", digest)
    assert str(digest) in caplog.text
    with pytest.raises(BlobUnknown):
        await shelf.store.blobs.size("a", digest)
    assert await shelf.store.push_blob("a", content) == digest
    assert await shelf.read("a", digest) == content
    await shelf.calm()
    assert shelf.holds_only(content)


async def test_an_object_that_comes_back_is_a_blob_again_without_a_restart(shelf: Bucket) -> None:
    """A bucket that was switched to a replica without it, say."""
    digest = await shelf.store.push_blob("a", LARGE)
    shelf.objects.values.clear()
    with pytest.raises(BlobUnknown):
        await shelf.read("a", digest)
    shelf.objects.values[blob_key(digest)] = LARGE
    assert await shelf.store.blobs.size("a", digest) == len(LARGE)
    assert await shelf.read("a", digest) == LARGE


@pytest.mark.parametrize("stored", [LARGE[:-1], LARGE + b"x", LARGE[:7000], b""], ids=["short", "long", "cut", "empty"])
async def test_an_object_of_another_length_is_never_sent_as_whole(shelf: Bucket, stored: bytes) -> None:
    digest = await shelf.store.push_blob("a", LARGE)
    shelf.objects.values[blob_key(digest)] = stored
    with pytest.raises(BlobUnknown):
        await shelf.read("a", digest)
    with pytest.raises(BlobUnknown):
        await shelf.store.blobs.size("a", digest)
    await shelf.store.push_blob("a", LARGE)
    assert await shelf.read("a", digest) == LARGE


@pytest.mark.parametrize("stored", [PIECES[:-1], PIECES + b"x"], ids=["short", "long"])
async def test_an_object_that_proves_to_be_of_another_length_while_it_is_sent_ends_in_an_error(
    shelf: Bucket, stored: bytes
) -> None:
    digest = await shelf.store.push_blob("a", PIECES)
    shelf.objects.values[blob_key(digest)] = stored
    sent = 0
    with pytest.raises(ShortRead):
        async for piece in (await opened(shelf, digest)).read(0, len(PIECES)):
            sent += len(piece)
    assert sent < len(PIECES)
    with pytest.raises(BlobUnknown):
        await shelf.store.blobs.content("a", digest)


async def test_a_small_blob_with_other_bytes_is_never_served(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", SMALL)
    shelf.objects.values[blob_key(digest)] = SMALL[::-1]
    with pytest.raises(BlobUnknown):
        await shelf.read("a", digest)


async def test_an_empty_blob_is_there_only_if_its_object_is(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", b"")
    assert await shelf.read("a", digest) == b""
    shelf.objects.values.clear()
    with pytest.raises(BlobUnknown):
        await shelf.read("a", digest)


@pytest.mark.parametrize("unsettled", [False, True])
async def test_a_dead_store_is_never_taken_for_a_missing_blob(shelf: Bucket, unsettled: bool) -> None:
    """Nor for a damaged one: when it is back, everything is as it was."""
    digest = await shelf.committed(LARGE) if unsettled else await shelf.store.push_blob("a", LARGE)
    small = await shelf.store.push_blob("a", SMALL)
    shelf.objects.before = failing(("get", ""), ("size", ""))
    for each in (digest, small):
        with pytest.raises(StoreUnavailable):
            await shelf.store.blobs.size("a", each)
        with pytest.raises(StoreUnavailable):
            await shelf.read("a", each)
        with pytest.raises(StoreUnavailable):
            await shelf.store.blobs.mount("b", each, "a")
    shelf.objects.before = no_hook
    assert await shelf.read("a", digest) == LARGE
    assert await shelf.read("a", small) == SMALL


async def test_a_store_that_dies_while_a_blob_is_sent_does_not_make_it_damaged(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", PIECES)
    shelf.objects.after = failing(("get", ""))
    with pytest.raises(StorageFailed):
        await shelf.read("a", digest)
    shelf.objects.after = no_hook
    assert await shelf.read("a", digest) == PIECES


def breaking_once(shelf: Bucket) -> Hook:
    """A read ends as one does whose object was replaced meanwhile by the same content in other parts."""

    async def breaks(verb: str, key: str) -> None:
        if verb == "get":
            shelf.objects.before = shelf.objects.after = no_hook
            raise ShortRead("it was replaced while it was read")

    return breaks


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_connection_that_broke_makes_no_blob_unknown_or_damaged(shelf: Bucket, content: bytes) -> None:
    digest = await shelf.store.push_blob("a", content)
    shelf.objects.before = breaking_once(shelf)
    with pytest.raises(StorageFailed, match="replaced") as refused:
        await shelf.read("a", digest)
    assert not isinstance(refused.value, ShortRead)
    assert await shelf.read("a", digest) == content


async def test_a_stream_goes_on_when_the_same_content_was_stored_once_more_meanwhile(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", PIECES)
    blob, received = await opened(shelf, digest), b""
    async for piece in blob.read(0, len(PIECES)):
        if not received:
            shelf.objects.after = breaking_once(shelf)
        received += piece
    assert received == PIECES


async def test_a_blob_that_ends_early_each_time_is_damaged_whatever_its_length_is_said_to_be(shelf: Bucket) -> None:
    """So that it is pushed again."""
    digest = await shelf.store.push_blob("a", PIECES)
    behind: list[str] = []

    async def ends(verb: str, key: str) -> None:
        behind.append(verb)
        if behind.count("get") > 1:
            raise ShortRead("it ends there")

    async def beyond(verb: str, key: str) -> None:
        if verb == "get" and behind:
            raise ShortRead("it ends there")

    shelf.objects.before, shelf.objects.after = beyond, ends
    with pytest.raises(ShortRead):
        await shelf.read("a", digest)
    shelf.objects.before = shelf.objects.after = no_hook
    with pytest.raises(BlobUnknown):
        await shelf.read("a", digest)
    await shelf.store.push_blob("a", PIECES)
    assert await shelf.read("a", digest) == PIECES


async def test_what_is_hot_is_served_while_the_store_is_dead(shelf: Bucket) -> None:
    digest = await shelf.store.push_blob("a", SMALL)
    await shelf.store.push_image("a", "v1")
    await shelf.store.manifests.get("a", "v1")
    for _ in range(2):
        await shelf.read("a", digest)
    shelf.objects.before = failing(*((verb, "") for verb in ("get", "size", "keys", "put")))
    assert await shelf.read("a", digest) == SMALL
    assert await shelf.store.blobs.size("a", digest) == len(SMALL)
    assert (await shelf.store.manifests.get("a", "v1")).content == image()


async def test_a_stream_that_is_left_lets_the_store_go(tmp_path: Path) -> None:
    left = False

    class Watched(MemoryStore):
        async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
            nonlocal left
            try:
                async for piece in super().get(key, start, length):
                    yield piece
            finally:
                left = True

    async with shop(tmp_path, backend=Watched()) as store:
        digest = await store.push_blob("a", PIECES)
        blob = await store.blobs.content("a", digest)
        assert isinstance(blob, StreamedBlob)
        stream = blob.read(0, blob.size_bytes)
        assert isinstance(stream, AsyncGenerator)
        await anext(stream)
        await stream.aclose()
        assert left


async def test_an_upload_that_is_taken_up_again_gets_its_bytes_back_from_wherever_they_are(shelf: Bucket) -> None:
    digest = await shelf.committed(LARGE)
    for name in ("unsettled", "settled"):
        target = shelf.store.folder / name
        assert await shelf.store.blobs.copy_out(digest, len(LARGE), target)
        assert target.read_bytes() == LARGE
        await shelf.calm()
    assert not await shelf.store.blobs.copy_out(digest, len(LARGE) + 1, shelf.store.folder / "never")
    assert not await shelf.store.blobs.copy_out(Digest.of(b"unknown"), 7, shelf.store.folder / "never")
