"""Where the admin socket lies in the data folder, and how to name it to the kernel, which takes 107 bytes at most."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "admin.sock"
LONGEST_BYTES: Final = 107


@contextmanager
def socket_address(data_dir: Path, name: str = SOCKET_NAME) -> Iterator[str]:
    """An address for `bind` and `connect`, good inside the block, however long the folder's path is.

    Raises:
        OSError: the path is too long and the folder cannot be opened.
    """
    path = str(data_dir / name)
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        yield path
        return
    fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
