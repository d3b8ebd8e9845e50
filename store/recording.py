"""Large objects that go straight to where they belong have a row while they are made (`store/store_objects.py`).

What is too large for one request is sent, or copied, in parts. What a crash leaves of that is seen by nobody who reads;
by its row it is found at the next start, and aborted. So is what the store has begun twice, since an answer was lost.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from backends.base import Backend, Multipart
from model.errors import Unavailable
from model.units import GIB
from store import store_objects
from store.catalog import Catalog
from store.store_objects import ObjectRow

BY_PARTS_BYTES: Final = 5 * GIB
"""What is larger is made of parts, since S3 takes and copies no more in one request (T11)."""
OURS: Final = "store"
"""Whom these objects are made for, in place of a session."""


@asynccontextmanager
async def recorded(catalog: Catalog, backend: Backend, key: str, size_bytes: int, now_s: float) -> AsyncIterator[None]:
    """An object is made under `key` in this block, by nobody else meanwhile; what is unfinished behind it goes.

    Raises: Unavailable: the catalog takes no row, and nothing was begun.
    """
    if size_bytes <= BY_PARTS_BYTES or not isinstance(backend, Multipart):
        yield
        return
    await catalog.run(store_objects.intend, ObjectRow(key, OURS, "", now_s))
    try:
        yield
    finally:
        with suppress(Unavailable):  # the next start sees to it as well
            await catalog.run(store_objects.discard, key, OURS)
