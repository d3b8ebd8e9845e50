"""A stage for the byte paths: our HTTP server on either kind of loop, plain or TLS, and clients that are bare sockets.

A client here sends exactly the bytes it is told, in exactly the pieces, so that every slicing can be told as a story.
"""

import asyncio
import functools
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from handlers.buffers import BufferPool
from handlers.connection import HttpServer
from handlers.limits import Limits
from multipart.bodies import Poured
from tests.support import needs

PATIENCE_S = 20.0
"""How long any wait of a test lasts before it fails."""


class Gathered:
    """A sink that keeps what it gets, and notes how."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.writes = 0

    def write(self, data: memoryview) -> None:
        self.content += data
        self.writes += 1


@dataclass
class Answer:
    """What a client read."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, used by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send `pieces`, each on its own as far as the kernel lets us."""
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.wait_for(self.writer.drain(), PATIENCE_S)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode()
        line, *rest = text.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (header.partition(": ") for header in rest)}
        return int(line.split(" ")[1]), headers

    async def answer(self, *, bodyless: bool = False) -> Answer:
        """Read a whole answer."""
        status, headers = await self.head()
        length = 0 if bodyless else int(headers.get("content-length", 0))
        return Answer(status, headers, await asyncio.wait_for(self.reader.readexactly(length), PATIENCE_S))

    async def ask(self, *pieces: bytes) -> Answer:
        """Send `pieces` and read an answer."""
        await self.send(*pieces)
        return await self.answer()

    async def ended(self) -> bytes:
        """Everything up to the server's end of the connection."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)

    def vanish(self) -> None:
        """Be gone, without a goodbye."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), PATIENCE_S)
        except OSError:
            pass


class Served:
    """A running server and the way to it."""

    def __init__(self, stage: "Stage", server: HttpServer, port: int) -> None:
        self.server = server
        self.port = port
        self._stage = stage
        self._clients: list[Client] = []

    async def connect(self, *, receive_buffer_bytes: int | None = None, source: str = "127.0.0.1") -> Client:
        """A new connection, from the address `source` (any of 127.0.0.0/8)."""
        own = socket.socket()
        own.bind((source, 0))
        own.setblocking(False)
        if receive_buffer_bytes is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.port))
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=own, limit=65536, **self._stage.client_tls())
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        for client in self._clients:
            client.vanish()


@dataclass
class Stage:
    """One kind of loop and one kind of connection."""

    name: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
    certificate: Path | None

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Run `story` on a loop of this kind; what the loop had to complain about fails the test."""
        complaints: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
            runner.run(asyncio.wait_for(story, 3 * PATIENCE_S))
        assert not complaints, complaints

    def client_tls(self) -> dict[str, Any]:
        if self.certificate is None:
            return {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return {"ssl": context, "server_hostname": ""}

    def server_tls(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context

    @asynccontextmanager
    async def serve(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        buffers: BufferPool | None = None,
        **limits: Any,
    ) -> AsyncIterator[Served]:
        """Serve `handler`, with `limits` differing from the usual ones."""
        async with AsyncExitStack() as stack:
            workers = stack.enter_context(ThreadPoolExecutor(4, "worker"))
            senders = stack.enter_context(ThreadPoolExecutor(4, "sender"))
            server = HttpServer(
                handler,
                on_protocol_error=protocol_error,
                workers=workers,
                senders=senders,
                limits=Limits(**limits),
                buffers=buffers,
            )
            runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=5)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.server_tls())
            await site.start()
            served = Served(self, server, runner.addresses[0][1])
            stack.push_async_callback(served.close_clients)
            yield served


def protocol_error(status: int, message: str, peer: str) -> web.Response:
    """The shape that the real server has for such answers does not matter here."""
    return web.json_response({"refused": message}, status=status)


def poured_json(poured: Poured, **more: Any) -> web.Response:
    """An answer that tells how a body ended."""
    return web.json_response({"received": poured.received_bytes, "ending": poured.ending.name, **more})


def story(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let an async test with a `stage` run on that stage's loop."""

    @functools.wraps(function)
    def test(*args: Any, stage: Stage, **kwargs: Any) -> None:
        stage.run(function(*args, stage=stage, **kwargs))

    return test


async def until(true: Callable[[], bool]) -> None:
    """Return when `true()`; fail when that takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.002)


def stages() -> list[str]:
    """Every kind of loop with every kind of connection."""
    return [f"{loop}-{wire}" for loop in ("asyncio", "uvloop") for wire in ("plain", "tls")]


@pytest.fixture(params=stages())
def stage(request: pytest.FixtureRequest, certificate: Path) -> Stage:
    """The test runs once on each."""
    loop, _, wire = request.param.partition("-")
    return make_stage(loop, certificate if wire == "tls" else None)


@pytest.fixture(params=("asyncio", "uvloop"))
def plain_stage(request: pytest.FixtureRequest) -> Stage:
    """For what has nothing to do with TLS, or cannot be seen through it."""
    return make_stage(request.param, None)


def make_stage(loop: str, certificate: Path | None) -> Stage:
    if loop == "asyncio":
        return Stage(loop, None, certificate)
    try:
        import uvloop
    except ImportError:
        needs.missing("needs uvloop, which is not installed")
    return Stage(loop, uvloop.new_event_loop, certificate)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its self-signed certificate in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, leaf = path.with_name("key.pem"), path.with_name("leaf.pem")
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(leaf)]
    command = [needs.tool("openssl"), "req", "-x509", *made, "-days", "30", "-subj", "/CN=stage"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(key.read_bytes() + leaf.read_bytes())
    return path
