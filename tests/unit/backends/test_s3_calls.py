"""Every call to a store survives what passes, and says quickly and clearly what does not (M18, G04, G13, G19)."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from backends.base import FileSlice, KeyMissing, MultipartGone, StoreUnavailable
from backends.s3 import calls, control, transfer
from backends.s3.circuit import FAILURES_TO_OPEN, FIRST_PAUSE_S, State
from backends.s3.credentials import LOOK_AGAIN_S
from backends.s3.errors import StoreDenied
from backends.s3.retrying import BROKEN
from model.errors import StorageFailed, StorageFull
from model.units import MIB
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import (
    BAD_SIGNATURE,
    ERROR_IN_200,
    FORBIDDEN,
    FULL,
    INTERNAL,
    LOST,
    RESET,
    SLOW_DOWN,
    UNAVAILABLE,
    Call,
    Fault,
    Held,
    Refusal,
    Reset,
    Short,
    Slow,
)
from tests.unit.backends.s3harness import Rig, rigged

CONTENT = b"content" * 1000
PASSING = [
    INTERNAL,
    UNAVAILABLE,
    SLOW_DOWN,
    RESET,
    Reset(3000),
    LOST,
    Refusal(502, ""),
    Refusal(429, "TooManyRequests"),
]


@pytest.fixture
async def rig(bucket: Bucket, tmp_path: Path) -> AsyncIterator[Rig]:
    """A store behind a proxy, with a clock that moves by sleeping only."""
    async with rigged(bucket, tmp_path) as made:
        yield made


@pytest.mark.parametrize("fault", PASSING, ids=str)
async def test_what_passes_is_waited_for_and_nobody_notices(rig: Rig, fault: Fault) -> None:
    for call in (Call.PUT, Call.GET, Call.LIST, Call.COPY, Call.DELETE):
        rig.proxy.on(fault, call, times=2)
    await rig.put("a/b", CONTENT)
    assert await rig.get("a/b") == CONTENT
    assert [key async for key in rig.backend.keys("")] == ["a/b"]
    await rig.backend.copy("a/b", "a/c", len(CONTENT))
    await rig.backend.delete("a/b")
    assert rig.bucket.objects() == {"a/c": len(CONTENT)}
    assert rig.backend.health.ok


@pytest.mark.parametrize("fault", [*PASSING, ERROR_IN_200], ids=str)
async def test_an_upload_in_parts_survives_what_passes_at_every_step(rig: Rig, fault: Fault) -> None:
    for call in (Call.CREATE, Call.PART, Call.LIST_PARTS, Call.COMPLETE, Call.ABORT):
        if fault is not ERROR_IN_200 or call in (Call.COMPLETE, Call.PART):
            rig.proxy.on(fault, call, times=2)
    upload_id = await rig.backend.begin("m/x")
    part = await rig.backend.send_part("m/x", upload_id, 1, FileSlice(rig.file(CONTENT), 0, len(CONTENT)))
    assert await rig.backend.list_parts("m/x", upload_id) == [part]
    await rig.backend.assemble("m/x", upload_id, [part])
    assert await rig.get("m/x") == CONTENT
    other = await rig.backend.begin("m/y")
    await rig.backend.abort("m/y", other)
    with pytest.raises(MultipartGone):
        await rig.backend.list_parts("m/y", other)


async def test_an_error_behind_a_200_is_no_success_of_a_put(rig: Rig) -> None:
    rig.proxy.on(ERROR_IN_200, Call.PUT)
    source = rig.file(CONTENT)
    with pytest.raises(StoreUnavailable):
        await rig.backend.put("a/b", source)
    assert source.read_bytes() == CONTENT
    rig.proxy.clear()
    rig.clock.move(rig.calls.circuit.wait_s)
    await rig.backend.put("a/b", source)
    assert rig.bucket.read("a/b") == CONTENT


async def test_an_error_behind_a_200_is_no_success_of_a_copy(rig: Rig) -> None:
    await rig.put("a/b", CONTENT)
    rule = rig.proxy.on(ERROR_IN_200, Call.COPY, times=1)
    await rig.backend.copy("a/b", "a/c", len(CONTENT))
    assert rule.struck == 1
    assert len(rig.proxy.asked(Call.COPY)) == 2
    rig.proxy.on(ERROR_IN_200, Call.COPY)
    with pytest.raises(StoreUnavailable):
        await rig.backend.copy("a/b", "a/d", len(CONTENT))
    assert set(rig.bucket.objects()) == {"a/b", "a/c"}


@pytest.mark.parametrize("fault", [INTERNAL, RESET], ids=str)
async def test_a_dead_store_is_unavailable_within_seconds_and_then_at_once(rig: Rig, fault: Fault) -> None:
    rig.proxy.on(fault)
    with pytest.raises(StoreUnavailable):
        await rig.backend.size("a/b")
    assert rig.clock.passed_s < 10
    with pytest.raises(StoreUnavailable) as raised:
        for _ in range(FAILURES_TO_OPEN):
            await rig.backend.begin("a/b")
    assert raised.value.retry_after_s >= 1
    asked, passed_s = len(rig.proxy.seen), rig.clock.passed_s
    source = rig.file(CONTENT)
    with pytest.raises(StoreUnavailable):
        await rig.backend.put("a/b", source)
    assert source.read_bytes() == CONTENT
    assert (len(rig.proxy.seen), rig.clock.passed_s) == (asked, passed_s), "nobody asked, nobody waited"


async def test_the_store_coming_back_is_noticed_by_the_next_call(rig: Rig) -> None:
    await rig.put("a/b", CONTENT)
    rig.proxy.down()
    with pytest.raises(StoreUnavailable):
        while True:
            await rig.get("a/b")
    assert rig.calls.circuit.state is State.OPEN
    health = rig.backend.health
    assert not health.ok
    assert "nobody answers" in health.reason or "onnect" in health.reason
    rig.clock.move(rig.calls.circuit.wait_s)
    with pytest.raises(StoreUnavailable):
        await rig.get("a/b")
    assert rig.calls.circuit.wait_s > FIRST_PAUSE_S, "the probe failed as well"
    rig.proxy.up()
    rig.clock.move(rig.calls.circuit.wait_s)
    assert await rig.get("a/b") == CONTENT
    assert rig.backend.health.ok


def back_after(rig: Rig, seconds: float) -> None:
    """The store is gone, and back when that much time has passed."""
    began_s = rig.clock.passed_s

    async def sleep(pause_s: float) -> None:
        await rig.clock.sleep(pause_s)
        if rig.clock.passed_s - began_s >= seconds:
            rig.proxy.up()

    rig.calls.sleep = sleep
    rig.proxy.down()


async def test_a_call_that_has_begun_survives_a_store_that_is_gone_for_some_seconds(rig: Rig) -> None:
    back_after(rig, 3.0)
    await rig.put("a/b", CONTENT)
    assert rig.bucket.read("a/b") == CONTENT
    assert rig.backend.health.ok


async def test_a_stream_that_has_begun_survives_a_store_that_is_gone_for_some_seconds(rig: Rig) -> None:
    content = CONTENT * 300
    rig.bucket.write("a/b", content)
    rig.proxy.on(Short(MIB), Call.GET, times=1)
    got = bytearray()
    async for piece in rig.backend.get("a/b"):
        if not got:
            back_after(rig, 3.0)
        got += piece
    assert bytes(got) == content


async def test_a_probe_that_is_given_up_leaves_the_way_open_for_the_next(rig: Rig) -> None:
    for _ in range(FAILURES_TO_OPEN):
        rig.calls.circuit.failed("nobody there")
    rig.clock.move(FIRST_PAUSE_S)
    rule = rig.proxy.on(Held("before"), Call.BUCKET)
    probing = asyncio.create_task(rig.calls.reconnect())
    await asyncio.to_thread(rule.reached)
    assert rig.calls.circuit.state.value == "half open"
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    rig.proxy.clear()
    assert rig.calls.circuit.state is State.OPEN
    rig.clock.move(rig.calls.circuit.wait_s)
    await rig.put("a/b", CONTENT)
    assert rig.backend.health.ok


async def test_a_probe_that_fails_in_a_way_nobody_thought_of_leaves_the_way_open_as_well(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(FAILURES_TO_OPEN):
        rig.calls.circuit.failed("nobody there")
    rig.clock.move(FIRST_PAUSE_S)
    with monkeypatch.context() as patched:
        patched.setattr("backends.s3.calls.signed_headers", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await rig.calls.reconnect()
    rig.clock.move(rig.calls.circuit.wait_s)
    await rig.put("a/b", CONTENT)
    assert rig.backend.health.ok


async def test_a_store_that_only_asks_to_be_slower_is_not_given_up_for_dead(rig: Rig) -> None:
    rig.proxy.on(SLOW_DOWN)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await rig.backend.begin("a/b")
    assert rig.backend.health.ok
    assert all(pause_s >= 1 for pause_s in rig.clock.slept), "as Retry-After asks"


async def test_what_cannot_pass_is_not_tried_again(rig: Rig) -> None:
    for fault, error in (
        (FULL, StorageFull),
        (FORBIDDEN, StoreDenied),
        (Refusal(400, "InvalidArgument"), StorageFailed),
    ):
        rule = rig.proxy.on(fault, Call.PUT)
        source = rig.file(CONTENT)
        with pytest.raises(error):
            await rig.backend.put("a/b", source)
        assert rule.struck == 1
        assert source.exists()
        rig.proxy.drop(rule)
    assert rig.clock.slept == []


async def test_an_object_that_is_missing_for_a_moment_is_not_taken_for_lost(rig: Rig) -> None:
    """Swift says so now and then while an object is replaced."""
    await rig.put("a/b", CONTENT)
    for ask in (rig.backend.size, rig.get):
        rig.proxy.on(Refusal(404, "NoSuchKey"), Call.GET, times=1)
        await ask("a/b")
    rig.proxy.on(Refusal(404, "NoSuchKey"), Call.GET)
    with pytest.raises(KeyMissing):
        await rig.backend.size("a/b")


async def test_a_missing_bucket_is_no_missing_object(rig: Rig) -> None:
    """Nothing is taken for gone because it could not be read."""
    rig.bucket.store.client.delete_bucket(Bucket=rig.bucket.name)
    for asked in (rig.backend.size("a/b"), anext(rig.backend.get("a/b")), rig.backend.delete("a/b")):
        with pytest.raises(StorageFailed) as raised:
            await asked
        assert not isinstance(raised.value, KeyMissing)
    assert not rig.backend.health.ok
    assert rig.bucket.name in rig.backend.health.reason


@pytest.mark.parametrize("fault", [Refusal(404, ""), Refusal(404, "NoSuchBucket")], ids=str)
async def test_an_answer_of_something_that_is_no_store_is_no_missing_object(rig: Rig, fault: Fault) -> None:
    rig.proxy.on(fault)
    with pytest.raises(StorageFailed) as raised:
        await rig.backend.size("a/b")
    assert not isinstance(raised.value, KeyMissing)


@pytest.mark.parametrize("fault", [Refusal(404, ""), Refusal(404, "NoSuchBucket")], ids=str)
async def test_an_answer_of_something_that_is_no_store_ends_no_upload(rig: Rig, fault: Fault) -> None:
    """A proxy whose store is away says 404 to everything: nothing is given up, or forgotten, because of that."""
    backend, source = rig.backend, FileSlice(rig.file(CONTENT), 0, len(CONTENT))
    upload_id = await backend.begin("a/b")
    part = await backend.send_part("a/b", upload_id, 1, source)
    rule = rig.proxy.on(fault)
    for asked in (
        backend.send_part("a/b", upload_id, 1, source),
        backend.list_parts("a/b", upload_id),
        backend.assemble("a/b", upload_id, [part]),
        backend.abort("a/b", upload_id),
        backend.copy("a/b", "a/c", len(CONTENT)),
        backend.delete("a/b"),
    ):
        with pytest.raises(StorageFailed) as raised:
            await asked
        assert not isinstance(raised.value, (KeyMissing, MultipartGone))
    rig.proxy.drop(rule)
    await backend.assemble("a/b", upload_id, [part])
    assert rig.bucket.read("a/b") == CONTENT


async def test_readiness_knows_of_something_that_is_no_store_without_traffic(rig: Rig) -> None:
    rule = rig.proxy.on(Refusal(404, ""))
    await rig.calls.probe()
    assert not rig.backend.health.ok
    assert rig.bucket.name in rig.backend.health.reason
    rig.proxy.drop(rule)
    await rig.calls.probe()
    assert rig.backend.health.ok


async def test_the_second_pair_of_keys_takes_over_without_anybody_noticing(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G04: a store whose key was changed is asked with the other one from then on."""
    store = bucket.store
    said = {"key_id": "old:key", "secret": "old", "other_key_id": store.key_id, "other_secret": store.secret}
    async with rigged(bucket, tmp_path, **said) as rig:
        await rig.put("a/b", CONTENT)
        assert rig.calls.credentials().key_id == store.key_id
        refused = [each for each in rig.proxy.seen if each.status == 403]
        await rig.backend.size("a/b")
        assert [each for each in rig.proxy.seen if each.status == 403] == refused
        assert rig.backend.health.ok
    assert "refuses the key old:key, and takes" in caplog.text


