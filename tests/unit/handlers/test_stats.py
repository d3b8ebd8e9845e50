"""Requests are counted where they belong, and a snapshot stands still."""

from handlers.boundary import Record
from handlers.stats import BUCKETS_S, Stats


def record(**facts: object) -> Record:
    """A request that took no time and went well, but for `facts`."""
    made = Record(
        started_s=0, request_id="1", method="GET", path="/", remote="-", agent="-", endpoint="blob", status=200
    )
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_each_endpoint_has_a_tally_of_its_own() -> None:
    stats = Stats()
    stats(record(sent_bytes=10))
    stats(record(sent_bytes=5, gone=True))
    stats(record(endpoint="tags", status=404))
    tallies = stats.snapshot()
    assert (tallies["blob"].requests, tallies["blob"].sent_bytes, tallies["blob"].gone) == ({("GET", "2xx"): 2}, 15, 1)
    assert (tallies["tags"].requests, tallies["tags"].gone) == ({("GET", "4xx"): 1}, 0)


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    stats = Stats()
    for seconds in (0.0, BUCKETS_S[0], BUCKETS_S[0] + 0.001, BUCKETS_S[-1] + 1):
        stats(record(seconds=seconds))
    tally = stats.snapshot()["blob"]
    assert tally.durations == [2, 1, *[0] * (len(BUCKETS_S) - 2), 1]
    assert tally.seconds == sum((BUCKETS_S[0], BUCKETS_S[0] + 0.001, BUCKETS_S[-1] + 1))


def test_a_snapshot_does_not_change_any_more() -> None:
    stats = Stats()
    stats(record())
    before = stats.snapshot()
    stats(record(method="HEAD"))
    assert before["blob"].requests == {("GET", "2xx"): 1}
    assert sum(before["blob"].durations) == 1
