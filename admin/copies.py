"""Copies of the catalog, wherever they lie: listed, and sent to the bucket. `admin/restoring.py` brings them back.

A copy in the data folder is named by its path, one in the bucket as `bucket:NAME`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from backends.base import Backend
from model.clock import rfc3339
from model.errors import Unavailable
from store import backups, blob_rows
from store.bucket_copies import BucketCopies, copies_in, keeps_copies
from store.catalog import Catalog
from store.right_store import owner_of

Answer = dict[str, Any]

IN_BUCKET: Final = "bucket:"


async def listed(data_dir: Path, backend: Backend | None, now_s: float) -> Answer:
    """The copies there are, the newest first; `bucket_unknown` says why those in the bucket are not among them.

    Each says which registry it is of (empty: it does not know), and `bucket_registry` which one the bucket belongs to,
    if it says so.
    """
    found = await asyncio.to_thread(_here, data_dir)
    answer: Answer = {}
    if backend is not None and keeps_copies(backend):
        try:
            there = await copies_in(backend)
            owner = await owner_of(backend)
        except Unavailable as error:
            answer["bucket_unknown"] = str(error)
        else:
            found += [_Copy(copy.name, IN_BUCKET, copy.taken_at_s, copy.size_bytes, copy.registry) for copy in there]
            if owner is not None:
                answer["bucket_registry"] = owner.id
    found.sort(key=lambda copy: copy.name, reverse=True)
    answer["copies"] = [
        {
            "path": copy.before_name + copy.name,
            "size_bytes": copy.size_bytes,
            "taken_at": rfc3339(copy.taken_at_s),
            "age_s": max(0, round(now_s - copy.taken_at_s)),
            "registry": copy.registry,
        }
        for copy in found
    ]
    return answer


class _Copy(NamedTuple):
    name: str
    before_name: str
    taken_at_s: float
    size_bytes: int
    registry: str


def _here(data_dir: Path) -> list[_Copy]:
    """The copies in the data folder. Blocks."""
    return [
        _Copy(copy.path.name, f"{copy.path.parent}/", copy.taken_at_s, copy.size_bytes, backups.registry_in(copy.path))
        for copy in backups.list_backups(data_dir)
    ]


async def sent(catalog: Catalog, backend: Backend, is_ours: Callable[[], bool]) -> Answer:
    """Send the newest copy to the bucket as well: `bucket` says whether it is there; nothing, where there is none.

    A catalog without any name is not sent.
    """
    if not keeps_copies(backend):
        return {}
    try:
        if not await catalog.read(blob_rows.has_content):
            return {"bucket": False}
        await BucketCopies(catalog, backend, is_ours).keep_up()
    except (Unavailable, OSError) as error:
        return {"bucket": False, "bucket_unknown": str(error)}
    return {"bucket": True}
