"""With blobs in an object store: through this registry, by its redirects and in parts, against the bare store.

Bare means PUTs and GETs by signed URLs to the same bucket, with as many streams and bytes, in the same round.
"""

import json
import urllib.request
from collections.abc import Callable

from bench.bucket import Bucket
from bench.case import Case, Figure, Measure, Sizes, Stage, throughput
from bench.content import MIB, Blob
from bench.loader import BenchError, LoadFailed, Result
from bench.plan import How, Plan, blob_path, in_parts, pushes
from bench.servers import OursOnStore, prefix_of

REPOSITORY = "bench/stored"
BLOB_MIB = {1: 512, 8: 128}
FULL_MIB = 1024
PARTS, PART_CONNECTIONS = 16, 4
LEAST_PART_BYTES = 5 * MIB
READY_PATH = "/v2/"
BARE = "bare"
BLOBS = "docker/registry/v2/blobs/sha256"
ROUNDS = 5


def _bucket(stage: Stage) -> Bucket:
    kind = stage.server.kind
    if not isinstance(kind, OursOnStore) or kind.bucket is None:
        raise BenchError("only servers on an object store can be measured against it")
    return kind.bucket


def _rest(stage: Stage) -> None:
    """Until the store has nothing left to do that the rounds before asked for."""
    bucket = _bucket(stage)
    bucket.wait_until_settled(prefix_of(stage.server.folder))
    bucket.clear(BARE)


def bare_puts(bucket: Bucket, groups: list[list[Blob]]) -> Plan:
    """Each group on a connection of its own, a signed PUT for each blob."""
    plan = Plan()
    for blobs in groups:
        plan.connection()
        for blob in blobs:
            path = bucket.path("PUT", f"{BARE}/{blob.sha256}", sha256=blob.sha256)
            plan.store(path, blob, hashed=bucket.checks_hashes)
    return plan


def _bare(stage: Stage, plan: Plan) -> float:
    """MiB per second of the store alone."""
    bucket = _bucket(stage)
    result = stage.loader.run(bucket.port, plan, host=bucket.host)
    return result.mib_per_s


def _in_turn(number: int, first: Callable[[], list[Figure]], second: Callable[[], float]) -> tuple[list[Figure], float]:
    """Both, in an order that changes from round to round."""
    if number % 2:
        bare = second()
        return first(), bare
    ours = first()
    return ours, second()


def _against(row: str, bare_row: str, ours: list[Figure], bare: float) -> list[Figure]:
    """Our figures, the first of which is the rate; that of the store; and the one as a share of the other."""
    return [*ours, Figure(bare_row, "MiB/s", bare), Figure(f"{row} / {bare_row}", "ratio", ours[0].value / bare)]


def _push(streams: int) -> Callable[[Stage], Measure]:
    many = f"{streams} stream{'s' if streams > 1 else ''}"
    row, bare_row = f"S3: push, one PUT per blob, {many}", f"bare signed PUT, {many}"

    def opened(stage: Stage) -> Measure:
        rounds = 0

        def ours() -> list[Figure]:
            blobs = stage.content.blobs(streams, stage.sizes.bytes(BLOB_MIB[streams]))
            result, cost = stage.measured(pushes("put", REPOSITORY, blobs))
            stage.verify(REPOSITORY, blobs)
            _rest(stage)
            growth = Figure(f"{row}: RSS growth to the peak", "MiB", cost.rss_growth_mib, better="less")
            return [throughput(row, result, cost), growth]

        def bare() -> float:
            blobs = stage.content.blobs(streams, stage.sizes.bytes(BLOB_MIB[streams]))
            rate = _bare(stage, bare_puts(_bucket(stage), [[blob] for blob in blobs]))
            _rest(stage)
            return rate

        def measure() -> list[Figure]:
            nonlocal rounds
            rounds += 1
            return _against(row, bare_row, *_in_turn(rounds, ours, bare))

        return measure

    return opened


def _pull(streams: int, *, redirect: bool) -> Callable[[Stage], Measure]:
    many = f"{streams} stream{'s' if streams > 1 else ''}"
    row = f"S3: pull {'by redirect' if redirect else 'through us'}, {many}"
    bare_row = f"bare signed GET beside {'redirects' if redirect else 'us'}, {many}"

    def opened(stage: Stage) -> Measure:
        if redirect:
            stage.server.more = {"S3_REDIRECT": "on"}
            stage.server.restart(READY_PATH)
        blobs = stage.content.blobs(streams, stage.sizes.bytes(BLOB_MIB[streams]))
        stage.give(REPOSITORY, blobs)
        bucket, below = _bucket(stage), prefix_of(stage.server.folder)
        bucket.wait_until_settled(below)
        rounds, plan, bare_plan = 0, Plan(), Plan()
        for blob in blobs:
            get = plan.connection().fetch if redirect else plan.connection().get
            get(blob_path(REPOSITORY, blob), length_bytes=blob.size_bytes)
            path = bucket.path("GET", f"{below}/{BLOBS}/{blob.sha256[:2]}/{blob.sha256}/data")
            bare_plan.connection().get(path, length_bytes=blob.size_bytes)

        def ours() -> list[Figure]:
            result, cost = stage.measured(plan)
            growth = Figure(f"{row}: RSS growth to the peak", "MiB", cost.rss_growth_mib, better="less")
            return [throughput(row, result, cost), growth]

        def measure() -> list[Figure]:
            nonlocal rounds
            rounds += 1
            return _against(row, bare_row, *_in_turn(rounds, ours, lambda: _bare(stage, bare_plan)))

        return measure

    return opened


