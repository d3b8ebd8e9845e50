"""TLS before a store that speaks none: a certificate of its own kind, and everything passed on as it came."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.support import needs

PIECE_BYTES = 65_536


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, which nobody vouches for but itself; and its key."""
    leaf, key = folder / "store.pem", folder / "store-key.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(leaf)]
    named = ["-days", "30", "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([needs.tool("openssl"), "req", "-x509", *made, *named], check=True, capture_output=True)
    return leaf, key


@contextlib.contextmanager
def tls_door(upstream_port: int, leaf: Path, key: Path) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS and leads to `upstream_port`, for the length of the block."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, key)
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), [0]

    async def serve() -> None:
        server = await asyncio.start_server(_passing_on(upstream_port), "127.0.0.1", 0, ssl=context)
        ports[0] = server.sockets[0].getsockname()[1]
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    serving = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    try:
        assert ready.wait(30)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _passing_on(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, downstream), _pump(upstream, writer))

    return connected


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE_BYTES):
            sink.write(piece)
            await sink.drain()
    sink.close()
