"""An S3 store as a backend: large objects in parts, listings in pages, what is left behind, and how it is opened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.base import MultipartGone, RemotePart
from backends.s3 import objects, parts
from backends.s3.backend import open_store
from backends.s3.errors import StoreRefused
from model.clock import SystemClock
from model.errors import StorageFailed, StorageFull
from model.units import GIB, KIB, MIB
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import ERROR_IN_200, FULL, INTERNAL, LOST, Call, Refusal
from tests.unit.backends.looking import settings_of
from tests.unit.backends.s3harness import Moved, Rig, rigged

CONTENT = bytes(range(251)) * (4 * MIB // 251)
IN_PARTS = 4


@pytest.fixture
async def rig(bucket: Bucket, tmp_path: Path) -> AsyncIterator[Rig]:
    """A store behind a proxy."""
    async with rigged(bucket, tmp_path) as made:
        yield made


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a few KiB is large."""
    monkeypatch.setattr(objects, "ONE_PUT_BYTES", 10 * KIB)
    monkeypatch.setattr(objects, "PUT_PART_BYTES", MIB)
    monkeypatch.setattr(parts, "LARGEST_COPY_BYTES", 10 * KIB)
    monkeypatch.setattr(parts, "COPY_PART_BYTES", MIB)


@pytest.mark.usefixtures("in_small_parts")
async def test_a_large_file_goes_up_in_parts_and_is_gone_here(rig: Rig) -> None:
    source = rig.file(CONTENT)
    await rig.backend.put("a/b", source)
    assert rig.bucket.read("a/b") == CONTENT
    assert not source.exists()
    assert rig.bucket.uploads() == []
    assert len(rig.proxy.asked(Call.PART)) == IN_PARTS


@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize(("fault", "error"), [(FULL, StorageFull), (Refusal(400, "InvalidPart"), StorageFailed)])
@pytest.mark.parametrize("call", [Call.PART, Call.COMPLETE])
async def test_a_large_file_that_does_not_arrive_leaves_everything_as_it_was(
    rig: Rig, call: Call, fault: Refusal, error: type[Exception]
) -> None:
    rig.bucket.write("a/b", b"old")
    rig.proxy.on(fault, call, skip=2 if call is Call.PART else 0)
    source = rig.file(CONTENT)
    with pytest.raises(error):
        await rig.backend.put("a/b", source)
    assert source.read_bytes() == CONTENT
    assert rig.bucket.read("a/b") == b"old"
    assert rig.bucket.uploads() == []


@pytest.mark.usefixtures("in_small_parts")
async def test_a_part_of_a_large_file_that_does_not_arrive_is_sent_again(rig: Rig) -> None:
    rig.proxy.on(INTERNAL, Call.PART, skip=1, times=3)
    await rig.put("a/b", CONTENT)
    assert rig.bucket.read("a/b") == CONTENT


@pytest.mark.usefixtures("in_small_parts")
async def test_a_large_object_is_copied_by_parts_in_the_store(rig: Rig) -> None:
    """T11: one request copies 5 GiB at most."""
    rig.bucket.write("a/b", CONTENT)
    assert await rig.backend.copy("a/b", "a/c", len(CONTENT), sha256=True) is None
    assert rig.bucket.read("a/c") == CONTENT
    assert rig.bucket.uploads() == []
    asked = rig.proxy.asked(Call.PART_COPY)
    assert len(asked) == IN_PARTS
    assert sum(each.body_bytes for each in asked) == 0


@pytest.mark.usefixtures("in_small_parts")
async def test_an_error_behind_a_200_is_no_success_of_a_part_that_is_copied(rig: Rig) -> None:
    rig.bucket.write("a/b", CONTENT)
    rule = rig.proxy.on(ERROR_IN_200, Call.PART_COPY, times=2)
    await rig.backend.copy("a/b", "a/c", len(CONTENT))
    assert rule.struck == 2
    assert rig.bucket.read("a/c") == CONTENT


async def test_every_object_lies_below_the_prefix_and_nobody_sees_it(object_store: ObjectStore, tmp_path: Path) -> None:
    """H077: the key is the path of the blob, without a slash before it, below the configured prefix."""
    bucket = object_store.new_bucket()
    async with rigged(bucket, tmp_path, prefix="some/where") as rig:
        await rig.put("docker/registry/v2/blobs/sha256/ab/data", CONTENT)
        await rig.backend.copy("docker/registry/v2/blobs/sha256/ab/data", "a/c", len(CONTENT))
        assert set(bucket.objects()) == {"some/where/docker/registry/v2/blobs/sha256/ab/data", "some/where/a/c"}
        assert [key async for key in rig.backend.keys("")] == ["a/c", "docker/registry/v2/blobs/sha256/ab/data"]
    bucket.write("some/whereelse", b"somebody else's")
    async with rigged(bucket, tmp_path, prefix="some/where") as rig:
        assert len([key async for key in rig.backend.keys("")]) == 2