def _parts(mode: str) -> Callable[[Stage], Measure]:
    """One blob in parts: straight into the store, or through us; the bare store gets as many objects of their size."""
    row = f"S3: 1 GiB in {PARTS} parts over {PART_CONNECTIONS} connections, {mode}"
    bare_row = f"bare signed PUTs of {PARTS} objects over {PART_CONNECTIONS} connections, beside {mode}"

    def opened(stage: Stage) -> Measure:
        stage.server.more = {} if mode == "native" else {"DISABLE_PRESIGNED_URLS": "true"}
        size_bytes = stage.sizes.bytes(FULL_MIB)
        part_bytes = max(LEAST_PART_BYTES, -(-size_bytes // PARTS))
        rounds = 0

        def ours() -> list[Figure]:
            stage.server.restart(READY_PATH)
            _expect(stage, mode)
            stage.run(in_parts(REPOSITORY, stage.content.blob(LEAST_PART_BYTES), LEAST_PART_BYTES, 1))
            blob = stage.content.blob(size_bytes)
            result, cost = stage.measured(in_parts(REPOSITORY, blob, part_bytes, PART_CONNECTIONS))
            stage.verify(REPOSITORY, [blob])
            _rest(stage)
            completion = result.calls["complete"]
            parts_alone = result.mib_per_s * result.seconds / (result.seconds - completion.total_s)
            return [
                throughput(row, result, cost),
                Figure(f"{row}: the parts alone", "MiB/s", parts_alone),
                Figure(f"{row}: the completion call", "ms", completion.mean_ms, better="less"),
                _share(f"{row}: the completion call", result, "complete"),
                Figure(f"{row}: RSS growth to the peak", "MiB", cost.rss_growth_mib, better="less"),
            ]

        def bare() -> float:
            blobs = stage.content.blobs(-(-size_bytes // part_bytes), part_bytes)
            groups = [blobs[first::PART_CONNECTIONS] for first in range(PART_CONNECTIONS)]
            rate = _bare(stage, bare_puts(_bucket(stage), groups))
            _rest(stage)
            return rate

        def measure() -> list[Figure]:
            nonlocal rounds
            rounds += 1
            figures, rate = _in_turn(rounds, ours, bare)
            alone = Figure(f"{row}: the parts alone / {bare_row}", "ratio", figures[1].value / rate)
            return [*_against(row, bare_row, figures, rate), alone]

        return measure

    return opened


def _expect(stage: Stage, mode: str) -> None:
    """LoadFailed: the server does not send parts that way."""
    url = f"http://127.0.0.1:{stage.server.port}/capabilities"
    with urllib.request.urlopen(url, timeout=60) as answer:  # nothing but our own server on this machine
        able = str(json.load(answer)["multipart"])
    if able not in (mode, "both" if mode == "native" else mode):
        raise LoadFailed(f"the server says that parts are {able}, not {mode}")


def _closing(stage: Stage) -> Measure:
    """One PATCH, and the PUT that closes it: all but the last slice is in the store by then."""
    row, bare_row = "S3: push, 1 GiB as one PATCH", "bare signed PUT of 1 GiB"
    how: How = "one patch"
    rounds = 0

    def ours() -> list[Figure]:
        blob = stage.content.blob(stage.sizes.bytes(FULL_MIB))
        result, cost = stage.measured(pushes(how, REPOSITORY, [blob]))
        stage.verify(REPOSITORY, [blob])
        _rest(stage)
        closing = Figure(f"{row}: the closing PUT", "ms", result.calls["commit"].mean_ms, better="less")
        growth = Figure(f"{row}: RSS growth to the peak", "MiB", cost.rss_growth_mib, better="less")
        return [throughput(row, result, cost), closing, _share(f"{row}: the closing PUT", result, "commit"), growth]

    def bare() -> float:
        rate = _bare(stage, bare_puts(_bucket(stage), [[stage.content.blob(stage.sizes.bytes(FULL_MIB))]]))
        _rest(stage)
        return rate

    def measure() -> list[Figure]:
        nonlocal rounds
        rounds += 1
        return _against(row, bare_row, *_in_turn(rounds, ours, bare))

    return measure


def _share(row: str, result: Result, call: str) -> Figure:
    return Figure(f"{row} / the whole upload", "ratio", result.calls[call].total_s / result.seconds, better="less")


def _room(sizes: Sizes, rounds: int) -> int:
    """What is pushed stays; beside it lie the spool, what is being copied to its place, and what went there bare."""
    return (rounds + 3) * sizes.bytes(FULL_MIB)


CASES = [
    *(Case(f"s3-push-{streams}", _push(streams), ROUNDS, _room, on_store=True) for streams in BLOB_MIB),
    *(Case(f"s3-pull-{n}", _pull(n, redirect=False), ROUNDS, _room, on_store=True) for n in BLOB_MIB),
    *(Case(f"s3-redirect-{n}", _pull(n, redirect=True), ROUNDS, _room, on_store=True) for n in BLOB_MIB),
    *(Case(f"s3-parts-{mode}", _parts(mode), ROUNDS, _room, on_store=True) for mode in ("native", "buffered")),
    Case("s3-closing", _closing, ROUNDS, _room, on_store=True),
]
