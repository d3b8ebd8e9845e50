"""A machine whose power can be cut: a server on a disk of its own, and copies of that disk.

The data folder lies on an ext4 in a file behind a loop device. What the file holds is what the disk was given; what
only the file system's own cache holds is not in it. The server is stopped (SIGSTOP) while the file is copied, then
goes on; the copy is mounted, its journal replayed, and another server is started on it. `data=writeback` lets lengths
reach the disk before bytes, so that zeros and old bytes show where something was not synced.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import Client
from tests.support.faulty import MIB, check_in_order, make_image, mounted
from tests.support.server import Server

IMAGE_BYTES: Final = 192 * MIB
OPTIONS: Final = "loop,data=writeback,commit=300"


class Machine:
    """A server on a disk of its own, and copies of that disk."""

    def __init__(self, folder: Path, server: Server, flags: Sequence[str]) -> None:
        self.folder = folder
        self.server = server
        self.flags = flags
        self.client = Client(server.port)
        self._copies = 0

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The server does nothing inside the block; who asks it waits. The disk is taken down as it is then."""
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            self._copy_at_rest()
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    def _copy_at_rest(self) -> None:
        """Copy the disk so that nothing was written to it meanwhile: a copy of two moments is no moment's disk.

        The server stands still, but its file system may still be writing on its own; then the copy is taken again.
        """
        self._copy.unlink(missing_ok=True)
        self._copies += 1
        for _ in range(50):
            before = self._written()
            shutil.copyfile(self.folder / "disk.img", self._copy)
            if self._written() == before and before[-1] == "0":
                return
        pytest.fail("the disk never rested long enough to be copied")

    @property
    def _copy(self) -> Path:
        """The latest copy. Each has a name of its own: the device of one that is not quite gone may still be cached."""
        return self.folder / f"copy{self._copies}.img"

    def _written(self) -> list[str]:
        """What the loop device has written so far, and what it is writing now (block layer statistics)."""
        found = subprocess.run(
            ["losetup", "--noheadings", "--output", "NAME", "--associated", self.folder / "disk.img"],
            capture_output=True,
            text=True,
            check=True,
        )
        numbers = Path("/sys/block", Path(found.stdout.strip()).name, "stat").read_text().split()
        return [numbers[4], numbers[6], numbers[8]]

    def copy_disk(self) -> None:
        """Take down what the disk holds now."""
        with self.standing_still():
            pass

    @contextmanager
    def after_the_cut(self) -> Iterator[Client]:
        """A server on the copy."""
        with (
            mounted(self._copy, self.folder / "copy") as disk,
            Server(disk / "data", flags=self.flags) as again,
        ):
            yield Client(again.port)
            check_in_order(again.data)


@contextmanager
def machine_in(folder: Path, *flags: str) -> Iterator[Machine]:
    """A machine that runs for the length of the block, its server with these flags."""
    make_image(folder / "disk.img", IMAGE_BYTES)
    with (
        mounted(folder / "disk.img", folder / "disk", OPTIONS) as disk,
        Server(disk / "data", flags=flags) as running,
    ):
        yield Machine(folder, running, flags)
