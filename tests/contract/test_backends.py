"""The promises of `backends/base.py`, kept by every backend."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backends.base import KeyMissing, ShortRead, ended, in_thread, to_its_end
from backends.keys import KeyInvalid
from model.errors import StorageFailed, StorageFull
from model.units import MIB
from tests.contract.subjects import FIXTURES, STORES, SUBJECTS, Subject, subject_named

VALUE = bytes(range(256)) * 4
BAD_KEYS = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "ä", "a\\b", "a\x00", "a\n"]
BAD_KEYS += ["a.unfinished", "a.unfinished/b", "a" * 201, "a/" * 600 + "a"]


@pytest.fixture(params=[*SUBJECTS, *STORES])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """Each backend in turn."""
    async with subject_named(request.param, tmp_path, lambda name: request.getfixturevalue(FIXTURES[name])) as made:
        yield made


async def test_what_was_put_is_got_back(subject: Subject) -> None:
    await subject.put("a/b/data", VALUE)
    assert await subject.get("a/b/data") == VALUE
    assert await subject.backend.size("a/b/data") == len(VALUE)


async def test_an_empty_value_is_a_value(subject: Subject) -> None:
    await subject.put("a/empty", b"")
    assert await subject.get("a/empty") == b""
    assert await subject.backend.size("a/empty") == 0


async def test_a_value_of_several_pieces_comes_back_whole(subject: Subject) -> None:
    value = VALUE * (2 * MIB // len(VALUE)) + b"the rest"
    await subject.put("a/large", value)
    assert await subject.get("a/large") == value
    assert await subject.get("a/large", MIB - 1, MIB + 2) == value[MIB - 1 : 2 * MIB + 1]


async def test_the_source_is_gone_after_a_put(subject: Subject) -> None:
    source = subject.source(VALUE)
    await subject.backend.put("a/b", source)
    assert not source.exists()


async def test_a_put_replaces_what_was_there(subject: Subject) -> None:
    await subject.put("a/b", b"old")
    await subject.put("a/b", b"newer")
    assert await subject.get("a/b") == b"newer"
    assert await subject.keys() == ["a/b"]


async def test_readers_of_a_key_that_is_replaced_see_one_value_or_the_other(subject: Subject) -> None:
    values = [bytes([digit]) * (200_000 + digit) for digit in range(12)]
    await subject.put("a/b", values[0])
    done = asyncio.Event()

    async def read() -> set[bytes]:
        seen = set()
        while not done.is_set():
            seen.add(await subject.get("a/b"))
            await asyncio.sleep(0)
        return seen

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for value in values[1:]:
        await subject.put("a/b", value)
    done.set()
    for seen in await asyncio.gather(*readers):
        assert seen <= set(values)


@pytest.mark.parametrize(
    ("start", "length"), [(0, None), (0, 0), (5, 0), (5, 3), (0, 1024), (1023, 1), (1024, None), (1024, 0), (100, None)]
)
async def test_a_range_is_exact(subject: Subject, start: int, length: int | None) -> None:
    await subject.put("a/b", VALUE)
    stop = len(VALUE) if length is None else start + length
    assert await subject.get("a/b", start, length) == VALUE[start:stop]


@pytest.mark.parametrize(("start", "length"), [(0, 1025), (1020, 5), (1024, 1), (1025, None), (1025, 0), (5000, 1)])
async def test_a_range_beyond_the_end_is_a_short_read_before_the_first_piece(
    subject: Subject, start: int, length: int | None
) -> None:
    await subject.put("a/b", VALUE)
    with pytest.raises(ShortRead):
        await anext(subject.backend.get("a/b", start, length))


async def test_a_range_of_an_empty_value_is_a_short_read(subject: Subject) -> None:
    await subject.put("a/empty", b"")
    with pytest.raises(ShortRead):
        await anext(subject.backend.get("a/empty", 0, 1))


async def test_nothing_is_read_under_a_key_that_is_not_there(subject: Subject) -> None:
    await subject.put("a/b/c", VALUE)
    for key in ("a/b/x", "a/x/c", "x", "a/b", "a"):
        with pytest.raises(KeyMissing):
            await anext(subject.backend.get(key))
        with pytest.raises(KeyMissing):
            await subject.backend.size(key)


async def test_a_value_that_was_cut_is_never_read_as_whole(subject: Subject) -> None:
    await subject.put("a/b", VALUE)
    subject.shorten("a/b", 1000)
    with pytest.raises(ShortRead):
        await subject.get("a/b", 0, len(VALUE))


async def test_a_value_cut_while_it_is_read_is_never_read_as_whole(subject: Subject) -> None:
    value = VALUE * (3 * MIB // len(VALUE))
    await subject.put("a/b", value)
    got = bytearray()
    ended_early = False
    try:
        async for piece in subject.backend.get("a/b"):
            got += piece
            subject.shorten("a/b", MIB + 5)
    except ShortRead:
        ended_early = True
    assert ended_early or got == value
    assert value.startswith(bytes(got))


async def test_a_value_deleted_while_it_is_read_ends_whole_or_in_an_error(subject: Subject) -> None:
    value = VALUE * (3 * MIB // len(VALUE))
    await subject.put("a/b", value)
    got = bytearray()
    ended_early = False
    try:
        async for piece in subject.backend.get("a/b"):
            got += piece
            await subject.backend.delete("a/b")
    except StorageFailed:
        ended_early = True
    assert ended_early or got == value


async def test_a_deleted_key_is_gone_and_can_be_put_again(subject: Subject) -> None:
    await subject.put("a/b/data", VALUE)
    await subject.backend.delete("a/b/data")
    with pytest.raises(KeyMissing):
        await subject.backend.size("a/b/data")
    assert await subject.keys() == []
    await subject.put("a/b/data", b"again")
    assert await subject.get("a/b/data") == b"again"


async def test_deleting_what_is_not_there_is_fine(subject: Subject) -> None:
    await subject.put("a/b/data", VALUE)
    for key in ("a/b/other", "x/y/z", "a/b"):
        await subject.backend.delete(key)
    assert await subject.keys() == ["a/b/data"]


async def test_keys_are_listed_in_byte_order_by_prefix(subject: Subject) -> None:
    keys = ["a-b", "a.b/data", "a/b/data", "a/b-c/data", "a/bc/data", "a0", "B/data", "b/data"]
    for key in keys:
        await subject.put(key, b"x")
    assert await subject.keys() == sorted(keys)
    for prefix in ("a", "a/", "a/b", "a/b/", "a/b/data", "a/b/data/x", "B", "c", "a-b/"):
        assert await subject.keys(prefix) == [key for key in sorted(keys) if key.startswith(prefix)], prefix


async def test_an_empty_store_has_no_keys(subject: Subject) -> None:
    assert await subject.keys() == []
    assert await subject.keys("docker/registry/v2/") == []


async def test_a_key_outside_the_law_is_refused_by_every_verb(subject: Subject) -> None:
    source = subject.source(VALUE)
    for key in BAD_KEYS:
        with pytest.raises(KeyInvalid):
            await subject.backend.put(key, source)
        with pytest.raises(KeyInvalid):
            await anext(subject.backend.get(key))
        with pytest.raises(KeyInvalid):
            await subject.backend.size(key)
        with pytest.raises(KeyInvalid):
            await subject.backend.delete(key)
    assert source.read_bytes() == VALUE


async def test_a_source_that_is_not_there_leaves_the_old_value(subject: Subject) -> None:
    await subject.put("a/b", VALUE)
    for key in ("a/b", "a/new"):
        with pytest.raises(StorageFailed) as raised:
            await subject.backend.put(key, subject.spool / "never")
        assert not isinstance(raised.value, KeyMissing)
    assert await subject.get("a/b") == VALUE
    assert await subject.keys() == ["a/b"]


async def test_a_full_store_refuses_and_leaves_everything_as_it_was(subject: Subject) -> None:
    await subject.put("a/b", VALUE)
    subject.fill()
    source = subject.source(b"more")
    for key in ("a/b", "a/c"):
        with pytest.raises(StorageFull) as raised:
            await subject.backend.put(key, source)
        assert str(subject.spool.parent) not in str(raised.value)
    assert source.read_bytes() == b"more"
    assert await subject.get("a/b") == VALUE
    assert await subject.keys() == ["a/b"]


async def test_many_at_once_under_one_key_all_succeed(subject: Subject) -> None:
    await asyncio.gather(*(subject.put("a/b/data", VALUE, f"upload-{number}") for number in range(32)))
    assert await subject.get("a/b/data") == VALUE
    assert await subject.keys() == ["a/b/data"]
    assert list(subject.spool.glob("upload-*")) == []


async def test_puts_and_deletes_of_neighbours_do_not_disturb_each_other(subject: Subject) -> None:
    async def come_and_go(name: str) -> None:
        for _ in range(10):
            await subject.put(f"a/b/{name}", name.encode(), name)
            await subject.backend.delete(f"a/b/{name}")
        await subject.put(f"a/b/{name}", name.encode(), name)

    names = [f"n{number}" for number in range(8)]
    await asyncio.gather(*(come_and_go(name) for name in names))
    assert [await subject.get(f"a/b/{name}") for name in names] == [name.encode() for name in names]


async def test_a_cancelled_put_is_carried_through_or_was_never_begun(subject: Subject) -> None:
    source = subject.source(VALUE)
    task = asyncio.create_task(subject.backend.put("a/b", source))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if source.exists():
        assert await subject.keys() == []
        assert source.read_bytes() == VALUE
    else:
        assert await subject.get("a/b") == VALUE


async def test_a_cancelled_thread_job_is_waited_for_and_its_result_undone() -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    undone: list[str] = []
    loop = asyncio.get_running_loop()

    def job() -> str:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(10)
        return "opened"

    task = asyncio.create_task(in_thread(None, job, undone.append))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["opened"]


@pytest.mark.parametrize("wait", [to_its_end, ended])
async def test_whoever_waits_to_the_end_waits_however_often_it_is_cancelled(
    wait: Callable[[asyncio.Future[int]], Awaitable[int | None]], caplog: pytest.LogCaptureFixture
) -> None:
    running: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wait(running))
    for _ in range(4):
        await turns()
        assert not waiting.done()
        waiting.cancel()
    await turns()
    assert not waiting.done()
    running.set_exception(StorageFailed("nobody asks for this any more"))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del running, waiting
    gc.collect()
    assert caplog.text == "", "asyncio complains that nobody asked what came of it"


async def test_whoever_waits_to_the_end_undisturbed_has_what_came_of_it() -> None:
    running: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running.set_result(1)
    await ended(running)
    assert await to_its_end(running) == 1
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    failed.set_exception(StorageFull("no room"))
    await ended(failed)
    with pytest.raises(StorageFull):
        await to_its_end(failed)


async def turns() -> None:
    """Let everybody else have a few turns."""
    for _ in range(5):
        await asyncio.sleep(0)
