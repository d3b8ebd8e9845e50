"""The folders a server works on: made, proven usable, and held by one process at a time.

DATA_DIR/                 secrets, the catalog and its copies, the lock
  lock                    held with flock, says which process it is
  catalog.sqlite3
  backups/
STORAGE_ROOT_DIR/         the data folder, unless it is set
  docker/                 the blobs, where they are kept here
  spool/                  uploads under way, on the same file system, so that a commit is a rename
"""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from store.refusals import AlreadyRunning, FolderError

LOCK_NAME = "lock"
_PRIVATE = 0o700


class DataFolder:
    """The folders, held: from `open` to `close`, or in a `with` block, no other process gets them."""

    def __init__(self, data_dir: Path, storage_root: Path | None = None, *, blobs: bool = True) -> None:
        """`blobs`: they are kept here as well, and not somewhere else."""
        self._blobs = blobs
        self.data_dir = data_dir.absolute()
        self.storage_root = (storage_root or data_dir).absolute()
        self.spool = self.storage_root / "spool"
        self.docker = self.storage_root / "docker"
        self._locks: list[int] = []

    def open(self) -> None:
        """Make what is missing, take the lock, and prove that files can be written and renamed.

        Raises:
            AlreadyRunning: another process holds one of the folders.
            FolderError: a folder cannot be made or written, or spool and blobs are on two file systems.
        """
        try:
            self._make(self.data_dir, _PRIVATE)
            self._make(self.storage_root, _PRIVATE)
            self._lock(self.data_dir)
            if self.storage_root.resolve() != self.data_dir.resolve():
                self._lock(self.storage_root)
            self._make(self.spool)
            self._prove_writable(self.data_dir)
            if self._blobs:
                self._make(self.docker)
                self._prove_rename()
            else:
                self._prove_writable(self.spool)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others have the folders; a lock that nobody holds names no process: its number may be another's soon."""
        while self._locks:
            fd = self._locks.pop()
            os.ftruncate(fd, 0)
            os.close(fd)

    def __enter__(self) -> "DataFolder":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, folder: Path, mode: int = 0o777) -> None:
        try:
            folder.mkdir(mode, parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(
                f"the folder {folder} cannot be made: {error.strerror}",
                "choose another one, or give this user the right to write there",
            ) from error

    def _lock(self, folder: Path) -> None:
        path = folder / LOCK_NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            os.close(fd)
            raise AlreadyRunning(folder, holder) from None
        self._locks.append(fd)
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # a disk without a single block left
            raise _unwritable(folder, error) from error

    def _prove_writable(self, folder: Path) -> None:
        probe = folder / ".probe.unfinished"
        try:
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise _unwritable(folder, error) from error

    def _prove_rename(self) -> None:
        """A finished upload becomes a blob by rename; two file systems, or two mounts of one, do not allow that."""
        here, there = self.spool / ".probe.unfinished", self.docker / ".probe.unfinished"
        try:
            here.write_bytes(b"")
        except OSError as error:
            raise _unwritable(self.spool, error) from error
        try:
            here.replace(there)
            there.unlink()
        except OSError as error:
            here.unlink(missing_ok=True)
            if error.errno == errno.EXDEV:
                raise FolderError(
                    f"{self.spool} and {self.docker} are on different file systems",
                    "put both on one: set STORAGE_ROOT_DIR to a folder of that file system",
                ) from error
            raise _unwritable(self.docker, error) from error


def _unwritable(folder: Path, error: OSError) -> FolderError:
    return FolderError(
        f"the folder {folder} cannot be written: {error.strerror}",
        "choose another one, or give this user the right to write there",
    )


def _holder(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
