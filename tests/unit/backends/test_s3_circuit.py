"""The circuit before a store, and how long anybody tries again: a dead store is known for dead within seconds (G13)."""

import itertools
import logging

import pytest

from backends.s3.circuit import FAILURES_TO_OPEN, FIRST_PAUSE_S, LONGEST_PAUSE_S, NEXT, Circuit, Event, State
from backends.s3.errors import TRIED_AGAIN, Trouble
from backends.s3.retrying import BROKEN, BUSY, patience_for
from tests.unit.backends.s3harness import Moved


def opened(clock: Moved) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(FAILURES_TO_OPEN):
        circuit.failed("nobody there")
    return circuit


def test_a_few_failures_in_a_row_open_it_and_fewer_do_not() -> None:
    circuit = Circuit(Moved())
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            circuit.failed("nobody there")
        assert circuit.state is State.CLOSED
        circuit.answered()
    assert opened(Moved()).state is State.OPEN


def failed_at(*operations: str) -> State:
    """The state after so many failures in a row."""
    circuit = Circuit(Moved())
    for operation in operations:
        circuit.failed("500", at=operation)
    return circuit.state


def test_errors_of_one_operation_open_nothing_and_those_of_two_do() -> None:
    """A copy that never works is no dead store; no answer at all counts for every operation."""
    copies = ["copy"] * 3 * FAILURES_TO_OPEN
    assert failed_at(*copies) is State.CLOSED
    assert failed_at(*copies, "head") is State.OPEN
    assert failed_at(*copies, "") is State.OPEN


def test_an_answer_ends_what_is_counted_of_operations() -> None:
    circuit = opened(Moved())
    circuit.answered()
    for _ in range(FAILURES_TO_OPEN):
        circuit.failed("500", at="copy")
    assert circuit.state is State.CLOSED


def test_one_call_that_hung_opens_it() -> None:
    circuit = Circuit(Moved())
    circuit.failed("no answer in time", hung=True)
    assert (circuit.state, circuit.wait_s) == (State.OPEN, FIRST_PAUSE_S)


def test_who_tells_it_himself_keeps_it_quiet(caplog: pytest.LogCaptureFixture) -> None:
    circuit = Circuit(Moved())
    circuit.quiet = True
    circuit.failed("no answer in time", hung=True)
    assert caplog.records == []


def test_nothing_goes_out_until_the_pause_is_over() -> None:
    clock = Moved()
    circuit = opened(clock)
    assert circuit.wait_s == FIRST_PAUSE_S
    clock.move(FIRST_PAUSE_S / 2)
    assert circuit.wait_s == FIRST_PAUSE_S / 2
    clock.move(FIRST_PAUSE_S)
    assert circuit.wait_s == 0


def test_while_a_probe_is_on_its_way_nobody_else_goes_out() -> None:
    clock = Moved()
    circuit = opened(clock)
    clock.move(FIRST_PAUSE_S)
    circuit.probing()
    assert circuit.state is State.HALF_OPEN
    assert circuit.wait_s > 0


def test_a_probe_that_is_answered_closes_it_and_one_that_is_not_doubles_the_pause() -> None:
    clock = Moved()
    circuit = opened(clock)
    pauses = []
    for _ in range(6):
        pauses.append(circuit.wait_s)
        clock.move(circuit.wait_s)
        circuit.probing()
        circuit.failed("still nobody there")
    assert pauses == [1, 2, 4, 8, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    clock.move(LONGEST_PAUSE_S)
    circuit.probing()
    circuit.answered()
    assert (circuit.state, circuit.wait_s) == (State.CLOSED, 0)
    for _ in range(FAILURES_TO_OPEN):
        circuit.failed("gone again")
    assert circuit.wait_s == FIRST_PAUSE_S


def test_a_call_that_set_out_before_it_opened_and_is_answered_closes_it() -> None:
    circuit = opened(Moved())
    circuit.answered()
    assert circuit.state is State.CLOSED


def test_it_says_since_when_the_store_is_gone_or_back() -> None:
    clock = Moved()
    circuit = opened(clock)
    gone_s = circuit.since_s
    clock.move(1)
    circuit.probing()
    circuit.failed("still nobody there")
    assert circuit.since_s == gone_s
    clock.move(2)
    circuit.probing()
    circuit.answered()
    assert circuit.since_s == gone_s + 3


def test_every_state_is_left_again_by_an_answer() -> None:
    for state, event in itertools.product(State, Event):
        after = NEXT.get((state, event), state)
        assert after is State.CLOSED or (after, Event.ANSWERED) in NEXT


@pytest.mark.parametrize("trouble", Trouble)
def test_only_what_may_pass_is_tried_again(trouble: Trouble) -> None:
    assert (patience_for(trouble).pause_s(1, 0.0, 1.0) is not None) == (trouble in TRIED_AGAIN)


def test_pauses_grow_up_to_a_bound_and_are_anything_below_by_chance() -> None:
    assert [BROKEN.pause_s(tried, 0.0, 1.0) for tried in range(1, 6)] == [0.2, 0.4, 0.8, 1.6, None]
    assert [BROKEN.pause_s(tried, 0.0, 0.0) for tried in range(1, 6)] == [0.0, 0.0, 0.0, 0.0, None]
    assert [BUSY.pause_s(tried, 0.0, 0.5) for tried in (1, 4, 9)] == [0.2, 1.6, 2.5]


def test_nothing_is_tried_again_after_the_time_for_all_tries() -> None:
    assert BROKEN.pause_s(1, BROKEN.whole_s, 1.0) is None
    assert BROKEN.pause_s(1, BROKEN.whole_s - 0.2, 1.0) == 0.2


def test_what_the_store_asks_for_is_granted_within_bounds() -> None:
    assert BUSY.pause_s(1, 0.0, 0.0, asked_s=3) == 3
    assert BUSY.pause_s(1, 0.0, 0.0, asked_s=3600) == BUSY.longest_s


def test_the_log_says_once_that_the_store_is_gone_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holdfast.store")
    clock = Moved()
    circuit = opened(clock)
    for _ in range(3):
        clock.move(circuit.wait_s)
        circuit.probing()
        circuit.failed("still nobody there")
    clock.move(circuit.wait_s)
    circuit.probing()
    circuit.answered()
    circuit.answered()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the store does not answer and is left alone for a while: nobody there"),
        ("INFO", "the store answers again"),
    ]
