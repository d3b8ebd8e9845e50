"""The files of one session in parts: where each part's bytes lie, and how they become one file.

    declared size     <id>.data                  made and allocated when the first part begins; part n at its offset
    otherwise         <id>.part<n>               a file for each part; joined into <id>.data at completion
    a part again      <id>.part<n>.<token>       a side file, until it is whole and takes the place of the first

Where content lies in an object store, every part has a file of its own, which goes when the store has it.

Everything here blocks and is called in threads.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from multipart import filesystem
from multipart.parts import Layout, StoredPart
from multipart.spool import UNCACHED_FROM_BYTES, storage_error

PART: Final = ".part"


class PartFiles:
    """The files of one session, by part number."""

    def __init__(
        self,
        folder: Path,
        upload_id: str,
        layout: Layout | None,
        *,
        durable: bool,
        uncached: bool = False,
        separate: bool = False,
    ) -> None:
        """With `separate`, parts have files of their own also where the size was declared."""
        self._folder, self._id, self._durable = folder, upload_id, durable
        self.layout = layout
        self._whole_bytes = layout.size_bytes if layout is not None and not separate else None
        self.in_one = self._whole_bytes is not None
        """All parts lie in one file, at their offsets."""
        self.uncached = uncached and self._whole_bytes is not None and self._whole_bytes >= UNCACHED_FROM_BYTES
        """Bytes that were read for the digest of the whole need not stay in the page cache."""
        self.data_path = folder / f"{upload_id}.data"
        self.allocated = False
        """Whether the one file of a declared size has its room."""

    def path_of(self, number: int) -> Path:
        """The file that holds the bytes of a part."""
        return self.data_path if self.in_one else self._folder / f"{self._id}{PART}{number}"

    def offset_of(self, number: int) -> int:
        """Where in that file they begin."""
        return self.layout.span(number).start if self.layout is not None and self.in_one else 0

    def side_path(self, number: int, token: str) -> Path:
        """Where a part that is there already, or is arriving, arrives once more."""
        return self._folder / f"{self._id}{PART}{number}.{token}"

    @property
    def first_path(self) -> Path:
        """The file without which nothing is there: a commit takes it away first."""
        return self.path_of(1)

    def allocate(self) -> None:
        """Make the one file of a declared size; a disk without room for it says so now, and nothing is left behind."""
        if self._whole_bytes is None or self.allocated:
            return
        with _translated("making room for the upload"):
            fd = os.open(self.data_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                filesystem.allocate(fd, self._whole_bytes)
            except OSError:
                self.data_path.unlink(missing_ok=True)
                raise
            finally:
                os.close(fd)
            if self._durable:
                filesystem.sync_folder(self._folder)
        self.allocated = True

    def open_place(self, number: int, expected_bytes: int | None) -> int:
        """A descriptor to write a part to its place; a file of its own is empty."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        if not self.in_one:
            return self._open_new(self.path_of(number), expected_bytes)
        with _translated("opening the upload"):
            return os.open(self.data_path, flags)

    def open_side(self, number: int, token: str, expected_bytes: int | None) -> int:
        """A descriptor to write a part beside its place."""
        return self._open_new(self.side_path(number, token), expected_bytes)

    def sync(self, fd: int, named: bool) -> None:
        """Bring what was written to the disk, with the name of the file if that is new (`named`)."""
        if self._durable:
            with _translated("storing the part"):
                os.fdatasync(fd)
                if named:
                    filesystem.sync_folder(self._folder)

    def put_in_place(self, number: int, side: Path, size_bytes: int) -> None:
        """Make the bytes of a side file those of the part, durably; the side file may be gone then.

        Whoever calls has removed the part from the ledger: when this fails half-way, the part is missing. A side file
        that becomes the part's own is synced already.
        """
        with _translated("storing the part"):
            if not self.in_one:
                side.replace(self.path_of(number))
                if self._durable:
                    filesystem.sync_folder(self._folder)
                return
            with _opened(side, os.O_RDONLY) as source, _opened(self.data_path, os.O_RDWR) as target:
                filesystem.copy_range(source, target, size_bytes, self.offset_of(number))
                if self._durable:
                    os.fdatasync(target)

    def join(self, parts: Sequence[StoredPart]) -> None:
        """Make one file of all parts, in order; the files of all but the first stay until the upload is a blob.

        The first part's file becomes the whole one, the others are copied behind it. On failure all is as it was.
        """
        if self._whole_bytes is not None:
            with _translated("finishing the upload"):
                _require_size(self.data_path, self._whole_bytes)
            return
        with _translated("joining the parts"):
            _require_size(self.path_of(parts[0].number), parts[0].size_bytes)
            self.path_of(parts[0].number).rename(self.data_path)
            try:
                offset = parts[0].size_bytes
                with _opened(self.data_path, os.O_RDWR) as target:
                    for part in parts[1:]:
                        with _opened(self.path_of(part.number), os.O_RDONLY) as source:
                            filesystem.copy_range(source, target, part.size_bytes, offset)
                        offset += part.size_bytes
            except OSError:
                self.take_apart(parts[0].size_bytes)
                raise

    def take_apart(self, first_bytes: int) -> None:
        """Undo `join`, or what a crash left of it; nothing to do when the whole file is not there."""
        if not self.in_one:
            with _translated("taking the parts apart"), suppress(FileNotFoundError):
                os.truncate(self.data_path, first_bytes)
                self.data_path.rename(self.path_of(1))

    def sync_whole(self) -> None:
        """Bring the whole file to the disk, with its name."""
        if self._durable:
            with _translated("storing the upload"):
                _sync_file(self.data_path, durable=True)
                filesystem.sync_folder(self._folder)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; missing ones are fine, and what cannot be removed is a stray for the next start."""
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _open_new(self, path: Path, expected_bytes: int | None) -> int:
        with _translated("opening the upload"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                filesystem.require_room(fd, expected_bytes or 0)
            except OSError:
                os.close(fd)
                path.unlink(missing_ok=True)
                raise
            return fd


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turn the disk's errors into ours."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _require_size(path: Path, size_bytes: int) -> None:
    """See that nobody touched the file behind our back."""
    if path.stat().st_size != size_bytes:
        raise OSError(errno.EIO, "the spool file is not as long as what was received")


def _sync_file(path: Path, *, durable: bool) -> None:
    if durable:
        with _opened(path, os.O_RDWR) as fd:
            os.fdatasync(fd)
