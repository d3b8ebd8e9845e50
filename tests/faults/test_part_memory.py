"""A gibibyte in parts from many clients at once, in any order: byte for byte, and without memory for it.

PARTS_MIB makes it smaller on machines with little room.
"""

from pathlib import Path

import pytest

from tests.faults.large_parts import FLAGS, PARTS_BYTES, Large, pushed_without_memory, require_disk
from tests.support.faulty import check_log
from tests.support.server import Server


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_many_parts_in_random_order_by_sixteen_clients_arrive_whole_and_take_no_memory(
    tmp_path: Path, declared: bool
) -> None:
    """H069, H104, H176, H177, H187, H188, H206, H207, T07: 64 parts; peak RSS grows by less than 64 MiB."""
    size_bytes = PARTS_BYTES if declared else PARTS_BYTES // 4
    require_disk(tmp_path, size_bytes, "PARTS_MIB")
    with Server(tmp_path / "data", flags=FLAGS) as server:
        pushed_without_memory(server, Large(size_bytes, size_bytes // 64), clients=16, declared=declared)
    check_log(server.log())
