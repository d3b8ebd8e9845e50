"""kill -9 at every named step of the store: what was acknowledged is there, and nothing is half there."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from model.digests import Digest
from model.errors import BlobUnknown, ManifestUnknown
from store import uploads
from store.values import LocalBlob
from tests.faults.store_child import ROUNDS, layer, manifest
from tests.unit.store.shop import Shop, shop

pytestmark = pytest.mark.only_with_directory("the store over a directory, without a server")

ROOT = Path(__file__).resolve().parents[2]
STEPS = ["sync_file", "make_folder", "link", "rename", "sync_folder", "before commit", "after commit"]


def run_child(folder: Path, step: str, number: int, *, kill_after: int | None = None) -> list[str]:
    """Let a process work until it dies; what it acknowledged. With `kill_after`, it is killed after that many lines."""
    command = [sys.executable, "-m", "tests.faults.store_child", str(folder), step, str(number)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, env=environment) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line.strip())
            if len(lines) == kill_after:
                child.kill()
        assert child.wait(30) == -9, lines[-3:]
    return lines


async def check(folder: Path, lines: list[str]) -> None:
    """Open what the dead process left, and compare it with what it had said."""
    said = {name: {int(line.split()[-1]) for line in lines if line.startswith(f"{name} ")} for name in NAMES}
    async with shop(folder, durable=True) as store:
        await check_blobs(store, said["blob"])
        await check_manifests(store, said)
        await check_uploads(store, said)
        # The next one works as if nothing had been.
        digest = await store.push_blob("a", layer(ROUNDS))
        assert await store.blobs.size("a", digest) == len(layer(ROUNDS))


NAMES = ("opened", "blob", "manifest", "deleted", "trying manifest", "trying delete")


async def check_blobs(store: Shop, acknowledged: Iterable[int]) -> None:
    """Each acknowledged blob is there; each one that is there is whole."""
    for number in range(ROUNDS):
        digest = Digest.of(layer(number))
        try:
            blob = await store.blobs.content("a", digest)
        except BlobUnknown:
            assert number not in acknowledged
            continue
        assert isinstance(blob, LocalBlob)
        with blob:
            assert Digest.of(os.pread(blob.fd, blob.size_bytes + 1, 0)) == digest


async def check_manifests(store: Shop, said: dict[str, set[int]]) -> None:
    """Pushed ones are there unless their deletion was begun; deleted ones and never begun ones are not."""
    there = set()
    for number in range(ROUNDS):
        try:
            stored = await store.manifests.get("a", Digest.of(manifest(number)))
        except ManifestUnknown:
            continue
        assert stored.content == manifest(number)
        assert (await store.manifests.get("a", f"t{number}")).digest == stored.digest
        there.add(number)
    assert said["manifest"] - said["trying delete"] <= there
    assert there <= said["trying manifest"] - said["deleted"]
    if there:
        assert (await store.tags.resolve("a", "latest")) == Digest.of(manifest(max(there)))
    assert set((await store.tags.page("a")).names) == {f"t{number}" for number in there} | (
        {"latest"} if there else set()
    )


async def check_uploads(store: Shop, said: dict[str, set[int]]) -> None:
    """A session's row goes with its commit: acknowledged blobs have none, opened ones that were not committed do."""
    rows = {int(row.id.removeprefix("upload-")) for row in await store.catalog.read(uploads.all_rows)}
    assert not rows & said["blob"]
    for number in said["opened"] - said["blob"] - rows:
        assert await store.blobs.size("a", Digest.of(layer(number))) == len(layer(number))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [2, 5, 11])
async def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path, step: str, number: int) -> None:
    lines = run_child(tmp_path, step, number)
    assert lines[0] == "ready"
    await check(tmp_path, lines)


@pytest.mark.parametrize("kill_after", [3, 20, 45, 90])
async def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path, kill_after: int) -> None:
    lines = run_child(tmp_path, "never", 1, kill_after=kill_after)
    await check(tmp_path, lines)


async def test_several_kills_in_a_row_on_one_folder_are_survived(tmp_path: Path) -> None:
    """The catalog's log is taken up again each time; rounds repeat, so the same content is pushed again."""
    for step, number in (("after commit", 7), ("rename", 3), ("before commit", 9)):
        run_child(tmp_path, step, number)
        async with shop(tmp_path, durable=True) as store:
            for row in await store.catalog.read(uploads.all_rows):
                await store.catalog.run(uploads.remove, row.id)
            if await store.exists("a"):
                await store.repositories.delete("a")
    lines = run_child(tmp_path, "after commit", 30)
    await check(tmp_path, lines)
