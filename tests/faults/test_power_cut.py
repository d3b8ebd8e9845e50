"""A power cut: the disk as it is at the moment of an answer, mounted again and served (`power.py` tells how)."""

import copy
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import scenarios as s
from tests.faults.client import digest, noise
from tests.faults.load import Worker
from tests.faults.power import Machine, machine_in
from tests.support.faulty import MIB

pytestmark = pytest.mark.only_with_directory("a disk is copied with all that lies on it; a bucket has no such moment")

SEED = 11


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("power")) as running:
        yield running


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
