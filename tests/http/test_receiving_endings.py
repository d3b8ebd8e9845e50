"""However a body ends, what arrived of it is with the sink, and no thread touches the sink afterwards."""

import asyncio
import threading

import pytest
from aiohttp import web

from handlers.body import body_of
from handlers.buffers import BufferPool
from handlers.chunked import FREE_CHUNKS
from model.units import KIB, MIB
from multipart.bodies import Body
from tests.support.spelled import GET, PATCH, Keeper, chunked, put, some
from tests.support.stage import Gathered, Stage, poured_json, story, until

WAYS = [
    pytest.param(put(10_000_000), b"", id="counted"),
    pytest.param(PATCH, b"%x\r\n" % 10_000_000, id="chunked"),
]


@pytest.mark.parametrize(("head", "framing"), WAYS)
@pytest.mark.parametrize("size", [0, 7, 200 * KIB, 3_000_000])
@pytest.mark.parametrize("goodbye", ["reset", "end"])
@story
async def test_what_a_client_sent_before_it_vanished_is_kept(
    stage: Stage, head: bytes, framing: bytes, size: int, goodbye: str
) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        await client.send(head + framing + some(size))
        # Bytes that wait in the kernel when a reset comes are lost there, so the server must have read them before.
        await until(lambda: served.server.traffic.received_bytes == len(head + framing) + size)
        if goodbye == "reset":
            client.vanish()
        else:
            client.writer.close()
        await until(lambda: bool(keeper.endings))
        assert (keeper.endings, keeper.bodies) == (["VANISHED"], [some(size)])
        await until(lambda: served.server.open_connections == 0)
        assert served.server.buffers.in_use == 0


@story
async def test_a_client_that_vanishes_between_two_chunks_has_not_sent_a_whole_body(stage: Stage) -> None:
    keeper = Keeper()
    for sent in (b"5\r\nhello", b"5\r\nhello\r", b"5\r\nhello\r\n", b"5\r\nhello\r\n0", b"5\r\nhello\r\n0\r\n"):
        async with stage.serve(keeper) as served:
            client = await served.connect()
            await client.send(PATCH + sent)
            await until(lambda: served.server.traffic.received_bytes >= len(PATCH))
            client.writer.close()
            await until(lambda: bool(keeper.endings))
            assert (keeper.endings.pop(), keeper.bodies.pop()) == ("VANISHED", b"hello")


