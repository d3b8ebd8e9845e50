"""kill -9 at random moments of a mixed load: what was acknowledged is there, and nothing is half there."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.client import Client
from tests.faults.load import Worker
from tests.support.faulty import check_in_order, check_log
from tests.support.server import Server

SEED = 20261121
ROUNDS = 36
WORKERS = 4


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there_after_kills_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    server = Server(tmp_path / "data").start()
    workers = [Worker(Client(server.port), number, random.Random(f"{SEED} {number}")) for number in range(WORKERS)]
    try:
        for round_number in range(ROUNDS):
            one_round(server, workers, chance.uniform(0.02, 0.5))
            if round_number % 6 == 5:
                for worker in workers:
                    worker.finish_all()
            for worker in workers:  # what is old and known is looked at once more at the end only
                forget_some(worker)
        check_log(server.log())
        assert sum(worker.lost for worker in workers) > ROUNDS, "the kills hit nothing"
        assert sum(worker.acknowledged for worker in workers) > 5 * ROUNDS, "the load did nothing"
    finally:
        server.kill()


def one_round(server: Server, workers: list[Worker], life_s: float) -> None:
    """Let them work, kill the server under them, start it, and look."""
    until = threading.Event()
    with ThreadPoolExecutor(len(workers)) as threads:
        running = [threads.submit(worker.run, until) for worker in workers]
        time.sleep(life_s)  # the moment of the kill is the random part; nothing is waited for
        server.kill()
        until.set()
        for each in running:
            each.result()
    server.start()
    for worker in workers:
        worker.check()
    check_in_order(server.data)


def forget_some(worker: Worker) -> None:
    """Keep the number of things to look at bounded; a few old ones stay for the whole test."""
    for states in (worker.blobs, worker.manifests):
        for key in list(states)[10:-20]:
            del states[key]
