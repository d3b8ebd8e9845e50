"""A little room on the disk that is kept back, so that deleting works when nothing else fits any more.

Deleting writes to the catalog before it frees anything. On a full disk that would be refused like everything else, and
nobody could make room through the registry. So a file holds some room; the writer lets it go for operations that free
something, and takes it again when there is room.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from model.units import MIB

RESERVE_NAME: Final = "catalog.reserve"
RESERVE_BYTES: Final = 8 * MIB
"""Twice what the write-ahead log usually holds: emptying it into the catalog's file is what takes the room."""


class Reserve:
    """The room kept back in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESERVE_NAME
        self.held = False

    def hold(self) -> None:
        """Take the room, if it is not held; where there is none nothing happens, and it may be tried again."""
        if self.held:
            return
        with suppress(OSError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
                self.held = True
            finally:
                os.close(fd)
                if not self.held:
                    self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let the room go."""
        self.held = False
        with suppress(OSError):  # a disk that refuses this refuses what follows as well, and says why
            self._path.unlink(missing_ok=True)
