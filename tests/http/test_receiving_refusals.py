"""What is not well-formed HTTP/1.1, or can be read in two ways, is refused in our shape, and the connection ends."""

import asyncio

import pytest
from aiohttp import web

from handlers import wire
from handlers.body import read_small
from model.errors import RegistryError
from model.units import KIB
from tests.support.spelled import GET, HOST, PATCH, Keeper, chunked, put, some
from tests.support.stage import Client, Stage, story, until


def request(*headers: bytes, line: bytes = b"PUT /x HTTP/1.1\r\n") -> bytes:
    return line + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


H = b"Host: here"
AMBIGUOUS = {
    "length and chunked": request(H, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunked and length": request(H, b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two lengths": request(H, b"Content-Length: 5", b"Content-Length: 5"),
    "two different lengths": request(H, b"Content-Length: 5", b"Content-Length: 6"),
    "a list of lengths": request(H, b"Content-Length: 5, 5"),
    "a signed length": request(H, b"Content-Length: +5"),
    "a negative length": request(H, b"Content-Length: -5"),
    "a hexadecimal length": request(H, b"Content-Length: 0x5"),
    "a length with an underscore": request(H, b"Content-Length: 1_0"),
    "an empty length": request(H, b"Content-Length: "),
    "a length beyond 64 bits": request(H, b"Content-Length: 99999999999999999999"),
    "the largest 64 bit length": request(H, b"Content-Length: 18446744073709551615"),
    "a length of 2^63": request(H, b"Content-Length: 9223372036854775808"),
    "a space before the colon": request(H, b"Content-Length : 5"),
    "gzip, chunked": request(H, b"Transfer-Encoding: gzip, chunked"),
    "chunked, gzip": request(H, b"Transfer-Encoding: chunked, gzip"),
    "gzip alone": request(H, b"Transfer-Encoding: gzip"),
    "identity": request(H, b"Transfer-Encoding: identity"),
    "xchunked": request(H, b"Transfer-Encoding: xchunked"),
    "chunked twice": request(H, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked behind a vertical tab": request(H, b"Transfer-Encoding: \x0bchunked"),
    "chunked in HTTP/1.0": request(H, b"Transfer-Encoding: chunked", line=b"PUT /x HTTP/1.0\r\n"),
    "chunked on a GET, with a length": request(
        H, b"Transfer-Encoding: chunked", b"Content-Length: 5", line=b"GET / HTTP/1.1\r\n"
    ),
    "bare line feeds": b"PUT /x HTTP/1.1\nHost: here\n\n",
    "a bare line feed in the headers": b"PUT /x HTTP/1.1\r\nHost: here\nContent-Length: 5\r\n\r\n",
    "a bare line feed at the end": b"PUT /x HTTP/1.1\r\nHost: here\r\n\n",
    "a folded header": b"PUT /x HTTP/1.1\r\nHost: here\r\nX: y\r\n Content-Length: 5\r\n\r\n",
    "a carriage return alone": b"PUT /x HTTP/1.1\rHost: here\r\n\r\n",
    "a NUL": request(H, b"X: \x00"),
    "no host": request(),
    "two hosts": request(H, H),
    "no colon": request(H, b"nothing"),
    "an unknown version": request(H, line=b"GET / HTTP/1.2\r\n"),
    "HTTP/2": request(H, line=b"GET / HTTP/2.0\r\n"),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "a method that is none": request(H, line=b"G@T / HTTP/1.1\r\n"),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a target that is no URL": request(H, line=b"GET http://[ HTTP/1.1\r\n"),
}


async def check_refused(client: Client, status: int, sent: bytes) -> None:
    await client.send(sent)
    answer = await client.answer()
    assert (answer.status, list(answer.json), answer.headers["connection"]) == (status, ["refused"], "close")
    assert await client.ended() == b""


@pytest.mark.parametrize("name", AMBIGUOUS)
@pytest.mark.parametrize("cut", ["whole", "in two", "in bytes"])
def test_a_request_that_could_be_read_in_two_ways_is_refused(plain_stage: Stage, name: str, cut: str) -> None:
    sent = AMBIGUOUS[name]

    async def told() -> None:
        keeper = Keeper()
        async with plain_stage.serve(keeper, discard_s=0.05) as served:
            client = await served.connect()
            pieces = [sent] if cut == "whole" else [sent[: len(sent) // 2], sent[len(sent) // 2 :]]
            for piece in [bytes([byte]) for byte in sent[:-1]] if cut == "in bytes" else pieces[:-1]:
                await client.send(piece)
                await asyncio.sleep(0)
            await check_refused(client, 400, sent[-1:] if cut == "in bytes" else pieces[-1])
            assert keeper.endings == []  # no handler has seen it

    plain_stage.run(told())


@story
async def test_a_smuggled_request_is_not_answered(stage: Stage) -> None:
    keeper = Keeper()
    async with stage.serve(keeper, discard_s=0.1) as served:
        for head in ("length and chunked", "gzip, chunked", "a list of lengths"):
            client = await served.connect()
            await check_refused(client, 400, AMBIGUOUS[head] + b"0\r\n\r\n" + GET)
        assert keeper.endings == []


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        pytest.param(414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", id="a long line"),
        pytest.param(414, b"GET /" + b"a" * 200_000, id="a line without end"),
        pytest.param(431, b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 70_000 + b"\r\n\r\n", id="a long header"),
        pytest.param(431, b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 200_000, id="a header without end"),
        pytest.param(431, b"GET / HTTP/1.1\r\n" + HOST + b"A: a\r\n" * 200 + b"\r\n", id="many headers"),
        pytest.param(431, b"GET / HTTP/1.1\r\n" + HOST + b"A: %s\r\n" % (b"a" * 999) * 99, id="many long headers"),
        pytest.param(405, b"CONNECT here:1 HTTP/1.1\r\n" + HOST + b"\r\n", id="a proxy request"),
    ],
)
@story
async def test_a_head_above_its_limits_is_refused(stage: Stage, status: int, sent: bytes) -> None:
    async with stage.serve(Keeper(), discard_s=0.1) as served:
        await check_refused(await served.connect(), status, sent)


@story
async def test_an_upgrade_is_declined_by_going_on_with_http(stage: Stage) -> None:
    async with stage.serve(Keeper()) as served:
        client = await served.connect()
        for protocol in (b"websocket", b"h2c"):
            upgrade = b"GET /y HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
            assert (await client.ask(upgrade + GET)).status == 200
            assert (await client.answer()).status == 200
            with_body = put(3, b"Connection: upgrade\r\nUpgrade: " + protocol + b"\r\n") + b"abc"
            assert (await client.ask(with_body)).json["received"] == 3


@story
async def test_empty_lines_before_a_request_are_ignored(stage: Stage) -> None:
    async with stage.serve(Keeper()) as served:
        client = await served.connect()
        for before in (b"\r\n", b"\r\n\r\n\r\n"):
            assert (await client.ask(before + put(3) + b"abc" + before + GET)).json["received"] == 3
            assert (await client.answer()).status == 200


@story
async def test_a_head_that_never_ends_is_given_up(stage: Stage) -> None:
    async with stage.serve(Keeper(), head_timeout_s=0.2, discard_s=0.1) as served:
        slow = await served.connect()
        await check_refused(slow, 408, b"GET / HTTP/1.1\r\nHo")
        silent = await served.connect()
        assert await silent.ended() == b""
        later = await served.connect()
        assert (await later.ask(GET)).status == 200
        await check_refused(later, 408, GET[:10])


@story
async def test_an_idle_connection_is_closed_after_its_time(stage: Stage) -> None:
    async with stage.serve(Keeper(), keepalive_timeout_s=0.2) as served:
        client = await served.connect()
        assert (await client.ask(GET)).status == 200
        assert await client.ended() == b""
        await until(lambda: served.server.open_connections == 0)


@story
async def test_an_exception_of_a_handler_is_answered_in_our_shape(stage: Stage) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise LookupError("secret detail")

    async with stage.serve(handler, discard_s=0.1) as served:
        await check_refused(await served.connect(), 500, put(3) + b"abc")


@story
async def test_what_a_path_decodes_to_never_reaches_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise LookupError

    async with stage.serve(handler, discard_s=0.1) as served:
        client = await served.connect()
        await client.send(b"GET /a%0aforged?token=secret HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await client.answer()).status == 500
    assert [record.getMessage() for record in caplog.records] == ["a request failed: GET /a%0aforged"]


# -- bodies that are read whole -----------------------------------------------------------------------------------


async def small(request: web.BaseRequest) -> web.StreamResponse:
    try:
        return web.json_response(len(await read_small(request, limit_bytes=100 * KIB)))
    except RegistryError as error:
        return wire.answer(error)


@story
async def test_a_small_body_is_read_whole(stage: Stage) -> None:
    async with stage.serve(small) as served:
        client = await served.connect()
        for size in (0, 1, 5000, 100 * KIB):
            for sent in (put(size) + some(size), PATCH + (chunked(some(size)) if size else chunked())):
                assert (await client.ask(sent + GET)).json == size
                assert (await client.answer()).json == 0
                for byte in (put(3), b"a", b"bc"):
                    await client.send(byte)
                    await asyncio.sleep(0.001)
                assert (await client.answer()).json == 3


@story
async def test_a_body_above_the_limit_is_not_read_whole(stage: Stage) -> None:
    async with stage.serve(small, discard_s=0.05) as served:
        client = await served.connect()
        assert (await client.ask(put(100 * KIB + 1) + some(100 * KIB + 1))).status == 413
        assert (await client.ask(PATCH + chunked(some(99 * KIB), some(KIB + 1)))).status == 413
        assert await client.ended() == b""


@story
async def test_a_small_body_that_stalls_is_too_late_and_a_malformed_one_is_invalid(stage: Stage) -> None:
    async with stage.serve(small, discard_s=0.05, stall_timeout_s=0.2) as served:
        client = await served.connect()
        answer = await client.ask(PATCH + b"zz\r\n")
        assert (answer.status, answer.json["errors"][0]["code"]) == (400, "BLOB_UPLOAD_INVALID")
        client = await served.connect()
        answer = await client.ask(put(10) + b"abc")
        assert (answer.status, answer.json["errors"][0]["code"]) == (408, "BLOB_UPLOAD_INVALID")
        client = await served.connect()
        await client.send(put(10, b"Expect: 100-continue\r\n"))
        assert (await client.head())[0] == 100
        assert (await client.ask(b"0123456789")).json == 10
