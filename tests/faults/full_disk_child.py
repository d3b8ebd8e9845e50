"""A process that fills a small disk through the store, and proves what a full disk may and may not do.

python full_disk_child.py FOLDER       FOLDER is a small file system of its own
"""

import asyncio
import os
import sys
from pathlib import Path

from model.digests import Digest
from model.errors import BlobUnknown, ManifestUnknown, StorageFull
from store.values import LocalBlob
from tests.unit.store.shop import EMPTY, Shop, image, shop

BALLAST_BYTES = 256 * 1024


async def fill_with_manifests(store: Shop) -> int:
    """Push until there is no room; how many were acknowledged."""
    number = 0
    try:
        while True:
            await store.push("a", image(f"{number} " + "x" * 3000), f"t{number}")
            number += 1
    except StorageFull:
        return number


async def fill_with_blobs(store: Shop) -> list[Digest]:
    """Commit blobs until there is no room, each from a spool file that may not fit either."""
    stored: list[Digest] = []
    while True:
        content = os.urandom(20_000)
        digest = Digest.of(content)
        try:
            source = store.source(content)
        except OSError:
            for left in (store.folder / "spool").iterdir():
                left.unlink()
            return stored
        try:
            await store.blobs.commit("a", digest, source, len(content))
        except StorageFull:
            assert source.read_bytes() == content or not source.exists()
            source.unlink(missing_ok=True)
            return stored
        stored.append(digest)


async def check(store: Shop, manifests: int, blobs: list[Digest]) -> None:
    """All that was acknowledged is there and whole, and nothing else is."""
    for number in range(manifests):
        assert (await store.manifests.get("a", f"t{number}")).content == image(f"{number} " + "x" * 3000)
    try:
        await store.manifests.get("a", f"t{manifests}")
        raise AssertionError("a manifest that was refused is there")
    except ManifestUnknown:
        pass
    for digest in blobs:
        blob = await store.blobs.content("a", digest)
        assert isinstance(blob, LocalBlob)
        with blob:
            assert Digest.of(os.pread(blob.fd, blob.size_bytes, 0)) == digest


async def main(folder: Path) -> None:
    """Fill, check, start again, make room, go on."""
    ballast = folder / "ballast"
    async with shop(folder, durable=True) as store:
        await store.push_blob("a", EMPTY)
        blobs = [await store.push_blob("a", os.urandom(20_000))]
        ballast.write_bytes(bytes(BALLAST_BYTES))
        manifests = await fill_with_manifests(store)
        blobs += await fill_with_blobs(store)
        await check(store, manifests, blobs)
    async with shop(folder, durable=True) as store:
        await check(store, manifests, blobs)
        ballast.unlink()
        await store.push("a", image(f"{manifests} " + "x" * 3000), f"t{manifests}")
        content = os.urandom(20_000)
        blobs.append(await store.push_blob("a", content))
        await check(store, manifests + 1, blobs)
        try:
            await store.blobs.size("a", Digest.of(b"never"))
            raise AssertionError("a blob that never was is there")
        except BlobUnknown:
            pass
    sys.stdout.write(f"held {manifests} manifests, {len(blobs)} blobs\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
