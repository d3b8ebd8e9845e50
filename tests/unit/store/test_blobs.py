"""Blobs: seen only where they belong, whole or not at all, stored once, healed by pushing again."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backends.filecalls import FileCalls
from backends.fs import FsBackend
from backends.memory import MemoryBackend
from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed, StorageFull
from store import uploads
from store.condition import FRESH_S
from store.transactions import Transaction
from store.uploads import UploadRow
from store.values import LocalBlob, SmallBlob, StreamedBlob
from tests.unit.store.shop import SMALL_BYTES, Shop, StillClock, shop

SMALL = b"a small blob"
LARGE = os.urandom(SMALL_BYTES * 3)
UNKNOWN = Digest.of(b"never stored")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """An empty store."""
    async with shop(tmp_path) as opened:
        yield opened


async def read(store: Shop, repository: str, digest: Digest) -> bytes:
    """All bytes of a blob."""
    blob = await store.blobs.content(repository, digest)
    if isinstance(blob, SmallBlob):
        return blob.content
    if isinstance(blob, LocalBlob):
        with blob:
            return os.pread(blob.fd, blob.size_bytes + 1, 0)
    return b"".join([piece async for piece in blob.read(0, blob.size_bytes)])


@pytest.mark.parametrize("content", [b"", SMALL, LARGE])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_committed_blob_is_there_with_its_size(store: Shop, content: bytes, algorithm: str) -> None:
    digest = await store.push_blob("a", content, algorithm)
    assert await store.blobs.size("a", digest) == len(content)
    assert await read(store, "a", digest) == content
    assert list((store.folder / "spool").iterdir()) == []


async def test_it_lies_at_distributions_own_key(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    expected = f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    assert (store.folder / expected).read_bytes() == SMALL


async def test_another_repository_does_not_see_it(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    for ask in (store.blobs.size, store.blobs.content):
        with pytest.raises(BlobUnknown):
            await ask("b", digest)
        with pytest.raises(BlobUnknown):
            await ask("a", UNKNOWN)


async def test_small_blobs_are_read_whole_and_large_ones_handed_out_as_files(store: Shop) -> None:
    small, large = await store.push_blob("a", SMALL), await store.push_blob("a", LARGE)
    assert await store.blobs.content("a", small) == SmallBlob(SMALL)
    blob = await store.blobs.content("a", large)
    assert isinstance(blob, LocalBlob)
    blob.close()
    blob.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(blob.fd)


async def test_a_small_blob_is_answered_from_memory_from_the_third_read_on(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    for _ in range(2):
        assert await read(store, "a", digest) == SMALL
    store.file_of(digest).unlink()
    assert await read(store, "a", digest) == SMALL
    assert await store.blobs.size("a", digest) == len(SMALL)


async def test_what_one_repository_warmed_stays_hidden_from_the_other(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    for _ in range(3):
        await read(store, "a", digest)
    with pytest.raises(BlobUnknown):
        await store.blobs.content("b", digest)


async def test_a_backend_without_files_streams(tmp_path: Path) -> None:
    async with shop(tmp_path, backend=MemoryBackend()) as store:
        small, large = await store.push_blob("a", SMALL), await store.push_blob("a", LARGE)
        assert await store.blobs.content("a", small) == SmallBlob(SMALL)
        blob = await store.blobs.content("a", large)
        assert isinstance(blob, StreamedBlob)
        assert b"".join([piece async for piece in blob.read(10, 20)]) == LARGE[10:30]


@pytest.mark.parametrize("content", [SMALL, LARGE])
@pytest.mark.parametrize("left", [None, 0, 5])
async def test_a_missing_or_cut_file_is_no_blob_until_it_is_pushed_again(
    store: Shop, content: bytes, left: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    digest = await store.push_blob("a", content)
    file = store.file_of(digest)
    if left is None:
        file.unlink()
    else:
        os.truncate(file, left)
    for ask in (store.blobs.size, store.blobs.content):
        with caplog.at_level(logging.ERROR), pytest.raises(BlobUnknown):
            await ask("a", digest)
        assert str(digest) in caplog.text
        caplog.clear()
    assert not await store.blobs.mount("b", digest, "a")
    await store.push_blob("a", content)
    assert await read(store, "a", digest) == content


@pytest.mark.parametrize("content", [SMALL, LARGE])
async def test_a_file_lost_after_it_was_seen_is_noticed_by_the_next_read_and_healed(
    store: Shop, content: bytes
) -> None:
    digest = await store.push_blob("a", content)
    await store.blobs.size("a", digest)
    store.file_of(digest).unlink()
    with pytest.raises(BlobUnknown):
        await store.blobs.content("a", digest)
    with pytest.raises(BlobUnknown):
        await store.blobs.size("a", digest)
    await store.push_blob("a", content)
    assert await read(store, "a", digest) == content


async def test_a_small_blob_with_a_flipped_bit_is_never_served(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    store.file_of(digest).write_bytes(bytes([SMALL[0] ^ 1]) + SMALL[1:])
    with pytest.raises(BlobUnknown):
        await store.blobs.content("a", digest)


async def test_a_backend_in_trouble_is_not_an_absent_blob(store: Shop) -> None:
    digest = await store.push_blob("a", LARGE)
    folder = store.file_of(digest).parent
    folder.rename(folder.with_name("aside"))
    folder.write_bytes(b"a file where a folder should be")
    for ask in (store.blobs.size, store.blobs.content):
        with pytest.raises(StorageFailed):
            await ask("a", digest)


async def test_committing_ends_the_upload_in_the_same_moment(store: Shop) -> None:
    row = UploadRow("id-1", "a", "sha256", 1.0, 2.0)
    await store.catalog.run(uploads.insert, row)
    digest = Digest.of(SMALL)
    await store.blobs.commit("a", digest, store.source(SMALL), len(SMALL), "id-1")
    assert await store.catalog.read(uploads.all_rows) == []


async def test_the_same_content_from_many_clients_is_stored_once_and_all_succeed(tmp_path: Path) -> None:
    renamed: list[str] = []

    class Counting(FileCalls):
        def rename(self, source: Path, target: Path) -> None:
            renamed.append(target.name)
            super().rename(source, target)

    async with shop(tmp_path, backend=FsBackend(tmp_path, calls=Counting(durable=False))) as store:
        digest = Digest.of(LARGE)

        async def push(number: int) -> None:
            source = tmp_path / "spool" / f"client-{number}"
            source.write_bytes(LARGE)
            await store.blobs.commit(f"repo-{number % 4}", digest, source, len(LARGE))
            assert not source.exists()

        await asyncio.gather(*(push(number) for number in range(32)))
        assert renamed == ["data"]
        assert await store.blobs.holders(digest) == ["repo-0", "repo-1", "repo-2", "repo-3"]
        assert await read(store, "repo-3", digest) == LARGE


@pytest.mark.parametrize("restart", [False, True], ids=["later", "after-a-restart"])
async def test_a_large_blob_damaged_in_place_is_healed_by_pushing_it_again(tmp_path: Path, restart: bool) -> None:
    """Of the right length, so nothing but its hash would tell; the copy that was proven just now is the better one."""
    clock = StillClock()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(shop(tmp_path, clock=clock))
        digest = await store.push_blob("a", LARGE)
        with store.file_of(digest).open("r+b") as file:
            file.write(bytes(100))
        if restart:
            await stack.aclose()
            store = await stack.enter_async_context(shop(tmp_path, clock=clock))
        else:
            clock.at_s += FRESH_S
        assert await read(store, "a", digest) != LARGE
        await store.push_blob("b", LARGE)
        assert [await read(store, repository, digest) for repository in "ab"] == [LARGE, LARGE]
        assert list((tmp_path / "spool").iterdir()) == []


async def test_of_how_many_blobs_it_is_known_that_they_are_fresh_is_bounded(
    store: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.condition.FRESH_AT_MOST", 2)
    first = await store.push_blob("a", LARGE)
    inode = store.file_of(first).stat().st_ino
    await store.push_blob("a", LARGE)
    assert store.file_of(first).stat().st_ino == inode
    for content in (b"1", b"2"):
        await store.push_blob("a", content)
    await store.push_blob("a", LARGE)
    assert store.file_of(first).stat().st_ino != inode


@pytest.mark.parametrize("content", [SMALL, LARGE])
async def test_a_blob_found_damaged_while_it_was_sent_is_gone_until_it_is_pushed_again(
    store: Shop, content: bytes
) -> None:
    digest = await store.push_blob("a", content)
    for _ in range(3):
        await read(store, "a", digest)
    inode = store.file_of(digest).stat().st_ino
    store.blobs.note_damaged(digest)
    with pytest.raises(BlobUnknown):
        await store.blobs.size("a", digest)
    assert store.blobs.cached("a", digest) is None
    assert not await store.blobs.mount("b", digest, "a")
    if content is LARGE:
        with pytest.raises(BlobUnknown):
            await store.blobs.content("a", digest)
    await store.push_blob("a", content)
    assert store.file_of(digest).stat().st_ino != inode
    assert await store.blobs.size("a", digest) == len(content)
    assert await read(store, "a", digest) == content


async def test_a_failed_store_leaves_source_and_upload_and_can_be_repeated(tmp_path: Path) -> None:
    class Full(FileCalls):
        full = True

        def rename(self, source: Path, target: Path) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().rename(source, target)

    calls = Full(durable=False)
    async with shop(tmp_path, backend=FsBackend(tmp_path, calls=calls)) as store:
        await store.catalog.run(uploads.insert, UploadRow("id-1", "a", "sha256", 1.0, 2.0))
        digest, source = Digest.of(LARGE), store.source(LARGE)
        with pytest.raises(StorageFull):
            await store.blobs.commit("a", digest, source, len(LARGE), "id-1")
        assert source.read_bytes() == LARGE
        assert len(await store.catalog.read(uploads.all_rows)) == 1
        assert not await store.exists("a")
        calls.full = False
        await store.blobs.commit("a", digest, source, len(LARGE), "id-1")
        assert await read(store, "a", digest) == LARGE


async def test_a_commit_whose_catalog_failed_succeeds_when_repeated_without_its_source(
    store: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tx: Transaction, *args: object) -> None:
        raise StorageFull("the disk is full")

    digest, source = Digest.of(LARGE), store.source(LARGE)
    with monkeypatch.context() as patched:
        patched.setattr("store.blob_rows.record", refuse)
        with pytest.raises(StorageFull):
            await store.blobs.commit("a", digest, source, len(LARGE))
    assert not source.exists()
    with pytest.raises(BlobUnknown):
        await store.blobs.size("a", digest)
    await store.blobs.commit("a", digest, source, len(LARGE))
    assert await read(store, "a", digest) == LARGE


async def test_bytes_left_by_a_crash_are_replaced_and_not_trusted(store: Shop) -> None:
    digest = Digest.of(LARGE)
    file = store.file_of(digest)
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(len(LARGE)))
    await store.push_blob("a", LARGE)
    assert await read(store, "a", digest) == LARGE


async def test_a_cancelled_commit_is_carried_through(tmp_path: Path) -> None:
    reached, may_go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Held(FileCalls):
        def rename(self, source: Path, target: Path) -> None:
            loop.call_soon_threadsafe(reached.set)
            assert may_go_on.wait(10)
            super().rename(source, target)

    async with shop(tmp_path, backend=FsBackend(tmp_path, calls=Held(durable=False))) as store:
        digest = Digest.of(LARGE)
        task = asyncio.create_task(store.blobs.commit("a", digest, store.source(LARGE), len(LARGE)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_go_on.set()
    async with shop(tmp_path) as store:
        assert await read(store, "a", digest) == LARGE


async def test_a_mount_shows_the_blob_of_another_repository(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    assert await store.blobs.mount("b", digest, "a")
    assert await read(store, "b", digest) == SMALL
    assert await store.blobs.holders(digest) == ["a", "b"]
    assert await store.blobs.mount("b", digest, "a")


async def test_what_the_other_repository_has_not_cannot_be_mounted(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    assert not await store.blobs.mount("b", digest, "c")
    assert not await store.blobs.mount("b", UNKNOWN, "a")
    assert await store.blobs.holders(digest) == ["a"]
    assert not await store.exists("b")


async def test_a_delete_takes_it_out_of_one_repository_only(store: Shop) -> None:
    digest = await store.push_blob("a", SMALL)
    await store.blobs.mount("b", digest, "a")
    for repository in "ab":
        for _ in range(3):
            await read(store, repository, digest)
    await store.blobs.delete("a", digest)
    for ask in (store.blobs.size, store.blobs.content):
        with pytest.raises(BlobUnknown):
            await ask("a", digest)
    assert await read(store, "b", digest) == SMALL
    assert await store.blobs.holders(digest) == ["b"]
    with pytest.raises(BlobUnknown):
        await store.blobs.delete("a", digest)
    with pytest.raises(BlobUnknown):
        await store.blobs.delete("never", digest)


async def test_a_blob_deleted_while_it_is_read_is_read_to_its_end(store: Shop) -> None:
    digest = await store.push_blob("a", LARGE)
    blob = await store.blobs.content("a", digest)
    assert isinstance(blob, LocalBlob)
    await store.blobs.delete("a", digest)
    store.file_of(digest).unlink()
    with blob:
        assert os.pread(blob.fd, blob.size_bytes, 0) == LARGE


async def test_a_blob_that_is_refused_leaves_no_descriptor_open(store: Shop) -> None:
    digest = await store.push_blob("a", LARGE)
    os.truncate(store.file_of(digest), 10)
    with pytest.raises(BlobUnknown):
        await store.blobs.content("a", digest)
    links = (Path("/proc/self/fd") / fd for fd in os.listdir("/proc/self/fd"))
    assert str(store.file_of(digest)) not in [os.readlink(link) for link in links if os.path.lexists(link)]
