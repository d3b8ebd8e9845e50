"""Work in the background: done once, a few at a time, again after a failure, and said so in one line."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.base import StoreUnavailable
from store import lanes
from store.lanes import Lanes


@asynccontextmanager
async def running(worker: Lanes[str]) -> AsyncIterator[None]:
    """Let it work for the length of the block."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long is rested; nobody really waits."""
    asked: list[float] = []
    loop = asyncio.BaseEventLoop
    really = loop.call_later

    def at_once(self: asyncio.BaseEventLoop, delay: float, *arguments: object, **named: object) -> object:
        if delay >= lanes.FIRST_REST_S:
            asked.append(delay)
            delay = 0
        return really(self, delay, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", at_once)
    return asked


async def test_everything_that_is_added_is_done_and_a_few_at_a_time() -> None:
    done: list[str] = []
    at_once = most = 0

    async def work(item: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        done.append(item)

    worker = Lanes("work", work, at_once=3)
    for number in range(20):
        worker.add(f"{number}")
        worker.add(f"{number}")
    async with running(worker):
        await worker.idle()
    assert sorted(done, key=int) == [f"{number}" for number in range(20)]
    assert most == 3


@pytest.mark.parametrize(("again", "times"), [(False, 1), (True, 2)])
async def test_what_is_added_while_it_is_done_is_done_again_only_if_asked(again: bool, times: int) -> None:
    done: list[str] = []

    async def work(item: str) -> None:
        done.append(item)
        if len(done) == 1:
            worker.add(item, again=again)

    worker = Lanes("work", work, at_once=1)
    worker.add("a")
    async with running(worker):
        await worker.idle()
    assert len(done) == times


async def test_what_fails_is_tried_again_ever_more_rarely_and_said_once(
    rests: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def work(item: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 10:
            raise StoreUnavailable("the store is dead")

    worker = Lanes("settling", work, at_once=2)
    worker.add("a")
    with caplog.at_level(logging.INFO, "holdfast.catalog"):
        async with running(worker):
            await worker.idle()
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the store is dead" in caplog.text


async def test_what_rests_is_tried_at_once_when_the_reason_is_over() -> None:
    failed, dead = asyncio.Event(), True

    async def work(item: str) -> None:
        if dead:
            failed.set()
            raise StoreUnavailable("the store is dead")

    worker = Lanes("work", work, at_once=1)
    worker.add("a")
    async with running(worker):
        await failed.wait()
        dead = False
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)  # the failure is noted before anybody else runs
        worker.wake()
        await worker.idle()
        assert asyncio.get_running_loop().time() - began < lanes.FIRST_REST_S


async def test_one_that_fails_holds_nobody_up(rests: list[float]) -> None:
    done: list[str] = []
    others = [f"{number}" for number in range(10)]

    async def work(item: str) -> None:
        if item == "bad" and len(done) < len(others):
            raise StoreUnavailable("not this one")
        done.append(item)

    worker = Lanes("work", work, at_once=1)
    for item in ("bad", *others):
        worker.add(item)
    async with running(worker):
        await worker.idle()
    assert done == [*others, "bad"]


async def test_a_fault_of_ours_is_logged_and_ends_nothing(rests: list[float], caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    async def work(item: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ZeroDivisionError

    worker = Lanes("work", work, at_once=1)
    worker.add("a")
    async with running(worker):
        await worker.idle()
    assert tries == 2
    assert "ZeroDivisionError" in caplog.text
