"""Spool files: where received bytes lie until they are a blob (D2).

A spool file is `<upload id>.data` in the spool folder, with its marks (`multipart/marks.py`) beside it. It is on the
same filesystem as the store, so that committing is a rename. Everything here blocks and is called in threads, by
one thread at a time for one session; the session's turn sees to that.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from model.digests import Digest
from model.errors import RegistryError, StorageFailed, StorageFull, TooLarge
from model.units import MIB
from multipart import filesystem, marks
from multipart.filesystem import write_all as _write_all
from multipart.hashing import ALWAYS, RunningDigests

WRITE_BACK_BYTES: Final = 8 * MIB
"""How much is written before the kernel is asked to begin writing it to the disk."""

MARK_BYTES: Final = 256 * 1024
"""At least this much lies between two marks, so that a slow client does not make a mark of every packet."""

RESERVED_BYTES: Final = MIB
"""Bodies announced to be this long or longer are refused at once when the disk has no room for them."""

RESERVE_AHEAD_BYTES: Final = 64 * MIB
"""So much of them is reserved ahead of what has arrived. Announcing a length must not take the disk from others."""

UNCACHED_FROM_BYTES: Final = 32 * MIB
"""Smaller uploads stay in the page cache: they are likely to be pulled in a moment, and cost it little."""

UNCACHED_PIECE_BYTES: Final = MIB // 2
"""A slow client's small pieces go through the page cache, which joins them."""

CHECKPOINTS: Final = 8
"""Offsets whose digests are remembered; going back to another one reads the prefix again."""

READ_BYTES: Final = MIB
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def storage_error(error: OSError, doing: str) -> RegistryError:
    """What an OSError of the disk means to a caller; the message names no path of the server."""
    if error.errno in _FULL:
        return StorageFull(f"no room left on the disk while {doing}")
    if error.errno == errno.EFBIG:
        return TooLarge("the upload is larger than a file can be here")
    return StorageFailed(f"the disk failed while {doing}: {error.strerror or type(error).__name__}")


