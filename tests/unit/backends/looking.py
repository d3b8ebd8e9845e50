"""Opening a store in tests the way the server does, and looking at it."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from backends.s3.backend import S3Backend, open_store
from backends.s3.findings import Aspect, Findings
from backends.s3.settings import StoreSettings
from model.clock import SystemClock
from tests.support.objectstore import Bucket

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def settings_of(bucket: Bucket, **more: Any) -> StoreSettings:
    """What the operator says about that bucket; `more` by the fields of the settings."""
    store = bucket.store
    said = {"endpoint": store.url, "region": store.region, "key_id": store.key_id, "secret": store.secret}
    return StoreSettings(**{"bucket": bucket.name, "prefix": bucket.prefix, **said, **more})


def session(tls: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """As the entry makes it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls or True), auto_decompress=False)


@asynccontextmanager
async def opened(settings: StoreSettings) -> AsyncIterator[S3Backend]:
    """The backend, open."""
    async with open_store(settings, SystemClock(), session) as backend:
        yield backend


async def looked(settings: StoreSettings) -> Findings:
    """What the look finds that opening the backend takes."""
    async with opened(settings) as backend:
        return backend.findings


def works(found: Findings) -> dict[Aspect, bool | None]:
    """What worked, by aspect; what was not reached is not in it."""
    return {step.aspect: step.works for step in found.steps}


def told(found: Findings, aspect: Aspect) -> str:
    """What was said of one aspect."""
    return next(step.told for step in found.steps if step.aspect is aspect)


@asynccontextmanager
async def serving(client: Client, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """HOST:PORT of a server that does `client` with each connection; nothing of it is left at the end."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[Any] | None] = set()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await client(reader, writer)
        await _closed(writer)

    server = await asyncio.start_server(held, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*(_closed(writer) for writer in writers))
        await asyncio.gather(*(task for task in tasks if task))


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def host_changer(upstream: str) -> AsyncIterator[str]:
    """HOST:PORT of a proxy that says another Host to the store than it was told: the classic mistake before S3."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = upstream.partition(":")
        from_store, to_store = await asyncio.open_connection(host, int(port))
        said = f"Host: {upstream}\r\nConnection: close\r".encode()
        to_store.write(re.sub(rb"(?im)^host: .*\r$", said, head))
        sending = asyncio.ensure_future(_poured(reader, to_store))
        await _poured(from_store, writer)
        await _closed(to_store)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    async with serving(client) as netloc:
        yield netloc


@asynccontextmanager
async def tls_front(upstream: str, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """HOST:PORT of a proxy that speaks TLS and changes nothing."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = upstream.partition(":")
        from_store, to_store = await asyncio.open_connection(host, int(port))
        answering = asyncio.ensure_future(_poured(from_store, writer))
        await _poured(reader, to_store)
        await _closed(to_store)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)

    async with serving(client, tls) as netloc:
        yield netloc


async def _poured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
