"""Files go out exactly, to quick readers and slow ones, and whoever stops reading is let go."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from operator import eq
from pathlib import Path

import pytest
from aiohttp import web

from handlers import sending
from handlers.sending import ClientGone, FileSpan, ShortFile, send_parts
from model.units import KIB, MIB
from tests.support.spelled import GET, HOST, Keeper, put, some
from tests.support.stage import PATIENCE_S, Stage, story, until

HEAD = b"HEAD /y HTTP/1.1\r\n" + HOST + b"\r\n"


class Giver:
    """Answers every request with `parts`, and notes what came of it."""

    def __init__(self, parts: Sequence[bytes | FileSpan], *, announced: int | None = None) -> None:
        self._parts = parts
        self._announced = sum(part.length if isinstance(part, FileSpan) else len(part) for part in parts)
        self.sent: list[int] = []
        self.failed: list[BaseException] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(self._announced)})
        try:
            self.sent.append(await send_parts(request, response, self._parts))
        except BaseException as error:
            self.failed.append(error)
            raise
        return response


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(some(20_000_000))
    return path


def open_descriptors() -> list[str]:
    """Open sockets and files; the loops themselves keep a pipe or two."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in names if name.startswith("socket:") or name.endswith("/blob")]


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Every descriptor that a test or the server opened is closed behind it."""
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()
    assert len(open_descriptors()) <= len(before)


@pytest.fixture
def fd(nothing_left_open: None, file: Path) -> Iterator[int]:
    opened = os.open(file, os.O_RDONLY)
    yield opened
    os.close(opened)


@story
async def test_a_file_goes_out_whole_and_in_spans(stage: Stage, fd: int) -> None:
    content = some(20_000_000)
    async with stage.serve(Keeper()) as served:
        for start, length in ((0, 20_000_000), (0, 0), (0, 1), (19_999_999, 1), (12_345, 5_000_001), (1, 64 * KIB)):
            giver = Giver([FileSpan(fd, start, length)])
            served.server.request_handler = giver
            client = await served.connect()
            for _ in range(2):
                answer = await client.ask(GET)
                assert answer.body == content[start : start + length]
            await until(partial(eq, giver.sent, [length] * 2))


@story
async def test_heads_between_spans_go_out_in_order(stage: Stage, fd: int) -> None:
    content = some(20_000_000)
    parts: list[bytes | FileSpan] = [
        b"--first\r\n",
        FileSpan(fd, 5, 100),
        b"--second\r\n",
        FileSpan(fd, 3_000_000, 2_000_000),
        b"--end\r\n",
    ]
    giver = Giver(parts)
    async with stage.serve(giver) as served:
        client = await served.connect()
        await client.send(GET + GET + put(3) + b"abc")
        expected = b"--first\r\n" + content[5:105] + b"--second\r\n" + content[3_000_000:5_000_000] + b"--end\r\n"
        for _ in range(3):
            assert (await client.answer()).body == expected
        await until(lambda: giver.sent == [len(expected)] * 3)


@story
async def test_head_sends_no_body(stage: Stage, fd: int) -> None:
    giver = Giver([FileSpan(fd, 0, 1000)])
    async with stage.serve(giver) as served:
        client = await served.connect()
        await client.send(HEAD)
        answer = await client.answer(bodyless=True)
        assert answer.headers["content-length"] == "1000"
        assert len((await client.ask(GET)).body) == 1000
        await until(lambda: giver.sent == [0, 1000])


@story
async def test_what_was_sent_is_counted(stage: Stage, fd: int) -> None:
    async with stage.serve(Giver([FileSpan(fd, 0, 5_000_000)])) as served:
        client = await served.connect()
        await client.ask(GET)
        await until(lambda: served.server.traffic.sent_bytes > 0)
        assert 5_000_000 < served.server.traffic.sent_bytes < 5_001_000


@pytest.mark.parametrize("length", [1000, 30_000_000])
@story
async def test_a_file_that_is_too_short_never_looks_whole(
    stage: Stage, fd: int, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    giver = Giver([FileSpan(fd, 19_999_500, length)])
    async with stage.serve(giver) as served:
        client = await served.connect()
        await client.send(GET)
        assert (await client.head())[0] == 200
        body = b""
        try:
            body = await client.ended()
        except ConnectionResetError:
            pass
        assert len(body) <= 500
        await until(lambda: bool(giver.failed))
        assert isinstance(giver.failed[0], ShortFile)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@story
async def test_a_client_that_leaves_is_no_error(stage: Stage, fd: int, caplog: pytest.LogCaptureFixture) -> None:
    giver = Giver([FileSpan(fd, 0, 20_000_000)])
    async with stage.serve(giver) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        await client.send(GET)
        assert (await client.head())[0] == 200
        client.vanish()
        await until(lambda: bool(giver.failed))
        assert isinstance(giver.failed[0], ClientGone)
        assert 0 <= giver.failed[0].sent_bytes < 20_000_000
        await until(lambda: served.server.open_connections == 0)
    assert caplog.records == []


@story
async def test_a_reader_that_stops_is_cut_off(stage: Stage, fd: int) -> None:
    giver = Giver([FileSpan(fd, 0, 20_000_000)])
    async with stage.serve(giver, stall_timeout_s=0.3) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads
        await client.send(GET)
        await until(lambda: bool(giver.failed))
        assert isinstance(giver.failed[0], ClientGone)
        await until(lambda: served.server.open_connections == 0)


@story
async def test_a_reader_that_stops_in_a_small_answer_is_cut_off(stage: Stage) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(12_000_000))

    async with stage.serve(handler, stall_timeout_s=0.3, keepalive_timeout_s=0.3) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads
        await client.send(GET)
        await until(lambda: served.server.traffic.received_bytes > 0)
        await until(lambda: served.server.open_connections == 0)


def test_a_slow_but_steady_reader_is_not_cut_off(plain_stage: Stage, fd: int) -> None:
    async def told() -> None:
        loop = asyncio.get_running_loop()
        async with plain_stage.serve(Giver([FileSpan(fd, 0, 20_000_000)]), stall_timeout_s=0.5) as served:
            # A bare socket, because streams and TLS read ahead, and then not at all for a while.
            with socket.socket() as reader:
                reader.setblocking(False)
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await loop.sock_connect(reader, ("127.0.0.1", served.port))
                await loop.sock_sendall(reader, GET)
                received = b""
                while len(received) < 200_000:
                    piece = await asyncio.wait_for(loop.sock_recv(reader, 4096), PATIENCE_S)
                    assert piece
                    received += piece
                    await asyncio.sleep(0.03)
            body = received.partition(b"\r\n\r\n")[2]
            assert body == some(len(body))

    plain_stage.run(told())


@story
async def test_a_send_that_is_cancelled_leaves_the_descriptor_alone(stage: Stage, fd: int) -> None:
    tasks: list[asyncio.Task[int]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "20000000"})
        tasks.append(asyncio.ensure_future(send_parts(request, response, [FileSpan(fd, 0, 20_000_000)])))
        await asyncio.wait(tasks)
        raise ConnectionResetError

    async with stage.serve(handler) as served:
        client = await served.connect(receive_buffer_bytes=4096)
        await client.send(GET)
        await client.head()
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()


def test_a_burst_waits_for_a_trickling_reader_for_a_moment_in_all(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait is short enough for a reader that keeps up; all of them together would hold the thread for long."""
    ours, theirs = socket.socketpair()
    now_s, waits = 0.0, 0

    def writable(number: int, within_ms: int) -> bool:
        nonlocal now_s, waits
        theirs.recv(MIB)
        now_s, waits = now_s + 0.004, waits + 1
        return True

    monkeypatch.setattr(sending, "_writable", writable)
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
        sent_bytes, full = sending._burst(ours.fileno(), fd, 0, 20_000_000, sending.PATIENCE_MS)
    assert full
    assert 0 < sent_bytes < sending.BURST_BYTES
    assert waits == 5  # 20 ms


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@story
async def test_many_stalled_readers_hold_neither_threads_nor_memory(stage: Stage, fd: int) -> None:
    giver = Giver([FileSpan(fd, 0, 20_000_000)])
    count, each_bytes = (60, 2 * MIB) if stage.tls else (200, 256 * KIB)  # the clients' own memory is in it
    async with stage.serve(giver) as served:
        quick = await served.connect()
        now = asyncio.get_running_loop().time
        began_s = now()
        assert (await quick.ask(GET)).body == some(20_000_000)
        alone_s = now() - began_s
        before_bytes = rss_bytes()
        slow = [await served.connect(receive_buffer_bytes=4096) for _ in range(count)]
        for client in slow:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads
            await client.send(GET)
        await until(lambda: served.server.requests_count == count + 1)
        began_s = now()
        assert (await quick.ask(GET)).body == some(20_000_000)
        assert now() - began_s < 5 * alone_s + 1
        assert rss_bytes() - before_bytes < count * each_bytes
        await until(lambda: len(giver.sent) == 2)
        assert giver.failed == []
