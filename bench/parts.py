"""Large blobs in parts: how fast, how long the completion takes, how much memory, and against one body.

Clocks run from the first byte of the call that opens the session to the answer that the blob is durable.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.case import Case, Figure, Measure, Sizes, Stage, throughput
from bench.content import KIB, MIB, Blob
from bench.loader import Result
from bench.plan import How, in_parts, pushes
from bench.usage import Cost

REPOSITORY = "bench/parts"
FULL_MIB = 1024
LEAST_PART_BYTES = 5 * MIB
SHUFFLE_SEED = 7
READY_PATH = "/v2/"
ROUNDS = 5
ONE_BODY: dict[How, str] = {"put": "one PUT", "one patch": "one PATCH"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a blob is cut and sent; a smaller blob has fewer parts where they would be smaller than servers insist on."""

    parts: int
    connections: int
    shuffled: bool = False

    @property
    def row(self) -> str:
        order = ", shuffled" if self.shuffled else ""
        return f"1 GiB in {self.parts} parts over {self.connections} connections{order}"

    def part_bytes(self, size_bytes: int) -> int:
        return max(LEAST_PART_BYTES, -(-size_bytes // self.parts))


def _shaped(shape: Shape) -> Callable[[Stage], Measure]:
    def opened(stage: Stage) -> Measure:
        def measure() -> list[Figure]:
            size_bytes = stage.sizes.bytes(FULL_MIB)
            return _fresh(stage, shape.row, size_bytes, shape.part_bytes(size_bytes), shape)

        return measure

    return opened


def _big(stage: Stage) -> Measure:
    """One blob of a size of its own, in parts of a size of their own, over four connections."""
    size_bytes = stage.sizes.bytes(stage.sizes.parts_gib * KIB)
    row = f"{stage.sizes.parts_gib} GiB in parts of {stage.sizes.part_mib} MiB over 4 connections"

    def measure() -> list[Figure]:
        return _fresh(stage, row, size_bytes, stage.sizes.part_mib * MIB, Shape(0, 4))

    return measure


def _fresh(stage: Stage, row: str, size_bytes: int, part_bytes: int, shape: Shape) -> list[Figure]:
    """On a server that was started just now, so that all its growth is seen; it is not its first session, though."""
    stage.server.restart(READY_PATH)
    stage.run(in_parts(REPOSITORY, stage.content.blob(64 * KIB), 64 * KIB, 1))
    blob = stage.content.blob(size_bytes)
    result, cost = _sent(stage, blob, part_bytes, shape)
    completion = result.calls["complete"]
    return [
        throughput(row, result, cost),
        Figure(f"{row}: the completion call", "ms", completion.mean_ms, better="less"),
        Figure(f"{row}: longest part", "ms", result.calls["part"].longest_s * 1000, better="less"),
        Figure(f"{row}: RSS before", "MiB", cost.rss_before_mib, better="less"),
        Figure(f"{row}: RSS growth to the peak", "MiB", cost.rss_growth_mib, better="less"),
    ]


def _sent(stage: Stage, blob: Blob, part_bytes: int, shape: Shape) -> tuple[Result, Cost]:
    seed = SHUFFLE_SEED if shape.shuffled else 0
    measured = stage.measured(in_parts(REPOSITORY, blob, part_bytes, shape.connections, seed=seed))
    stage.verify_and_forget(REPOSITORY, [blob])
    return measured


def _against_one_body(stage: Stage) -> Measure:
    """As one PUT, as one PATCH and a PUT without a body, and in parts where a server takes them; in turning order."""
    shape = Shape(16, 4)
    rounds_done = 0

    def one_body(how: How) -> Figure:
        blob = stage.content.blob(stage.sizes.bytes(FULL_MIB))
        result, cost = stage.measured(pushes(how, REPOSITORY, [blob]))
        stage.verify_and_forget(REPOSITORY, [blob])
        return throughput(f"1 GiB as {ONE_BODY[how]}", result, cost)

    def parts() -> Figure:
        size_bytes = stage.sizes.bytes(FULL_MIB)
        result, cost = _sent(stage, stage.content.blob(size_bytes), shape.part_bytes(size_bytes), shape)
        return throughput(f"{shape.row}, beside one body", result, cost)

    def measure() -> list[Figure]:
        nonlocal rounds_done
        ways: list[Callable[[], Figure]] = [lambda: one_body("put"), lambda: one_body("one patch")]
        ways += [parts] * stage.server.kind.takes_parts
        turn = rounds_done % len(ways)
        rounds_done += 1
        taken = {number: ways[number]() for number in [*range(turn, len(ways)), *range(turn)]}
        figures = [taken[number] for number in range(len(ways))]
        return [*figures, *compared([figure.value for figure in figures])]

    return measure


def compared(mib_per_s: list[float]) -> list[Figure]:
    """From the rates as PUT, as PATCH and, where there are any, in parts: what is put against what."""
    put, patch, *parts = mib_per_s
    best = parts[0] if parts else max(put, patch)
    figures = [Figure("1 GiB: parts here, the better of PUT and PATCH there", "MiB/s", best)]
    if parts:
        figures.append(Figure("1 GiB: parts / one PUT, of the same server", "ratio", parts[0] / put))
    return figures


def _room(bodies: int) -> Callable[[Sizes, int], int]:
    return lambda sizes, rounds: rounds * bodies * sizes.bytes(FULL_MIB)


def _room_of_the_big(sizes: Sizes, rounds: int) -> int:
    """And a GiB more: a disk that is full to the brim is no fair place to measure."""
    return rounds * sizes.bytes(sizes.parts_gib * KIB) + KIB * MIB


CASES = [
    Case("parts", _shaped(Shape(16, 4)), ROUNDS, _room(1), of_parts=True),
    Case("parts-200", _shaped(Shape(200, 8)), ROUNDS, _room(1), of_parts=True),
    Case("parts-shuffled", _shaped(Shape(16, 4, shuffled=True)), ROUNDS, _room(1), of_parts=True),
    Case("parts-vs-put", _against_one_body, ROUNDS, _room(3)),
    Case("parts-big", _big, 1, _room_of_the_big, of_parts=True),
]
