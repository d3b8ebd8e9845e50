"""A power cut during uploads in parts: what was answered is on the disk, byte for byte (`power.py` tells how)."""

import copy
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.faults.client import digest, noise
from tests.faults.hold import SMALL_PARTS, Hold, cut, etags
from tests.faults.part_load import Contested, Crowd
from tests.faults.power import Machine, machine_in
from tests.support.faulty import MIB

pytestmark = pytest.mark.only_with_directory("a disk is copied with all that lies on it; a bucket has no such moment")

PART: Final = MIB + 11
REPOSITORY: Final = "cut/parts"
SEED: Final = 12
DECLARED: Final = pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("power"), *SMALL_PARTS) as running:
        yield running


def sizes_of(content: bytes, *, declared: bool) -> dict[str, int]:
    return {"size": len(content), "part_size": PART} if declared else {}


@DECLARED
def test_every_part_that_was_answered_is_there_and_right_after_the_cut(machine: Machine, declared: bool) -> None:
    """T09, H205: also one that replaced another; the completion proves the bytes, and no part has to be sent again."""
    content, client = noise(("answered", declared), 4 * PART - 100), Hold(machine.server.port)
    parts = cut(content, PART)
    upload_id = client.start("uploads/temp-cut", REPOSITORY, **sizes_of(content, declared=declared))
    client.send_all(upload_id, {4: parts[4], 2: noise("earlier", PART), 1: parts[1]})
    client.send_all(upload_id, {2: parts[2]})
    with client.begin_body("PUT", client.url(upload_id, 3), PART, parts[3][: PART // 2]):
        machine.copy_disk()
    with machine.after_the_cut() as again:
        after = Hold(again.port)
        assert after.stored(upload_id) == etags({number: parts[number] for number in (1, 2, 4)})
        after.send_all(upload_id, {3: parts[3]})
        after.complete(upload_id, digest(content), etags(parts)).expect(200)
        assert after.has_whole(REPOSITORY, content)
    client.abort(upload_id).expect(200)


@DECLARED
def test_a_completion_that_was_answered_holds_after_the_cut_seen_or_unseen(machine: Machine, declared: bool) -> None:
    """T01, T09, H110: the blob; and what waits under its temporary name for the move."""
    seen, unseen, client = noise(("seen", declared), 2 * PART), noise("unseen", 2 * PART), Hold(machine.server.port)
    temp = f"uploads/temp-unseen{declared}"
    for content, target in ((seen, digest(seen)), (unseen, temp)):
        upload_id = client.start(temp, REPOSITORY, **sizes_of(content, declared=declared))
        client.send_all(upload_id, cut(content, PART))
        client.complete(upload_id, target, etags(cut(content, PART))).expect(200)
    machine.copy_disk()
    with machine.after_the_cut() as again:
        after = Hold(again.port)
        assert after.has_whole(REPOSITORY, seen)
        assert not after.has_whole(REPOSITORY, unseen)
        after.move(temp, digest(unseen)).expect(200)
        assert after.has_whole(REPOSITORY, unseen)
    client.move(temp, digest(unseen)).expect(200)
    machine.copy_disk()
    with machine.after_the_cut() as again:
        assert again.has_whole(REPOSITORY, unseen)
    for content in (seen, unseen):
        client.request("DELETE", f"/v2/{REPOSITORY}/blobs/{digest(content)}").expect(202)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_at_random_moments_of_contested_parts_a_cut_loses_and_mixes_nothing(machine: Machine) -> None:
    """T09, H068, H177, H205: two clients on each part; the last that was answered is there, whole."""
    chance = random.Random(SEED)
    crowd = Crowd(Hold(machine.server.port), chance, 3)
    until = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(crowd.run, random.Random(f"{SEED} {number}"), until) for number in range(4)]
        try:
            for _ in range(4):
                until.wait(chance.uniform(0.1, 0.8))  # the moment is the random part; nothing is waited for
                with machine.standing_still():
                    then = known_to(crowd)
                    with machine.after_the_cut() as client:
                        then.client = Hold(client.port)
                        then.check()
                        then.finish_all([session for session in then.sessions if not session.over])
        finally:
            until.set()
        for each in running:
            each.result()
    assert crowd.acknowledged > 20


def known_to(crowd: Crowd) -> Crowd:
    """What the clients know now: their requests hang, as if they were lost."""
    then = copy.copy(crowd)
    with crowd.lock:
        then.sessions = [as_if_lost(copy.deepcopy(session)) for session in crowd.sessions]
        then.blobs = list(crowd.blobs)
    return then


def as_if_lost(session: Contested) -> Contested:
    for attempts in session.attempts.values():
        for attempt in attempts:
            attempt.lost = attempt.ended_s is None
    return session