@story
async def test_a_client_that_leaves_right_behind_its_last_chunk_has_sent_a_whole_body(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        await client.send(PATCH + chunked(some(500_000)))
        client.writer.close()
        await until(lambda: bool(keeper.endings))
        assert (keeper.endings, keeper.bodies) == (["WHOLE"], [some(500_000)])


@story
async def test_a_client_that_vanishes_in_a_head_troubles_nobody(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        await client.send(put(5)[:20])
        await until(lambda: served.server.traffic.received_bytes == 20)
        client.vanish()
        await until(lambda: served.server.open_connections == 0)
        assert keeper.endings == []


@pytest.mark.parametrize(("head", "framing"), WAYS)
@pytest.mark.parametrize("size", [0, 7, 300 * KIB])
@story
async def test_a_body_that_stalls_is_given_up_with_what_arrived(
    stage: Stage, head: bytes, framing: bytes, size: int
) -> None:
    keeper = Keeper()
    async with stage.serve(keeper, stall_timeout_s=0.2, discard_s=0.05) as served:
        client = await served.connect()
        await client.send(head + framing + some(size))
        answer = await client.answer()
        assert (answer.json["ending"], answer.json["received"]) == ("STALLED", size)
        assert answer.headers["connection"] == "close"
        assert await client.ended() == b""
        assert keeper.bodies == [some(size)]


@story
async def test_a_slow_but_steady_body_is_not_taken_for_a_stalled_one(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper, stall_timeout_s=0.3) as served:
        client = await served.connect()
        await client.send(put(10))
        for byte in b"0123456789":
            await asyncio.sleep(0.1)
            await client.send(bytes([byte]))
        assert (await client.answer()).json["ending"] == "WHOLE"
        assert keeper.bodies == [b"0123456789"]


@pytest.mark.parametrize(("head", "framing"), WAYS)
@pytest.mark.parametrize("size", [0, 7, 3_000_000])
@story
async def test_a_body_that_is_stopped_ends_at_once_with_all_that_arrived(
    stage: Stage, head: bytes, framing: bytes, size: int
) -> None:
    bodies: list[Body] = []
    keeper = Keeper()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        bodies.append(body_of(request))
        return await keeper(request)

    async with stage.serve(handler, discard_s=0.05) as served:
        client = await served.connect()
        await client.send(head + framing + some(size))
        await until(lambda: served.server.traffic.received_bytes == len(head + framing) + size)
        await until(lambda: bool(bodies))
        bodies[0].stop()
        bodies[0].stop()
        answer = await client.answer()
        assert (answer.json["ending"], answer.json["received"]) == ("STOPPED", size)
        assert answer.headers["connection"] == "close"
        assert await client.ended() == b""
        assert keeper.bodies == [some(size)]
        bodies[0].stop()


class SlowSink(Gathered):
    """Holds every write until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.left = threading.Event()

    def write(self, data: memoryview) -> None:
        self.entered.set()
        assert self.go.wait(20)
        super().write(data)
        self.left.set()


@story
async def test_a_pour_that_is_cancelled_returns_when_the_sink_is_left_alone(stage: Stage) -> None:
    sink = SlowSink()
    seen: list[bool] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        pouring = asyncio.ensure_future(body_of(request).pour(sink))
        await asyncio.to_thread(sink.entered.wait, 20)
        for _ in range(3):  # however often
            pouring.cancel()
            await asyncio.sleep(0.01)
        assert not pouring.done()
        sink.go.set()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        seen.append(sink.left.is_set())
        written = sink.writes
        await asyncio.sleep(0.05)
        seen.append(sink.writes == written)
        return web.json_response({}, status=500)

    async with stage.serve(handler, discard_s=0.05) as served:
        client = await served.connect()
        await client.send(put(10_000_000), some(2_500_000))
        assert (await client.answer()).status == 500
        assert await client.ended() == b""
        assert seen == [True, True]
        await until(lambda: served.server.buffers.in_use == 0)


class FullDisk(Gathered):
    """Takes `room` bytes, then fails."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: memoryview) -> None:
        if len(self.content) + len(data) > self._room:
            raise OSError(28, "No space left on device")
        super().write(data)


@pytest.mark.parametrize("room", [0, 1_500_000])
@pytest.mark.parametrize("head", [pytest.param(put(6 * MIB), id="counted"), pytest.param(PATCH, id="chunked")])
@story
async def test_what_a_sink_raises_is_raised_by_pour_and_the_client_sees_the_answer(
    stage: Stage, head: bytes, room: int
) -> None:
    sink = FullDisk(room)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        with pytest.raises(OSError, match="No space"):
            await body_of(request).pour(sink)
        return web.json_response({}, status=507)

    async with stage.serve(handler, discard_s=0.3) as served:
        client = await served.connect()
        await client.send(head + (chunked(some(6 * MIB)) if head == PATCH else some(6 * MIB)))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (507, "close")
        assert await client.ended() == b""
        assert sink.content == some(len(sink.content))
        assert served.server.buffers.in_use == 0


@pytest.mark.parametrize("head", [pytest.param(put(3_000_000), id="counted"), pytest.param(PATCH, id="chunked")])
@pytest.mark.parametrize("limit", [0, 5, 2_000_000])
@story
async def test_a_body_above_its_limit_is_cut_exactly_there(stage: Stage, head: bytes, limit: int) -> None:
    keeper = Keeper(limit_bytes=limit)
    async with stage.serve(keeper, discard_s=0.3) as served:
        client = await served.connect()
        await client.send(head + (chunked(some(3_000_000)) if head == PATCH else some(3_000_000)))
        assert (await client.answer()).json["ending"] == "TOO_LONG"
        assert keeper.bodies == [some(limit)]
        assert await client.ended() == b""


@story
async def test_a_body_of_exactly_its_limit_is_whole(stage: Stage) -> None:
    async with stage.serve(Keeper(limit_bytes=9)) as served:
        client = await served.connect()
        for sent in (put(9) + b"ninebytes", PATCH + chunked(b"nine", b"bytes")):
            assert (await client.ask(sent)).json["ending"] == "WHOLE"


@pytest.mark.parametrize(
    "broken",
    [b"x\r\n", b"5\r\nhelloX\r\n", b"5\nhello\r\n", b"-5\r\n", b"0x5\r\n", b"5\r\nhello\r\n0\r\nno colon\r\n\r\n"],
)
@story
async def test_broken_chunks_end_the_body_and_the_connection(stage: Stage, broken: bytes) -> None:
    keeper = Keeper()
    async with stage.serve(keeper, discard_s=0.05) as served:
        client = await served.connect()
        answer = await client.ask(PATCH + b"3\r\nabc\r\n" + broken + GET)
        assert (answer.json["ending"], answer.headers["connection"]) == ("MALFORMED", "close")
        assert keeper.bodies[0] == b"abc" or keeper.bodies[0] == b"abchello"
        assert await client.ended() == b""  # what follows is no request


@story
async def test_a_body_of_nothing_but_tiny_chunks_is_cut_off(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper, discard_s=0.05) as served:
        client = await served.connect()
        answer = await client.ask(PATCH + b"1\r\nx\r\n" * 50_000)
        assert (answer.json["ending"], answer.headers["connection"]) == ("MALFORMED", "close")
        assert keeper.bodies == [b"x" * FREE_CHUNKS]


@story
async def test_a_stop_before_the_pour_keeps_everything_out(stage: Stage) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        body = body_of(request)
        body.stop()
        return poured_json(await body.pour(Gathered()))

    async with stage.serve(handler, discard_s=0.05) as served:
        client = await served.connect()
        assert (await client.ask(put(3) + b"abc")).json == {"received": 0, "ending": "STOPPED"}


@story
async def test_bodies_that_wait_for_a_buffer_get_one_in_turn(stage: Stage) -> None:
    keeper = Keeper()
    buffers = BufferPool(2)
    async with stage.serve(keeper, buffers=buffers) as served:
        clients = [await served.connect() for _ in range(8)]
        answers = await asyncio.gather(*(client.ask(put(4_000_000), some(4_000_000)) for client in clients))
        assert [answer.json["received"] for answer in answers] == [4_000_000] * 8
        assert all(body == some(4_000_000) for body in keeper.bodies)
        assert (buffers.in_use, buffers.waiting) == (0, 0)
