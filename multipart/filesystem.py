"""What the filesystem is asked beside reading and writing: early write-back, reserving room, whether there is room.

They only make things faster or let a full disk show early; where a filesystem does not know them, nothing is lost.
ctypes releases the GIL during the call.
"""

import ctypes
import errno
import os
import re
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE: Final = 2
_FALLOC_FL_KEEP_SIZE: Final = 1
_UNSUPPORTED: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.ESPIPE}
)

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


def require_room(fd: int, length_bytes: int) -> None:
    """See that the filesystem has so much left; it may be gone a moment later.

    Raises:
        OSError: ENOSPC.
    """
    found = os.fstatvfs(fd)
    if found.f_bavail * found.f_frsize < length_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