@pytest.mark.usefixtures("in_small_parts")
async def test_a_copy_by_parts_that_fails_leaves_nothing_behind(rig: Rig) -> None:
    rig.bucket.write("a/b", CONTENT)
    rig.proxy.on(Refusal(400, "InvalidArgument"), Call.PART_COPY, skip=3)
    with pytest.raises(StorageFailed):
        await rig.backend.copy("a/b", "a/c", len(CONTENT))
    assert rig.bucket.uploads() == []
    assert set(rig.bucket.objects()) == {"a/b"}


@pytest.mark.usefixtures("in_small_parts")
async def test_completions_whose_answer_is_lost_are_completions(rig: Rig) -> None:
    rig.proxy.on(LOST, Call.COMPLETE, times=1)
    await rig.put("a/b", CONTENT)
    rig.proxy.on(LOST, Call.COMPLETE, times=1)
    await rig.backend.copy("a/b", "a/c", len(CONTENT))
    assert rig.bucket.read("a/b") == rig.bucket.read("a/c") == CONTENT


@pytest.mark.parametrize(("size_bytes", "part_bytes"), [(5 * GIB + 1, 512 * MIB), (48 * 1024 * GIB, 5034 * MIB)])
def test_a_copy_has_as_few_parts_as_s3_allows(size_bytes: int, part_bytes: int) -> None:
    """H102: never more than 10,000 parts, and none above 5 GiB."""
    assert parts.copy_part_bytes(size_bytes) == part_bytes
    assert -(-size_bytes // part_bytes) <= parts.MOST_PARTS
    assert part_bytes <= parts.LARGEST_PART_BYTES


async def test_a_cancelled_put_is_carried_through(rig: Rig) -> None:
    source = rig.file(CONTENT)
    running = asyncio.create_task(rig.backend.put("a/b", source))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.bucket.read("a/b") == CONTENT
    assert not source.exists()


async def test_a_listing_goes_through_all_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = sorted(f"a/{number}" for number in range(7))
    for key in keys:
        rig.bucket.write(key, b"x")
    paged(rig, monkeypatch, 2)
    assert [key async for key in rig.backend.keys("a/")] == keys
    assert len(rig.proxy.asked(Call.LIST)) == 4


@pytest.mark.parametrize("fault", [Refusal(501, "NotImplemented"), Refusal(400, "InvalidArgument")], ids=str)
async def test_a_store_without_the_newer_listing_is_asked_for_the_older(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Refusal
) -> None:
    keys = sorted(f"a/{number}" for number in range(7))
    for key in keys:
        rig.bucket.write(key, b"x")
    rig.proxy.on(fault, Call.LIST, query="list-type=2")
    paged(rig, monkeypatch, 2)
    assert [key async for key in rig.backend.keys("a/")] == keys


async def test_a_listing_that_breaks_off_is_an_error_and_not_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        rig.bucket.write(f"a/{number}", b"x")
    paged(rig, monkeypatch, 2)
    rig.proxy.on(Refusal(400, "InvalidArgument"), Call.LIST, skip=1)
    seen = []
    with pytest.raises(StorageFailed):
        async for key in rig.backend.keys("a/"):
            seen.append(key)
    assert seen == ["a/0", "a/1"]


async def test_objects_of_others_are_not_shown_when_their_names_are_no_keys(rig: Rig) -> None:
    for name in ("a/b", "a/with blank", "a//c", "a/d/", "a/e.unfinished"):
        rig.bucket.write(name, b"x")
    assert [key async for key in rig.backend.keys("a")] == ["a/b"]


async def test_parts_are_listed_and_uploads_found_through_all_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await rig.backend.begin("a/b") for _ in range(5)]
    stored = [RemotePart(number, 1, "") for number in range(1, 6)]
    for part in stored:
        await rig.calls.send("a/b", {"partNumber": str(part.number), "uploadId": ids[0]}, b"x", None)
    paged(rig, monkeypatch, 2)
    assert [part.number for part in await rig.backend.list_parts("a/b", ids[0])] == [1, 2, 3, 4, 5]
    assert sorted(await parts.unfinished(rig.calls, "a/b")) == sorted(ids)
    await rig.backend.abort("a/b", None)
    assert rig.bucket.uploads() == []


async def test_an_abort_is_repeated_while_parts_still_arrive(rig: Rig) -> None:
    """An abort has ended when the store says that nothing is left."""
    upload_id = await rig.backend.begin("a/b")
    rule = rig.proxy.on(Refusal(204, ""), Call.ABORT, times=2)
    await rig.backend.abort("a/b", upload_id)
    assert rule.struck == 2
    with pytest.raises(MultipartGone):
        await rig.backend.list_parts("a/b", upload_id)
    rig.proxy.on(Refusal(204, ""), Call.ABORT)
    other = await rig.backend.begin("a/b")
    with pytest.raises(StorageFailed, match="still arrive"):
        await rig.backend.abort("a/b", other)


