"""Many connections at a time: nobody waits for the slow, nobody starves beside the greedy."""

import asyncio
import hashlib
import resource
from pathlib import Path

from aiohttp import web

from handlers.body import body_of
from handlers.buffers import BufferPool
from model.units import KIB, MIB
from tests.support.spelled import GET, PATCH, Keeper, put, some
from tests.support.stage import Served, Stage, poured_json, story, until


class Counting:
    """A sink that hashes and counts, and keeps nothing."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: memoryview) -> None:
        self.digest.update(data)


async def counting(request: web.BaseRequest) -> web.StreamResponse:
    sink = Counting()
    poured = await body_of(request).pour(sink)
    return poured_json(poured, digest=sink.digest.hexdigest())


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def push_s(served: Served, body: bytes) -> float:
    """How long one fast push takes."""
    loop = asyncio.get_running_loop()
    client = await served.connect()
    began_s = loop.time()
    answer = await client.ask(put(len(body)), body)
    assert answer.json["digest"] == hashlib.sha256(body).hexdigest()
    await client.close()
    return loop.time() - began_s


def test_five_hundred_slow_pushers_delay_nobody_and_cost_little(plain_stage: Stage) -> None:
    """H004: no body is held in memory, no request waits for another."""
    body = some(64 * MIB)

    async def told() -> None:
        async with plain_stage.serve(counting) as served:
            alone_s = min([await push_s(served, body) for _ in range(2)])
            before_bytes = rss_bytes()
            slow = [await served.connect() for _ in range(500)]
            for number, client in enumerate(slow):
                await client.send(PATCH + b"%x\r\n" % MIB if number % 2 else put(MIB), b"begin")
            await until(lambda: served.server.requests_count >= 502)

            async def dribble() -> None:
                while True:
                    for client in slow:
                        client.writer.write(b"drop by drop")
                    await asyncio.sleep(0.2)

            dribbling = asyncio.ensure_future(dribble())
            beside_s = min([await push_s(served, body) for _ in range(2)])
            assert served.server.buffers.in_use == 0
            dribbling.cancel()
            assert beside_s < 3 * alone_s + 2
            # 500 connections at both ends, with their asyncio streams, and up to 12 KiB of each body.
            assert rss_bytes() - before_bytes < 500 * 100 * KIB

    plain_stage.run(told())


@story
async def test_a_body_that_stalls_parts_with_its_buffer(stage: Stage) -> None:
    buffers = BufferPool(2)
    async with stage.serve(counting, buffers=buffers) as served:
        stalled = [await served.connect() for _ in range(6)]
        for client in stalled:
            await client.send(put(10 * MIB), some(2 * MIB + 300_000))
        assert await push_s(served, some(8 * MIB)) < 5
        await until(lambda: buffers.in_use == 0)


def test_an_address_with_one_stream_does_not_starve_beside_one_with_many(plain_stage: Stage) -> None:
    """Forty streams of one address and two buffers: in turn by stream, the other address would be served last."""
    body = some(8 * MIB)
    endings: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        poured = await body_of(request).pour(Counting())
        endings.append(request.remote or "")
        return poured_json(poured)

    async def told() -> None:
        buffers = BufferPool(2)
        async with plain_stage.serve(handler, buffers=buffers) as served:
            greedy = [await served.connect(source="127.0.0.1") for _ in range(40)]
            pushing = [asyncio.ensure_future(client.ask(put(len(body)), body)) for client in greedy]
            await until(lambda: buffers.waiting >= 30)
            modest = await served.connect(source="127.0.0.2")
            assert (await modest.ask(put(len(body)), body)).json["received"] == len(body)
            await asyncio.gather(*pushing)
            assert endings.index("127.0.0.2") < 20
            assert (buffers.in_use, buffers.waiting, served.server.turns.running) == (0, 0, 0)

    plain_stage.run(told())


@story
async def test_free_buffers_go_back_to_the_system(stage: Stage) -> None:
    buffers = BufferPool(4, quiet_s=0.05)
    async with stage.serve(counting, buffers=buffers) as served:
        await push_s(served, some(8 * MIB))
        await until(lambda: buffers.in_use == 0 and buffers.free == 0)
        await push_s(served, some(8 * MIB))


async def turned_away(served: Served) -> int:
    client = await served.connect()
    answer = await client.answer()
    assert (list(answer.json), answer.headers["connection"]) == (["refused"], "close")
    assert await client.ended() == b""
    return answer.status


@story
async def test_an_address_has_so_many_connections_and_no_more(stage: Stage) -> None:
    async with stage.serve(Keeper(), connections_per_peer=3) as served:
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            assert (await client.ask(GET)).status == 200
        assert await turned_away(served) == 429
        await clients.pop().close()
        await until(lambda: served.server.open_connections == 2)
        assert (await (await served.connect()).ask(GET)).status == 200
        assert served.server.traffic.refused_connections == 1


@story
async def test_when_all_places_are_taken_a_newcomer_is_told(stage: Stage) -> None:
    async with stage.serve(Keeper(), connections=2) as served:
        busy = [await served.connect() for _ in range(2)]
        for client in busy:
            await client.send(put(10))
        await until(lambda: served.server.requests_count == 2)
        assert await turned_away(served) == 503
        for client in busy:
            assert (await client.ask(b"0123456789")).json["received"] == 10


@story
async def test_a_flood_above_the_caps_does_not_take_all_descriptors(stage: Stage) -> None:
    async with stage.serve(Keeper(), connections=1) as served:
        first = await served.connect()
        assert (await first.ask(put(3) + b"abc")).status == 200
        flood = [asyncio.ensure_future(served.connect()) for _ in range(100)]
        await asyncio.wait(flood)
        for attempt in flood:
            attempt.exception()
        await until(lambda: served.server.traffic.refused_connections == 100)
        assert served.server.refused_now <= 64
        assert (await first.ask(GET)).status == 200
        await served.close_clients()
