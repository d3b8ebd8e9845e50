"""The admin socket: how commands on this machine reach the running server (`admin.sock` in the data folder).

    POST /repo.list  {"prefix": "lab/"}   ->  200 {"result": ...}   or   4xx, 5xx {"errors": [{"code", "message"}]}

HTTP, because then every refusal, limit and broken client is dealt with already. Who may open the socket (mode 0600: the
server's user, and root) may do everything; there is no other check. What can be asked is not decided here: a function
that performs operations by name is handed in.
"""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from handlers import wire
from handlers.answers import document
from model.errors import Invalid, RegistryError, TooLarge
from model.units import KIB
from store.admin_socket import SOCKET_NAME, socket_address
from store.refusals import FolderError

log = logging.getLogger("holdfast.admin")

Perform = Callable[[str, Mapping[str, str]], Awaitable[object]]
"""Does the operation of that name with these parameters; the answer can be written as JSON. Raises RegistryError."""

QUESTION_BYTES: Final = 64 * KIB
BACKLOG: Final = 64
SHUTDOWN_S: Final = 10.0
"""How long an operation that runs may go on when the server ends."""


@asynccontextmanager
async def serve_admin(data_dir: Path, perform: Perform) -> AsyncIterator[None]:
    """Answer on the socket for the length of the block. A socket that an earlier process left is replaced, and ours is
    removed at the end: whoever calls this holds the folder's lock.

    Where a folder's file system knows no sockets, the block runs without one, and the log says so.

    Raises:
        FolderError: something that is no socket has its name.
    """
    listening = _listening(data_dir)
    if listening is None:
        yield
        return
    server = web.Server(_Door(perform), access_log=None, logger=log)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        yield
    finally:
        with suppress(OSError):
            (data_dir / SOCKET_NAME).unlink()
        await runner.cleanup()
        listening.close()


def _listening(data_dir: Path) -> socket.socket | None:
    """A socket at its place, private from its first moment; None where there can be none."""
    path = data_dir / SOCKET_NAME
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        raise FolderError(f"{path} is in the way of the admin socket", "move it elsewhere")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path.unlink(missing_ok=True)
        os.fchmod(made.fileno(), 0o600)  # on Linux the file is made with this mode
        with socket_address(data_dir) as address:
            made.bind(address)
        path.chmod(0o600)  # and elsewhere it gets it a moment later
    except OSError as error:
        made.close()
        log.warning("no admin socket, so commands need the server stopped: %s: %s", path, error.strerror)
        return None
    return made


class _Door:
    """Takes a question off the wire and puts the answer on it."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.method != "POST":
                return wire.plain_answer(405, "UNSUPPORTED", "the admin socket only takes POST")
            name = request.path.removeprefix("/")
            result = await self._perform(name, await _parameters(request))
            return await asyncio.to_thread(document, {"result": result})  # it may be long
        except RegistryError as error:
            return wire.answer(error)
        except Exception:  # a fault of ours: the person at the command line gets a sentence, the log the rest
            log.exception("the operation %s failed", request.path)
            return wire.plain_answer(500, "UNKNOWN", "the server failed to do this; its log says more")


async def _parameters(request: web.BaseRequest) -> dict[str, str]:
    """The parameters in the body: one JSON object of strings.

    Raises:
        TooLarge, Invalid: they are something else.
    """
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > QUESTION_BYTES:
                raise TooLarge("the question is too long", limit=QUESTION_BYTES)
        parameters = json.loads(body or b"{}")
    except ConnectionError as error:
        raise Invalid("the question has no end") from error
    except (ValueError, RecursionError) as error:
        raise Invalid("the question is not JSON") from error
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise Invalid("the question is not an object of strings")
    return parameters
