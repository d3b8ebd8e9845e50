"""Small requests: manifests, small blobs, and whole small images pushed."""

from collections.abc import Callable

from bench.case import Case, Figure, Measure, Stage, rate
from bench.content import KIB, MIB, image_manifest
from bench.plan import Plan, blob_path, manifest_path

REPOSITORY = "bench/small"
MANIFEST_BYTES = 1200
IMAGES = 200
IMAGE_BLOB_BYTES = 1 * KIB


def _asked(row: str, connections: int, prepare: Callable[[Stage], Plan]) -> Callable[[Stage], Measure]:
    """The plan's one request, repeated on this many connections."""
    named = f"{row}, {connections} connection{'s' if connections > 1 else ''}"

    def opened(stage: Stage) -> Measure:
        one = prepare(stage)
        plan = one.times(connections)

        def measure() -> list[Figure]:
            result, cost = stage.measured(plan, seconds=stage.sizes.seconds)
            return [rate(named, "requests/s", result.requests, result, cost)]

        return measure

    return opened


def _manifest(stage: Stage) -> tuple[str, int]:
    """Push an image whose manifest has the usual size; its path by tag, and its length."""
    config, layer = stage.content.blobs(2, IMAGE_BLOB_BYTES)
    stage.give(REPOSITORY, [config, layer])
    manifest = image_manifest(config, [layer], at_least_bytes=MANIFEST_BYTES)
    path = manifest_path(REPOSITORY, "latest")
    stage.run(Plan().body("m", manifest).connection().put(path, "m"))
    return path, len(manifest)


def _get_manifest(stage: Stage) -> Plan:
    path, length = _manifest(stage)
    return Plan().connection().get(path, length_bytes=length)


def _head_manifest(stage: Stage) -> Plan:
    path, length = _manifest(stage)
    return Plan().connection().head(path, length_bytes=length)


def _get_blob(size_bytes: int) -> Callable[[Stage], Plan]:
    def prepare(stage: Stage) -> Plan:
        blob = stage.content.blob(size_bytes)
        stage.give(REPOSITORY, [blob])
        return Plan().connection().get(blob_path(REPOSITORY, blob), length_bytes=size_bytes)

    return prepare


def _images(clients: int) -> Callable[[Stage], Measure]:
    """Each image: three blobs by POST and PUT, then its manifest; the clients share the images evenly."""
    row = f"{IMAGES} small images pushed, {clients} client{'s' if clients > 1 else ''}"

    def opened(stage: Stage) -> Measure:
        def measure() -> list[Figure]:
            images = [stage.content.blobs(3, IMAGE_BLOB_BYTES) for _ in range(IMAGES)]
            plan = Plan()
            for number, (config, *layers) in enumerate(images):
                plan.body(f"m{number}", image_manifest(config, layers))
            for client in range(clients):
                plan.connection()
                for number in range(client, IMAGES, clients):
                    for blob in images[number]:
                        plan.push("put", REPOSITORY, blob)
                    plan.put(manifest_path(REPOSITORY, f"t{number}"), f"m{number}")
            result, cost = stage.measured(plan)
            stage.verify(REPOSITORY, [blob for image in images for blob in image])
            return [rate(row, "images/s", IMAGES, result, cost)]

        return measure

    return opened


CASES = [
    *(Case(f"manifest-get-{n}", _asked("manifest GET by tag", n, _get_manifest)) for n in (1, 32, 128)),
    *(Case(f"manifest-head-{n}", _asked("manifest HEAD by tag", n, _head_manifest)) for n in (1, 32, 128)),
    Case("blob-4k-32", _asked("4 KiB blob GET", 32, _get_blob(4 * KIB))),
    *(Case(f"blob-64k-{n}", _asked("64 KiB blob GET", n, _get_blob(64 * KIB))) for n in (1, 32)),
    *(Case(f"blob-1m-{n}", _asked("1 MiB blob GET", n, _get_blob(1 * MIB))) for n in (1, 32)),
    *(Case(f"images-{clients}", _images(clients)) for clients in (1, 8)),
]
