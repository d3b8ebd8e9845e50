"""Bodies that are read into memory: bounded for all connections together, and no address takes all of it."""

import asyncio

from aiohttp import web

from handlers import wire
from handlers.body import read_small
from model.errors import RegistryError
from model.units import KIB, MIB
from tests.support.spelled import GET, PATCH, chunked, put, some
from tests.support.stage import Stage, story, until

MANIFEST_BYTES = 4 * MIB
AHEAD_BYTES = 512 * KIB
"""What the kernel and the loop deliver of a body before its turn, at most: one read behind the head."""


async def whole(request: web.BaseRequest) -> web.StreamResponse:
    try:
        return web.json_response(len(await read_small(request, limit_bytes=MANIFEST_BYTES)))
    except RegistryError as error:
        return wire.answer(error)


@story
async def test_many_pushers_that_stall_hold_no_more_than_the_budget(stage: Stage) -> None:
    async with stage.serve(whole, whole_bodies_bytes=16 * MIB) as served:
        budget, traffic = served.server.whole_bodies, served.server.traffic
        sending = []
        for number in range(40):
            client = await served.connect(source=f"127.0.0.{1 + number % 2}")
            head = PATCH + b"%x\r\n" % MANIFEST_BYTES if number % 4 > 1 else put(MANIFEST_BYTES)
            sending.append(asyncio.ensure_future(client.send(head, some(MANIFEST_BYTES - 1))))
        await until(lambda: budget.waiting == 36)
        await until(lambda: traffic.received_bytes >= 4 * MANIFEST_BYTES)
        for _ in range(20):  # what they send beyond it stays with them
            await (await served.connect(source="127.0.0.3")).ask(GET)
        assert budget.used_bytes == 16 * MIB
        assert traffic.received_bytes < 16 * MIB + 40 * AHEAD_BYTES
        await served.close_clients()
        await until(lambda: (budget.used_bytes, budget.waiting) == (0, 0))
        await asyncio.wait(sending)
        for sent in sending:
            sent.exception()


@story
async def test_beside_an_address_that_stalls_others_push_manifests(stage: Stage) -> None:
    async with stage.serve(whole, whole_bodies_bytes=16 * MIB) as served:
        budget = served.server.whole_bodies
        for _ in range(30):
            await (await served.connect()).send(put(MANIFEST_BYTES) + some(10))
        await until(lambda: budget.waiting == 28)
        modest = await served.connect(source="127.0.0.2")
        assert (await modest.ask(put(MANIFEST_BYTES), some(MANIFEST_BYTES))).json == MANIFEST_BYTES
        assert (await modest.ask(PATCH, chunked(some(300 * KIB)))).json == 300 * KIB


@story
async def test_who_finds_no_room_in_time_is_told_to_try_again(stage: Stage) -> None:
    async with stage.serve(whole, whole_bodies_bytes=8 * MIB, stall_timeout_s=0.3, discard_s=0.05) as served:
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            await client.send(put(MANIFEST_BYTES) + b"begin")
        answers = [await client.answer() for client in clients]
        # One stalls in its room. The others' time for waiting ends at about the same moment; one of them may be given
        # that room just then, and stalls as well.
        assert {answer.status for answer in answers} == {408, 429}
        assert all("retry-after" in answer.headers for answer in answers if answer.status == 429)
        budget = served.server.whole_bodies
        await until(lambda: (budget.used_bytes, budget.waiting) == (0, 0))
