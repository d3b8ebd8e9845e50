"""Bodies come in whole, however they are cut, and the connection goes on behind them."""

import asyncio
import gzip

from aiohttp import web

from handlers.body import body_of
from model.units import KIB, MIB
from tests.support.spelled import GET, HOST, PATCH, Keeper, chunked, put, some
from tests.support.stage import Stage, story, until

SIZES = (0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, MIB + 1, 5_000_000)


@story
async def test_a_counted_body_arrives_whole_whatever_its_size(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in SIZES:
            answer = await client.ask(put(size), some(size))
            assert (answer.json["received"], answer.json["ending"]) == (size, "WHOLE")
            assert keeper.bodies.pop() == some(size)


@story
async def test_a_chunked_body_arrives_whole_whatever_its_size(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in SIZES:
            pieces = [some(size)[at : at + 32 * KIB] for at in range(0, size, 32 * KIB)]
            answer = await client.ask(PATCH, chunked(*pieces))
            assert (answer.json["received"], answer.json["ending"]) == (size, "WHOLE")
            assert keeper.bodies.pop() == some(size)


@story
async def test_a_hundred_bodies_come_in_on_one_connection(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for number in range(100):
            body = bytes([number]) * (number * 997)
            sent = put(len(body)) + body if number % 2 else PATCH + (chunked(body) if body else chunked())
            assert (await client.ask(sent)).json["received"] == len(body)
            assert keeper.bodies.pop() == body
        assert served.server.open_connections == 1


@story
async def test_a_request_cut_into_single_bytes_is_understood(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for request in (put(5) + b"hello", PATCH + chunked(b"he", b"llo", trailers=b"Check: sum\r\n")):
            for byte in request:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).json["received"] == 5
            assert keeper.bodies.pop() == b"hello"


@story
async def test_a_body_split_anywhere_behind_the_head_is_the_same_body(stage: Stage) -> None:
    keeper = Keeper()
    request = PATCH + chunked(b"hello ", b"world") + put(3) + b"end"
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for cut in range(1, len(request), 3):
            await client.send(request[:cut])
            await asyncio.sleep(0.002)
            await client.send(request[cut:])
            assert (await client.answer()).json["received"] == 11
            assert (await client.answer()).json["received"] == 3
            assert keeper.bodies == [b"hello world", b"end"]
            keeper.bodies.clear()


@story
async def test_what_is_pipelined_behind_a_body_is_answered_in_order(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in (1, 1000, 200 * KIB):
            body = some(size)
            parts = [put(size, path=b"/1") + body, GET, PATCH + chunked(body, b"!", trailers=b"A: b\r\n"), GET, GET]
            await client.send(b"".join(parts))
            told = [(await client.answer()).json for _ in parts]
            assert [each["path"] for each in told] == ["/1", "/y", "/x", "/y", "/y"]
            assert [each["received"] for each in told] == [size, 0, size + 1, 0, 0]
            assert keeper.bodies == [body, b"", body + b"!", b"", b""]
            keeper.bodies.clear()


@story
async def test_hundreds_of_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(request.path)

    async with stage.serve(handler) as served:
        client = await served.connect()
        asked = b"".join(b"GET /%d HTTP/1.1\r\n%sPad: %s\r\n\r\n" % (n, HOST, b"x" * 500) for n in range(400))
        sending = asyncio.ensure_future(client.send(asked))
        assert [(await client.answer()).json for _ in range(400)] == [f"/{n}" for n in range(400)]
        await sending


@story
async def test_a_content_encoding_is_not_undone(stage: Stage) -> None:
    keeper = Keeper()
    packed = gzip.compress(b"bytes are bytes" * 1000)
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size, sent in ((len(packed), packed), (-1, chunked(packed))):
            head = PATCH if size < 0 else put(size)
            await client.ask(head.replace(HOST, HOST + b"Content-Encoding: gzip\r\n"), sent)
            assert keeper.bodies.pop() == packed


@story
async def test_methods_that_usually_have_no_body_may_have_one(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for method in (b"DELETE", b"GET", b"OPTIONS", b"POST"):
            told = (await client.ask(put(4, method=method) + b"body" + GET)).json
            assert (told["method"], told["received"]) == (method.decode(), 4)
            assert (await client.answer()).json["method"] == "GET"
            assert keeper.bodies == [b"body", b""]
            keeper.bodies.clear()


@story
async def test_a_client_that_waits_for_100_continue_is_told_when_its_body_is_wanted(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in (5, 300 * KIB):
            await client.send(put(size, b"Expect: 100-continue\r\n"))
            assert (await client.head())[0] == 100
            answer = await client.ask(some(size))
            assert (answer.status, answer.json["received"]) == (200, size)


@story
async def test_a_client_that_does_not_wait_for_100_continue_gets_none(stage: Stage) -> None:
    async with stage.serve(Keeper()) as served:
        client = await served.connect()
        answer = await client.ask(put(5, b"Expect: 100-continue\r\n") + b"hello")
        assert (answer.status, answer.json["received"]) == (200, 5)


@story
async def test_a_body_that_is_not_wanted_is_never_asked_for(stage: Stage) -> None:
    """M01: what is refused is refused before its bytes move."""

    async def refusing(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, status=401)

    async with stage.serve(refusing) as served:
        client = await served.connect()
        answer = await client.ask(put(10_000_000, b"Expect: 100-continue\r\n"))
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert await client.ended() == b""


@story
async def test_behind_an_unread_body_the_connection_goes_on(stage: Stage) -> None:
    async def refusing(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(request.path, status=401)

    async with stage.serve(refusing) as served:
        client = await served.connect()
        for size in (10, 100_000, 3_000_000):
            for sent in (put(size) + some(size), PATCH + chunked(some(size))):
                sending = asyncio.ensure_future(client.send(sent + GET))
                assert ((await client.answer()).status, (await client.answer()).json) == (401, "/y")
                await sending


@story
async def test_a_client_that_sends_too_much_sees_the_answer_before_the_end(stage: Stage) -> None:
    async def refusing(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, status=413)

    async with stage.serve(refusing, discard_bytes=4 * MIB, discard_s=0.5) as served:
        for head in (put(10**12), PATCH):
            client = await served.connect()
            await client.send(head, b"%x\r\n" % 10**12, some(2 * MIB))
            assert (await client.answer()).status == 413
            assert await client.ended() == b""


@story
async def test_a_body_is_the_same_object_each_time_and_received_once(stage: Stage) -> None:
    seen: list[bool] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(body_of(request) is body_of(request))
        return await Keeper()(request)

    async with stage.serve(handler) as served:
        client = await served.connect()
        assert (await client.ask(put(2) + b"ab")).json["received"] == 2
    assert seen == [True]


@story
async def test_a_flood_of_pipelined_requests_behind_a_body_costs_no_more_than_its_size(stage: Stage) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await Keeper()(request) if request.method == "PATCH" else web.Response(status=204)

    async with stage.serve(handler) as served:
        client = await served.connect()
        sending = asyncio.ensure_future(client.send(PATCH + chunked(b"abc") + GET * 5000))
        assert (await client.answer()).json["received"] == 3
        for _ in range(5000):
            assert (await client.head())[0] == 204
        await sending


@story
async def test_a_body_is_received_although_the_handler_took_its_time(stage: Stage) -> None:
    go = asyncio.Event()
    keeper = Keeper()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return await keeper(request)

    async with stage.serve(handler) as served:
        clients = [await served.connect() for _ in range(2)]
        for client in clients:
            await client.send(put(100_000) + some(60_000))
        await asyncio.sleep(0.05)
        clients[1].vanish()
        go.set()
        assert (await clients[0].ask(some(100_000)[60_000:])).json["ending"] == "WHOLE"
        await until(lambda: sorted(keeper.endings) == ["VANISHED", "WHOLE"])
