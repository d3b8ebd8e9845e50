"""Death at every single step of an object's life, and a new start: nothing half visible, nothing lost, nothing left.

The steps are counted, not listed: each verb of the store and each operation of the catalog is one before it happens and
one when it has happened and nobody was told. From the step on everything fails, as for a process that is gone.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.base import StoreUnavailable
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import BlobUnknown, RegistryError
from store import uploads
from store.layout import BLOBS, blob_key
from store.store_objects import WHOLE
from tests.support.storehooks import no_hook
from tests.unit.store.bucket import LARGE, OTHER, UPLOAD, Bucket, bucket

DIGEST = Digest.of(LARGE)
NEVER = 10_000


class Life:
    """Counts steps, and ends at one of them."""

    def __init__(self, last: int) -> None:
        self.step = 0
        self.over = asyncio.Event()
        self.acknowledged = False
        self._last = last

    def go_on(self) -> None:
        """Pass one step."""
        self.step += 1
        if self.step >= self._last:
            self.over.set()
            raise StoreUnavailable("dead")

    async def hook(self, verb: str, key: str) -> None:
        """A step of the store."""
        self.go_on()

    def around(self, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """`Catalog.run` with a step before the operation and one behind it."""

        async def stepping(*arguments: Any) -> Any:
            self.go_on()
            answer = await run(*arguments)
            self.go_on()
            return answer

        return stepping


Story = Callable[[Bucket, Life], Awaitable[None]]


async def by_object(shelf: Bucket, life: Life) -> None:
    """An object under a temporary key."""
    key = await shelf.uploaded(LARGE)
    await shelf.store.blobs.commit_object("a", DIGEST, key, len(LARGE), UPLOAD)
    life.acknowledged = True
    await shelf.calm()


async def under_its_digest(shelf: Bucket, life: Life) -> None:
    """An object that is made where it belongs."""
    key = await shelf.uploaded(LARGE, key=blob_key(DIGEST))
    await shelf.store.blobs.commit_object("a", DIGEST, key, len(LARGE), UPLOAD)
    life.acknowledged = True
    await shelf.calm()


async def by_copy(shelf: Bucket, life: Life) -> None:
    """An object that the store proves."""
    key = await shelf.uploaded(LARGE)
    assert await shelf.store.blobs.commit_by_copy("a", DIGEST, key, len(LARGE), UPLOAD)
    life.acknowledged = True
    await shelf.calm()


async def given_up(shelf: Bucket, life: Life) -> None:
    """A session that is aborted."""
    await shelf.uploaded(OTHER)
    await shelf.store.catalog.run(uploads.remove, UPLOAD)
    await shelf.calm()


@asynccontextmanager
async def living(folder: Path, last: int) -> AsyncIterator[tuple[Bucket, Life]]:
    """A store whose process dies at that step; what it leaves in `folder` and in the object store stays."""
    life = Life(last)
    async with bucket(folder, MemoryStore(smallest_part_bytes=1, hashes_copies=True), work=True) as shelf:
        shelf.objects.before = shelf.objects.after = life.hook
        shelf.store.catalog.run = life.around(shelf.store.catalog.run)  # type: ignore[method-assign,assignment]
        yield shelf, life
        shelf.objects.before = shelf.objects.after = no_hook


async def lived(story: Story, folder: Path, last: int) -> tuple[MemoryStore, Life]:
    """The story up to that step; the object store as it was left."""
    async with living(folder, last) as (shelf, life):
        told = asyncio.ensure_future(story(shelf, life))
        death = asyncio.ensure_future(life.over.wait())
        await asyncio.wait({told, death}, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            told.cancel()
        death.cancel()
        outcome = (await asyncio.gather(told, return_exceptions=True))[0]
        assert outcome is None or isinstance(outcome, RegistryError | asyncio.CancelledError), outcome
        return shelf.objects, life


def proven_only(objects: MemoryStore) -> bool:
    """Whether what lies under digests hashes to them."""
    under = {key: value for key, value in objects.values.items() if key.startswith(BLOBS)}
    return all(hashlib.sha256(value).hexdigest() == key.split("/")[-2] for key, value in under.items())


async def is_visible(shelf: Bucket) -> bool:
    """Whether the blob is there; if so, whole."""
    try:
        await shelf.store.blobs.size("a", DIGEST)
    except BlobUnknown:
        return False
    assert await shelf.read("a", DIGEST) == LARGE
    return True


async def finished(shelf: Bucket, *, again: bool) -> bool:
    """End the session that is left, by its last step if that can be done again, or by expiry; whether there was one."""
    if not await shelf.store.catalog.read(uploads.all_rows):
        return False
    whole = [row.key for row in await shelf.rows() if row.state == WHOLE and shelf.objects.values[row.key] == LARGE]
    if again and whole:
        await shelf.store.blobs.commit_object("a", DIGEST, whole[0], len(LARGE), UPLOAD)
    else:
        await shelf.store.catalog.run(uploads.remove, UPLOAD)
    return True


@pytest.mark.parametrize("again", [True, False], ids=["goes-on", "expires"])
@pytest.mark.parametrize("story", [by_object, under_its_digest, by_copy, given_up])
async def test_whenever_the_process_dies_the_next_start_puts_everything_in_order(
    tmp_path: Path, story: Story, again: bool
) -> None:
    """D3 and D9: acknowledged means there, not acknowledged means invisible, and every object is somebody's."""
    (tmp_path / "whole").mkdir()
    _, life = await lived(story, tmp_path / "whole", NEVER)
    assert life.step > 15
    for last in range(1, life.step + 1):
        folder = tmp_path / f"{last}"
        folder.mkdir()
        objects, life = await lived(story, folder, last)
        assert proven_only(objects), last
        async with bucket(folder, objects, work=True) as shelf:
            visible = await is_visible(shelf)
            assert visible or not life.acknowledged, last
            had_session = await finished(shelf, again=again)
            assert not (visible and had_session), last
            await shelf.calm()
            assert proven_only(objects), last
            if await is_visible(shelf) or (story is under_its_digest and blob_key(DIGEST) in objects.values):
                assert shelf.holds_only(LARGE), (last, objects.values.keys())
            else:
                assert shelf.holds_only(), (last, objects.values.keys())
            assert await shelf.rows() == [], last
