"""Settling: each object to its digest's key, however often that is broken off, and never anything else there."""

import asyncio
import itertools
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from backends.base import StoreUnavailable
from backends.memory import MemoryBackend
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed, StorageFull
from store import lanes, settling, store_objects
from store.condition import FRESH_S
from store.discarding import Discarder
from store.hot import Kind
from store.layout import BLOBS, TEMPORARY, blob_key, temporary_key
from store.settling import AT_ONCE, Settler
from store.store_objects import ObjectRow
from store.transactions import Transaction
from tests.support.storehooks import Halt, failing, no_hook
from tests.unit.store.bucket import LARGE, OTHER, Bucket, bucket
from tests.unit.store.shop import StillClock, shop

DIGEST = Digest.of(LARGE)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again without a rest."""
    monkeypatch.setattr(lanes, "FIRST_REST_S", 0)


async def test_many_are_settled_two_at_a_time(tmp_path: Path) -> None:
    copying = most = 0
    together = asyncio.Event()

    async def count(verb: str, key: str) -> None:
        nonlocal copying, most
        if verb == "copy":
            copying += 1
            most = max(most, copying)
            if copying == AT_ONCE:
                together.set()
            await together.wait()

    async def counted(verb: str, key: str) -> None:
        nonlocal copying
        copying -= verb == "copy"

    async with bucket(tmp_path) as shelf:
        contents = [b"%d" % number * 5000 for number in range(8)]
        for number, content in enumerate(contents):
            await shelf.committed(content, f"upload-{number}")
        shelf.objects.before, shelf.objects.after = count, counted
        await shelf.calm()
        assert shelf.holds_only(*contents)
    assert most == AT_ONCE


async def test_copies_wait_while_clients_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may need longer for a copy than it needed for the upload; readers have the bytes meanwhile."""
    monkeypatch.setattr(settling, "LOOK_S", 0.001)
    looks, over, ten = itertools.count(1), False, asyncio.Event()

    def is_busy() -> bool:
        if next(looks) > 10:
            ten.set()
        return not over

    async with bucket(tmp_path, is_busy=is_busy, work=True) as shelf:
        await shelf.committed(LARGE)
        await ten.wait()
        assert shelf.temporary() and not shelf.holds_only(LARGE)
        over = True
        await shelf.calm()
        assert shelf.holds_only(LARGE)


