"""Whether the store is asked at all: after some failures in a row it is left alone, and tried again by itself.

    CLOSED     every call goes out; FAILURES_TO_OPEN failures in a row open it, and so does one call that hung
    OPEN       no call goes out until the pause is over; then one probe may
    HALF_OPEN  that probe is on its way; it closes the circuit, or opens it again for twice as long

So a dead store costs a client a quick 503 and not a minute of waiting. A store that only fails at one thing is not
dead: errors (500) that all come from the same operation open nothing.
"""

import logging
from enum import Enum
from typing import Final

from model.clock import Clock

log: Final = logging.getLogger("holdfast.store")

FAILURES_TO_OPEN: Final = 5
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0


class State(Enum):
    """Where the circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Event(Enum):
    """What happens to it."""

    ANSWERED = "the store answered"
    FAILED = "the store did not"
    TOO_OFTEN = "it did not, for the last time that is tolerated"
    PROBING = "a probe sets out"


NEXT: Final[dict[tuple[State, Event], State]] = {
    (State.CLOSED, Event.TOO_OFTEN): State.OPEN,
    (State.OPEN, Event.PROBING): State.HALF_OPEN,
    (State.OPEN, Event.ANSWERED): State.CLOSED,  # a call that set out before it opened
    (State.HALF_OPEN, Event.ANSWERED): State.CLOSED,
    (State.HALF_OPEN, Event.FAILED): State.OPEN,
    (State.HALF_OPEN, Event.TOO_OFTEN): State.OPEN,
}
"""Everything else changes nothing."""


class Circuit:
    """The state, and the times that go with it. `since_s`: when the state last became, or ceased to be, CLOSED."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state = State.CLOSED
        self.reason = ""
        self.since_s = clock.now_s()
        self.quiet = False
        """Nobody is told when it opens: whoever asks just now tells it in other words."""
        self._failures = 0
        self._failed_at: set[str] = set()
        self._pause_s = FIRST_PAUSE_S
        self._until_s = 0.0

    @property
    def wait_s(self) -> float:
        """For how long nothing may go out; 0: calls may (CLOSED), or a probe may (OPEN)."""
        match self.state:
            case State.CLOSED:
                return 0.0
            case State.HALF_OPEN:
                return FIRST_PAUSE_S
            case State.OPEN:
                return max(0.0, self._until_s - self._clock.monotonic_s())

    def answered(self) -> None:
        """The store answered, whatever it said."""
        self._failures = 0
        self._failed_at.clear()
        self._pause_s = FIRST_PAUSE_S
        self._to(Event.ANSWERED)

    def failed(self, reason: str, *, at: str = "", hung: bool = False) -> None:
        """The store did not answer, or said that it is ill.

        Args:
            reason: for the log and for readiness.
            at: which operation ended in an error of the store's own (500); "" is no answer, or one that speaks for all.
            hung: it had its time and said nothing, to nobody: that is as much as FAILURES_TO_OPEN failures.
        """
        self.reason = reason
        self._failures += FAILURES_TO_OPEN if hung else 1
        self._failed_at.add(at)
        for_all = "" in self._failed_at or len(self._failed_at) > 1
        self._to(Event.TOO_OFTEN if for_all and self._failures >= FAILURES_TO_OPEN else Event.FAILED)

    def probing(self) -> None:
        """A probe sets out; only while OPEN and `wait_s` is 0."""
        self._to(Event.PROBING)

    def _to(self, event: Event) -> None:
        before = self.state
        self.state = NEXT.get((before, event), before)
        if self.state is before:
            return
        if State.CLOSED in (before, self.state):
            self.since_s = self._clock.now_s()
        if before is State.CLOSED and not self.quiet:
            log.warning("the store does not answer and is left alone for a while: %s", self.reason)
        if self.state is State.CLOSED:
            log.info("the store answers again")
        if self.state is State.OPEN:
            self._until_s = self._clock.monotonic_s() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
