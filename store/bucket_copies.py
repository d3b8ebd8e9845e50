"""Copies of the catalog in the bucket, so that a machine that is lost takes no names with it.

    holdfast/catalog/<registry id>/catalog-20261120T160148123456Z.sqlite3      whole, or not there

The newest copy in the data folder (`store/backups.py`) is put there under the same name; seven are kept. A catalog that
holds nothing is not put there, and a catalog lets go only of copies that are its own (`store/right_store.py` has the
ids): so whoever takes a bucket over takes nothing away.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backends.base import Backend, KeyMissing, Multipart
from model.errors import StorageFailed
from model.units import MINUTE_S
from store import backups, blob_rows, setting_rows
from store.catalog import Catalog
from store.layout import CATALOG_COPIES, catalog_copy_key
from store.opening import sync_folder
from store.recording import recorded

_GOING: Final = "going-to-the-bucket.sqlite3"
"""A second name of the copy that is being sent: sending takes the file it is given away."""
_COMING: Final = ".coming"


@dataclass(frozen=True, slots=True)
class BucketCopy:
    """One copy of a catalog in the bucket."""

    name: str
    taken_at_s: float
    size_bytes: int
    registry: str = ""
    """The id of the registry whose catalog it is; empty, when it lies where copies without one do."""


def always() -> bool:
    """Nobody else is there: what is done in the bucket is done."""
    return True


async def anything() -> None:
    """The same for who has to be told otherwise by an error: whatever is to be stored there may be stored."""


def keeps_copies(backend: Backend) -> bool:
    """Whether content lies elsewhere than here, in a store of objects, so that copies there outlive this machine."""
    return isinstance(backend, Multipart)


async def copies_in(backend: Backend) -> list[BucketCopy]:
    """The copies in the bucket, the newest first. StorageFailed: it cannot be asked."""
    places = await _places(backend)
    found = await asyncio.gather(*(_described(backend, name, registry) for name, registry in places))
    return [copy for copy in found if copy is not None]


async def has_copies(backend: Backend) -> bool:
    """Whether there is any copy in the bucket. StorageFailed: it cannot be asked."""
    return bool(await _places(backend))


async def fetch(backend: Backend, name: str, data_dir: Path) -> Path:
    """Bring a copy from the bucket into the data folder, beside those taken here; it appears there whole or not at all.

    Raises:
        KeyMissing: there is none of that name. StorageFailed: it cannot be read, or is not whole.
        OSError: there is no room for it.
    """
    folder = data_dir / backups.FOLDER_NAME
    folder.mkdir(exist_ok=True)
    target = folder / name
    coming = target.with_name(target.name + _COMING)
    registry = next((registry for there, registry in await _places(backend) if there == name), "")
    key = catalog_copy_key(name, registry)
    size_bytes = await backend.size(key)
    try:
        with coming.open("wb") as file:
            async for piece in backend.get(key):
                await asyncio.to_thread(file.write, piece)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        if coming.stat().st_size != size_bytes:
            raise StorageFailed(f"the copy {name} did not come whole")
        coming.replace(target)
    finally:
        coming.unlink(missing_ok=True)
    await asyncio.to_thread(sync_folder, folder)
    return target


class BucketCopies:
    """Keeps the copies of one catalog in the bucket."""

    def __init__(self, catalog: Catalog, backend: Backend, is_ours: Callable[[], bool] = always) -> None:
        """`is_ours`: whether the bucket is proven to be this catalog's; until then nothing is done there."""
        self._catalog = catalog
        self._backend = backend
        self._is_ours = is_ours
        self._sent = ""

    async def keep_up(self) -> None:
        """See that the newest copy in the data folder is in the bucket too, and let go of our oldest beyond seven.

        Raises:
            StorageFull, StorageFailed, OSError: it is not, or not known to be, or the bucket is not known to be ours;
                asking again later is right.
        """
        newest = await asyncio.to_thread(backups.newest, self._catalog.data_dir)
        if newest is None or newest.name == self._sent or not await self._catalog.read(blob_rows.has_content):
            return
        if not self._is_ours():
            raise StorageFailed("the bucket is not known to be this registry's")
        registry = await registry_id(self._catalog)
        there = [name for name, whose in await _places(self._backend) if whose == registry]
        if await asyncio.to_thread(backups.registry_in, newest) != registry:
            former, newest = newest, await self._catalog.backup()  # it is from before there was an id
            if self._catalog.clock.now_s() - (backups.taken_at_s(former.name) or 0.0) < MINUTE_S:
                await asyncio.to_thread(former.unlink, missing_ok=True)  # the new one says all that it did
        if newest.name not in there:
            await self._send(newest, catalog_copy_key(newest.name, registry))
            there = sorted({newest.name, *there}, reverse=True)
        for name in there[backups.KEPT :]:
            await self._backend.delete(catalog_copy_key(name, registry))
        self._sent = newest.name

    async def _send(self, copy: Path, key: str) -> None:
        going = copy.with_name(_GOING)
        going.unlink(missing_ok=True)
        try:
            going.hardlink_to(copy)
        except OSError:  # a file system without second names
            await asyncio.to_thread(shutil.copyfile, copy, going)
        size_bytes = going.stat().st_size
        try:
            async with recorded(self._catalog, self._backend, key, size_bytes, backups.taken_at_s(copy.name) or 0.0):
                await self._backend.put(key, going)
        finally:
            going.unlink(missing_ok=True)


async def registry_id(catalog: Catalog) -> str:
    """The catalog's own id; made once. Raises: StorageFull, StorageFailed, when there is none and none can be made."""
    known = await catalog.read(setting_rows.get, setting_rows.REGISTRY_ID)
    if known is not None:
        return known
    return await catalog.run(setting_rows.put_once, setting_rows.REGISTRY_ID, secrets.token_hex(8))


async def _places(backend: Backend) -> list[tuple[str, str]]:
    """Name and registry of the copies in the bucket, the newest first; what somebody named otherwise is theirs."""
    found = [key.removeprefix(CATALOG_COPIES).rpartition("/") async for key in backend.keys(CATALOG_COPIES)]
    ours = [(name, registry) for registry, _, name in found if "/" not in registry]
    return sorted((each for each in ours if backups.taken_at_s(each[0]) is not None), reverse=True)


async def _described(backend: Backend, name: str, registry: str) -> BucketCopy | None:
    """The copy of that name; None when it was let go meanwhile."""
    taken_at_s = backups.taken_at_s(name)
    try:
        size_bytes = await backend.size(catalog_copy_key(name, registry))
    except KeyMissing:
        return None
    return None if taken_at_s is None else BucketCopy(name, taken_at_s, size_bytes, registry)
