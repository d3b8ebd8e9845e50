"""Settling: an object becomes what lies under its digest's key, while everybody can read it already.

    copy ── the store copies the temporary object to the digest's key; seen to be of the right length
    move ── one transaction: the blob's row points nowhere, the object's row says discard
    then the temporary object is removed (store/discarding.py)

Each step can be repeated, so an interruption at any moment costs nothing but doing it again: what is not settled stands
in the catalog, and is taken up at the next start. Where the temporary object is gone, because a restored catalog speaks
of it, the object under the digest's key has the last word.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from backends.base import Backend, Copies, KeyMissing
from model.digests import Digest
from model.errors import StorageFailed
from store import blob_rows as rows
from store.blobs import Blobs
from store.bucket_copies import always
from store.catalog import Catalog
from store.lanes import Lanes
from store.layout import blob_key

AT_ONCE: Final = 2
"""Copies of large objects keep a store busy, and nobody waits for them."""

LONGEST_REST_S: Final = 30.0
LOOK_S: Final = 0.25

_log: Final = logging.getLogger("holdfast.store")


def never() -> bool:
    """Nobody is ever sending."""
    return False


class Settler:
    """Settles what commits left behind; where the store cannot copy, objects stay where they are."""

    def __init__(
        self,
        catalog: Catalog,
        backend: Backend,
        blobs: Blobs,
        is_ours: Callable[[], bool] = always,
        is_busy: Callable[[], bool] = never,
    ) -> None:
        """`is_ours`: whether the bucket is proven to be ours; until then nothing is settled (then: `wake`).
        `is_busy`: whether clients are sending; copies then wait a while, since a store may need longer for a copy
        than for the upload, and readers have what they need.
        """
        self._catalog = catalog
        self._is_ours, self._is_busy = is_ours, is_busy
        self._rests_until_s: dict[Digest, float] = {}
        self._backend = backend if isinstance(backend, Copies) else None
        self._sizes = backend
        self._places = blobs.places
        self._commits = blobs.commits
        self._condition = blobs.condition
        self._lanes: Lanes[Digest] = Lanes("settling blobs", self._settle, at_once=AT_ONCE)
        blobs.commits.on_unsettled = self._add

    def poke(self) -> None:
        """Take up everything that is not settled."""
        if self._backend is not None and self._is_ours():
            for digest in self._places.unsettled:
                self._lanes.add(digest)

    def wake(self) -> None:
        """The store is back: nobody need wait for as long as it was away."""
        self._lanes.wake()
        self.poke()

    async def run(self) -> None:
        """Settle what there is and what comes, for ever; a store that fails is tried again."""
        self.poke()
        await self._lanes.run()

    async def settled(self) -> None:
        """Return when nothing is left to be settled, but for what is lost or damaged; `run` is running meanwhile."""
        self.poke()
        await self._lanes.idle()

    def _add(self, digest: Digest) -> None:
        """It was committed just now: what was seen of it before does not count."""
        if self._backend is not None and self._is_ours():
            self._rests_until_s[digest] = asyncio.get_running_loop().time() + LONGEST_REST_S
            self._lanes.add(digest, again=True)

    async def _settle(self, digest: Digest) -> None:
        """One blob; returns as well when there is nothing to do any more, or nothing that can be done."""
        await self._rest(digest)
        key, size_bytes = self._places.unsettled.get(digest), await self._catalog.read(rows.bytes_of, digest)
        if key is None or size_bytes is None or self._backend is None or self._condition.is_damaged(digest):
            return
        async with self._commits.writing.turn(digest):
            try:
                async with self._commits.recorded(digest, size_bytes):
                    await self._backend.copy(key, blob_key(digest), size_bytes)
                copied = True
            except KeyMissing:
                copied = False
            stored_bytes = await self._stored_bytes(digest)
        if stored_bytes == size_bytes:
            await self._commits.settled(digest, key)
        elif copied:
            raise StorageFailed(f"the store copied {digest} to {stored_bytes} bytes instead of {size_bytes}")
        elif self._places.unsettled.get(digest) == key:
            _log.error("blob %s is lost: neither %s nor its own key is in the store: push it again", digest, key)

    async def _rest(self, digest: Digest) -> None:
        """Return when nobody is sending, or it was committed long ago: on some machines somebody always is."""
        until_s = self._rests_until_s.pop(digest, 0.0)
        while self._is_busy() and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110 - for the reason below
            await asyncio.sleep(LOOK_S)  # whoever sends need not know that somebody waits for the end of it

    async def _stored_bytes(self, digest: Digest) -> int | None:
        try:
            return await self._sizes.size(blob_key(digest))
        except KeyMissing:
            return None
