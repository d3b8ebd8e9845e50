"""The marks of a spool file: which prefixes of it are known to be whole, provable after any crash.

After kill -9 the page cache still holds what was written; after a power cut some of it may be zeros, or missing, or of
an older life of the file. Neither the file's length nor a number in a table tells which. So beside each spool file
lies a file of records `offset (8 bytes), SHA-256 of the bytes before it (32 bytes)`, appended as the bytes arrive. A
resumed session has to hash its prefix again anyway (hashlib's state cannot be saved); doing so, it stops at the last
mark that agrees. Whatever the disk lost, nothing unproven is ever offered as received.

Where slices go into an object store meanwhile, the first bytes may be there only. A record then is `offset, start of
the slice (8 bytes each), SHA-256 of the bytes between them`: each slice is proven for itself.
"""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_RECORD: Final = struct.Struct(">Q32s")
_OF_SLICE: Final = struct.Struct(">QQ32s")


def append(fd: int, offset: int, prefix_sha256: bytes) -> None:
    """Add a mark, whole or not at all; `fd` is open for appending.

    Raises:
        OSError: ENOSPC when the disk takes only a part of it.
    """
    _append(fd, _RECORD.pack(offset, prefix_sha256))


def append_of_slice(fd: int, offset: int, start: int, sha256: bytes) -> None:
    """As `append`: a mark of a slice that starts at `start`."""
    _append(fd, _OF_SLICE.pack(offset, start, sha256))


def _append(fd: int, record: bytes) -> None:
    written = os.write(fd, record)
    if written < len(record):
        os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """The marks, as far as their offsets rise; a missing file has none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    last = 0
    whole = len(content) - len(content) % _RECORD.size
    for offset, prefix_sha256 in _RECORD.iter_unpack(content[:whole]):
        if offset <= last:
            return
        last = offset
        yield offset, prefix_sha256


def read_of_slices(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """As `read`: offset, start of the slice, SHA-256."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    last = 0
    whole = len(content) - len(content) % _OF_SLICE.size
    for offset, start, sha256 in _OF_SLICE.iter_unpack(content[:whole]):
        if not last <= offset or not start < offset:
            return
        last = offset
        yield offset, start, sha256


def last(path: Path) -> tuple[int, bytes] | None:
    """The last mark, if there is one: how much the spool file held at some time, and the SHA-256 of that."""
    found = None
    for found in read(path):  # noqa: B007 - the last one is what is wanted
        pass
    return found


def rewind(fd: int, path: Path, offset: int) -> None:
    """Forget the marks behind `offset`, after the spool file was cut there."""
    kept = sum(1 for mark, _ in read(path) if mark <= offset)
    os.ftruncate(fd, kept * _RECORD.size)


def rewind_of_slices(fd: int, path: Path, offset: int) -> None:
    """As `rewind`."""
    kept = sum(1 for mark, _, _ in read_of_slices(path) if mark <= offset)
    os.ftruncate(fd, kept * _OF_SLICE.size)
