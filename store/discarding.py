"""Discarding: what was made in the store and is not needed any more is removed there, and only then forgotten.

    row says discard ── abort the multipart upload ── delete the temporary object ── row gone

Each step can be repeated. Only objects below our own prefix are deleted; under a digest's key nothing but an upload
that was never completed is taken away, and none that a session still uses. A dead store is waited for.

A store that answers our asking to begin an upload only after we asked again has begun two, of which the row knows one
at most. So the store is asked as well what is unfinished under the key.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from backends.base import Backend, Multipart, StoreUnavailable
from model.errors import Conflict, StorageFailed, Unavailable
from store import store_objects
from store.bucket_copies import always
from store.catalog import Catalog
from store.lanes import Lanes
from store.layout import is_temporary
from store.recording import OURS
from store.store_objects import ObjectRow

AT_ONCE: Final = 4
LOOK_S: Final = 300.0
"""How often the rows are looked at when nobody says that there is something to do."""

_BEGINNING: Final = "something else is being made under the same key, and what of it is left over is not known yet"

_log: Final = logging.getLogger("holdfast.store")


class Discarder:
    """Removes what is to be discarded; where nothing is ever in the making, it does nothing."""

    def __init__(self, catalog: Catalog, backend: Backend, is_ours: Callable[[], bool] = always) -> None:
        """`is_ours`: whether the bucket is proven to be ours; until then nothing is touched (then: `wake`)."""
        self._catalog = catalog
        self._backend = backend
        self._is_ours = is_ours
        self._multipart = backend if isinstance(backend, Multipart) else None
        self._wanted = asyncio.Event()
        self._lanes: Lanes[ObjectRow] = Lanes("removing what uploads left in the store", self._discard, at_once=AT_ONCE)
        self.is_beginning: Callable[[str], bool] = _never
        """Whether the store is being asked to begin an upload under that key: until it has, nothing is removed there.
        """

    def poke(self) -> None:
        """There may be something to do."""
        self._wanted.set()

    def wake(self) -> None:
        """The store is back: nobody need wait for as long as it was away."""
        self._lanes.wake()
        self.poke()

    async def settle(self) -> None:
        """At start, before any session is opened: what has neither a session nor a blob is to be discarded."""
        if self._multipart is None:
            return
        orphans = await self._catalog.run(store_objects.discard_orphans)
        if orphans:
            _log.info("%d objects in the store belong to no upload any more; they are removed", orphans)
        self.poke()

    async def run(self) -> None:
        """Remove what there is and what comes, for ever; whatever fails is tried again."""
        if self._multipart is None:
            return
        self.poke()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.run())
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wanted.wait()
                self._wanted.clear()
                await self._look()

    async def done(self) -> None:
        """Return when nothing is left to be removed; `run` is running meanwhile."""
        while await self._catalog.read(store_objects.to_discard):
            await self._look()
            await self._lanes.idle()

    async def _look(self) -> None:
        if not self._is_ours():
            return
        try:
            rows = await self._catalog.read(store_objects.to_discard)
        except Unavailable as error:
            _log.warning("what is to be removed from the store cannot be looked up: %s; it is tried again", error)
            return
        for row in rows:
            if not self.is_beginning(row.key):  # whoever begins it pokes us then
                self._lanes.add(row)

    async def _discard(self, row: ObjectRow) -> None:
        if self._multipart is None:
            return
        if is_temporary(row.key):
            try:
                await self._abort_at(self._multipart, row)
            except StoreUnavailable:
                raise
            except StorageFailed:  # what is whole goes all the same
                await self._backend.delete(row.key)
                raise
            await self._backend.delete(row.key)
        else:
            await self._abort_beside(self._multipart, row)
        await self._catalog.run(store_objects.removed, row.key, row.upload_id)

    async def _abort_at(self, multipart: Multipart, row: ObjectRow) -> None:
        """Abort what is unfinished under a key that is ours alone: the upload we know, and any whose id got lost."""
        if row.store_upload_id is None:
            await multipart.abort(row.key, None)
            return
        await multipart.abort(row.key, row.store_upload_id)
        with _where_listed(row):
            await multipart.abort(row.key, None)

    async def _abort_beside(self, multipart: Multipart, row: ObjectRow) -> None:
        """The same under a digest's key, where others may be at work: what they use is left alone.

        What they use has its id in a row, once it is begun: an upload that the store has now, and that is in no row
        then, is one whose answer was lost.
        """
        if row.store_upload_id is not None:
            await multipart.abort(row.key, row.store_upload_id)
        found: list[str] = []
        with _where_listed(row):
            found = await multipart.list_unfinished(row.key)
        if not found:
            return
        if self.is_beginning(row.key):
            raise Conflict(_BEGINNING)
        others = await self._catalog.read(store_objects.making_at, row.key)
        if any(other.upload_id == OURS for other in others):  # whoever made that row knows the id, and nobody else
            raise Conflict(_BEGINNING)
        for lost in set(found) - {other.store_upload_id for other in others}:
            await multipart.abort(row.key, lost)


@contextmanager
def _where_listed(row: ObjectRow) -> Iterator[None]:
    """Not every store, or every key, may list what is unfinished; where the id is known, that has to do."""
    try:
        yield
    except StoreUnavailable:
        raise
    except StorageFailed as error:
        if row.store_upload_id is None:
            raise
        _log.debug("whether more is unfinished under %s is not known: %s", row.key, error)


def _never(key: str) -> bool:
    """Nobody begins anything in the store."""
    return False
