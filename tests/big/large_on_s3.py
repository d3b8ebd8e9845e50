"""A blob that no store copies in one go, on S3: part of `make release-check`, with room looked for first.

BIG_S3_GIB (6) is its size. From 5 GiB on it is copied to its place in parts; smaller ones show less.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.hold import Hold
from tests.faults.large_parts import GROWTH_BYTES, digest_of_blob, require_disk, size_from
from tests.http.pushing import Client, sha256
from tests.support import objectstore
from tests.support.memory import memory_bytes
from tests.support.objectstore import Bucket, ObjectStore, eventually
from tests.support.server import Server

GIB: Final = 1024**3
SIZE_BYTES: Final = size_from("BIG_S3_GIB", 6) * GIB
ONE_COPY_BYTES: Final = 5 * GIB
"""What a store copies at the most in one go."""
TAIL: Final = b"the end"
ALSO: Final = 3
"""The store has it twice while it is copied, and the client's file is sparse."""
PATIENCE_S: Final = 1800
MODES: Final[dict[str, dict[str, str]]] = {"native": {}, "buffered": {"disable_presigned_urls": "true"}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store whose state is on the disk, since memory has no room for it."""
    require_disk(tmp_path, ALSO * SIZE_BYTES, "BIG_S3_GIB")
    monkeypatch.setattr(objectstore, "fast_folder", lambda: str(tmp_path))
    with ObjectStore() as running:
        yield running


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
def test_six_gibibytes_reach_their_place_by_copies_in_parts(store: ObjectStore, tmp_path: Path, mode: str) -> None:
    """H078, H102, T01, T11: a sparse file; visible when it is proven, settled after that, memory flat, nothing left."""
    big = tmp_path / "sparse.bin"
    with big.open("wb") as file:
        file.truncate(SIZE_BYTES)
        file.seek(-len(TAIL), 2)
        file.write(TAIL)
    bucket = store.new_bucket()
    with Server(tmp_path / "data", env=bucket.env(**MODES[mode])) as server:
        before = memory_bytes(server.pid, "VmRSS")
        pushing = Client(tmp_path / "home").start("push", big, f"{server.netloc}/large/s3:1")
        _, said = pushing.communicate(timeout=PATIENCE_S)
        assert pushing.returncode == 0, said
        digest = sha256(big)
        assert digest_of_blob(Hold(server.port), "large/s3", digest) == digest
        assert eventually(looks(bucket, digest), PATIENCE_S)
        growth_bytes = memory_bytes(server.pid, "VmHWM") - before
        print(f"{SIZE_BYTES // GIB} GiB {mode}: peak RSS grew by {growth_bytes // 2**20} MiB")
        assert growth_bytes < GROWTH_BYTES
        assert f" started {mode} upload: " in server.log()
        copied = [each for each in bucket.requests() if digest[7:] in each.path and "partNumber=" in each.query]
        assert (len(copied) >= 2) is (SIZE_BYTES > ONE_COPY_BYTES)
        assert bucket.uploads() == []
        assert digest_of_blob(Hold(server.port), "large/s3", digest) == digest
    assert list((tmp_path / "data" / "spool").iterdir()) == []


def looks(bucket: Bucket, digest: str) -> Iterator[bool]:
    """Whether it is settled, seen twice a second."""
    pause = threading.Event()
    while True:
        yield settled(bucket, digest)
        pause.wait(0.5)


def settled(bucket: Bucket, digest: str) -> bool:
    """Whether the blob lies under its digest, whole, and nothing temporary does."""
    objects = bucket.objects()
    place = f"docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"
    return objects.get(place) == SIZE_BYTES and not [key for key in objects if key.startswith("holdfast/uploads/")]
