"""Servers that break on order, small disks, and what every crash must leave in order."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import needs
from tests.support.content import check_bucket, check_catalog, check_folder, rows
from tests.support.driver import DRIVER
from tests.support.server import ROOT, STOP_S, Server

BREAKING: Final = ROOT / "tests" / "faults" / "breaking.py"
MIB: Final = 1024 * 1024
DEATH_S: Final = 5.0


OF_THE_DIRECTORY: Final = frozenset(
    {"file sync", "folder made", "folder sync", "rename", "name sync", "part room", "part copy"}
)
"""Steps by which bytes are put into the storage folder, or into one file of several parts; on S3 there are calls to the
store instead, and each part has a file of its own."""


def where_reached(*case: object) -> Any:
    """A case of a test about a step, left out where that step is never reached."""
    reason = "dies or fails at a step of the storage folder; test_s3_kills.py does at each call to the store"
    marks = [pytest.mark.only_with_directory(reason)] if OF_THE_DIRECTORY & set(map(str, case)) else []
    return pytest.param(*case, marks=marks)


class FaultyServer(Server):
    """The server, which dies or fails at a step when it is told to (`tests/faults/breaking.py`)."""

    def __init__(
        self, data: Path, *, flags: Sequence[str] = (), env: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        self.order = data.parent / f"{data.name}.break"
        super().__init__(data, flags=flags, env={**(env or {}), "BREAK_FILE": str(self.order)}, port=port)
        self._command[self._command.index(str(ROOT / "registry.py"))] = str(BREAKING)

    def break_at(self, step: str, when: str = "before", *, passing: int = 1, act: str = "kill") -> None:
        """From now on: at that passing of the step, die (`kill`) or raise the errno of that name, once."""
        unfinished = self.order.with_suffix(".new")
        unfinished.write_text(json.dumps({"step": step, "when": when, "passing": passing, "act": act}))
        unfinished.replace(self.order)

    @property
    def struck(self) -> bool:
        """Whether an error that was ordered has been raised."""
        return not self.order.exists()

    def died(self) -> None:
        """Wait until the ordered death; fail if the server is still there."""
        status = self._ended(DEATH_S)
        assert status == -signal.SIGKILL, f"the server did not die at the step; its status is {status}\n{self.log()}"
        self._process = None
        self.order.unlink()


def start_fails(data: Path, *, port: int, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Start a server that is expected to refuse; its exit status and everything it said."""
    command = [*prefix, sys.executable, str(ROOT / "registry.py"), "serve"]
    ended = subprocess.run(
        [*command, "--listen", f"127.0.0.1:{port}", "--data", str(data)],
        env=os.environ | DRIVER.env(data),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STOP_S,
        check=False,
        cwd=ROOT,
    )
    return ended.returncode, ended.stdout


def open_uploads(data: Path) -> set[str]:
    """The ids of the upload sessions that the ledger knows."""
    return {upload_id for (upload_id,) in rows(data, "SELECT id FROM upload")}


def check_in_order(data: Path) -> None:
    """What holds after every crash and restart: whole blobs, a sound catalog, nothing stray in spool or bucket."""
    check_catalog(data)
    if (bucket := DRIVER.bucket(data)) is not None:
        check_bucket(data, bucket)
    else:
        check_folder(data)
    strays = {path.name for path in (data / "spool").iterdir() if path.stem not in open_uploads(data)}
    assert not strays, f"files of no open upload in the spool: {strays}"


def check_log(text: str) -> None:
    """No traceback, and no answer that says that the server itself is at fault."""
    assert "Traceback" not in text, text[-8000:]
    assert not re.search(r"^\S+Z \S+ .* 500 \d+B ", text, re.MULTILINE), text[-8000:]


@contextmanager
def tmpfs(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A small disk in memory, mounted on `folder`; needs root."""
    needs.root()
    folder.mkdir(parents=True, exist_ok=True)
    _do("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder))
    try:
        yield folder
    finally:
        _do("umount", str(folder))


def make_image(image: Path, size_bytes: int) -> None:
    """An empty ext4 in a file."""
    needs.root()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _do(needs.tool("mkfs.ext4"), "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))


@contextmanager
def mounted(image: Path, folder: Path, options: str = "loop") -> Iterator[Path]:
    """The image, mounted on `folder`; its journal is replayed by that, as after a power cut."""
    needs.root()
    folder.mkdir(parents=True, exist_ok=True)
    _do("mount", "-o", options, str(image), str(folder))
    try:
        yield folder
    finally:
        _do("umount", str(folder))


def room_bytes(folder: Path) -> int:
    """How much fits on the disk of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@contextmanager
def filled(folder: Path, leave_bytes: int = 0) -> Iterator[None]:
    """For the length of the block the disk of `folder` has room for `leave_bytes` only."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while (take := room_bytes(folder) - leave_bytes) > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, take)
                break
            except OSError as error:  # the server took some of it between the two calls
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        needs.missing(f"needs to {' '.join(command)}: {done.stderr.strip()}")
