"""Many at once: slow readers with a fast one beside them, and many pushes and pulls together."""

import time

from bench.case import Case, Figure, Measure, Sizes, Stage, room_of_pushes
from bench.content import MIB
from bench.plan import Plan, blob_path, pushes
from bench.transfers import NO_END_S
from bench.usage import Meter

REPOSITORY = "bench/crowd"
SLOW_READERS = 200
SLOW_BYTES_PER_S = 100_000
SETTLE_S = 5.0
FAST_PULLS = 4
CROWD = 32


def _slow_readers(stage: Stage) -> Measure:
    """The fast pull is measured alone, then beside the slow ones once they have settled."""
    blob = stage.content.blob(stage.sizes.bytes(512))
    stage.give(REPOSITORY, [blob])
    path = blob_path(REPOSITORY, blob)
    fast = Plan().connection()
    for _ in range(FAST_PULLS):
        fast.get(path, length_bytes=blob.size_bytes)
    slow = Plan()
    for _ in range(SLOW_READERS):
        slow.connection().get(path, length_bytes=blob.size_bytes, bytes_per_s=SLOW_BYTES_PER_S)

    def measure() -> list[Figure]:
        alone, _ = stage.measured(fast)
        with Meter(stage.server.pid) as meter:
            readers = stage.start(slow, seconds=NO_END_S)
            try:
                time.sleep(SETTLE_S)
                beside = stage.run(fast)
            finally:
                seen = readers.stop()
        poorest = seen.least_bytes / seen.seconds
        named = f"{SLOW_READERS} readers at {SLOW_BYTES_PER_S // 1000} KB/s"
        return [
            Figure(f"a fast pull beside {named}", "MiB/s", beside.mib_per_s),
            Figure(f"the same, of its rate alone ({named})", "ratio", beside.mib_per_s / alone.mib_per_s),
            Figure(f"the slowest of the {named}", "KB/s", poorest / 1000),
            Figure(f"peak RSS with {named}", "MiB", meter.cost.peak_rss_mib, better="less"),
        ]

    return measure


def _crowd(stage: Stage) -> Measure:
    """32 pushes of one blob each, while 32 connections pull another one again and again until the pushes are over."""
    size_bytes = stage.sizes.crowd_blob_mib * MIB
    pulled = stage.content.blob(size_bytes)
    stage.give(REPOSITORY, [pulled])
    pulls = Plan().connection().get(blob_path(REPOSITORY, pulled), length_bytes=size_bytes).times(CROWD)
    named = f"{CROWD} pushes and {CROWD} pulls of {stage.sizes.crowd_blob_mib} MiB at once"

    def measure() -> list[Figure]:
        blobs = stage.content.blobs(CROWD, size_bytes)
        with Meter(stage.server.pid) as meter:
            readers = stage.start(pulls, seconds=NO_END_S)
            try:
                pushed = stage.run(pushes("put", REPOSITORY, blobs))
            finally:
                read = readers.stop()
        stage.verify_and_forget(REPOSITORY, blobs)
        return [
            Figure(f"{named}: peak RSS", "MiB", meter.cost.peak_rss_mib, better="less"),
            Figure(f"{named}: pushed", "MiB/s", pushed.mib_per_s),
            Figure(f"{named}: pulled", "MiB/s", read.mib_per_s),
        ]

    return measure


def _room_of_a_crowd(sizes: Sizes, rounds: int) -> int:
    return max(room_of_pushes(sizes, rounds), (rounds * CROWD + 1) * sizes.crowd_blob_mib * MIB)


CASES = [Case("slow-readers", _slow_readers), Case("crowd", _crowd, rounds=1, room=_room_of_a_crowd)]
