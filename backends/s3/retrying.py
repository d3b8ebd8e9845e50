"""How often and how long a call is tried again: pure arithmetic, so that it can be read and tested without waiting."""

from dataclasses import dataclass
from typing import Final

from backends.s3.errors import Trouble


@dataclass(frozen=True, slots=True)
class Patience:
    """At most `tries` tries, none of them begun later than `whole_s` after the first; pauses with full jitter."""

    tries: int
    first_s: float
    longest_s: float
    whole_s: float

    def pause_s(self, tried: int, spent_s: float, chance: float, asked_s: float | None = None) -> float | None:
        """How long to rest after `tried` tries that took `spent_s`; None: it is enough.

        `chance` is a random number from 0 to 1: anything between nothing and the doubled pause, so that those who
        failed together do not come back together. `asked_s` is what the store asks for; it gets no less of it than
        our own bounds allow.
        """
        if tried >= self.tries:
            return None
        pause_s = chance * min(self.longest_s, self.first_s * 2**tried)
        if asked_s is not None:
            pause_s = max(pause_s, min(asked_s, self.longest_s))
        return None if spent_s + pause_s > self.whole_s else pause_s


BROKEN: Final = Patience(tries=5, first_s=0.1, longest_s=2.0, whole_s=6.0)
"""For a store that does not answer: a dead one is known for dead within seconds."""
BUSY: Final = Patience(tries=10, first_s=0.2, longest_s=5.0, whole_s=30.0)
"""For a store that asks to be asked less."""
GARBLED: Final = Patience(tries=2, first_s=0.1, longest_s=1.0, whole_s=60.0)
"""For bytes that arrived as others: once more, since it may also be ours that are not what they should be."""
UNREADABLE: Final = Patience(tries=3, first_s=0.02, longest_s=0.1, whole_s=6.0)
"""For an answer spoilt by what another one left behind; on a new connection it will be right."""
ONCE: Final = Patience(tries=1, first_s=0.0, longest_s=0.0, whole_s=0.0)


def patience_for(trouble: Trouble) -> Patience:
    """What a kind of trouble deserves."""
    match trouble:
        case Trouble.BUSY:
            return BUSY
        case Trouble.BROKEN:
            return BROKEN
        case Trouble.GARBLED:
            return GARBLED
        case Trouble.UNREADABLE:
            return UNREADABLE
    return ONCE
