"""Fair turns: addresses are served round robin, and within one it is first come first served."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.turns import Lines, Turns


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers())))
def test_addresses_are_served_in_rounds_and_each_in_its_own_order(items: list[tuple[str, int]]) -> None:
    lines: Lines[tuple[str, int]] = Lines()
    for item in items:
        lines.append(item[0], item)
    served = [lines.popleft() for _ in range(len(lines))]
    assert len(lines) == 0
    of_each = [[item for item in items if item[0] == peer] for peer in dict.fromkeys(peer for peer, _ in items)]
    assert served == [item for rounds in zip_longest(*of_each) for item in rounds if item is not None]


def test_who_leaves_a_line_is_not_served() -> None:
    lines: Lines[int] = Lines()
    for peer, item in (("a", 1), ("a", 2), ("b", 3)):
        lines.append(peer, item)
    lines.remove("a", 1)
    lines.remove("b", 3)
    assert (lines.popleft(), len(lines)) == (2, 0)
    with pytest.raises(StopIteration):
        lines.popleft()
    with pytest.raises(KeyError):
        lines.remove("b", 3)


class Pool(Executor):
    """Threads that begin when the test says so; after `shutdown` none does."""

    def __init__(self) -> None:
        self.submitted: list[Callable[[], None]] = []
        self.ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if self.ended:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self.submitted.append(fn)
        return Future()


class Body:
    """A body whose turns are noted."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self._notes = notes

    def work(self) -> None:
        self._notes.append(self.name)

    def refused(self, error: RuntimeError) -> None:
        self._notes.append(f"{self.name} refused")


def test_an_address_with_many_streams_gets_every_other_turn_beside_one_with_few() -> None:
    pool, notes = Pool(), list[str]()
    turns = Turns(pool, at_once=2)
    for _ in range(100):
        turns.take("127.0.0.1", Body("greedy", notes))
    turns.take("127.0.0.2", Body("modest", notes))
    turns.take("127.0.0.2", Body("modest", notes))
    while len(notes) < 8:
        pool.submitted.pop(0)()
        turns.ended()
        assert (turns.running, len(pool.submitted)) == (2, 2)
    assert notes == ["greedy", "greedy", "greedy", "modest", "greedy", "modest", "greedy", "greedy"]


def test_all_turns_are_served_and_then_nothing_is_counted() -> None:
    pool, notes = Pool(), list[str]()
    turns = Turns(pool, at_once=3)
    for number in range(20):
        turns.take(f"peer {number % 4}", Body("one", notes))
    while pool.submitted:
        pool.submitted.pop()()
        turns.ended()
    assert (len(notes), turns.running, turns.waiting) == (20, 0, 0)


def test_when_the_threads_are_gone_everybody_who_waits_is_told() -> None:
    pool, notes = Pool(), list[str]()
    turns = Turns(pool, at_once=1)
    for name in ("first", "second", "third"):
        turns.take("a", Body(name, notes))
    pool.ended = True
    turns.ended()
    turns.take("a", Body("fourth", notes))
    assert notes == ["second refused", "third refused", "fourth refused"]
    assert (turns.running, turns.waiting) == (0, 0)
