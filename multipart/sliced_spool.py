"""The spool file of a session whose bytes go into an object store in slices, while they arrive.

Each slice is hashed in the same breath as the whole, so nothing is read again for that; the first one is the whole so
far, and is hashed once. Marks are of slices (`multipart/marks.py`). What the store has may be let go: the file then has
a hole at its front, and the session cannot go back into it, except to nothing. After a restart such a session goes on,
but the digest of its whole is not known here any more.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model.digests import Digest
from multipart import filesystem, marks
from multipart.hashing import ALWAYS, RunningDigests
from multipart.slices import Sizes, Slice
from multipart.spool import SpoolFile, feed, storage_error

if TYPE_CHECKING:
    from hashlib import _Hash


class SlicedSpool(SpoolFile):
    """A spool file that is cut into slices. Blocks, and is used by one thread at a time, as `SpoolFile`."""

    def __init__(
        self,
        folder: Path,
        upload_id: str,
        algorithms: tuple[str, ...],
        sizes: Sizes,
        *,
        reserved_bytes: int,
        uncached: bool = False,
    ) -> None:
        """Of a body that is announced, at most `reserved_bytes` need have room: the rest is let go as it arrives."""
        super().__init__(folder, upload_id, algorithms, uncached=uncached)
        self.slices: list[Slice] = []
        """Those that are whole. Added to in threads; shortened by `cut` only."""
        self.floor_bytes = 0
        """What lies before is not in the file any more."""
        self.knows_whole = True
        """The running digest is that of all bytes."""
        self.on_write: Callable[[], None] = _nothing
        self.on_slice: Callable[[], None] = _nothing
        """Called in the writing thread: before each piece; after each slice."""
        self._sizes, self._reserved_bytes = sizes, reserved_bytes
        self._equal_bytes = sizes.first_bytes
        self._slice: _Hash | None = None  # of the slice that arrives; None: it is the first, and the whole
        self._at: dict[int, RunningDigests] = {}  # of the whole, where slices begin
        self._cut = False  # slices were taken away, and the file still has to go back

    # -- receiving ----------------------------------------------------------------------------------------------------

    def open(self, expected_bytes: int | None) -> None:
        """As `SpoolFile.open`; the body that opens the session chooses the size of its slices."""
        if expected_bytes is not None and self.offset_bytes == 0:
            self._equal_bytes = self._sizes.equal_bytes(expected_bytes)
        super().open(None if expected_bytes is None else min(expected_bytes, self._reserved_bytes))

    def write(self, data: memoryview) -> None:
        """As `SpoolFile.write`; UploadTooLarge when the store takes no more slices."""
        self.on_write()
        self._settle()
        while data:
            left_bytes = self._left_bytes()
            if left_bytes == 0:
                self._close_slice()
                continue
            piece, data = data[:left_bytes], data[left_bytes:]
            super().write(piece)
        if self._left_bytes() == 0:
            self._close_slice()

    def rewind(self, offset_bytes: int) -> None:
        """As `SpoolFile.rewind`; the slices behind it have been `cut` before, and it is not below the floor."""
        start = self._start
        digests = self._at.get(start) if start else RunningDigests(self.digests.algorithms)
        running = None if digests is None else digests.copy()
        hashed = hashlib.sha256()
        updates = [hashed.update] if running is None else [hashed.update, running.update]
        try:
            self._open_data()
            if not feed(self._fd, start, offset_bytes, *updates):
                raise OSError(errno.EIO, "the spool file is shorter than what was written to it")
            os.ftruncate(self._fd, offset_bytes)
            self._open_marks()
            marks.rewind_of_slices(self._marks_fd, self.marks_path, offset_bytes)
        except OSError as error:
            raise storage_error(error, "going back in the upload") from error
        self._stand(offset_bytes, running, hashed if start else None)
        self.dirty = True
        self._written_back_bytes = min(self._written_back_bytes, offset_bytes)

    def cut(self, offset_bytes: int) -> None:
        """Take away the slices that end behind `offset_bytes`; before the next byte the file goes back.

        On the event loop, while no thread writes: a slice that is cut must not be sent any more.
        """
        kept = [each for each in self.slices if each.stop <= offset_bytes]
        self._cut = self._cut or len(kept) < len(self.slices) or offset_bytes == 0
        del self.slices[len(kept) :]
        if offset_bytes == 0:
            self.floor_bytes = self.offset_bytes = 0

    def tail(self) -> Slice | None:
        """What lies behind the last whole slice, as one; it ends the upload, and may be shorter than others."""
        start = self._start
        if self.offset_bytes == start:
            return None
        return Slice(len(self.slices) + 1, start, self.offset_bytes - start, self._slice_digest().hex())

    def seal(self, algorithm: str) -> str:
        """As `SpoolFile.seal`; empty when the digest of the whole cannot be known here."""
        self._settle()
        if self.knows_whole and (self.floor_bytes == 0 or algorithm in self.digests.algorithms):
            return super().seal(algorithm)
        self.keep()
        return ""

    def reset(self) -> None:
        """As `SpoolFile.reset`."""
        super().reset()
        self.slices.clear()
        self.floor_bytes = 0
        self._stand(0, self.digests, None)

    def punch(self, stop: int) -> bool:
        """Let the bytes from the floor up to `stop` go; False where the file system cannot do that.

        Raises:
            StorageFailed.
        """
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                return filesystem.punch(fd, self.floor_bytes, stop - self.floor_bytes)
            finally:
                os.close(fd)
        except OSError as error:
            raise storage_error(error, "letting go of what is stored") from error

    def let_go(self, stop: int) -> None:
        """What lies before `stop` is not in the file any more."""
        self.floor_bytes = stop
        self._forget_digests(lambda at: at < stop)

    # -- after a restart ----------------------------------------------------------------------------------------------

    def restore(self, slices: Sequence[Slice]) -> None:
        """The store has these slices, and their bytes may not be in the file; before `recover`."""
        self.slices = list(slices)
        self.floor_bytes = self._start

    def moved_away(self) -> tuple[int, Digest] | None:
        """As `SpoolFile.moved_away`; only what is below one slice is ever moved."""
        last = None
        try:
            if self.slices or self.path.exists():
                return None
            for last in marks.read_of_slices(self.marks_path):  # noqa: B007 - the last one is what is wanted
                pass
        except OSError as error:
            raise storage_error(error, "reading the upload again") from error
        return None if last is None or last[1] else (last[0], Digest(ALWAYS, last[2].hex()))

    def recover(self) -> None:
        """As `SpoolFile.recover`. Slices that the store has count as they are; behind them, slice by slice."""
        try:
            if self.slices:
                self._recover_behind()
            else:
                self._recover_all()
        except FileNotFoundError:
            self.remove()
            self._stand(0, RunningDigests(self.digests.algorithms), None)
        except OSError as error:
            raise storage_error(error, "reading the upload again") from error
        finally:
            self.close()
        self._ever_marked = True
        self._written_back_bytes = self.offset_bytes

    def _recover_behind(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        for each in reversed(self.slices):  # what is still here lies at the end
            found = hashlib.sha256()
            if not feed(self._fd, each.start, each.stop, found.update) or found.hexdigest() != each.sha256:
                break
            self.floor_bytes = each.start
        running = RunningDigests(self.digests.algorithms) if self.floor_bytes == 0 else None
        if running is not None:
            for each in self.slices:
                feed(self._fd, each.start, each.stop, running.update)
                self._at[each.stop] = running.copy()
        self._prove(running)

    def _recover_all(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self._prove(RunningDigests(self.digests.algorithms))

    def _prove(self, running: RunningDigests | None) -> None:
        """Take what the marks prove behind the last slice, and cut off the rest."""
        proven, hashed = self._start, hashlib.sha256()
        held = None if running is None else running.copy()
        for offset, start, sha256 in self._marks_behind(proven):
            if start != self._start:
                if start != proven:
                    break
                self._take(proven, hashed.hexdigest(), held)
                hashed = hashlib.sha256()
            trial, trial_held = hashed.copy(), None if held is None else held.copy()
            updates = [trial.update] if trial_held is None else [trial.update, trial_held.update]
            if not feed(self._fd, proven, offset, *updates) or trial.digest() != sha256:
                break
            proven, hashed, held = offset, trial, trial_held
        os.ftruncate(self._fd, proven)
        self._open_marks()
        marks.rewind_of_slices(self._marks_fd, self.marks_path, proven)
        self._stand(proven, held, hashed)
        self._marked_bytes = proven

    def _marks_behind(self, offset_bytes: int) -> Iterator[tuple[int, int, bytes]]:
        return (mark for mark in marks.read_of_slices(self.marks_path) if mark[0] > offset_bytes)

    # -- beneath ------------------------------------------------------------------------------------------------------

    @property
    def _start(self) -> int:
        """Where the slice that arrives begins."""
        return self.slices[-1].stop if self.slices else 0

    def _settle(self) -> None:
        if self._cut:
            self.rewind(self.offset_bytes)

    def _left_bytes(self) -> int:
        """How much the slice that arrives still takes; one that is too long already, after a restart, nothing."""
        if self.slices:
            self._equal_bytes = max(self._equal_bytes, self.slices[0].length_bytes)
        size_bytes = self._sizes.size_bytes(len(self.slices) + 1, self._equal_bytes)
        return max(0, self._start + size_bytes - self.offset_bytes)

    def _close_slice(self) -> None:
        try:
            if self._marked_bytes != self.offset_bytes:
                self._mark()
        except OSError as error:
            raise storage_error(error, "receiving the upload") from error
        self._take(self.offset_bytes, self._slice_digest().hex(), self.digests if self.knows_whole else None)
        self._slice = hashlib.sha256()
        self.on_slice()

    def _take(self, stop: int, sha256: str, digests: RunningDigests | None) -> None:
        """The slice that arrives is whole."""
        start = self._start
        if digests is not None:
            self._at[stop] = digests.copy()
        self.slices.append(Slice(len(self.slices) + 1, start, stop - start, sha256))

    def _stand(self, offset_bytes: int, digests: RunningDigests | None, hashed: "_Hash | None") -> None:
        """Go on at `offset_bytes`, with the digests of the whole, if they are known, and of the slice there."""
        self._cut = False
        self.knows_whole = digests is not None
        self.digests = RunningDigests(self.digests.algorithms) if digests is None else digests
        self._slice = None if hashed is None or (self._start == 0 and digests is not None) else hashed
        self.offset_bytes, self._marked_bytes = offset_bytes, 0
        self._forget_digests(lambda at: at > offset_bytes)

    def _forget_digests(self, at_which: Callable[[int], bool]) -> None:
        """Also while a thread writes."""
        for at in [*self._at]:
            if at_which(at):
                self._at.pop(at, None)

    def _slice_digest(self) -> bytes:
        return self.digests.prefix_mark() if self._slice is None else self._slice.digest()

    def _hash(self, data: memoryview) -> None:
        if self.knows_whole:
            self.digests.update(data)
        if self._slice is not None:
            self._slice.update(data)

    def _append_mark(self) -> None:
        if self.offset_bytes > self._start:  # where a slice begins, the mark that ended the one before stands already
            marks.append_of_slice(self._marks_fd, self.offset_bytes, self._start, self._slice_digest())

    def _remember(self) -> None:
        """Where slices begin is remembered already."""


def _nothing() -> None:
    """Nobody wants to know."""
