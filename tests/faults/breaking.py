"""A way to start the real server so that it dies, or fails once, at a step that a test names while it runs.

    python breaking.py serve ...        with BREAK_FILE in the environment

The steps below are wrapped and otherwise untouched. As long as there is no file of that name the server is the plain
one. A test that wants a fault writes the file (`tests/support/faulty.py` does): which step, before or after it, at
which passing of it, and what happens: `kill` (SIGKILL to itself) or the name of an errno, raised once.

With COPY_PART_BYTES in the environment an object store copies by parts of that size whatever is larger than one.
"""

import errno
import functools
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import registry  # noqa: E402 - the path has to be set first
from backends.filecalls import FileCalls  # noqa: E402
from backends.fs import FsBackend  # noqa: E402
from backends.s3 import parts  # noqa: E402
from multipart import filesystem, follower, marks, spool  # noqa: E402
from multipart.partfiles import PartFiles  # noqa: E402
from multipart.sliced_spool import SlicedSpool  # noqa: E402
from multipart.spool import SpoolFile  # noqa: E402
from store import blob_commits, recording  # noqa: E402
from store.writer import Writer  # noqa: E402

STEPS: Final[dict[str, tuple[Any, str]]] = {
    "spool open": (SpoolFile, "open"),
    "reserve": (filesystem, "reserve"),
    "disk write": (spool, "_write_all"),
    "spool mark": (SpoolFile, "_mark"),
    "spool rest": (SpoolFile, "rest"),
    "spool rewind": (SpoolFile, "rewind"),
    "marks rewind": (marks, "rewind"),
    "marks read": (marks, "read"),
    "spool seal": (SpoolFile, "seal"),
    "spool remove": (SpoolFile, "remove"),
    "part room": (PartFiles, "allocate"),
    "part place": (PartFiles, "open_place"),
    "part beside": (PartFiles, "open_side"),
    "part write": (filesystem, "write_all"),
    "part sync": (PartFiles, "sync"),
    "part to its place": (PartFiles, "put_in_place"),
    "part copy": (filesystem, "copy_range"),
    "parts joined": (PartFiles, "join"),
    "parts taken apart": (PartFiles, "take_apart"),
    "parts removed": (PartFiles, "remove"),
    "whole read": (follower, "_read_stretches"),
    "whole sync": (PartFiles, "sync_whole"),
    "file sync": (FileCalls, "sync_file"),
    "folder made": (FileCalls, "make_folder"),
    "folder sync": (FileCalls, "sync_folder"),
    "rename": (FileCalls, "rename"),
    "name sync": (FsBackend, "_sync_nearest"),
    "commit": (Writer, "_commit"),
    "answer": (Writer, "_answer"),
}
ON_S3: Final[dict[str, tuple[Any, str]]] = {
    "spool rewind": (SlicedSpool, "rewind"),
    "marks rewind": (marks, "rewind_of_slices"),
    "marks read": (marks, "read_of_slices"),
}
"""The same steps, where a session goes up in slices."""
LIMITS_OF_COPIES: Final[tuple[tuple[Any, str], ...]] = (
    *((parts, "LARGEST_COPY_BYTES"), (parts, "COPY_PART_BYTES")),
    *((recording, "BY_PARTS_BYTES"), (blob_commits, "BY_PARTS_BYTES")),
)
ANY: Final = "any"
"""An order for every side of every step: its passing is counted over all of them."""
ORDER: Final = Path(os.environ["BREAK_FILE"])
_lock = threading.Lock()
_passed: dict[tuple[str, int], int] = {}


def strike(step: str, when: str) -> None:
    """Do what the order says, if it means this passing of this step."""
    try:
        text, made = ORDER.read_text(), ORDER.stat().st_mtime_ns
    except FileNotFoundError:
        return
    order = json.loads(text)
    if order["step"] != ANY and (order["step"], order["when"]) != (step, when):
        return
    with _lock:
        _passed[text, made] = _passed.get((text, made), 0) + 1
        if _passed[text, made] != order["passing"]:
            return
    if order["act"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    ORDER.unlink()
    code = getattr(errno, order["act"])
    if step in ("commit", "answer"):
        raise sqlite3.OperationalError(os.strerror(code))
    raise OSError(code, os.strerror(code))


def breakable(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a chance to fail on both its sides."""

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        strike(step, "before")
        result = function(*args, **kwargs)
        strike(step, "after")
        return result

    return around


if __name__ == "__main__":
    for name, (owner, attribute) in [*STEPS.items(), *ON_S3.items()]:
        setattr(owner, attribute, breakable(name, getattr(owner, attribute)))
    if "COPY_PART_BYTES" in os.environ:
        for module, limit in LIMITS_OF_COPIES:
            setattr(module, limit, int(os.environ["COPY_PART_BYTES"]))
    sys.exit(registry.main())
