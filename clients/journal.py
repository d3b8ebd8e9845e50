"""What a push that was interrupted needs to go on: which uploads are open, and which of their parts are there.

One JSON file for each push (source and destination) in the cache folder, replaced by rename; beside it a lock, so that
the same push does not run twice. Removed when the push succeeds; others are forgotten after a week, when no server
remembers them either.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from clients.problems import Problem
from model.clock import Clock
from model.units import DAY_S

VERSION: Final = 1
FORGOTTEN_AFTER_S: Final = 7 * DAY_S
BETWEEN_WRITES_S: Final = 1.0
"""Parts that were not written down yet when we are killed cost a look at the server, and no byte on the line."""

RESTS: Final = 10
"""What only we know is written down at once, but writing takes no more than a tenth of the time."""


@dataclass
class Entry:
    """What is known about one blob (H070, H071): kept while it is under way, and until the push is done."""

    identity: list[int]
    """Of the file it comes from, when the upload began."""
    digest: str = ""
    """Of the whole, once it is known."""
    upload_id: str = ""
    target: str = ""
    part_size_bytes: int = 0
    native: bool = False
    parts: dict[str, str] = field(default_factory=dict)
    """ETag by number, of parts that were acknowledged."""
    location: str = ""
    """Of an upload in sequence (plain OCI)."""

    def forget_upload(self) -> None:
        """Whatever was open is not any more; the digest stays."""
        self.upload_id, self.target, self.part_size_bytes, self.native = "", "", 0, False
        self.parts, self.location = {}, ""


class Journal:
    """The journal of one push, made by `open`. `entries` may be changed freely; `save` and `later` write them."""

    def __init__(self, path: Path, destination: str, source: str, clock: Clock) -> None:
        self._path = path
        self._destination, self._source = destination, source
        self._clock = clock
        self._turn = asyncio.Lock()
        self._written_at_s = self._took_s = 0.0
        self.entries: dict[str, Entry] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, destination: str, source: str, clock: Clock) -> Iterator[Self]:
        """The journal of a push, locked for the length of the block; what it knows is written at the block's end.

        Raises:
            Problem: the same push is running, or the folder cannot be used.
        """
        name = hashlib.sha256(f"{destination}\0{source}".encode()).hexdigest()[:32]
        path = folder / f"push-{name}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _clean(folder, clock)
            lock = _locked(path.with_suffix(".lock"))
        except OSError as error:
            raise _unwritable(folder, error) from error
        if lock is None:
            raise Problem(f"the same push of {source} to {destination} is running already", "wait for it, or stop it")
        journal = cls(path, destination, source, clock)
        journal.entries = _read(path)
        try:
            yield journal
        finally:
            try:
                journal._write(journal._content())
            finally:
                os.close(lock)

    async def save(self) -> None:
        """Write it down now; it survives a power cut. Problem: it cannot be written."""
        async with self._turn:
            self._written_at_s = self._clock.monotonic_s()
            await asyncio.to_thread(self._write, self._content())
            self._took_s = self._clock.monotonic_s() - self._written_at_s

    async def later(self, *, soon: bool = False) -> None:
        """Write it down, unless that was done within the last second; `soon`: within ten times what that took."""
        wait_s = min(BETWEEN_WRITES_S, RESTS * self._took_s) if soon else BETWEEN_WRITES_S
        if self._clock.monotonic_s() - self._written_at_s >= wait_s and not self._turn.locked():
            await self.save()

    def forget(self) -> None:
        """The push is done: the file goes when the block of `open` ends."""
        self.entries.clear()

    def _write(self, content: bytes) -> None:
        """Put this in place of the file; with no entries there is none."""
        try:
            if self.entries:
                write_durably(self._path, content)
            else:
                self._path.unlink(missing_ok=True)
                self._path.with_suffix(".lock").unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._path.parent, error) from error

    def _content(self) -> bytes:
        blobs = {key: asdict(entry) for key, entry in self.entries.items()}
        document = {"version": VERSION, "destination": self._destination, "source": self._source, "blobs": blobs}
        return json.dumps(document).encode()


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a small file as one step that a crash cannot halve; OSError: all is as it was.

    `mode` is what the file may be to others, as far as the umask lets it.
    """
    new = path.with_name(path.name + ".new")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(file, "wb") as writing:
            writing.write(content)
            writing.flush()
            os.fsync(file)
        os.rename(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where journals are kept unless somebody says otherwise."""
    home = environ.get("HOME") or str(Path("~").expanduser())
    return Path(environ.get("XDG_CACHE_HOME") or Path(home) / ".cache") / "holdfast"


def _unwritable(folder: Path, error: OSError) -> Problem:
    return Problem(
        f"the journal in {folder} cannot be written: {error.strerror}", "choose another folder with --journal-dir"
    )


def _read(path: Path) -> dict[str, Entry]:
    """What the file knows. A damaged one, or one of another version, knows nothing."""
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != VERSION:
            return {}
        return {str(key): Entry(**entry) for key, entry in document["blobs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _locked(path: Path) -> int | None:
    """The open lock file; None when somebody else holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                return file
        os.close(file)  # its owner removed it just before he let go of it: ours is the lock of nothing


def _clean(folder: Path, clock: Clock) -> None:
    """Remove what nobody came back for."""
    for path in folder.glob("push-*"):
        with contextlib.suppress(FileNotFoundError):
            if clock.now_s() - path.stat().st_mtime > FORGOTTEN_AFTER_S:
                lock = _locked(path.with_suffix(".lock"))
                if lock is not None:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".lock").unlink(missing_ok=True)
                    os.close(lock)
