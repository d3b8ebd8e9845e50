"""A power cut: the disk as it is at the moment of an answer, mounted again and served.

The data folder lies on an ext4 in a file behind a loop device. What the file holds is what the disk was given; what
only the file system's own cache holds is not in it. The server is stopped (SIGSTOP) while the file is copied, then
goes on; the copy is mounted, its journal replayed, and another server is started on it. `data=writeback` lets lengths
reach the disk before bytes, so that zeros and old bytes show where something was not synced.
"""

import copy
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import scenarios as s
from tests.faults.client import Client, digest, noise
from tests.faults.load import Worker
from tests.support.faulty import MIB, check_in_order, make_image, mounted
from tests.support.server import Server

IMAGE_BYTES = 192 * MIB
OPTIONS = "loop,data=writeback,commit=300"
SEED = 11


class Machine:
    """A server on a disk of its own, and copies of that disk."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.client = Client(server.port)

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
        for _ in range(50):
            before = self._written()
            shutil.copyfile(self.folder / "disk.img", self.folder / "copy.img")
            if self._written() == before and before[-1] == "0":
                return
        pytest.fail("the disk never rested long enough to be copied")

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
        with mounted(self.folder / "copy.img", self.folder / "copy") as disk, Server(disk / "data") as again:
            yield Client(again.port)
            check_in_order(again.data)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("power")
    make_image(folder / "disk.img", IMAGE_BYTES)
    with mounted(folder / "disk.img", folder / "disk", OPTIONS) as disk, Server(disk / "data") as running:
        yield Machine(folder, running)


@pytest.mark.parametrize(
    "kind",
    [s.OnePut, s.Closing, s.OtherRepositoryHasIt, s.MovingTag, s.Mounting, s.DeletingTag],
)
def test_what_was_answered_with_success_is_there_after_the_cut(machine: Machine, kind: type[s.Scenario]) -> None:
    scenario = kind(machine.client, f"cut-{kind.__name__.lower()}")
    scenario.prepare()
    scenario.act()
    machine.copy_disk()
    with machine.after_the_cut() as client:
        if isinstance(scenario, s.DeletingTag):
            assert client.tagged(scenario.repository, "one") is None
            assert client.tagged(scenario.repository, "two") == digest(scenario.manifest)
        elif isinstance(scenario, s.FirstManifest):
            assert client.tagged(scenario.repository, "one") == digest(scenario.manifest)
        else:
            assert client.has_whole(scenario.repository, scenario.content)


def test_a_large_blob_answered_with_201_is_there_after_the_cut(machine: Machine) -> None:
    content = noise("large", 20 * MIB)
    location = machine.client.patch(machine.client.open("cut/large"), content[: 12 * MIB]).expect(202).location
    machine.client.finish(location, digest(content), content[12 * MIB :]).expect(201)
    machine.copy_disk()
    with machine.after_the_cut() as client:
        assert client.has_whole("cut/large", content)
    machine.client.request("DELETE", f"/v2/cut/large/blobs/{digest(content)}").expect(202)


@pytest.mark.parametrize("sent_bytes", [300_000, 9 * MIB, 17 * MIB])
def test_a_cut_in_the_middle_of_an_upload_offers_only_what_the_disk_has_byte_for_byte(
    machine: Machine, sent_bytes: int
) -> None:
    content, repository = noise(("middle", sent_bytes), 18 * MIB), f"cut/middle{sent_bytes}"
    location = machine.client.open(repository)
    with machine.client.begin_body("PATCH", location, len(content), content[:sent_bytes]):
        while machine.client.request("GET", location).expect(204).received_bytes < sent_bytes * 3 // 4:
            pass  # the server takes it in large pieces
        machine.copy_disk()
    with machine.after_the_cut() as client:
        status = client.request("GET", location).expect(204)
        assert 0 <= status.received_bytes <= sent_bytes
        client.finish(status.location, digest(content), content[status.received_bytes :]).expect(201)
        assert client.has_whole(repository, content)
    machine.client.request("DELETE", location).expect(204)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_at_random_moments_of_a_mixed_load_a_cut_loses_nothing_that_was_acknowledged(machine: Machine) -> None:
    chance = random.Random(SEED)
    workers = [Worker(machine.client, number, random.Random(f"{SEED} {number}")) for number in range(3)]
    until = threading.Event()
    with ThreadPoolExecutor(len(workers)) as threads:
        running = [threads.submit(worker.run, until) for worker in workers]
        try:
            for _ in range(5):
                until.wait(chance.uniform(0.1, 0.6))  # the moment is the random part; nothing is waited for
                with machine.standing_still():
                    then = known_to(workers)
                    with machine.after_the_cut() as client:
                        for worker in then:
                            worker.client = client
                            worker.check()
                            worker.finish_all()
        finally:
            until.set()
        for each in running:
            each.result()
    assert sum(worker.acknowledged for worker in workers) > 40


def known_to(workers: list[Worker]) -> list[Worker]:
    """What the workers know now. Their requests hang, but one may be taking its last answer in."""
    while True:
        try:
            known = copy.deepcopy(workers)
        except RuntimeError:  # a dictionary changed under the copying
            continue
        for worker in known:
            for upload in worker.uploads:
                upload.at_least = 0  # what an unfinished upload received is not promised to survive this
        return known