async def test_copies_do_not_wait_for_ever_nor_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine where somebody always sends no queue grows."""
    monkeypatch.setattr(settling, "LOOK_S", 0.001)
    monkeypatch.setattr(settling, "LONGEST_REST_S", 0.2)
    contents = [bytes([number]) * 100 for number in range(20)]
    async with bucket(tmp_path, is_busy=lambda: True, work=True) as shelf:
        for number, content in enumerate(contents):
            await shelf.committed(content, f"upload-{number}")
        began_s = asyncio.get_running_loop().time()
        await shelf.calm()
        assert shelf.holds_only(*contents)
        assert asyncio.get_running_loop().time() - began_s < 20 / AT_ONCE * 0.2


async def test_what_a_start_finds_unsettled_is_settled(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
    async with bucket(tmp_path, shelf.objects) as shelf:
        assert shelf.store.blobs.is_unsettled(DIGEST)
        assert await shelf.read("a", DIGEST) == LARGE
        await shelf.calm()
        assert shelf.holds_only(LARGE)
        assert await shelf.rows() == []


async def test_a_store_that_dies_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        tries = 0

        async def dead_for_a_while(verb: str, key: str) -> None:
            nonlocal tries
            tries += 1
            if tries < 10:
                raise StoreUnavailable("the store is dead")

        shelf.objects.before = dead_for_a_while
        await shelf.calm()
        assert tries > 10
        assert shelf.holds_only(LARGE)


async def test_a_catalog_that_is_full_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        failed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def refuse(tx: Transaction, *arguments: object) -> None:
            loop.call_soon_threadsafe(failed.set)
            raise StorageFull("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr("store.blob_rows.settled", refuse)
            shelf.work()
            await failed.wait()
            assert await shelf.read("a", DIGEST) == LARGE
        await shelf.calm()
        assert shelf.holds_only(LARGE)


async def test_a_copy_that_came_out_wrong_is_not_moved_to(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        [temporary] = shelf.temporary()
        spoiled = asyncio.Event()

        async def spoil(verb: str, key: str) -> None:
            if verb == "copy" and not spoiled.is_set():
                spoiled.set()
                shelf.objects.values[blob_key(DIGEST)] = LARGE[:-1]

        shelf.objects.after = spoil
        shelf.work()
        await spoiled.wait()
        assert await shelf.read("a", DIGEST) == LARGE
        assert temporary in shelf.objects.values
        await shelf.calm()
        assert shelf.holds_only(LARGE)


async def test_an_object_that_was_settled_before_the_catalog_was_restored_needs_its_pointer_cleared_only(
    tmp_path: Path,
) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        [temporary] = shelf.temporary()
        shelf.objects.values[blob_key(DIGEST)] = shelf.objects.values.pop(temporary)
        await shelf.calm()
        assert not shelf.store.blobs.is_unsettled(DIGEST)
        assert await shelf.rows() == []
        assert shelf.holds_only(LARGE)


async def test_a_blob_that_is_nowhere_is_said_to_be_lost_and_healed_by_pushing_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        shelf.objects.values.clear()
        with caplog.at_level(logging.ERROR):
            await shelf.calm()
        assert "lost" in caplog.text
        assert str(DIGEST) in caplog.text
        with pytest.raises(BlobUnknown):
            await shelf.read("a", DIGEST)
        await shelf.committed(LARGE, "upload-2")
        await shelf.calm()
        assert shelf.holds_only(LARGE)
        assert await shelf.read("a", DIGEST) == LARGE


async def test_an_object_that_was_found_damaged_is_not_settled_before_it_was_pushed_again(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        [temporary] = shelf.temporary()
        shelf.objects.values[temporary] = bytes(len(LARGE))
        shelf.store.blobs.note_damaged(DIGEST)
        await shelf.calm()
        assert blob_key(DIGEST) not in shelf.objects.values
        await shelf.committed(LARGE, "upload-2")
        await shelf.calm()
        assert shelf.holds_only(LARGE)


async def test_a_file_that_is_pushed_while_a_damaged_object_is_copied_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying = Halt("copy")
    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        [temporary] = shelf.temporary()
        shelf.objects.values[temporary] = bytes(len(LARGE))
        shelf.objects.before = copying
        shelf.work()
        await copying.reached.wait()
        shelf.store.blobs.note_damaged(DIGEST)
        waits = asyncio.Event()
        really = shelf.store.blobs.commits.writing.turn

        def asked(digest: Digest) -> Any:
            waits.set()
            return really(digest)

        monkeypatch.setattr(shelf.store.blobs.commits.writing, "turn", asked)
        pushing = asyncio.create_task(shelf.store.push_blob("a", LARGE))
        asking = asyncio.create_task(waits.wait())
        await asyncio.wait({pushing, asking}, return_when=asyncio.FIRST_COMPLETED)
        copying.go.set()
        await pushing
        asking.cancel()
        await shelf.calm()
        assert shelf.holds_only(LARGE)
        assert await shelf.read("a", DIGEST) == LARGE


async def test_content_that_gets_another_object_while_it_is_copied_is_settled_from_that(tmp_path: Path) -> None:
    clock = StillClock()
    async with bucket(tmp_path, clock=clock) as shelf:
        await shelf.committed(LARGE)

        async def meanwhile(verb: str, key: str) -> None:
            if verb == "copy" and key.startswith(TEMPORARY):
                shelf.objects.before = no_hook
                clock.at_s += FRESH_S
                await shelf.committed(LARGE, "upload-2", "b")

        shelf.objects.before = meanwhile
        await shelf.calm()
        assert shelf.holds_only(LARGE)
        assert not shelf.store.blobs.is_unsettled(DIGEST)
        assert await shelf.rows() == []


async def test_where_a_store_cannot_copy_objects_stay_where_they_are(tmp_path: Path) -> None:
    backend = MemoryBackend()
    async with shop(tmp_path, backend=backend) as store:
        settler = Settler(store.catalog, backend, store.blobs)
        discarder = Discarder(store.catalog, backend)
        await discarder.settle()
        key = temporary_key("u", "t")
        backend.values[key] = LARGE
        await store.catalog.run(store_objects.intend, ObjectRow(key, "u", "", 1.0))
        await store.blobs.commit_object("a", DIGEST, key, len(LARGE), None)
        settler.poke()
        await settler.settled()
        await discarder.run()
        assert store.blobs.is_unsettled(DIGEST)
        assert await store.blobs.size("a", DIGEST) == len(LARGE)


async def test_whatever_is_discarded_nothing_below_docker_is_ever_deleted(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_blob("a", LARGE)
        await shelf.uploaded(LARGE, key=blob_key(DIGEST))
        await shelf.store.catalog.run(store_objects.discard, blob_key(DIGEST), "upload-1")
        await shelf.calm()
        assert shelf.objects.values == {blob_key(DIGEST): LARGE}
        assert not [key for verb, key in shelf.objects.asked if verb == "delete" and key.startswith(BLOBS)]
        assert await shelf.rows() == []


async def test_an_upload_under_a_digest_that_never_learned_its_id_takes_no_others_upload_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash came between beginning it and writing the id down, and another session makes the same blob."""
    key = blob_key(DIGEST)
    async with bucket(tmp_path) as shelf:
        await shelf.store.catalog.run(store_objects.intend, ObjectRow(key, "crashed", "", 1.0, None, "discard"))
        await shelf.objects.begin(key)
        await shelf.store.catalog.run(store_objects.intend, ObjectRow(key, "other", "", 2.0))
        theirs = await shelf.objects.begin(key)
        await shelf.store.catalog.run(store_objects.begun, key, "other", theirs)
        refused = asyncio.Event()
        really = shelf.store.catalog.read

        async def watched(operation: Any, *arguments: Any) -> Any:
            if operation is store_objects.making_at:
                refused.set()
            return await really(operation, *arguments)

        with monkeypatch.context() as patched:
            patched.setattr(shelf.store.catalog, "read", watched)
            shelf.work()
            await refused.wait()
        assert theirs in shelf.objects.unfinished
        await shelf.store.catalog.run(store_objects.whole, key, "other")
        del shelf.objects.unfinished[theirs]
        await shelf.discarder.done()
        assert shelf.objects.unfinished == {}


