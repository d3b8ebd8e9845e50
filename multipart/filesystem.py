"""What the filesystem is asked beside reading and writing: early write-back, taking room, copying inside the kernel.

They only make things faster or let a full disk show early; where a filesystem does not know them, nothing is lost.
ctypes releases the GIL during the call.
"""

import ctypes
import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from model.units import MIB

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE: Final = 2
_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
_UNSUPPORTED: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.ESPIPE}
)

_CANNOT_COPY: Final = _UNSUPPORTED | {errno.EXDEV}
COPY_BYTES: Final = 256 * MIB
"""One call copies at most so much, so that a thread can be stopped between two."""
PIECE_BYTES: Final = MIB

_RWF_DONTCACHE: Final = 0x80
_UNCACHED_SINCE: Final = (6, 16)
"""The flag came with 6.14, where it could corrupt memory, was switched off in 6.15, and is right since."""


def can_write_uncached() -> bool:
    """Whether the kernel is new enough; the filesystem may still say no at the first write."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found.group(1)), int(found.group(2))) >= _UNCACHED_SINCE


def write_uncached(fd: int, data: memoryview, offset: int) -> int | None:
    """As pwrite, but the pages are let go as soon as they are on the disk; None if this filesystem cannot do that.

    A large upload then neither pushes everything else out of the page cache nor waits for pages to be found for it. On
    machines whose memory has to be fetched from a host, that alone doubles the rate (docs/performance.md).
    """
    try:
        return os.pwritev(fd, [data], offset, _RWF_DONTCACHE)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return None
        raise


def start_write_back(fd: int, offset: int, length_bytes: int) -> None:
    """Ask the kernel to begin writing this range to the disk; durability still needs a sync.

    It takes the waiting off the end of a large upload: its fdatasync is almost free then (13-15 % of the whole).
    A failure is ignored on purpose: the later fdatasync reports whatever is wrong.
    """
    call = getattr(_LIBC, "sync_file_range", None)
    if call is not None:
        call(
            ctypes.c_int(fd),
            ctypes.c_int64(offset),
            ctypes.c_int64(length_bytes),
            ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
        )


def let_go(fd: int, offset: int, length_bytes: int) -> None:
    """Let pages of this range leave the page cache that are on the disk already; nobody will read them for now.

    What is not there yet stays. A failure is ignored on purpose: it is a wish.
    """
    with suppress(OSError):
        os.posix_fadvise(fd, offset, length_bytes, os.POSIX_FADV_DONTNEED)


def reserve(fd: int, offset: int, length_bytes: int) -> None:
    """Reserve room for bytes that are announced, without changing the file's size.

    Raises:
        OSError: ENOSPC or EDQUOT: the disk has no room for them, said before a byte is received.
    """
    call = getattr(_LIBC, "fallocate", None)
    if call is None or length_bytes <= 0:
        return
    failed = call(
        ctypes.c_int(fd), ctypes.c_int(_FALLOC_FL_KEEP_SIZE), ctypes.c_int64(offset), ctypes.c_int64(length_bytes)
    )
    code = ctypes.get_errno()
    if failed and code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code))


def punch(fd: int, offset: int, length_bytes: int) -> bool:
    """Give the room of this range back; the file keeps its size. False where that cannot be done.

    Raises:
        OSError: the disk failed.
    """
    call = getattr(_LIBC, "fallocate", None)
    if call is None:
        return False
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    while call(ctypes.c_int(fd), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length_bytes)):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def allocate(fd: int, length_bytes: int) -> None:
    """Make the file so long, with room for all of it; where room cannot be taken ahead, only so long.

    Raises:
        OSError: ENOSPC or EDQUOT: the disk has no room for it.
    """
    call = getattr(_LIBC, "fallocate", None)
    if call is not None and length_bytes > 0:
        while call(ctypes.c_int(fd), ctypes.c_int(0), ctypes.c_int64(0), ctypes.c_int64(length_bytes)):
            code = ctypes.get_errno()
            if code in _UNSUPPORTED:
                break
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))
        else:
            return
    os.ftruncate(fd, length_bytes)


def copy_range(source: int, target: int, length_bytes: int, offset: int) -> None:
    """Copy the first `length_bytes` of one file to `offset` in another, inside the kernel where that can be done.

    A file system that can share blocks does so. Where it cannot copy at all, the bytes go through us.

    Raises:
        OSError: EIO when the source ends before.
    """
    done, inside = 0, True
    while done < length_bytes:
        left = length_bytes - done
        if inside:
            try:
                copied = os.copy_file_range(source, target, min(left, COPY_BYTES), done, offset + done)
            except OSError as error:
                if error.errno not in _CANNOT_COPY:
                    raise
                inside = False
                continue
        else:
            piece = os.pread(source, min(left, PIECE_BYTES), done)
            copied = os.pwrite(target, piece, offset + done) if piece else 0
        if copied == 0:
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        done += copied


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Pwrite until everything is written: the kernel may take less than it is given when the disk fills up."""
    while data:
        written = os.pwrite(fd, data, offset)
        offset += written
        data = data[written:]


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """How much the file system of `folder` has left for us."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def require_room(fd: int, length_bytes: int) -> None:
    """See that the filesystem has so much left; it may be gone a moment later.

    Raises:
        OSError: ENOSPC.
    """
    found = os.fstatvfs(fd)
    if found.f_bavail * found.f_frsize < length_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
