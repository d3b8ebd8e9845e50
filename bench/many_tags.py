"""A full catalog: 10 tags in each of many repositories, against the same server when it had few of them."""

from collections.abc import Sequence

from bench.case import Case, Figure, Measure, Stage
from bench.content import KIB, Blob, image_manifest
from bench.plan import Plan, manifest_path

TAGS_EACH = 10
FEW = 100
PAGE_LENGTH = 50
FILLING_CLIENTS = 8
WHATS = ["start to the first manifest", "tag page", f"catalog page of {PAGE_LENGTH}", "manifest GET by tag"]


def _many_tags(stage: Stage) -> Measure:
    many = max(FEW, stage.sizes.repositories if stage.is_subject else stage.sizes.peer_repositories)
    blob = stage.content.blob(KIB)
    manifest = image_manifest(blob, [blob])
    stage.give(_repository(0), [blob])
    _fill(stage, blob, manifest, range(FEW))
    few = _seen(stage, FEW)
    _fill(stage, blob, manifest, range(FEW, many))
    first = [Figure(f"{what}, {FEW} repositories", *value, "less") for what, value in zip(WHATS, few, strict=True)]
    note = "" if stage.is_subject else f"only {many}"

    def measure() -> list[Figure]:
        now = _seen(stage, many)
        named = f"{stage.sizes.repositories} repositories"
        figures = [
            Figure(f"{what}, {named}", *value, "less", note=note) for what, value in zip(WHATS, now, strict=True)
        ]
        growth = [
            Figure(f"{what}, {named} / {FEW}", "ratio", after / before, "less", note=note)
            for what, (_, after), (_, before) in zip(WHATS, now, few, strict=True)
        ]
        once, first[:] = list(first), []  # with few repositories it was measured once, not in every round
        return [*once, *figures, *growth]

    return measure


def _repository(number: int) -> str:
    return f"many/repository-{number:05d}"


def _fill(stage: Stage, blob: Blob, manifest: bytes, numbers: Sequence[int]) -> None:
    """In each repository: mount the image's blob there, unless it is the one that has it, and tag its manifest."""
    plan = Plan().body("m", manifest)
    for client in range(FILLING_CLIENTS):
        plan.connection()
        for number in numbers[client::FILLING_CLIENTS]:
            name = _repository(number)
            if number:
                plan.post(f"/v2/{name}/blobs/uploads/?mount={blob.digest}&from={_repository(0)}", status=201)
            for tag in range(TAGS_EACH):
                plan.put(manifest_path(name, f"v{tag}"), "m")
    stage.run(plan)


def _seen(stage: Stage, repositories: int) -> list[tuple[str, float]]:
    """A restart, then median latencies on one connection, asked in the middle of the names that there are."""
    started_s = stage.server.restart(manifest_path(_repository(repositories - 1), "v9"))
    middle = _repository(repositories // 2 - 1)
    paths = [
        f"/v2/{middle}/tags/list?n={TAGS_EACH}",
        f"/v2/_catalog?n={PAGE_LENGTH}&last={middle}",
        manifest_path(middle, "v3"),
    ]
    asked = (stage.run(Plan().connection().get(path), seconds=stage.sizes.seconds / 2) for path in paths)
    return [("s", started_s), *(("ms", seen.p50_ms) for seen in asked)]


CASES = [Case("many-tags", _many_tags, rounds=3)]