async def test_a_dead_store_is_waited_for_before_anything_is_forgotten(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        await shelf.uploaded(OTHER)
        await shelf.store.catalog.run(store_objects.discard_of_upload, "upload-1")
        shelf.objects.before = failing(("abort", ""), ("delete", ""))
        shelf.work()
        await asyncio.sleep(0)
        assert len(await shelf.rows()) == 1
        shelf.objects.before = failing(("delete", ""))
        shelf.discarder.poke()
        assert len(await shelf.rows()) == 1
        shelf.objects.before = no_hook
        await shelf.calm()
        assert shelf.holds_only()


async def test_a_multipart_upload_that_was_never_completed_is_aborted_with_all_its_parts(tmp_path: Path) -> None:
    key = temporary_key("u", "t")
    async with bucket(tmp_path, MemoryStore()) as shelf:
        for upload_id, known in (("u", True), ("v", False)):
            each = f"{key}-{upload_id}"
            await shelf.store.catalog.run(store_objects.intend, ObjectRow(each, upload_id, "", 1.0))
            store_upload_id = await shelf.objects.begin(each)
            if known:
                await shelf.store.catalog.run(store_objects.begun, each, upload_id, store_upload_id)
    async with bucket(tmp_path, shelf.objects) as shelf:
        await shelf.calm()
        assert shelf.objects.unfinished == {}
        assert await shelf.rows() == []


@pytest.mark.parametrize("listing", [True, False], ids=["listed", "not-allowed-to-list"])
async def test_an_upload_that_the_store_began_twice_is_aborted_twice_where_the_store_lists_them(
    tmp_path: Path, listing: bool
) -> None:
    """The answer to the first request was lost, so we asked again, and know the second only."""
    async with bucket(tmp_path, MemoryStore()) as shelf:
        key = await shelf.uploaded(LARGE)
        lost = await shelf.objects.begin(key)
        really = shelf.objects.abort

        async def abort(key: str, store_upload_id: str | None) -> None:
            if store_upload_id is None and not listing:
                raise StorageFailed("access denied")
            await really(key, store_upload_id)

        shelf.objects.abort = abort  # type: ignore[method-assign]
        await shelf.store.catalog.run(store_objects.discard_of_upload, "upload-1")
        await shelf.calm()
        assert (lost in shelf.objects.unfinished) is not listing
        assert shelf.objects.values == {}
        assert await shelf.rows() == []


@pytest.mark.parametrize("seed", range(5))
async def test_who_reads_while_content_comes_again_and_again_never_misses_it(tmp_path: Path, seed: int) -> None:
    """By file and by object, settled and discarded behind it, each verb of the store taking its time."""
    chance, clock = random.Random(seed), StillClock()
    done = asyncio.Event()

    async def dawdle(verb: str, key: str) -> None:
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)

    async def read_on(shelf: Bucket, repository: str) -> int:
        times = 0
        while not done.is_set():
            start = chance.randrange(len(LARGE))
            assert await shelf.read(repository, DIGEST, start, len(LARGE) - start) == LARGE[start:]
            assert await shelf.store.blobs.size(repository, DIGEST) == len(LARGE)
            shelf.store.hot.drop([(Kind.EVERYTHING, repository, "")])
            times += 1
        return times

    async with bucket(tmp_path, clock=clock, work=True) as shelf:
        await shelf.committed(LARGE)
        await shelf.store.blobs.mount("b", DIGEST, "a")
        shelf.objects.before = shelf.objects.after = dawdle
        readers = [asyncio.create_task(read_on(shelf, repository)) for repository in "abab"]
        for number in range(20):
            clock.at_s += FRESH_S * chance.randrange(2)
            if chance.randrange(3):
                await shelf.committed(LARGE, f"again-{number}", "b")
            else:
                await shelf.store.push_blob("a", LARGE)
            if chance.randrange(2):
                await shelf.calm()
        done.set()
        assert min(await asyncio.gather(*readers)) > 0
        await shelf.calm()
        assert shelf.holds_only(LARGE)
        assert await shelf.rows() == []


