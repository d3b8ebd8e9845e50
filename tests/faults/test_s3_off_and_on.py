"""The store is turned off and on again, and the registry is killed, under a mixed load of patient clients."""

import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import Answer, Client, digest, noise
from tests.faults.hold import Hold, cut, etags
from tests.faults.load import Worker
from tests.faults.s3 import MIB, PATIENCE_S, Site, eventually, in_the_end, site_over
from tests.support.objectstore import ObjectStore
from tests.support.waiting import rest

WORKERS: Final = 4
ROUNDS: Final = 4
SEED: Final = 4


@dataclass(frozen=True)
class Patient(Client):
    """It comes again when it is told to, as every client does; for a while."""

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        pieces = body if body is None or isinstance(body, bytes) else list(body)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            sent = iter(pieces) if isinstance(pieces, list) else pieces
            answer = super().request(method, target, sent, headers)
            if answer.status != 503 or time.monotonic() > deadline:
                return answer
            assert answer.headers["Retry-After"]
            rest()


@pytest.fixture
def site(own_store: ObjectStore, tmp_path: Path) -> Iterator[Site]:
    with site_over(own_store, tmp_path) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_while_the_store_goes_off_and_on_and_the_registry_dies(site: Site) -> None:
    """T09, H003: who is patient gets through, and what was answered with success is there."""
    chance = random.Random(SEED)
    workers = [Worker(Patient(site.server.port), number, random.Random(number)) for number in range(WORKERS)]
    for worker in workers:
        worker.client.open(worker.repository)
    for number in range(ROUNDS):
        one_round(site, workers, chance, dies=number % 2 == 1)
    assert sum(worker.acknowledged for worker in workers) > ROUNDS * WORKERS
    for worker in workers:
        worker.finish_all()
        worker.check()
    site.in_order()


def one_round(site: Site, workers: list[Worker], chance: random.Random, *, dies: bool) -> None:
    """Let them work; take the store away and bring it back; let the registry die as well; look."""
    done = threading.Event()
    with ThreadPoolExecutor(len(workers)) as threads:
        working = [threads.submit(worker.run, done) for worker in workers]
        done.wait(chance.uniform(0.3, 1.0))
        site.store.kill()
        done.wait(chance.uniform(0.3, 2.0))
        if dies:
            site.server.kill()
            site.server.start()
        site.store.start()
        done.wait(chance.uniform(0.5, 1.0))
        done.set()
        for each in working:
            each.result()
    eventually(lambda: site.client.request("GET", "/readyz").status == 200, "the registry is ready")
    for worker in workers:
        worker.check()
    site.in_order()


@pytest.mark.parametrize("native", [False, True], ids=["buffered", "native"])
def test_uploads_in_parts_go_on_where_they_were_when_the_store_is_back(
    own_store: ObjectStore, tmp_path: Path, native: bool
) -> None:
    """H042, H047: begun before, filled during, or completed during: each arrives."""
    with site_over(own_store, tmp_path, native=native) as site:
        client, contents = site.client, [noise(("off and on", number), 12 * MIB) for number in range(3)]

        def begun(content: bytes) -> str:
            return client.start(digest(content), "off/on", size=len(content), part_size=5 * MIB)

        def part(upload_id: str, number: int, content: bytes) -> None:
            answer = client.post("/part-presigned-url", upload_id=upload_id, part_number=number, mode="buffered")
            client.put(client.target(answer.expect(200)), cut(content, 5 * MIB)[number]).expect(200)

        first, second = (begun(content) for content in contents[:2])
        for number in (1, 2, 3):
            part(first, number, contents[0])
        part(second, 1, contents[1])
        own_store.kill()
        third = begun(contents[2])
        for upload_id, content, numbers in ((second, contents[1], (2, 3)), (third, contents[2], (1, 2, 3))):
            for number in numbers:
                part(upload_id, number, content)
        client.complete(first, digest(contents[0]), etags(cut(contents[0], 5 * MIB))).expect(503)
        own_store.start()
        eventually(lambda: client.request("GET", "/readyz").status == 200, "the registry is ready")
        for upload_id, content in zip((first, second, third), contents, strict=True):
            listed = client.stored(upload_id)
            assert set(listed) == {1, 2, 3}
            in_the_end(partial(client.complete, upload_id, digest(content), listed), 200)
            assert client.has_whole("off/on", content)
        site.settled()


def test_a_hold_is_asked_again(site: Site) -> None:
    """H003: a lost answer to a completion while the store goes away is given when it is back."""
    client, content = Hold(site.server.port), noise("asked again", 11 * MIB)
    upload_id = client.start(digest(content), "off/on", size=len(content), part_size=5 * MIB)
    parts = cut(content, 5 * MIB)
    client.send_all(upload_id, parts)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(client.complete, upload_id, digest(content), etags(parts)) for _ in range(4)]
        site.store.kill()
        answers = [each.result().expect(200, 503) for each in asked]
    site.store.start()
    in_the_end(lambda: client.complete(upload_id, digest(content), etags(parts)), 200)
    assert client.has_whole("off/on", content)
    assert {answer.status for answer in answers} <= {200, 503}
    site.settled()
