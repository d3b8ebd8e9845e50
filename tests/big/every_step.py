"""kill -9 between any two steps of everything a client of the hold API asks: part of `make release-check`.

`tests/faults/test_part_steps.py` names the steps that matter; here each one that is passed is the last, one after the
other, until the request is answered without a death.
"""

import itertools
from pathlib import Path

import pytest

from tests.faults import part_scenarios as p
from tests.faults.client import LOST
from tests.faults.hold import SMALL_PARTS
from tests.faults.test_part_steps import after_the_death, begun, named
from tests.support.faulty import FaultyServer, check_log

KINDS = [
    *(p.FirstPart, p.MiddlePart, p.OtherBytes, p.SameBytes, p.Completing, p.CompletingKnownBytes),
    *(p.CompletingUnseen, p.Moving, p.WrongDigest, p.Aborting),
]
BEHIND_THE_ANSWER_S = 0.05
"""The last step may come behind the answer."""
STEPS = 200
"""More than any request has."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [*KINDS, *map(p.without_a_size, KINDS)], ids=named)
def test_a_death_at_any_step_leaves_what_was_answered_and_the_client_comes_to_its_end(
    tmp_path: Path, kind: type[p.InParts]
) -> None:
    """T09, T10, H068, H110, H175, H176, H185, H205: whichever step is the last."""
    with FaultyServer(tmp_path / "data", flags=SMALL_PARTS) as server:
        deaths = 0
        for number in itertools.count(1):
            assert number < STEPS
            if not dies_at(server, kind, number):
                break
            deaths += 1
        print(f"{deaths} deaths")
        assert deaths > 3
        check_log(server.log())


def dies_at(server: FaultyServer, kind: type[p.InParts], number: int) -> bool:
    """Whether the request has such a step; either way everything is as it should be afterwards."""
    scenario = begun(kind, server, "any", number)
    server.break_at("any", passing=number)
    try:
        scenario.act()
    except LOST:
        server.died()
    server.order.unlink(missing_ok=True)
    dead = not server.runs or server._ended(BEHIND_THE_ANSWER_S) is not None
    if dead and not server.runs:
        server.start()
    try:
        after_the_death(scenario, server.data)
    except AssertionError as error:
        raise AssertionError(f"after a death at step {number}") from error
    return dead