async def test_a_large_file_that_is_pushed_while_a_copy_is_settled_keeps_its_row_until_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is made of parts under the same key: the end of one must not forget the other (T11)."""
    monkeypatch.setattr("store.recording.BY_PARTS_BYTES", 100)
    copying, may_go_on = asyncio.Event(), asyncio.Event()
    made: list[list[str]] = []

    async def hold(verb: str, key: str) -> None:
        if verb == "copy":
            copying.set()
            await may_go_on.wait()
        if verb == "put":
            made.append([row.state for row in await shelf.rows() if row.key == key])

    async with bucket(tmp_path) as shelf:
        await shelf.committed(LARGE)
        shelf.objects.before = hold
        shelf.work()
        await copying.wait()
        shelf.store.blobs.note_damaged(DIGEST)
        pushing = asyncio.create_task(shelf.store.push_blob("a", LARGE))
        await asyncio.wait({pushing}, timeout=0.05)
        may_go_on.set()
        await pushing
        await shelf.calm()
        assert made == [[store_objects.MAKING]]
        assert await shelf.rows() == []
        assert shelf.holds_only(LARGE)


@pytest.mark.parametrize("how", ["put", "copy"])
async def test_what_a_crash_leaves_of_a_large_object_under_its_digests_key_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Large ones are made of parts: those of a copy, or a file, that was never finished must not stay (T11)."""
    monkeypatch.setattr("store.recording.BY_PARTS_BYTES", 100)

    async def dies(verb: str, key: str) -> None:
        if verb == how:
            await shelf.objects.begin(blob_key(DIGEST))
            begun.set()
            await asyncio.Event().wait()

    begun, committing = asyncio.Event(), None
    async with bucket(tmp_path) as shelf:
        if how == "copy":
            await shelf.committed(LARGE)
        shelf.objects.before = dies
        if how == "copy":
            shelf.work()
        else:
            source = shelf.store.folder / "spool" / "file"
            source.write_bytes(LARGE)
            committing = asyncio.create_task(shelf.store.blobs.commit("a", DIGEST, source, len(LARGE)))
        await begun.wait()
        assert [(row.key, row.state) for row in await shelf.rows() if row.key == blob_key(DIGEST)] == [
            (blob_key(DIGEST), store_objects.MAKING)
        ]
        if committing is not None:
            for task in shelf.store.blobs.commits._running:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await committing
        shelf.objects.before = no_hook
    assert shelf.objects.unfinished
    async with bucket(tmp_path, shelf.objects) as shelf:
        await shelf.discarder.settle()
        await shelf.calm()
        assert not shelf.objects.unfinished
        assert await shelf.rows() == []
        assert shelf.holds_only(*([LARGE] if how == "copy" else []))


async def test_a_store_that_lists_no_unfinished_uploads_for_us_keeps_no_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is whole is deleted, though nobody can say whether something unfinished lies beside it; the row stays."""
    async with bucket(tmp_path) as shelf:
        key = temporary_key("upload-9", "token")
        abort = shelf.objects.abort

        async def abort_known(key: str, store_upload_id: str | None) -> None:
            if store_upload_id is None:
                raise StorageFailed("AccessDenied")
            await abort(key, store_upload_id)

        async def noted(verb: str, key: str) -> None:
            if verb == "delete":
                deleted.set()

        deleted, shelf.objects.after = asyncio.Event(), noted
        monkeypatch.setattr(shelf.objects, "abort", abort_known)
        shelf.objects.values[key] = LARGE
        await shelf.store.catalog.run(store_objects.intend, ObjectRow(key, "upload-9", "", 1.0))
        await shelf.store.catalog.run(store_objects.discard, key, "upload-9")
        shelf.work()
        await deleted.wait()
        assert key not in shelf.objects.values
        assert [row.key for row in await shelf.rows()] == [key]