class SpoolFile:
    """One spool file, its marks and the running digests of what it holds."""

    def __init__(
        self, folder: Path, upload_id: str, algorithms: tuple[str, ...] = (), *, uncached: bool = False
    ) -> None:
        """With `uncached`, what makes a large upload large is written past the page cache, where that can be done."""
        self.path = folder / f"{upload_id}.data"
        self.marks_path = folder / f"{upload_id}.marks"
        self.offset_bytes = 0
        """How many bytes are received, written and hashed: the contiguous prefix."""
        self.digests = RunningDigests(algorithms)
        self._uncached = uncached
        self.dirty = False
        """Something was written since the last `sync`."""
        self._checkpoints: dict[int, RunningDigests] = {0: self.digests.copy()}
        self._fd = self._marks_fd = -1
        self._expected_end = self._reserved_end = 0  # of the body under way: what was announced, what has its room
        self._reserved = False  # whether room was reserved beyond what was received
        self._ever_marked = False
        self._named = False  # whether the names of the two files are on the disk
        self._marked_bytes = self._written_back_bytes = 0

    def open(self, expected_bytes: int | None) -> None:
        """Make ready for writing; a disk without room for `expected_bytes` more says so now.

        `write` and `rewind` do it by themselves, without reserving.
        """
        try:
            self._open_data()
            if expected_bytes is not None:
                filesystem.require_room(self._fd, expected_bytes)
                self._expected_end = self._reserved_end = self.offset_bytes
                self._expected_end += expected_bytes
                self._reserve_ahead()
        except OSError as error:
            self._give_back()
            self.close()
            raise storage_error(error, "opening the upload") from error

    def write(self, data: memoryview) -> None:
        """Add `data` to the prefix: write, hash, mark. On failure the prefix holds nothing that is not written whole.

        Raises:
            StorageFull, StorageFailed.
        """
        try:
            self._open_data()
            start = self.offset_bytes
            self._write_at(data, start)
            self._hash(data)
            self.offset_bytes = start + len(data)
            self.dirty = True
            self._reserve_ahead()
            if self.offset_bytes - self._marked_bytes >= MARK_BYTES:
                self._mark()
            if self.offset_bytes - self._written_back_bytes >= WRITE_BACK_BYTES:
                filesystem.start_write_back(
                    self._fd, self._written_back_bytes, self.offset_bytes - self._written_back_bytes
                )
                self._written_back_bytes = self.offset_bytes
        except OSError as error:
            raise storage_error(error, "receiving the upload") from error

    def rewind(self, offset_bytes: int) -> None:
        """Cut the prefix back to `offset_bytes`."""
        try:
            self._open_data()
            digests = self._checkpoints.get(offset_bytes) or self._digest_prefix(offset_bytes)
            os.ftruncate(self._fd, offset_bytes)
            self.digests, self.offset_bytes, self.dirty = digests.copy(), offset_bytes, True
            self._written_back_bytes = min(self._written_back_bytes, offset_bytes)
            self._marked_bytes = 0
            self._checkpoints = {at: kept for at, kept in self._checkpoints.items() if at <= offset_bytes}
            self._open_marks()
            marks.rewind(self._marks_fd, self.marks_path, offset_bytes)
        except OSError as error:
            raise storage_error(error, "going back in the upload") from error

    def rest(self) -> None:
        """The request is over: mark where we are, give back what was reserved too much, close."""
        try:
            if self._fd >= 0:
                self._trim()
                if self.offset_bytes > self._marked_bytes:
                    self._mark()
                self._remember()
        except OSError as error:
            raise storage_error(error, "closing the upload") from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the descriptors; harmless when closed."""
        for fd in (self._fd, self._marks_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._marks_fd = -1

    def sync(self) -> None:
        """Bring prefix and marks to the disk, so that a power cut leaves them; for the background, between requests."""
        self.dirty = False
        try:
            if not self._named:
                self._named = True  # before it is: a file that is made meanwhile says no again
                filesystem.sync_folder(self.path.parent)
            for path in (self.path, self.marks_path):
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
        except FileNotFoundError:
            return  # committed or cancelled meanwhile
        except OSError as error:
            self.dirty, self._named = True, False
            raise storage_error(error, "syncing the upload") from error

    def moved_away(self) -> tuple[int, Digest] | None:
        """Length and digest of what the file held before it was made a blob by a commit that a crash cut short.

        The marks are still there then, and the last one, made when the last request was over, is of the whole.
        """
        try:
            mark = None if self.path.exists() else marks.last(self.marks_path)
        except OSError as error:
            raise storage_error(error, "reading the upload again") from error
        return None if mark is None else (mark[0], Digest(ALWAYS, mark[1].hex()))

    def recover(self) -> None:
        """After a restart: find the longest prefix that a mark proves, cut off the rest, and go on from there.

        What is not proven goes, bytes and marks: left in place, old marks would stand before those that come.
        """
        proven, digests = 0, RunningDigests(self.digests.algorithms)
        running = digests.copy()
        try:
            with self.path.open("rb", buffering=0) as file:
                for offset, prefix_sha256 in marks.read(self.marks_path):
                    if not feed(file.fileno(), proven, offset, running.update):
                        break
                    if running.prefix_mark() != prefix_sha256:
                        break
                    proven, digests = offset, running.copy()
            os.truncate(self.path, proven)
            self._open_marks()
            marks.rewind(self._marks_fd, self.marks_path, proven)
        except FileNotFoundError:
            self.remove()
        except OSError as error:
            raise storage_error(error, "reading the upload again") from error
        finally:
            self.close()
        self.offset_bytes, self.digests, self._ever_marked = proven, digests, True
        self._marked_bytes = self._written_back_bytes = proven
        self._checkpoints = {0: RunningDigests(digests.algorithms), proven: digests.copy()}

    def seal(self, algorithm: str) -> str:
        """The upload is complete: return the hex digest of all of it, its file being just that, byte for byte.

        An upload that never got a byte gets an empty file (rule 12). An algorithm that did not run along reads the
        file. An upload that has marks gets a last one, which names the whole by its digest.

        Raises:
            StorageFailed: the file is gone or shorter than what was received: somebody else touched the spool folder.
        """
        try:
            self._open_data()
            self._trim()
            if self._ever_marked and self.offset_bytes > self._marked_bytes:
                self._mark()
            if algorithm not in self.digests.algorithms:
                self.digests = self._digest_prefix(self.offset_bytes, algorithm)
        except OSError as error:
            raise storage_error(error, "finishing the upload") from error
        finally:
            self.close()
        return self.digests.digest(algorithm).hex

    def keep(self) -> None:
        """The upload could not become a blob yet: mark all of it, so that it survives a crash."""
        try:
            if self.offset_bytes > self._marked_bytes:
                self._mark()
        except OSError as error:
            raise storage_error(error, "keeping the upload") from error
        finally:
            self.close()

    def reset(self) -> None:
        """Start from nothing."""
        self.remove()
        self.digests = RunningDigests(self.digests.algorithms)
        self._checkpoints = {0: self.digests.copy()}
        self.offset_bytes = self._marked_bytes = self._written_back_bytes = 0

    @property
    def is_marked(self) -> bool:
        """Whether there may be a file of marks."""
        return self._ever_marked

    def remove(self) -> None:
        """Remove both files; missing ones are fine. The data goes first: marks without data prove nothing."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.marks_path.unlink(missing_ok=True)

    def _give_back(self) -> None:
        """Free what was reserved behind the prefix; a disk that fails keeps it until the next request is over."""
        if self._fd >= 0:
            with suppress(OSError):
                self._trim()

    def _write_at(self, data: memoryview, start: int) -> None:
        """Write all of `data`, past the page cache if the upload is large and comes in large pieces."""
        large = max(self._expected_end, start) >= UNCACHED_FROM_BYTES and len(data) >= UNCACHED_PIECE_BYTES
        if self._uncached and large:
            written = filesystem.write_uncached(self._fd, data, start)
            if written is not None:
                data, start = data[written:], start + written
            else:
                self._uncached = False
        _write_all(self._fd, data, start)

    def _reserve_ahead(self) -> None:
        """Keep some room of what was announced reserved: enough for long extents, not enough to lock others out."""
        if (
            self._reserved_end < self._expected_end
            and self._reserved_end - self.offset_bytes < RESERVE_AHEAD_BYTES // 2
        ):
            length_bytes = min(RESERVE_AHEAD_BYTES, self._expected_end - self._reserved_end)
            self._reserved = True
            filesystem.reserve(self._fd, self._reserved_end, length_bytes)
            self._reserved_end += length_bytes

    def _trim(self) -> None:
        """Cut the file to what was received: never longer, so that no hole is ever taken for data."""
        size_bytes = os.fstat(self._fd).st_size
        if size_bytes < self.offset_bytes:
            raise OSError(errno.EIO, "the spool file is shorter than what was received")
        if size_bytes > self.offset_bytes or self._reserved:
            os.ftruncate(self._fd, self.offset_bytes)
            self._reserved = False
        self._expected_end = self._reserved_end = 0

    def _remember(self) -> None:
        """Keep the digests of where we are: the offset is about to be handed out, and may come back."""
        self._checkpoints[self.offset_bytes] = self.digests.copy()
        while len(self._checkpoints) > CHECKPOINTS:
            del self._checkpoints[sorted(self._checkpoints)[1]]  # not 0: where whole uploads begin again

    def _mark(self) -> None:
        self.dirty = True
        self._open_marks()
        self._append_mark()
        self._marked_bytes = self.offset_bytes

    def _append_mark(self) -> None:
        marks.append(self._marks_fd, self.offset_bytes, self.digests.prefix_mark())

    def _hash(self, data: memoryview) -> None:
        self.digests.update(data)

    def _open_data(self) -> None:
        """Open the file; made only while it would be empty, so that one that vanished is noticed."""
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if self.offset_bytes == 0 else 0)
            self._fd = os.open(self.path, flags, 0o640)

    def _open_marks(self) -> None:
        if not self._ever_marked:
            self._ever_marked, self._named = True, False
        if self._marks_fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._marks_fd = os.open(self.marks_path, flags, 0o640)

    def _digest_prefix(self, offset_bytes: int, *algorithms: str) -> RunningDigests:
        """The digests of the first `offset_bytes`, read again."""
        digests = RunningDigests({*self.digests.algorithms, *algorithms})
        if offset_bytes:
            with self.path.open("rb", buffering=0) as file:
                if not feed(file.fileno(), 0, offset_bytes, digests.update):
                    raise OSError(errno.EIO, "the spool file is shorter than what was written to it")
        return digests


def feed(fd: int, start: int, stop: int, *updates: Callable[[bytes], None]) -> bool:
    """Give the bytes `start` to `stop` of a file to each of `updates`; False if it ends before."""
    while start < stop:
        piece = os.pread(fd, min(READ_BYTES, stop - start), start)
        if not piece:
            return False
        for update in updates:
            update(piece)
        start += len(piece)
    return True
