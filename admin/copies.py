"""Copies of the catalog, wherever they lie: listed, and sent to the bucket. `admin/restoring.py` brings them back.

A copy in the data folder is named by its path, one in the bucket as `bucket:NAME`.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

from backends.base import Backend
from model.clock import rfc3339
from model.errors import Unavailable
from store import backups
from store.bucket_copies import BucketCopies, copies_in, keeps_copies
from store.catalog import Catalog

Answer = dict[str, Any]

IN_BUCKET: Final = "bucket:"


async def listed(data_dir: Path, backend: Backend | None, now_s: float) -> Answer:
    """The copies there are, the newest first; `bucket_unknown` says why those in the bucket are not among them."""
    found = [
        (copy.path.name, str(copy.path), copy.taken_at_s, copy.size_bytes)
        for copy in await asyncio.to_thread(backups.list_backups, data_dir)
    ]
    answer: Answer = {}
    if backend is not None and keeps_copies(backend):
        try:
            there = await copies_in(backend)
            found += [(copy.name, IN_BUCKET + copy.name, copy.taken_at_s, copy.size_bytes) for copy in there]
        except Unavailable as error:
            answer["bucket_unknown"] = error.message
    found.sort(key=lambda copy: copy[0], reverse=True)
    answer["copies"] = [
        {
            "path": path,
            "size_bytes": size_bytes,
            "taken_at": rfc3339(taken_at_s),
            "age_s": max(0, round(now_s - taken_at_s)),
        }
        for _, path, taken_at_s, size_bytes in found
    ]
    return answer


async def sent(catalog: Catalog, backend: Backend) -> Answer:
    """Send the newest copy to the bucket as well: `bucket` says whether it is there; nothing, where there is none."""
    if not keeps_copies(backend):
        return {}
    try:
        await BucketCopies(catalog, backend).keep_up()
    except (Unavailable, OSError) as error:
        return {"bucket": False, "bucket_unknown": str(error)}
    return {"bucket": True}
