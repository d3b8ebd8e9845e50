"""What a store's words and statuses mean: one table, and the errors of the port that come of it (G19)."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from moto.server import ThreadedMotoServer

from backends.base import FileSlice, KeyMissing, MultipartGone, StoreUnavailable
from backends.s3.backend import S3Backend, open_store
from backends.s3.errors import (
    BY_CODE,
    BY_STATUS,
    OF_OUR_KEYS,
    TRIED_AGAIN,
    CallFailed,
    StoreDenied,
    Trouble,
    storage_error,
    trouble_of,
)
from backends.s3.refused import Refusal
from backends.s3.settings import StoreSettings
from handlers.wire import status_of
from model.clock import SystemClock
from model.errors import StorageFailed, StorageFull, Unavailable
from model.units import MIB

HASH = hashlib.sha256(b"content").hexdigest()


def failed(status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> CallFailed:
    return CallFailed.by(Refusal(status, code, message, {}), headers or {}, now_s=0.0)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "NoSuchKey", KeyMissing),
        (404, "", KeyMissing),
        (404, "NoSuchUpload", MultipartGone),
        (404, "NoSuchBucket", StorageFailed),
        (403, "AccessDenied", StoreDenied),
        (403, "SignatureDoesNotMatch", StoreDenied),
        (403, "InvalidAccessKeyId", StoreDenied),
        (403, "RequestTimeTooSkewed", StoreDenied),
        (403, "", StoreDenied),
        (400, "ExpiredToken", StoreDenied),
        (507, "", StorageFull),
        (507, "XMinioStorageFull", StorageFull),
        (403, "QuotaExceeded", StorageFull),
        (400, "XMinioAdminBucketQuotaExceeded", StorageFull),
        (400, "EntityTooLarge", StorageFull),
        (413, "", StorageFull),
        (500, "InternalError", StoreUnavailable),
        (502, "", StoreUnavailable),
        (503, "SlowDown", StoreUnavailable),
        (429, "", StoreUnavailable),
        (200, "InternalError", StoreUnavailable),
        (200, "", StoreUnavailable),
        (400, "RequestTimeout", StoreUnavailable),
        (416, "InvalidRange", StorageFailed),
        (412, "PreconditionFailed", StorageFailed),
        (400, "BadDigest", StorageFailed),
        (400, "EntityTooSmall", StorageFailed),
        (301, "PermanentRedirect", StorageFailed),
        (501, "NotImplemented", StorageFailed),
        (418, "", StorageFailed),
    ],
)
def test_an_answer_means_one_error(status: int, code: str, error: type[Unavailable]) -> None:
    assert type(storage_error(failed(status, code), "store a/b")) is error


def test_the_word_counts_for_more_than_the_status() -> None:
    """A quota is a 403 here and a 400 there, and an error behind a 200 is an error."""
    for code, trouble in BY_CODE.items():
        assert {trouble_of(Refusal(status, code, "", {})) for status in (200, 400, 403, 404, 500)} == {trouble}


def test_a_word_nobody_knows_leaves_it_to_the_status() -> None:
    for status, trouble in BY_STATUS.items():
        assert trouble_of(Refusal(status, "SomethingNew", "", {})) is trouble
    assert trouble_of(Refusal(599, "SomethingNew", "", {})) is Trouble.BROKEN
    assert trouble_of(Refusal(499, "SomethingNew", "", {})) is Trouble.OTHER


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_becomes_an_error_that_a_client_may_try_again_with(trouble: Trouble) -> None:
    error = storage_error(CallFailed(trouble, "secret details"), "store a/b")
    assert isinstance(error, Unavailable)
    assert status_of(error) in (503, 507)
    assert error.retry_after_s > 0
    assert isinstance(error, StoreDenied) == (trouble in OF_OUR_KEYS)
    assert isinstance(error, StoreUnavailable) == (trouble in TRIED_AGAIN - {Trouble.GARBLED})
    assert "a/b" not in error.message, "a client is told no name of an object"
    assert "a/b" in str(error) or trouble in OF_OUR_KEYS, "the log is"


def test_what_a_store_says_stays_on_one_line_of_the_log() -> None:
    refusal = Refusal(500, "Internal\nError" + "x" * 1000, "a\r\n2026 INFO all is well \x1b[2J")
    told = CallFailed.by(refusal, {}, now_s=0.0).reason
    assert told.isprintable()
    assert len(told) < 400


def test_a_client_is_not_told_why_our_keys_are_refused() -> None:
    error = storage_error(failed(403, "SignatureDoesNotMatch", "the key test:tester"), "store a/b")
    assert isinstance(error, StoreDenied)
    assert error.message == "the store refuses our credentials"
    assert "test:tester" in error.reason


@pytest.mark.parametrize(
    ("said", "wait_s"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
)
def test_the_store_may_ask_to_be_left_alone_for_some_seconds(said: str, wait_s: float | None) -> None:
    assert failed(503, "SlowDown", headers={"retry-after": said}).retry_after_s == wait_s


@pytest.mark.parametrize(("date", "skew_s"), [("Thu, 01 Jan 1970 00:10:00 GMT", 600.0), ("", 0.0), ("yesterday", 0.0)])
def test_how_far_the_clocks_are_apart_is_read_from_the_answer(date: str, skew_s: float) -> None:
    assert failed(403, "RequestTimeTooSkewed", headers={"date": date}).skew_s == skew_s


@pytest.fixture(scope="module")
def moto() -> Any:
    """A store that knows S3's words and no signatures: good for its errors, and for nothing else."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
async def backend(moto: str) -> AsyncIterator[S3Backend]:
    """A bucket of it."""
    settings = StoreSettings(bucket="errors", endpoint=moto, key_id="any", secret="any", create_bucket=True)
    async with open_store(settings, SystemClock(), aiohttp.ClientSession, look=False) as made:
        yield made


async def test_another_server_speaks_the_same_words(backend: S3Backend, tmp_path: Path) -> None:
    source = tmp_path / "content"
    source.write_bytes(b"content")
    piece = FileSlice(source, 0, 7)
    with pytest.raises(KeyMissing):
        await backend.size("a/b")
    with pytest.raises(KeyMissing):
        await anext(backend.get("a/b", 1, 2))
    with pytest.raises(KeyMissing):
        await backend.copy("a/b", "a/c", 7)
    with pytest.raises(MultipartGone):
        await backend.list_parts("a/b", "none")
    await backend.abort("a/b", "none")
    await backend.delete("a/b")
    upload_id = await backend.begin("a/b")
    small = [await backend.send_part("a/b", upload_id, number, piece, HASH) for number in (1, 2)]
    with pytest.raises(StorageFailed, match="EntityTooSmall"):
        await backend.assemble("a/b", upload_id, small)
    assert backend.smallest_part_bytes == 5 * MIB
    await backend.abort("a/b", None)
    assert [key async for key in backend.keys("")] == []


async def test_a_copy_that_tells_its_hash_is_believed(backend: S3Backend, tmp_path: Path) -> None:
    """The SHA-256 of the whole, as AWS and MinIO compute it while they copy (s3-sigv4 4d)."""
    source = tmp_path / "content"
    source.write_bytes(b"content")
    await backend.put("a/b", source)
    assert await backend.copy("a/b", "a/c", 7, sha256=True) == HASH
    assert await backend.copy("a/b", "a/c", 7) is None
