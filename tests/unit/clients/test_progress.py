"""What the person sees: a line that moves, or lines now and then; and how patient a push is."""

import pytest

from clients.answers import retry_after_s
from clients.problems import Busy, LineBroken, Problem
from clients.progress import Progress
from clients.retrying import GaveUp, Insistence
from tests.unit.clients.steps import MIB, Page


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


def test_it_says_how_much_how_fast_and_how_long() -> None:
    clock = Hand()
    progress = Progress(Page(), "pushing", clock)
    progress.expect(100 * MIB)
    progress.found(20 * MIB)
    assert progress.told() == "pushing: 20.0 MiB of 100.0 MiB, 20%, 0 B/s"
    clock.at_s += 4
    progress.moved(40 * MIB)
    assert progress.told() == "pushing: 60.0 MiB of 100.0 MiB, 60%, 10.0 MiB/s, 4 s left"


def test_a_line_that_died_shows_in_the_rate() -> None:
    clock = Hand()
    progress = Progress(Page(), "pushing", clock)
    progress.expect(100 * MIB)
    progress.moved(50 * MIB)
    for _ in range(30):
        clock.at_s += 1
        progress.told()
    assert progress.told().endswith(" 50%, 0 B/s")


def test_a_terminal_has_one_line_and_notes_stand_above_it() -> None:
    page = Page(terminal=True)
    progress = Progress(page, "pushing", Hand())
    progress.expect(10)
    progress.found(5)
    progress.draw()
    progress.note("something happened")
    progress.draw()
    assert page.text.count("\n") == 1
    assert page.text.startswith("\r\x1b[K[############            ] pushing: 5 B of 10 B, 50%")
    assert "\r\x1b[Ksomething happened\n\r\x1b[K[" in page.text


def test_elsewhere_there_are_plain_lines() -> None:
    page = Page()
    progress = Progress(page, "pulling", Hand())
    progress.draw()
    assert "\x1b" not in page.text
    assert page.text.startswith("pulling: ")


def test_the_same_note_is_not_repeated_by_every_worker() -> None:
    page, clock = Page(), Hand()
    progress = Progress(page, "pushing", clock)
    for part in (1, 2, 3):
        progress.note(f"part {part}: cannot connect; trying again in {part} s")
    clock.at_s += 6
    progress.note("part 4: cannot connect; trying again in 4 s")
    assert page.text.count("cannot connect") == 2


async def test_who_wants_it_quiet_has_it_quiet() -> None:
    page = Page(terminal=True)
    progress = Progress(page, "pushing", Hand(), quiet=True)
    async with progress.shown():
        progress.note("something")
    assert page.text == ""


async def test_trying_again_ends_when_nothing_moved_for_too_long() -> None:
    clock, notes = Hand(), list[str]()
    insistence = Insistence(clock, notes.append, give_up_after_s=600, first_pause_s=0.0)
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        clock.at_s += 100
        if tries == 4:
            insistence.progressed()  # somebody else got something through
        raise LineBroken("no line")

    with pytest.raises(GaveUp, match="it: no line; gave up after 10 min without progress"):
        await insistence.until_done("it", attempt)
    assert tries == 10


async def test_a_few_tries_are_made_however_long_each_takes() -> None:
    clock = Hand()
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        clock.at_s += 5000
        raise LineBroken("no line")

    with pytest.raises(GaveUp):
        await Insistence(clock, lambda text: None, first_pause_s=0.0).until_done("it", attempt)
    assert tries == 3


async def test_what_is_final_is_not_tried_again() -> None:
    async def attempt() -> None:
        raise Problem("no")

    with pytest.raises(Problem, match="no"):
        await Insistence(Hand(), lambda text: None).until_done("it", attempt)


async def test_pauses_grow_are_jittered_and_are_as_long_as_the_server_asks() -> None:
    notes: list[str] = []
    insistence = Insistence(Hand(), notes.append, first_pause_s=1.0)
    pauses = [[insistence._pause_s(tries, None) for _ in range(50)] for tries in (1, 2, 3, 10, 60)]
    for longest, found in zip((1, 2, 4, 30, 30), pauses, strict=True):
        assert longest / 2 <= min(found) < max(found) <= longest
    assert insistence._pause_s(1, 20.0) == 20.0
    assert insistence._pause_s(1, 99_999.0) == 300.0


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("7", 0) == 7.0
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 20) == 40.0
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 90) == 0.0
    assert retry_after_s("soon", 0) is None
    assert retry_after_s(None, 0) is None


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    assert str(Busy("no\x1b[2J\n", 503, None)) == "no [2J "


def test_when_all_has_gone_it_says_whose_turn_it_is() -> None:
    """Not that nothing moves: the registry proves what it received, which may take minutes."""
    progress = Progress(Page(), "pushing", Hand())
    progress.expect(MIB)
    progress.moved(MIB)
    assert progress.told() == "pushing: 1.0 MiB of 1.0 MiB, 100%; the registry is checking it"