@pytest.mark.parametrize(
    ("said", "etag"), [('"abc"', "abc"), ('W/"abc"', "abc"), ("abc", "abc"), ("&quot;abc-2&quot;", "abc-2"), ("", "")]
)
def test_an_etag_is_kept_without_its_quotes(said: str, etag: str) -> None:
    """T08: it is a token, and compared with nothing but itself."""
    assert parts.plain_etag(said) == etag


async def test_the_store_is_told_etags_in_quotes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """H085: some stores insist on them."""
    real: Callable[..., Coroutine[Any, Any, dict[str, Any]]] = rig.calls.control
    listed: list[str] = []

    async def asked(operation: str, **parameters: Any) -> dict[str, Any]:
        if operation == "complete_multipart_upload":
            listed.extend(part["ETag"] for part in parameters["MultipartUpload"]["Parts"])
        return await real(operation, **parameters)

    monkeypatch.setattr(rig.calls, "control", asked)
    upload_id = await rig.backend.begin("a/b")
    await rig.calls.send("a/b", {"partNumber": "1", "uploadId": upload_id}, b"x", None)
    [part] = await rig.backend.list_parts("a/b", upload_id)
    await rig.backend.assemble("a/b", upload_id, [part])
    assert listed == [f'"{part.etag}"'] and '"' not in part.etag


def paged(rig: Rig, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the store answer listings in small pages."""
    real: Callable[..., Coroutine[Any, Any, dict[str, Any]]] = rig.calls.control
    sizes = {"list_parts": "MaxParts", "list_multipart_uploads": "MaxUploads"}

    async def asked(operation: str, **parameters: Any) -> dict[str, Any]:
        if operation.startswith("list_") and not set(sizes.values()) & set(parameters):
            parameters[sizes.get(operation, "MaxKeys")] = most
        return await real(operation, **parameters)

    monkeypatch.setattr(rig.calls, "control", asked)


async def opened(settings: Any) -> list[str]:
    """Open a store and list it."""
    async with open_store(settings, SystemClock(), aiohttp.ClientSession, look=False) as backend:
        return [key async for key in backend.keys("")]


async def test_a_missing_bucket_is_made_when_that_is_wanted_and_refused_otherwise(object_store: ObjectStore) -> None:
    """M15."""
    bucket = Bucket(object_store, f"b-made-{id(object_store)}")
    with pytest.raises(StoreRefused, match="there is no bucket"):
        await opened(settings_of(bucket))
    assert await opened(settings_of(bucket, create_bucket=True)) == []
    assert await opened(settings_of(bucket)) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"secret": "another"}, "AWS_SECRET_ACCESS_KEY"),
        ({"key_id": "another"}, "AWS_ACCESS_KEY_ID"),
        ({"region": "eu-west-9"}, "S3_REGION"),
        ({"bucket": "no"}, "InvalidBucketName"),
    ],
)
async def test_wrong_settings_end_the_start_with_the_setting_to_look_at(
    bucket: Bucket, wrong: dict[str, Any], told: str
) -> None:
    """G19."""
    with pytest.raises(StoreRefused) as raised:
        await opened(replace(settings_of(bucket), **wrong))
    assert told in raised.value.reason


async def test_a_store_that_is_not_there_yet_is_waited_for(own_store: ObjectStore) -> None:
    bucket, clock, back = own_store.new_bucket(), Moved(), asyncio.Event()
    own_store.stop()
    async with open_store(settings_of(bucket), clock, aiohttp.ClientSession) as backend:
        assert backend.why_not_native

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            if backend.health.ok and backend.findings.reachable:
                back.set()

        backend.calls.sleep = sleep
        own_store.start()
        watching = asyncio.create_task(backend.watch())
        await asyncio.wait_for(back.wait(), 60)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert backend.why_not_native == ""
    assert bucket.objects() == {}


async def test_a_store_that_goes_and_comes_back_is_noticed_without_traffic(rig: Rig) -> None:
    seen: list[bool] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await rig.clock.sleep(seconds)
        if not seen or seen[-1] != rig.backend.health.ok:
            seen.append(rig.backend.health.ok)
            rig.proxy.down() if len(seen) == 1 else rig.proxy.up()
        if len(seen) == 3:
            done.set()

    rig.calls.sleep = sleep
    watching = asyncio.create_task(rig.backend.watch())
    await asyncio.wait_for(done.wait(), 60)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert seen == [True, False, True]