async def test_a_key_that_is_refused_later_says_so_and_readiness_too(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G19: what is wrong with the signature is in the log, with the setting to look at; clients are told little."""
    keys, key_id = tmp_path / "keys.env", bucket.store.key_id
    keys.write_text(f"AWS_ACCESS_KEY_ID={key_id}\nAWS_SECRET_ACCESS_KEY={bucket.store.secret}\n")
    async with rigged(bucket, tmp_path, key_id="", secret="", credentials_file=keys) as rig:
        keys.write_text(f"AWS_ACCESS_KEY_ID={key_id}\nAWS_SECRET_ACCESS_KEY=not the secret\n")
        rig.clock.move(LOOK_AGAIN_S)
        for ask in (rig.backend.begin, rig.backend.size, lambda key: rig.put(key, CONTENT)):
            with pytest.raises(StoreDenied) as raised:
                await ask("a/b")
            assert raised.value.message == "the store refuses our credentials"
            assert "AWS_SECRET_ACCESS_KEY" in raised.value.reason
        assert not rig.backend.health.ok
        assert "AWS_SECRET_ACCESS_KEY" in rig.backend.health.reason
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 1, "the same is not said again for each call"
    assert "not the secret" not in caplog.text


async def test_what_one_object_refuses_is_not_blamed_on_the_keys(rig: Rig) -> None:
    await rig.put("a/b", CONTENT)
    rig.proxy.on(Refusal(403, ""), Call.GET)
    with pytest.raises(StoreDenied):
        await rig.backend.size("a/b")
    assert rig.backend.health.ok


async def test_a_signature_that_a_single_answer_refuses_is_not_blamed_on_the_keys(rig: Rig) -> None:
    rig.proxy.on(BAD_SIGNATURE, Call.CREATE, times=1)
    with pytest.raises(StoreDenied):
        await rig.backend.begin("a/b")
    assert rig.backend.health.ok


async def test_each_call_is_one_line_with_the_stores_request_id(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """M18, G13: method, key, status, time, bytes each way, and what the store calls the request."""
    caplog.set_level(logging.DEBUG, "holdfast.store")
    await rig.put("a/b", CONTENT)
    await rig.get("a/b", 10, 100)
    await rig.backend.delete("a/b")
    form = r"\S+ a/b: 20\d in \d+ ms, %d bytes out, %d in, request id tx\w+-?\w*"
    lines = [record.getMessage() for record in caplog.records if record.name == "holdfast.store"]
    assert re.fullmatch(form % (len(CONTENT), 0), lines[0])
    assert re.fullmatch(form % (0, 100), lines[1])
    assert re.fullmatch(form % (0, 0), lines[2])
    assert len(lines) == 3
    caplog.clear()
    rig.proxy.on(INTERNAL, Call.GET, times=1)
    with pytest.raises(KeyMissing):
        await rig.get("a/b")
    lines = [record.getMessage() for record in caplog.records if record.name == "holdfast.store"]
    assert "500 InternalError" in lines[0]
    assert "404 NoSuchKey" in lines[1]


async def test_bytes_are_signed_with_their_hash_and_the_store_checks_them(rig: Rig) -> None:
    with pytest.raises(StorageFailed, match=r"XAmzContentSHA256Mismatch|BadDigest"):
        await rig.calls.send("a/b", {}, CONTENT, sha256(b"something else").hexdigest())
    assert rig.bucket.objects() == {}
    await rig.calls.send("a/b", {}, CONTENT, sha256(CONTENT).hexdigest())
    assert rig.bucket.read("a/b") == CONTENT


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 3 * MIB + 5])
async def test_bytes_and_slices_of_files_arrive_alike(rig: Rig, size_bytes: int) -> None:
    content = bytes(range(256)) * (size_bytes // 256 + 1)
    content = content[:size_bytes]
    await rig.calls.send("a/bytes", {}, content, None)
    await rig.calls.send("a/file", {}, FileSlice(rig.file(b"x" + content + b"y"), 1, size_bytes), None)
    assert rig.bucket.read("a/bytes") == rig.bucket.read("a/file") == content


async def test_a_store_that_nobody_asks_is_asked_whether_it_is_there(rig: Rig) -> None:
    """The health of an idle store is known, and that it is back as well, without any traffic."""
    await rig.calls.probe()
    assert [each.method for each in rig.proxy.seen] == ["HEAD"]
    rig.proxy.down()
    for _ in range(FAILURES_TO_OPEN):
        await rig.calls.probe()
    assert not rig.backend.health.ok
    rig.proxy.up()
    rig.clock.move(FIRST_PAUSE_S)
    await rig.calls.reconnect()
    assert rig.backend.health.ok


@pytest.mark.parametrize("call", [Call.PUT, Call.GET, Call.CREATE])
async def test_a_store_that_hangs_is_given_up(rig: Rig, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.put("a/b", CONTENT)
    for module, name in ((transfer, "STALL_S"), (transfer, "ANSWER_S"), (transfer, "FIRST_BYTE_S"), (calls, "ASK_S")):
        monkeypatch.setattr(module, name, 0.5)
    rule = rig.proxy.on(Held("before"), call)
    source = rig.file(CONTENT)
    asked = {
        Call.PUT: lambda: rig.backend.put("a/b", source),
        Call.GET: lambda: rig.backend.size("a/b"),
        Call.CREATE: lambda: rig.backend.begin("a/b"),
    }
    with pytest.raises(StoreUnavailable):
        await asked[call]()
    assert 1 <= rule.struck <= BROKEN.tries
    assert source.read_bytes() == CONTENT


@pytest.mark.parametrize("call", [Call.PUT, Call.GET, Call.CREATE])
async def test_a_store_that_hangs_is_left_alone_at_once(rig: Rig, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small call in vain is enough: who comes next is told within no time."""
    await rig.put("a/b", CONTENT)
    rig.clock.move(1.0)
    for module, name in ((transfer, "ANSWER_S"), (transfer, "FIRST_BYTE_S"), (calls, "ASK_S"), (control, "ASK_S")):
        monkeypatch.setattr(module, name, 0.5)
    monkeypatch.setattr(calls, "BROKEN", replace(BROKEN, whole_s=0.0))
    rig.proxy.on(Held("before"), call)
    asked: dict[Call, Callable[[], Coroutine[Any, Any, object]]] = {
        Call.PUT: lambda: rig.put("a/c", CONTENT),
        Call.GET: lambda: rig.get("a/b"),
        Call.CREATE: lambda: rig.backend.begin("a/b"),
    }
    task = asyncio.ensure_future(asked[call]())
    async with asyncio.timeout(20):
        while rig.calls.circuit.state is State.CLOSED and not task.done():
            await asyncio.wait({task}, timeout=0.02)
    assert rig.calls.circuit.state is not State.CLOSED
    assert len(rig.proxy.asked(call)) <= 2  # the first of them was the one before
    rig.proxy.clear()
    task.cancel()
    await asyncio.wait({task})


def test_the_time_for_an_answer_grows_with_what_was_sent() -> None:
    assert transfer.answer_s(3000) < 11
    assert transfer.answer_s(16 * MIB) == transfer.ANSWER_S + 4
    assert transfer.answer_s(10**12) == transfer.LONGEST_ANSWER_S


async def test_who_is_not_there_is_told_without_the_names_of_errors(rig: Rig) -> None:
    rig.proxy.down()
    for asked in (rig.backend.begin, rig.get):
        with pytest.raises(StoreUnavailable):
            await asked("a/b")
        assert rig.calls.circuit.reason.startswith(f"nobody answers at {rig.proxy.url} (Connection refused)")


async def test_a_store_that_fails_at_one_thing_serves_everything_else(rig: Rig) -> None:
    await rig.put("a/b", CONTENT)
    rig.proxy.on(INTERNAL, Call.COPY)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await rig.backend.copy("a/b", "a/c", len(CONTENT))
    assert rig.calls.circuit.state is State.CLOSED
    await rig.put("a/d", CONTENT)


async def test_a_store_that_takes_no_more_bytes_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no byte moves in the middle of a body, nobody waits for ever."""
    monkeypatch.setattr(transfer, "STALL_S", 0.3)
    content = CONTENT * 1000
    rig.proxy.on(Slow(1000.0), Call.PUT)
    with pytest.raises(StoreUnavailable):
        await rig.put("a/b", content)
    rig.proxy.clear()
    monkeypatch.undo()
    rig.clock.move(rig.calls.circuit.wait_s)
    await rig.put("a/b", content)
    assert rig.bucket.objects() == {"a/b": len(content)}


async def test_asking_for_sizes_keeps_the_connection(rig: Rig) -> None:
    await rig.put("a/b", CONTENT)
    await rig.backend.size("a/b")
    connector = rig.calls.session.connector
    assert connector is not None
    before = [id(each[0]) for held in connector._conns.values() for each in held]
    for _ in range(5):
        await rig.backend.size("a/b")
        with pytest.raises(KeyMissing):
            await rig.backend.size("a/c")
    assert [id(each[0]) for held in connector._conns.values() for each in held] == before


async def test_the_log_is_told_the_whole_name_of_an_object_and_a_client_none(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """H124: in one form, whatever was asked, so that one search finds all about an object."""
    bucket = object_store.new_bucket(prefix="lab/registry")
    async with rigged(bucket, tmp_path) as rig:
        with pytest.raises(KeyMissing, match="lab/registry/a/b"):
            await rig.get("a/b")
        with pytest.raises(MultipartGone, match="lab/registry/a/b"):
            await rig.backend.list_parts("a/b", "none")
        rig.proxy.on(Refusal(500, "Strange"))
        for asking in (rig.put("a/b", b"x"), rig.get("a/b"), rig.backend.size("a/b"), rig.backend.begin("a/b")):
            with pytest.raises(StorageFailed, match="lab/registry/a/b") as raised:
                await asking
            assert "a/b" not in raised.value.message
