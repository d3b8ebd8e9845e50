"""Uploads that are too large for every run of the tests: part of `make release-check`, with room looked for first.

BIG_GIB (20) is the size of the large one, PARTS_MIB (1024) that of the others; smaller ones prove the same, sooner.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.hold import Hold, spool_of
from tests.faults.large_parts import (
    FLAGS,
    GROWTH_BYTES,
    PARTS_BYTES,
    REPOSITORY,
    Large,
    digest_of_blob,
    pushed_without_memory,
    require_disk,
    send_parts,
    size_from,
)
from tests.support.faulty import MIB, check_log
from tests.support.memory import memory_bytes
from tests.support.server import Server

BIG_BYTES: Final = size_from("BIG_GIB", 20) * 1024 * MIB
PART_BYTES: Final = 64 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", flags=FLAGS) as running:
        yield running
        check_log(running.log())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("parts", [16, 200])
def test_a_gibibyte_in_few_or_many_parts_takes_no_memory(
    tmp_path: Path, server: Server, parts: int, declared: bool
) -> None:
    """H104, H187, H188, H206, H207, T07: peak RSS grows by less than 64 MiB."""
    require_disk(tmp_path, PARTS_BYTES, "PARTS_MIB")
    pushed_without_memory(server, Large(PARTS_BYTES, -(-PARTS_BYTES // parts)), clients=8, declared=declared)


@pytest.mark.timeout(4 * 3600)
def test_twenty_gibibytes_in_parts_arrive_whole_although_the_server_is_killed_twice(
    tmp_path: Path, server: Server
) -> None:
    """T07, T09, H100, H187, H188, H207: only the parts that were not answered are sent again; memory stays small."""
    require_disk(tmp_path, BIG_BYTES, "BIG_GIB")
    client, large = Hold(server.port), Large(BIG_BYTES, PART_BYTES)
    upload_id = client.start("uploads/temp-big", REPOSITORY, size=large.size_bytes, part_size=large.part_bytes)
    before = memory_bytes(server.pid, "VmRSS")
    peaks, answered = list[int](), dict[int, str]()
    for share in (3, 2):
        kill_at = len(answered) + (len(large.numbers) - len(answered)) // share
        answered |= sent_until(server, client, upload_id, large, kill_at, peaks)
        server.start()
        stored = client.stored(upload_id)
        assert answered.items() <= stored.items()
        answered = stored
    missing = [number for number in large.numbers if number not in answered]
    answered |= send_parts(client, upload_id, large, missing, clients=4)
    digest, wanted = large.etags()
    assert answered == wanted
    client.complete(upload_id, digest, wanted).expect(200)
    peaks.append(memory_bytes(server.pid, "VmHWM"))
    print(f"{BIG_BYTES // MIB} MiB: peak RSS {[round(peak / MIB) for peak in peaks]} MiB, {before // MIB} at the start")
    assert max(peaks) < before + GROWTH_BYTES
    assert digest_of_blob(client, REPOSITORY, digest) == digest
    assert list(spool_of(server.data, upload_id)) == []


def sent_until(
    server: Server, client: Hold, upload_id: str, large: Large, kill_at: int, peaks: list[int]
) -> dict[int, str]:
    """Send what is missing by four clients, and kill the server under them when so many parts are there."""
    there = client.stored(upload_id)
    missing = [number for number in large.numbers if number not in there]
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(send_parts, client, upload_id, large, missing, clients=4)
        while len(client.stored(upload_id)) < kill_at:
            assert not sending.done(), "everything was sent before the server could be killed"
        peaks.append(memory_bytes(server.pid, "VmHWM"))
        server.kill()
        return sending.result()
