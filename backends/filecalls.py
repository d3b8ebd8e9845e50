"""The single steps of `backends/fs.py` on the disk, so that a test can watch, hold or break any one of them."""

import os
import shutil
import stat
from pathlib import Path


class FileCalls:
    """One system call or few per method; raises OSError as they do."""

    def __init__(self, *, durable: bool = True) -> None:
        """Not durable: the syncs do nothing."""
        self._durable = durable

    def open(self, path: Path) -> int:
        """A descriptor for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        return os.pread(fd, length, offset)

    def sync_file(self, path: Path) -> None:
        """Make a file's bytes and length durable."""
        if self._durable:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        if self._durable:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def make_folder(self, path: Path) -> None:
        """Make one folder; one that is there is fine."""
        try:
            path.mkdir()
        except FileExistsError:
            # Not mkdir(exist_ok=True): when a delete takes the folder away between its two looks, that says "exists".
            if not stat.S_ISDIR(path.stat().st_mode):
                raise

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, at once."""
        source.replace(target)

    def link(self, target: Path, name: Path) -> None:
        """Give the file `target` a second name."""
        name.hardlink_to(target)

    def copy(self, source: Path, target: Path) -> None:
        """Write the bytes of `source` into the new file `target`."""
        shutil.copyfile(source, target)

    def unlink(self, path: Path) -> None:
        """Take a name away."""
        path.unlink()
