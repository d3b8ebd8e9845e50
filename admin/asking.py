"""Which way a command gets at the registry: over the admin socket of the running server, or by opening the folder.

    somebody answers on the socket      the server does it
    nobody, and the lock is free        we do it, holding the lock
    nobody, and the lock is taken       a server that starts or stops, or another command: tried again for a while

Both ways perform the same operations and give the same answers.
"""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from admin.operations import Answer, Desk, perform
from cli import UsageError
from config import Config
from machine import act_as_owner_of
from model.errors import RegistryError
from rooms import open_rooms
from store import backups
from store.admin_socket import SOCKET_NAME, socket_address
from store.opening import CATALOG_NAME
from store.refusals import AlreadyRunning, CannotStart

T = TypeVar("T")

LOCK_PATIENCE_S: Final = 5.0
LOCK_PAUSE_S: Final = 0.1
ANSWER_PATIENCE_S: Final = 600.0
"""A copy of a large catalog takes its time."""

WHOSEVER: Final = frozenset({"storage.known", "storage.take-over"})
"""What is done also where the bucket is another registry's."""

REMEDIES: Final = {
    "NAME_UNKNOWN": "`repo list` shows what there is",
    "MANIFEST_UNKNOWN": "`tag list REPOSITORY` shows what there is",
    "BLOB_UPLOAD_UNKNOWN": "`uploads list` shows what there is",
    "UNAVAILABLE": "try again in a moment",
}


class NotDone(Exception):
    """The command was not done; the message is one line that says what, why, and what to do."""


class NobodyAnswers(NotDone):
    """No server answers on the folder's socket."""


def ask(config: Config, operation: str, **parameters: str) -> Answer:
    """What comes of the operation on the registry in `config.data_dir`, whichever way.

    Raises:
        NotDone: it could not be done.
        UsageError: there is no registry, or it cannot be used as it is.
    """

    def there() -> Answer:
        return ask_running(config, operation, **parameters)

    def here() -> Answer:
        return asyncio.run(_inside(config, operation, parameters))

    try:
        return there()
    except NobodyAnswers:
        require_registry(config.data_dir)
    return when_free(config, here, there)


def when_free(config: Config, act: Callable[[], T], instead: Callable[[], T] | None = None) -> T:
    """What `act`, which takes the folder's lock, returns; while somebody holds the lock it is tried again for a while.

    `instead` asks a server that may have come up meanwhile.

    Raises:
        NotDone: the lock is still held, and nobody answers.
        UsageError: the folder or the catalog cannot be used.
    """
    act_as_owner_of(config.data_dir)
    give_up_s = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return act()
        except AlreadyRunning as held:
            if time.monotonic() >= give_up_s:
                raise _locked_out(config, held) from held
        except CannotStart as error:
            raise UsageError(str(error)) from error
        time.sleep(LOCK_PAUSE_S)
        with suppress(NobodyAnswers):
            if instead is not None:
                return instead()


def _locked_out(config: Config, held: AlreadyRunning) -> NotDone:
    who = f"process {held.pid}" if held.pid else "another process"
    return NotDone(
        f"{who} holds {config.data_dir} but does not answer on {config.data_dir / SOCKET_NAME}; "
        "it may be starting or stopping: try again in a moment"
    )


def require_registry(data_dir: Path) -> None:
    """UsageError when there is no registry in the folder: a command must not make one where it was mistyped."""
    if not (data_dir / CATALOG_NAME).exists() and backups.newest(data_dir) is None:
        raise UsageError(f"there is no registry in {data_dir}; name its folder with --data")


async def _inside(config: Config, operation: str, parameters: dict[str, str]) -> Answer:
    """Do it ourselves, holding the folder. No upload expires by that: how long they live is the server's to know."""
    kept = replace(config, upload_expiry_s=float("inf"))
    async with open_rooms(kept, look=False, own=operation not in WHOSEVER) as rooms:
        try:
            return await perform(Desk(rooms), operation, parameters)
        except RegistryError as error:
            raise _refused(error.code, str(error), error.detail) from error


def ask_running(config: Config, operation: str, **parameters: str) -> Answer:
    """What the running server answers. NobodyAnswers when none does; NotDone when it refuses or goes away."""
    connection = _UnixConnection(config.data_dir)
    try:
        connection.connect()
    except PermissionError as error:
        path = config.data_dir / SOCKET_NAME
        raise UsageError(f"this user may not use {path}; run the command as the server's user, or as root") from error
    except OSError as error:
        raise NobodyAnswers(f"no server is running on {config.data_dir}") from error
    try:
        connection.request("POST", f"/{operation}", json.dumps(parameters), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDone(
            f"the server on {config.data_dir} did not answer ({type(error).__name__}); "
            "whether the command was done is not known: look, then try again"
        ) from error
    finally:
        connection.close()
    return _result(answer)


def _result(answer: dict[str, Any]) -> Answer:
    """What is in the envelope; NotDone for an error."""
    if "errors" in answer:
        entry = answer["errors"][0]
        raise _refused(entry["code"], entry["message"], entry.get("detail", {}))
    result: Answer = answer["result"]
    return result


def _refused(code: str, message: str, detail: dict[str, object]) -> NotDone:
    """One line from what was refused: what happened, to what, what to do."""
    facts = ", ".join(f"{name} {value}" for name, value in detail.items())
    remedy = REMEDIES.get(code)
    return NotDone(f"{message}{f' ({facts})' if facts else ''}{f'; {remedy}' if remedy else ''}")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket in a data folder."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_PATIENCE_S)
        self._data_dir = data_dir

    def connect(self) -> None:
        """Connect to whoever listens there; OSError when nobody does."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(self.timeout)
            with socket_address(self._data_dir) as address:
                made.connect(address)
        except BaseException:
            made.close()
            raise
        self.sock = made
