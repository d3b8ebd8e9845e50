"""Holdfast's entry: `python registry.py serve` builds everything from the configuration and runs it to its end.

config -> backend -> catalog -> store -> sessions -> handlers -> server. Background work lives in one TaskGroup, and
nothing is decided here: it would be in no other file's test.
"""

import importlib.util
import sys

if importlib.util.find_spec("aiohttp") is None:
    sys.exit("registry.py: its environment is missing; run `make venv`, then .venv/bin/python registry.py")

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

import cli
import loops
from admin import commands as admin_commands
from admin.operations import Desk, Serving, perform
from clients import commands as client_commands
from config import Config, ConfigError
from config.checks import without_effect
from handlers.access import AccessLog
from handlers.admin import serve_admin
from handlers.boundary import Boundary, Record
from handlers.buffers import BufferPool
from handlers.connection import HttpServer
from handlers.hold.modes import Herald
from handlers.limits import Limits
from handlers.metrics import Metrics, StoreCounts
from handlers.ops import plain_handlers
from handlers.readiness import Readiness
from handlers.shortcut import Shortcut
from handlers.stats import Stats
from machine import connections_allowed
from model.errors import RegistryError
from rooms import Rooms, open_rooms
from store.backups import keep_daily
from store.bucket_copies import BucketCopies, keeps_copies
from store.refusals import CannotStart
from stores import Remote, trouble_with

SENDERS = 4
"""Threads that send files in bursts; a slow reader holds none of them."""

FLUSH_S = 5.0
"""What a power cut may cost an upload that is under way."""

HERALD_S = 2.0
"""How long it may take until the log says that parts travel another way now."""

LEAVE_S = 3.0
"""How long a request that was asked to leave has to put away what it received, and a download to end by itself."""

log = logging.getLogger("holdfast")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    more = (*admin_commands.COMMANDS, *client_commands.COMMANDS)
    return cli.run(sys.argv[1:] if argv is None else argv, serve=serve, more=more)


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop.

    Raises:
        ConfigError: the configuration cannot be used on this machine; one line that says what to do.
    """
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        loops.run(_serve(config), config.uvloop)
    except CannotStart as error:
        raise ConfigError(str(error)) from error
    except ExceptionGroup as group:
        # Whatever ends the start inside the TaskGroup comes wrapped; the operator gets the one line all the same.
        refusals = group.subgroup((CannotStart, ConfigError))
        if refusals is None:
            raise
        raise ConfigError(str(_first(refusals))) from group
    return 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in a group that is none itself."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _serve(config: Config) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    async with open_rooms(config) as rooms:
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="sender") as senders:
            herald = Herald(rooms.services.hold)
            async with _background(rooms, herald) as group:
                await _serve_until(stop, hurry, rooms, senders, group, herald)


async def _serve_until(
    stop: asyncio.Event,
    hurry: asyncio.Event,
    rooms: Rooms,
    senders: ThreadPoolExecutor,
    group: asyncio.TaskGroup,
    herald: Herald,
) -> None:
    """Put the handlers together, listen, and wait for the end."""
    config = rooms.config
    access = _access_log(rooms)
    stats = Stats()
    folders = (rooms.folder.spool, rooms.folder.data_dir)
    readiness = Readiness(rooms.services.repositories, *folders, store=lambda: _trouble(rooms))
    metrics = None
    if config.metrics:
        sessions = rooms.services.sessions
        metrics = Metrics(
            stats, sessions, rooms.hot, rooms.catalog, config.storage_root, lambda: server, _counts_of(rooms.backend)
        )
    observers: list[Callable[[Record], None]] = [stats] if access is None else [stats, access]
    boundary = Boundary(rooms.services, plain=plain_handlers(readiness, metrics), observers=observers)
    shortcut = Shortcut(rooms.services, next_id=boundary.next_id, observers=observers)
    server = _server(rooms, boundary, shortcut, senders)
    async with _listening(config, server) as runner:
        addresses = [_address(*found[:2]) for found in runner.addresses]
        serving = Serving(addresses, rooms.clock.monotonic_s(), lambda: server, readiness)
        async with serve_admin(rooms.folder.data_dir, functools.partial(perform, Desk(rooms, serving))):
            writing = group.create_task(access.run()) if access is not None else None
            for hint in without_effect(config):
                log.warning("%s", hint)
            herald.announce()
            _hint_at_the_secret(config)
            _greet(config, addresses[0])
            await stop.wait()
            readiness.stop()
            await _drain(rooms, server, runner, hurry)
    if writing is not None:
        writing.cancel()


def _trouble(rooms: Rooms) -> str:
    """Why content cannot be reached now, or is another registry's; empty when all is well."""
    return trouble_with(rooms.backend) or rooms.ownership.trouble


def _copies(rooms: Rooms) -> BucketCopies | None:
    """The copies of the catalog in the bucket; None where there is none."""
    if not keeps_copies(rooms.backend):
        return None
    return BucketCopies(rooms.catalog, rooms.backend, rooms.ownership.is_proven)


