"""Sessions of one small part: what opening and completing one costs, against a small blob's POST and PUT."""

from collections.abc import Callable

from bench.case import Case, Figure, Measure, Stage, rate
from bench.content import KIB, Blob
from bench.loader import Result
from bench.plan import Plan

REPOSITORY = "bench/one-part"
BLOB_BYTES = 16 * KIB
SESSIONS = {1: 200, 32: 640}


def _one_part(connections: int) -> Callable[[Stage], Measure]:
    where = f"{connections} connection{'s' if connections > 1 else ''}"

    def opened(stage: Stage) -> Measure:
        count = SESSIONS[connections] // (4 if stage.sizes.quick else 1)

        def measure() -> list[Figure]:
            plain, at_once, in_laps = (stage.content.blobs(count, BLOB_BYTES) for _ in range(3))
            blobs = stage.measured(posts_and_puts(plain, connections))
            whole = stage.measured(sessions(at_once, connections, laps=False))
            ends, _ = stage.measured(sessions(in_laps, connections, laps=True))
            stage.verify(REPOSITORY, [*plain, *at_once, *in_laps])
            blobs_per_s, whole_per_s, ends_per_s = count / blobs[0].seconds, count / whole[0].seconds, both_ends(ends)
            return [
                rate(f"16 KiB blob by POST and PUT, {where}", "per second", count, *blobs),
                rate(f"16 KiB in a session of one part, all four calls, {where}", "per second", count, *whole),
                Figure(f"the opening and the completing call of such a session, {where}", "per second", ends_per_s),
                Figure(f"opening and completing / POST and PUT, {where}", "ratio", ends_per_s / blobs_per_s),
                Figure(f"a whole session / POST and PUT, {where}", "ratio", whole_per_s / blobs_per_s),
            ]

        return measure

    return opened


def posts_and_puts(blobs: list[Blob], connections: int) -> Plan:
    """The blobs shared evenly by the connections."""
    plan = Plan()
    for first in range(connections):
        plan.connection()
        for blob in blobs[first::connections]:
            plan.push("put", REPOSITORY, blob)
    return plan


def sessions(blobs: list[Blob], connections: int, *, laps: bool) -> Plan:
    """A session of one part for each blob: one after the other, or all opened, then all sent, then all completed."""
    plan = Plan()
    for number, blob in enumerate(blobs):
        plan.session(f"s{number}", REPOSITORY, blob, blob.size_bytes)
    for first in range(connections):
        plan.connection()
        own = [f"s{number}" for number in range(first, len(blobs), connections)]
        steps = (plan.open, plan.send, plan.close)
        if laps:
            for step in steps:
                for name in own:
                    step(name)
                plan.lap()
        else:
            for name in own:
                for step in steps:
                    step(name)
    return plan


def both_ends(result: Result) -> float:
    """Sessions per second of the first and the last lap alone: all opened in the one, all completed in the other."""
    opened_s, sent_s, completed_s = result.laps_s
    return result.calls["start"].count / (opened_s + completed_s - sent_s)


CASES = [Case(f"one-part-{connections}", _one_part(connections), of_parts=True) for connections in SESSIONS]
