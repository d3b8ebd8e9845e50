"""Copies of the catalog in the bucket, so that a machine that is lost takes no names with it.

    holdfast/catalog/catalog-20261120T160148123456Z.sqlite3      whole, or not there

The newest copy in the data folder (`store/backups.py`) is put there under the same name; seven are kept. A catalog that
holds nothing is not put there, and a catalog lets go only of copies that are its own: so a server that is started on an
empty folder by mistake takes nothing away.
"""

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backends.base import Backend, KeyMissing, Multipart
from model.errors import StorageFailed
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


def keeps_copies(backend: Backend) -> bool:
    """Whether content lies elsewhere than here, in a store of objects, so that copies there outlive this machine."""
    return isinstance(backend, Multipart)


async def copies_in(backend: Backend) -> list[BucketCopy]:
    """The copies in the bucket, the newest first. StorageFailed: it cannot be asked."""
    found = await asyncio.gather(*(_described(backend, name) for name in await _names(backend)))
    return [copy for copy in found if copy is not None]


async def has_copies(backend: Backend) -> bool:
    """Whether there is any copy in the bucket. StorageFailed: it cannot be asked."""
    return bool(await _names(backend))


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
    key = catalog_copy_key(name)
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

    def __init__(self, catalog: Catalog, backend: Backend) -> None:
        self._catalog = catalog
        self._backend = backend
        self._sent = ""

    async def keep_up(self) -> None:
        """See that the newest copy in the data folder is in the bucket too, and let go of our oldest beyond seven.

        Raises:
            StorageFull, StorageFailed, OSError: it is not, or not known to be; asking again later is right.
        """
        newest = await asyncio.to_thread(backups.newest, self._catalog.data_dir)
        if newest is None or newest.name == self._sent or not await self._catalog.read(blob_rows.has_content):
            return
        there = await _names(self._backend)
        since = await self._catalog.read(setting_rows.get, setting_rows.COPIES_SINCE)
        if since is None:
            since = newest.name
            await self._catalog.run(setting_rows.put, setting_rows.COPIES_SINCE, since)
            newest = await self._catalog.backup()  # so that it knows itself which copies are its own
        if newest.name not in there:
            await self._send(newest)
            there = sorted({newest.name, *there}, reverse=True)
        for name in [name for name in there if name >= since][backups.KEPT :]:
            await self._backend.delete(catalog_copy_key(name))
        self._sent = newest.name

    async def _send(self, copy: Path) -> None:
        going = copy.with_name(_GOING)
        going.unlink(missing_ok=True)
        try:
            going.hardlink_to(copy)
        except OSError:  # a file system without second names
            await asyncio.to_thread(shutil.copyfile, copy, going)
        key, size_bytes = catalog_copy_key(copy.name), going.stat().st_size
        try:
            async with recorded(self._catalog, self._backend, key, size_bytes, backups.taken_at_s(copy.name) or 0.0):
                await self._backend.put(key, going)
        finally:
            going.unlink(missing_ok=True)


async def _names(backend: Backend) -> Sequence[str]:
    """The names of the copies in the bucket, the newest first; what somebody named otherwise is theirs."""
    names = [key.removeprefix(CATALOG_COPIES) async for key in backend.keys(CATALOG_COPIES)]
    return sorted((name for name in names if backups.taken_at_s(name) is not None), reverse=True)


async def _described(backend: Backend, name: str) -> BucketCopy | None:
    """The copy of that name; None when it was let go meanwhile."""
    taken_at_s = backups.taken_at_s(name)
    try:
        size_bytes = await backend.size(catalog_copy_key(name))
    except KeyMissing:
        return None
    return None if taken_at_s is None else BucketCopy(name, taken_at_s, size_bytes)
