"""The access log: a line per request, and never a request that waits for a line."""

import asyncio
import json
import os
from dataclasses import replace

import pytest

from handlers import access
from handlers.access import AccessLog
from handlers.boundary import Record

RECORD = Record(
    1_700_000_000.0, "id-1", "GET", "/v2/a/manifests/1", "10.0.0.7", "a client", endpoint="manifest", status=200
)


async def lines_of(*records: Record, as_json: bool = False) -> list[str]:
    """What the log writes."""
    reading, writing = os.pipe()
    log = AccessLog(writing, as_json=as_json)
    os.close(writing)
    for record in records:
        log(record)
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    os.close(log._fd)
    with os.fdopen(reading) as written:
        return written.read().splitlines()


async def test_a_line_says_who_asked_what_and_what_came_of_it():
    (line,) = await lines_of(replace(RECORD, sent_bytes=5, seconds=0.0123, error="no such thing"))
    assert line == (
        '2023-11-14T22:13:20Z id-1 10.0.0.7 - GET /v2/a/manifests/1 200 5B 12.3ms "a client" error="no such thing"'
    )


async def test_a_json_line_has_the_same():
    (line,) = await lines_of(replace(RECORD, gone=True), as_json=True)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20Z", "id": "id-1", "remote": "10.0.0.7", "who": "-", "method": "GET",
        "path": "/v2/a/manifests/1", "endpoint": "manifest", "status": 200, "bytes": 0, "ms": 0.0, "agent": "a client",
        "gone": True,
    }  # fmt: skip


@pytest.mark.parametrize("hostile", ["/v2/a\n127.0.0.1 GET /forged", "/v2/\x1b[31m", "/v2/a b", "/v2/\u2028x"])
async def test_nothing_that_is_sent_begins_a_line_of_its_own(hostile):
    for as_json in (False, True):
        written = await lines_of(replace(RECORD, path=hostile, agent=hostile), as_json=as_json)
        assert len(written) == 1
        assert written[0].isascii() and written[0].isprintable()


async def test_a_reader_that_is_stuck_costs_lines_and_delays_nothing(monkeypatch):
    monkeypatch.setattr(access, "LAST_S", 0.05)
    monkeypatch.setattr(access, "MAX_WAITING", 3000)
    monkeypatch.setattr(access, "FLUSH_S", 0.001)
    reading, writing = os.pipe()
    log = AccessLog(writing, as_json=False)
    running = asyncio.create_task(log.run())
    while not log._dropped:
        for _ in range(100):
            log(RECORD)
        await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(running, return_exceptions=True)
    for fd in (reading, writing):
        os.close(fd)


async def test_a_reader_that_left_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    log = AccessLog(writing, as_json=False)
    log(RECORD)
    running = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    os.close(writing)
    assert log._done.is_set()
