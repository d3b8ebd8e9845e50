"""Bodies come in whole, however they are cut, and the connection goes on behind them."""

import asyncio

from aiohttp import web

from handlers.body import body_of
from tests.support.stage import Gathered, Stage, poured_json, story

HOST = b"Host: here\r\n"


def put(length: int, *more: bytes, path: bytes = b"/x") -> bytes:
    return b"PUT " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % length + b"".join(more) + b"\r\n"


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return sent + b"0\r\n" + trailers + b"\r\n"


PATCH = b"PATCH /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /y HTTP/1.1\r\n" + HOST + b"\r\n"


class Keeper:
    """Answers with how the body ended, and keeps what it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        sink = Gathered()
        poured = await body_of(request).pour(sink)
        self.bodies.append(bytes(sink.content))
        return poured_json(poured, method=request.method)


@story
async def test_a_counted_body_arrives_whole_whatever_its_size(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in (0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 5_000_000):
            body = bytes(range(251)) * (size // 251 + 1)
            body = body[:size]
            answer = await client.ask(put(size), body)
            assert answer.json == {"received": size, "ending": "WHOLE", "method": "PUT"}
            assert keeper.bodies.pop() == body


@story
async def test_a_chunked_body_arrives_whole_whatever_its_size(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for size in (0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 5_000_000):
            body = (bytes(range(251)) * (size // 251 + 1))[:size]
            pieces = [body[at : at + 32768] for at in range(0, size, 32768)]
            answer = await client.ask(PATCH, chunked(*pieces))
            assert answer.json == {"received": size, "ending": "WHOLE", "method": "PATCH"}
            assert keeper.bodies.pop() == body


@story
async def test_a_hundred_bodies_come_in_on_one_connection(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper) as served:
        client = await served.connect()
        for number in range(100):
            body = bytes([number]) * (number * 997)
            head = put(len(body)) if number % 2 else PATCH
            sent = body if number % 2 else chunked(body) if body else chunked()
            assert (await client.ask(head, sent)).json["received"] == len(body)
            assert keeper.bodies.pop() == body


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
