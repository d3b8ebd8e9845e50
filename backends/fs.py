"""Bytes in files below one folder: durable when `put` returns, never visible before, never half.

    put     sync the source ─ make parents, each synced into its own parent ─ rename ─ sync the folder
    delete  unlink ─ remove the folder if that was the last in it ─ sync what is left

Each verb is one job in one thread. A crash between any two steps leaves the old value or the new one. Where rename
cannot reach (the source is on another file system) the bytes are first copied beside the target, under a name that no
listing shows.
"""

import errno
import itertools
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from backends.base import KeyMissing, ShortRead, in_thread
from backends.filecalls import FileCalls
from backends.keys import UNFINISHED, checked, is_segment
from model.errors import StorageFailed, StorageFull
from model.units import MIB

PIECE_BYTES: Final = MIB
THREADS: Final = 8
"""Syncs of different files overlap up to about this many (docs/performance.md)."""
_LISTED_AT_ONCE: Final = 1000
_TRIES: Final = 20
"""How often a folder may be taken away by a delete between making it and renaming into it."""

_NO_LINK: Final = {errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
"""Nothing is there to link to, or the file system has no second names; then only the new value can be taken back."""
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

T = TypeVar("T")


class FsBackend:
    """A folder as a place for bytes (`Backend`, with the ability `LocalFile`)."""

    def __init__(self, root: Path, *, durable: bool = True, calls: FileCalls | None = None) -> None:
        """`root` exists. Not durable: what a power cut takes is up to the kernel."""
        self._root = root
        self._calls = calls or FileCalls(durable=durable)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._settled: set[Path] = {root}
        """Folders whose own name is known to be synced; never a blob's own folder, so that the set stays small."""

    def close(self) -> None:
        """Finish what runs and let the threads go. Blocks."""
        self._pool.shutdown()

    async def put(self, key: str, source: Path) -> None:
        """Move `source` under `key`; see `Backend.put`."""
        await self._run("store", key, partial(self._put, self._path(key), source))

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; see `Backend.size`."""
        return await self._run("look at", key, partial(self._size, key))

    async def delete(self, key: str) -> None:
        """Remove `key`; see `Backend.delete`."""
        await self._run("delete", key, partial(self._delete, self._path(key)))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly those bytes, in pieces of up to 1 MiB; see `Backend.get`."""
        fd, size_bytes = await in_thread(self._pool, partial(self.open_local, key), lambda opened: os.close(opened[0]))
        try:
            stop = size_bytes if length is None else start + length
            if max(start, stop) > size_bytes:
                raise ShortRead(f"{key} ends at byte {size_bytes}, before what was asked for")
            while start < stop:
                piece = await self._run(
                    "read", key, partial(self._calls.read, fd, min(PIECE_BYTES, stop - start), start)
                )
                if not piece:
                    raise ShortRead(f"{key} ends at byte {start} of {size_bytes}")
                start += len(piece)
                yield piece
        finally:
            os.close(fd)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; see `Backend.keys`."""
        walk = self._walk(self._root, "", prefix)
        while batch := await self._run("list", prefix, lambda: list(itertools.islice(walk, _LISTED_AT_ONCE))):
            for key in batch:
                yield key

    def open_local(self, key: str) -> tuple[int, int]:
        """A descriptor open for reading, and the file's size; see `LocalFile.open_local`."""
        with _translated("read", key):
            fd = self._calls.open(self._path(key))
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise KeyMissing(f"nothing is stored under {key}")
            except BaseException:
                os.close(fd)
                raise
            return fd, status.st_size

    async def _run(self, doing: str, key: str, job: Callable[[], T]) -> T:
        with _translated(doing, key):
            return await in_thread(self._pool, job)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    def _size(self, key: str) -> int:
        status = self._path(key).stat()
        if not stat.S_ISREG(status.st_mode):
            raise KeyMissing(f"nothing is stored under {key}")
        return status.st_size

    def _put(self, target: Path, source: Path) -> None:
        try:
            self._calls.sync_file(source)
        except FileNotFoundError as error:
            raise StorageFailed("the finished upload to be stored is not there any more") from error
        for attempt in itertools.count(1):
            try:
                self._make_folder(target.parent)
                self._place(source, target)
            except FileNotFoundError:  # a delete took the folder away before it was used
                if attempt == _TRIES or not source.exists():
                    raise
                self._settled = {self._root}
            else:
                return

    def _place(self, source: Path, target: Path) -> None:
        try:
            self._rename_into_place(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_into_place(source, target)

    def _copy_into_place(self, source: Path, target: Path) -> None:
        """`source` is on another file system: copy, and only then rename. The source goes when all is durable."""
        copy = _unfinished(target)
        try:
            self._calls.copy(source, copy)
            self._calls.sync_file(copy)
            self._rename_into_place(copy, target)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # it is stored, and that is what counts: the spool's own cleaning takes what stays
            self._calls.unlink(source)

    def _rename_into_place(self, source: Path, target: Path) -> None:
        """Make `source` the value under `target`, durably; on any failure both are as they were."""
        with self._former_value(target) as former:
            inode = source.stat().st_ino
            self._calls.rename(source, target)
            try:
                self._sync_nearest(target.parent)
            except BaseException:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    _take_back(source, target, inode, former)
                raise

    @contextmanager
    def _former_value(self, target: Path) -> Iterator[Path | None]:
        """A second name for what is there now, so that it can be put back; it goes at the end."""
        former = _unfinished(target)
        try:
            self._calls.link(target, former)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            yield None
            return
        try:
            yield former
        finally:
            with suppress(OSError):  # at worst a second name stays, which no listing shows and which costs nothing
                former.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Make `folder` and what it lies in, each name synced before anything is put below it.

        A folder that is there may have been made a moment ago by another thread that has not synced it yet, so being
        there is not enough.
        """
        missing = []
        at = folder
        while at not in self._settled:
            missing.append(at)
            at = at.parent
        for made in reversed(missing):
            self._calls.make_folder(made)
            self._calls.sync_folder(made.parent)
            if made != folder:
                self._settled.add(made)

    def _delete(self, target: Path) -> None:
        try:
            self._calls.unlink(target)
        except (FileNotFoundError, IsADirectoryError):
            return
        if target.parent != self._root:
            self._settled.discard(target.parent)
            with suppress(OSError):  # something else is in it, or it is gone already
                target.parent.rmdir()
        self._sync_nearest(target.parent)

    def _sync_nearest(self, folder: Path) -> None:
        """Sync `folder`, or what it lay in when a delete has taken it away meanwhile, together with what was in it."""
        while True:
            try:
                return self._calls.sync_folder(folder)
            except FileNotFoundError:
                if folder == self._root:
                    raise
                folder = folder.parent

    def _walk(self, folder: Path, above: str, prefix: str) -> Iterator[str]:
        """Keys below `folder`, whose own key is `above`; a folder sorts as its name and a slash."""
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry.name + "/" * entry.is_dir(), entry) for entry in found)
        except FileNotFoundError:
            return  # taken away by a delete since it was seen
        for name, entry in entries:
            key = above + name
            if not is_segment(entry.name):
                continue
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / entry.name, key, prefix)
            elif key.startswith(prefix) and entry.is_file():
                yield key


def _unfinished(target: Path) -> Path:
    return target.with_name(f"{target.name}.{secrets.token_hex(8)}{UNFINISHED}")


def _take_back(source: Path, target: Path, inode: int, former: Path | None) -> None:
    """Undo a rename that could not be made durable, unless another put has replaced it meanwhile."""
    if target.stat().st_ino != inode:
        return
    if former is None:
        target.rename(source)
    else:
        source.hardlink_to(target)
        former.rename(target)


@contextmanager
def _translated(doing: str, key: str) -> Iterator[None]:
    """Turn the system's errors into the port's. They name the key and the reason, never a path of this machine."""
    try:
        yield
    except FileNotFoundError as error:
        if doing in {"read", "look at"}:
            raise KeyMissing(f"nothing is stored under {key}") from error
        raise _failed(doing, key, error) from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the disk is full", inner=f"cannot {doing} {key}: the disk is full") from error
        raise _failed(doing, key, error) from error


def _failed(doing: str, key: str, error: OSError) -> StorageFailed:
    return StorageFailed(f"the disk failed: {error.strerror}", inner=f"cannot {doing} {key}: {error.strerror}")
