"""A full catalog: 10 tags in each of many repositories, against the same server when it was nearly empty."""

from bench.case import Case, Figure, Measure, Stage
from bench.content import KIB, Blob, image_manifest
from bench.plan import Plan, manifest_path

TAGS_EACH = 10
FILLING_CLIENTS = 8
PAGE_LENGTH = 100


def _repository(number: int) -> str:
    return f"many/repository-{number:05d}"


def _fill(stage: Stage, blob: Blob, manifest: bytes, count: int) -> None:
    """Mount the image's blob into each repository but the first, and tag its manifest ten times there."""
    plan = Plan().body("m", manifest)
    for client in range(FILLING_CLIENTS):
        plan.connection()
        for number in range(1 + client, count, FILLING_CLIENTS):
            name = _repository(number)
            plan.post(f"/v2/{name}/blobs/uploads/?mount={blob.digest}&from={_repository(0)}", status=201)
            _tag(plan, name)
    stage.run(plan)


def _tag(plan: Plan, repository: str) -> None:
    for tag in range(TAGS_EACH):
        plan.put(manifest_path(repository, f"v{tag}"), "m")


def _latencies(stage: Stage, count: int, state: str, note: str) -> list[Figure]:
    """Median latencies on one connection, asked in the middle of the names that there are."""
    middle = _repository(count // 2)
    asked = {
        "tag page": f"/v2/{middle}/tags/list?n={TAGS_EACH}",
        f"catalog page of {PAGE_LENGTH}": f"/v2/_catalog?n={PAGE_LENGTH}&last={_repository(count // 2)}",
        "manifest GET by tag": manifest_path(middle, "v3"),
    }
    figures = []
    for what, path in asked.items():
        seen = stage.run(Plan().connection().get(path), seconds=stage.sizes.seconds / 2)
        figures.append(Figure(f"{what}, {state}: p50", "ms", seen.p50_ms, better="less", note=note))
    return figures


def _many_tags(stage: Stage) -> Measure:
    blob = stage.content.blob(KIB)
    manifest = image_manifest(blob, [blob])
    count = stage.sizes.repositories if stage.is_subject else stage.sizes.peer_repositories
    stage.give(_repository(0), [blob])
    first = Plan().body("m", manifest).connection()
    _tag(first, _repository(0))
    stage.run(first)
    manifest_of_first = manifest_path(_repository(0), "v3")
    start = "start to the first manifest answered"
    empty_start = Figure(f"{start}, near-empty", "s", stage.server.restart(manifest_of_first), better="less")
    empty = [empty_start, *_latencies(stage, 1, "near-empty", "")]
    flatness = [f"{figure.row.partition(',')[0]}: full / near-empty" for figure in empty]
    empty_values = [figure.value for figure in empty]
    _fill(stage, blob, manifest, count)
    note = "" if stage.is_subject else f"{count * TAGS_EACH} tags"
    full = f"{stage.sizes.repositories * TAGS_EACH} tags in {stage.sizes.repositories} repositories"

    def measure() -> list[Figure]:
        started_s = stage.server.restart(manifest_path(_repository(count - 1), "v9"))
        filled = [
            Figure(f"{start}, {full}", "s", started_s, better="less", note=note),
            *_latencies(stage, count, full, note),
        ]
        growth = [
            Figure(row, "ratio", figure.value / before, better="less", note=note)
            for row, figure, before in zip(flatness, filled, empty_values, strict=True)
        ]
        once, empty[:] = list(empty), []  # the near-empty server is measured once, not in every round
        return [*once, *filled, *growth]

    return measure


CASES = [Case("many-tags", _many_tags, rounds=3)]
