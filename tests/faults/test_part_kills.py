"""kill -9 at random moments while several clients send the same parts with different bytes: the last whole one wins."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.hold import SMALL_PARTS, Hold
from tests.faults.part_load import Crowd
from tests.support.faulty import check_in_order, check_log
from tests.support.server import Server

SEED: Final = 20261123
ROUNDS: Final = 20
CLIENTS: Final = 6
SESSIONS: Final = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_kills_at_random_moments_every_upload_is_made_of_whole_parts_that_were_answered_last(
    tmp_path: Path,
) -> None:
    """T09, H068, H069, H177: two clients on one part never mix their bytes, and an answered part is never lost."""
    chance = random.Random(SEED)
    server = Server(tmp_path / "data", flags=SMALL_PARTS).start()
    crowd = Crowd(Hold(server.port), chance, SESSIONS)
    try:
        for round_number in range(ROUNDS):
            one_round(server, crowd, round_number, chance.uniform(0.05, 0.6))
            if round_number % 7 == 6:
                crowd.finish_all([session for session in crowd.sessions if not session.over])
                check_in_order(server.data)
        check_log(server.log())
        assert crowd.lost > ROUNDS, "the kills hit nothing"
        assert crowd.acknowledged > 5 * ROUNDS, "the load did nothing"
        assert crowd.cut > ROUNDS // 2
    finally:
        if server.runs:
            server.kill()


def one_round(server: Server, crowd: Crowd, round_number: int, life_s: float) -> None:
    """Let them work, kill the server under them, start it, and look."""
    until = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [
            threads.submit(crowd.run, random.Random(f"{SEED} {round_number} {number}"), until)
            for number in range(CLIENTS)
        ]
        time.sleep(life_s)  # the moment of the kill is the random part; nothing is waited for
        server.kill()
        until.set()
        for each in running:
            each.result()
    server.start()
    crowd.check()
    check_in_order(server.data)
