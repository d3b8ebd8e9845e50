"""What happened to requests, counted: how many, how long, how many bytes, who left early.

An observer of the boundary. A request costs a look-up and a few increments of plain numbers; what they are to a
monitoring system is put together when it asks (`handlers/metrics.py`).
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Final

from handlers.boundary import GONE_STATUS, Record

BUCKETS_S: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the durations that are told apart: answers from memory, from the disk, and transfers."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word is counted as OTHER, so that nobody can make the counters grow."""


@dataclass(slots=True)
class Tally:
    """The requests of one endpoint."""

    requests: dict[tuple[str, str], int] = field(default_factory=dict)
    """By method and class of status (`2xx`), or `gone`."""
    durations: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    """How many fell into each bucket; the last is for those above all bounds."""
    seconds: float = 0.0
    sent_bytes: int = 0
    gone: int = 0

    def copy(self) -> "Tally":
        """The same numbers, which do not change any more."""
        return replace(self, requests=dict(self.requests), durations=list(self.durations))


class Stats:
    """The tallies of all endpoints; used on the event loop only."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def __call__(self, record: Record) -> None:
        """Count a request that is over."""
        tally = self._tallies.get(record.endpoint)
        if tally is None:
            tally = self._tallies[record.endpoint] = Tally()
        method = record.method if record.method in METHODS else "OTHER"
        key = (method, "gone" if record.status == GONE_STATUS else f"{record.status // 100}xx")
        tally.requests[key] = tally.requests.get(key, 0) + 1
        tally.durations[bisect_left(BUCKETS_S, record.seconds)] += 1
        tally.seconds += record.seconds
        tally.sent_bytes += record.sent_bytes
        tally.gone += record.gone

    def snapshot(self) -> dict[str, Tally]:
        """All tallies as they are now, by endpoint."""
        return {endpoint: tally.copy() for endpoint, tally in self._tallies.items()}