def _counts_of(backend: object) -> Callable[[], StoreCounts] | None:
    """What the metrics say about an object store; None where there is none."""
    if not isinstance(backend, Remote):
        return None
    return lambda: StoreCounts(backend.calls.asked, backend.calls.failed, backend.health.ok)


def _access_log(rooms: Rooms) -> AccessLog | None:
    if not rooms.config.access_log:
        return None
    return AccessLog(sys.stdout.fileno(), as_json=rooms.config.log_format == "json")


def _server(rooms: Rooms, boundary: Boundary, shortcut: Shortcut, senders: ThreadPoolExecutor) -> HttpServer:
    config = rooms.config
    connections = connections_allowed(config.max_connections)
    limits = Limits(
        head_bytes=config.max_header_bytes,
        stall_timeout_s=config.stall_timeout_s,
        connections=connections,
        connections_per_peer=min(config.max_connections_per_address or connections, connections),
    )
    return HttpServer(
        boundary,
        on_protocol_error=boundary.protocol_error,
        shortcut=shortcut,
        limits=limits,
        workers=rooms.workers,
        senders=senders,
        buffers=BufferPool(config.buffer_count),
    )


@contextlib.asynccontextmanager
async def _background(rooms: Rooms, herald: Herald) -> AsyncIterator[asyncio.TaskGroup]:
    """What goes on beside the requests; ends with them."""
    sessions, expiry_s = rooms.services.sessions, rooms.config.upload_expiry_s
    works: list[Coroutine[Any, Any, None]] = [
        _for_ever("flushing uploads", sessions.flush, FLUSH_S),
        _for_ever("expiring uploads", sessions.expire, min(60.0, max(1.0, expiry_s / 4))),
        sessions.recover_all(),
        _look_for_ever(herald),
        *[work() for work in rooms.lasting],
    ]
    if rooms.config.storage_driver != "memory":  # then the names go with the content, and no copy is of use
        copies = _copies(rooms)
        works.append(keep_daily(rooms.folder.data_dir, rooms.clock, copies.keep_up if copies else None))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        try:
            yield group
        finally:
            for task in tasks:
                task.cancel()


async def _look_for_ever(herald: Herald) -> None:
    """The store may be found to do more or less than before; that nobody asks for it must not hide it."""
    while True:
        await asyncio.sleep(HERALD_S)
        herald.look()


async def _for_ever(name: str, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
    """Do it again and again; a disk that fails is logged and tried again, and does not end the server."""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await work()
        except RegistryError as error:
            log.warning("%s: %s; it is tried again", name, error)


@contextlib.asynccontextmanager
async def _listening(config: Config, server: HttpServer) -> AsyncIterator[web.ServerRunner]:
    """Listen for the length of the block.

    Raises:
        ConfigError: the address is taken, or is none of this machine's.
    """
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=config.grace_s + 2 * LEAVE_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, config.listen_host, config.listen_port, backlog=1024).start()
        except OSError as error:
            known = isinstance(error, socket.gaierror) or not error.errno
            reason = error.strerror or str(error) if known else os.strerror(error.errno or 0)
            raise ConfigError(f"cannot listen on {config.listen}: {reason}; choose another --listen") from error
        yield runner
    finally:
        await runner.cleanup()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hint_at_the_secret(config: Config) -> None:
    """Tell the operator of a server for others what these others cannot do."""
    if config.multipart and not config.hold_token and config.listen_host not in ("127.0.0.1", "::1", "localhost"):
        log.info("uploads in parts are for callers on this machine only, until HOLD_TOKEN is set")


_EVERYWHERE = {"0.0.0.0": ("127.0.0.1", "address"), "[::]": ("[::1]", "IPv6 address")}
"""Asyncio listens on IPv6 alone where that is said."""


def _greet(config: Config, address: str) -> None:
    """Tell the person who started us where we are, and the one command that pushes a first image."""
    host, _, port = address.rpartition(":")
    loopback, every = _EVERYWHERE.get(host, ("", ""))
    address = f"{loopback}:{port}" if loopback else address
    also = f", and on every other {every} of this machine," if every else ""
    cli.say(
        f"Holdfast serves on http://{address}{also} and keeps {cli.kept_where(config)}\n"
        f"first image:  skopeo copy --dest-tls-verify=false docker-archive:IMAGE.tar docker://{address}/hello/world:1\n"
        f"         or:  docker tag IMAGE {address}/hello/world:1 && docker push {address}/hello/world:1"
    )


async def _drain(rooms: Rooms, server: HttpServer, runner: web.ServerRunner, hurry: asyncio.Event) -> None:
    """Take no new connections, let transfers finish for a while, then ask them to leave: what arrived stays."""
    grace_s = rooms.config.grace_s
    cli.mention(f"stopping; running transfers have {grace_s:g} s to finish (a second signal ends them now)")
    ending, hurrying = asyncio.ensure_future(runner.cleanup()), asyncio.ensure_future(hurry.wait())
    await asyncio.wait({ending, hurrying}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    rooms.services.sessions.stop()
    await asyncio.wait({ending}, timeout=LEAVE_S)
    for connection in server.connections:
        connection.force_close()
    await ending


if __name__ == "__main__":
    sys.exit(main())
