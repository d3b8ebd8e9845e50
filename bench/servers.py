"""The servers that are compared: how each is started, waited for and stopped.

Every server runs as it is shipped, on 127.0.0.1, on the same disk. Only what a comparison needs is said to it: where to
listen, where its data lies, and for a peer that deleting is allowed and that it need not write an access log.
"""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.bucket import Bucket
from bench.content import MANIFEST_TYPE
from bench.loader import BenchError

READY_LIMIT_S = 60
STOP_LIMIT_S = 30
CHECKOUT = Path(__file__).resolve().parent.parent
OUR_NAME = "holdfast"
INSTALLED_PEERS = ("docker-registry", "registry")

PEER_CONFIG = """\
version: 0.1
log:
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {folder}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
  secret: benchmark
"""


class Kind(Protocol):
    """One registry program."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def exits_cleanly(self) -> bool:
        """Whether it promises to end with 0 after SIGTERM."""

    @property
    def takes_parts(self) -> bool:
        """Whether it has sessions of parts."""

    @property
    def on_store(self) -> bool:
        """Whether it keeps its blobs in an object store."""

    def command(self, port: int, folder: Path) -> list[str]:
        """What starts it on this port with its data in this (existing) folder."""

    def environment(self, folder: Path) -> dict[str, str]:
        """What it is told besides; no setting of this shell reaches it."""


@dataclass(frozen=True)
class Ours:
    """This registry, from a checkout."""

    entry: Path
    flags: tuple[str, ...] = ()
    name: str = OUR_NAME
    version: str = ""
    exits_cleanly: bool = True
    takes_parts: bool = True
    on_store: bool = False

    def command(self, port: int, folder: Path) -> list[str]:
        served = ["serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "data")]
        return [sys.executable, str(self.entry), *served, *self.flags]

    def environment(self, folder: Path) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class OursOnStore(Ours):
    """This registry, with its blobs in a bucket; each server has a prefix of its own there."""

    bucket: Bucket | None = None
    on_store: bool = True

    def environment(self, folder: Path) -> dict[str, str]:
        if self.bucket is None:
            raise BenchError("a server on an object store needs a bucket")
        return self.bucket.settings(prefix_of(folder))


def prefix_of(folder: Path) -> str:
    """What the keys of the server in this folder begin with: case and server."""
    return f"{folder.parent.name}-{folder.name}"


@dataclass(frozen=True)
class Distribution:
    """A `distribution` registry of any version that reads configuration version 0.1."""

    name: str
    binary: Path
    version: str = ""
    exits_cleanly: bool = False
    takes_parts: bool = False
    on_store: bool = False

    def environment(self, folder: Path) -> dict[str, str]:
        return {}

    def command(self, port: int, folder: Path) -> list[str]:
        config = folder / "config.yml"
        config.write_text(PEER_CONFIG.format(folder=folder / "data", port=port))
        return [str(self.binary), "serve", str(config)]


def ours(entry: Path, flags: tuple[str, ...] = ()) -> Ours:
    """This registry.

    Raises:
        BenchError: it does not tell its version.
    """
    return Ours(entry.resolve(), flags, version=_version([sys.executable, str(entry), "--version"]))


def peer(name: str, binary: Path) -> Distribution:
    """A named peer.

    Raises:
        BenchError: the file is not a program that tells its version.
    """
    return Distribution(name, binary.resolve(), _version([str(binary), "--version"]))


def installed_peers() -> list[Distribution]:
    return [peer(name, Path(found)) for name in INSTALLED_PEERS if (found := shutil.which(name))]


class Server:
    """A running server in a folder of its own; `restart` keeps its data."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.name = kind.name
        self.more: dict[str, str] = {}
        """More of its environment, from its next start on."""
        self.folder = folder
        self._log = folder / "log"
        (folder / "data").mkdir(parents=True)
        self.start()

    def start(self, path: str = "/v2/") -> float:
        """Start it, and return the seconds until it first answered 200 for `path`.

        Raises:
            BenchError: it ended, or did not answer within a minute.
        """
        self.port = _free_port()
        with self._log.open("ab") as log:
            begun = time.monotonic()
            self._process = subprocess.Popen(
                self.kind.command(self.port, self.folder),
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
                env=_environment() | self.kind.environment(self.folder) | self.more,
            )
        self.pid = self._process.pid
        while _status(self.port, path) != 200:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() - begun > READY_LIMIT_S:
                self.stop()
                raise BenchError(f"{self.name} did not answer within {READY_LIMIT_S} s: {self._last_words()}")
            time.sleep(0.002)
        return time.monotonic() - begun

    def stop(self) -> None:
        """End it with SIGTERM.

        Raises:
            BenchError: it had to be killed, or ended otherwise than it promises.
        """
        self._process.terminate()
        try:
            code = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise BenchError(f"{self.name} did not stop within {STOP_LIMIT_S} s of SIGTERM") from None
        if self.kind.exits_cleanly and code:
            raise BenchError(f"{self.name} ended with {code} after SIGTERM: {self._last_words()}")

    def restart(self, path: str) -> float:
        """Stop and start again; the seconds from the start to the first 200 for `path`."""
        self.stop()
        return self.start(path)

    def forget(self) -> None:
        """Let the page cache drop the data, so that every round begins with as much memory as the one before."""
        for path in (self.folder / "data").rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # the server may tidy up at the same time
                if path.is_file():
                    _drop(path)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-600:].strip()


def _drop(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(opened)


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=_environment(), check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"cannot run {' '.join(command)}: {error}") from None
    found = re.search(r"v?\d+\.\d+\S*", done.stdout)
    if not found or done.returncode:
        raise BenchError(f"{' '.join(command)} tells no version: {done.stderr.strip()[-300:]}")
    return found.group()


def _environment() -> dict[str, str]:
    """No setting of this shell reaches a server; newer peers would report traces to a collector unless told not to."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "OTEL_TRACES_EXPORTER": "none"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_LIMIT_S)
    try:
        connection.request("GET", path, headers={"Accept": f"{MANIFEST_TYPE}, */*"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
