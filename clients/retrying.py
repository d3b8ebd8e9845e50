"""Trying again: what may pass is repeated with growing, jittered pauses until too long nothing moved."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from clients.problems import Passing, Problem
from model.clock import Clock
from model.units import human_span

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LONGEST_OBEYED_S: Final = 300.0
"""A server may ask for a longer pause than we would make, up to this."""

FEWEST_TRIES: Final = 3
"""So that a single try on a very slow line, which takes longer than all patience, is not the only one."""

ALMOST: Final = 0.5
"""Pauses are between this share of their length and all of it, so that four workers do not come back as one."""

GO_ON: Final = "nothing that arrived is lost; the same command goes on where it stopped"

_CHANCE: Final = secrets.SystemRandom()


class GaveUp(Problem):
    """Nothing moved for too long; everything needed to go on is kept."""


class Insistence:
    """How patient one push or pull is. Progress anywhere in it renews the patience everywhere.

    Args:
        clock: what measures it.
        note: told what went wrong and when it is tried again.
        give_up_after_s: how long nothing may be acknowledged before it ends.
        first_pause_s: the first pause; each one doubles.
    """

    def __init__(
        self,
        clock: Clock,
        note: Callable[[str], None],
        *,
        give_up_after_s: float = 600.0,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._clock = clock
        self._note = note
        self._give_up_after_s = give_up_after_s
        self._first_pause_s = first_pause_s
        self._progress_at_s = clock.monotonic_s()
        self._progressed = False

    def progressed(self) -> None:
        """Something was acknowledged that was not before."""
        self._progress_at_s = self._clock.monotonic_s()
        self._progressed = True

    async def until_done(self, what: str, attempt: Callable[[], Awaitable[T]], *, at_most_s: float | None = None) -> T:
        """The result of the first attempt that succeeds. `what` is for the person: `part 7 of big.bin`.

        Raises:
            GaveUp: nothing was acknowledged for the patience of this object, or of `at_most_s` if that is less.
            Problem: whatever an attempt raises that is not Passing.
        """
        patience_s = min(self._give_up_after_s, self._give_up_after_s if at_most_s is None else at_most_s)
        tries, failed_at_s = 0, 0.0
        while True:
            try:
                return await attempt()
            except Passing as problem:
                now_s = self._clock.monotonic_s()
                tries += 1
                failed_at_s = failed_at_s or now_s
                if tries >= FEWEST_TRIES and now_s - max(failed_at_s, self._progress_at_s) >= patience_s:
                    raise GaveUp(
                        f"{what}: {problem.message}; gave up after {human_span(patience_s)} without progress",
                        problem.remedy or (GO_ON if self._progressed else ""),
                    ) from problem
                pause_s = self._pause_s(tries, problem.retry_after_s)
                self._note(f"{what}: {problem.message}; trying again in {pause_s:.1f} s")
                await asyncio.sleep(pause_s)

    def _pause_s(self, tries: int, asked_s: float | None) -> float:
        longest_s: float = min(LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** min(tries - 1, 16))
        pause_s = longest_s * _CHANCE.uniform(ALMOST, 1.0)
        return pause_s if asked_s is None else max(pause_s, min(asked_s, LONGEST_OBEYED_S))
