"""Large bodies: pushes in the three ways clients have, and pulls."""

import os
from collections.abc import Callable

from bench.case import Case, Figure, Measure, Stage, throughput
from bench.loader import Result
from bench.plan import How, Plan, blob_path, pushes
from bench.usage import Cost

BLOB_MIB = {1: 512, 8: 128, 32: 32}
PULLED_MIB = {1: 512, 8: 128, 32: 64}
PULLS_EACH = {1: 4, 8: 4, 32: 2}
PROBED_STREAMS = 32
PROBE_EVERY_MS = 10
NO_END_S = 3600.0

HOW_NAMES: dict[How, str] = {
    "put": "push, one PUT per blob",
    "patch": "push, PATCHes of 5 MiB",
    "one patch": "push, one PATCH per blob",
    "chunked": "push, one PATCH in 32 KiB transfer chunks",
}


def _push(how: How, streams: int) -> Callable[[Stage], Measure]:
    row = f"{HOW_NAMES[how]}, {_streams(streams)}"

    def opened(stage: Stage) -> Measure:
        def measure() -> list[Figure]:
            blobs = stage.content.blobs(streams, stage.sizes.bytes(BLOB_MIB[streams]))
            (result, cost), delays = _with_probe(stage, pushes(how, "bench/pushed", blobs), streams, row)
            stage.verify_and_forget("bench/pushed", blobs)
            return [throughput(row, result, cost), *delays]

        return measure

    return opened


def _pull(streams: int) -> Callable[[Stage], Measure]:
    row = f"pull, {_streams(streams)}"

    def opened(stage: Stage) -> Measure:
        blobs = stage.content.blobs(streams, stage.sizes.bytes(PULLED_MIB[streams]))
        stage.give("bench/pulled", blobs)
        plan = Plan()
        for blob in blobs:
            plan.connection()
            for _ in range(PULLS_EACH[streams]):
                plan.get(blob_path("bench/pulled", blob), length_bytes=blob.size_bytes)

        def measure() -> list[Figure]:
            (result, cost), delays = _with_probe(stage, plan, streams, row)
            return [throughput(row, result, cost), *delays]

        return measure

    return opened


def _with_probe(stage: Stage, plan: Plan, streams: int, row: str) -> tuple[tuple[Result, Cost], list[Figure]]:
    """With many streams a small request is asked every 10 ms beside them: how long does it wait?"""
    if streams < PROBED_STREAMS:
        return stage.measured(plan), []
    os.sync()  # before the probe, so that what earlier rounds wrote does not delay it
    probe = stage.start(Plan().connection().get("/v2/"), seconds=NO_END_S, every_ms=PROBE_EVERY_MS)
    try:
        measured = stage.measured(plan)
    finally:
        seen = probe.stop()
    label = f"GET /v2/ during {row}"
    longest = Figure(f"{label}: longest", "ms", seen.max_ms, better="less")
    return measured, [longest, Figure(f"{label}: p99", "ms", seen.p99_ms, better="less")]


def _streams(streams: int) -> str:
    return "1 stream" if streams == 1 else f"{streams} streams"


CASES = [
    *(Case(f"push-{streams}", _push("put", streams)) for streams in (1, 8, 32)),
    *(Case(f"patch-{streams}", _push("patch", streams)) for streams in (1, 8)),
    *(Case(f"chunked-{streams}", _push("chunked", streams)) for streams in (1, 8)),
    *(Case(f"pull-{streams}", _pull(streams)) for streams in (1, 8, 32)),
]
