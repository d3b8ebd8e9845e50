"""An object in the making, as far as the store and the ledger know it: its key, the store's id of it, and its end.

    intended ── begun ── assembled
       ▲          │
       └──────────┘ the store dropped it, or it is given up: another key, and begun when it is next needed

The ledger knows each key before the store does. An answer that was lost leaves nothing either: what may have begun
under a temporary key is removed before it is begun once more.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from backends.base import KeyMissing, MultipartGone, RemotePart, StoreUnavailable
from model.errors import StorageFailed
from multipart.line import Line
from store.layout import is_temporary, temporary_key
from store.store_objects import WHOLE, ObjectRow

log = logging.getLogger("holdfast.uploads")

Seen: TypeAlias = Callable[[Mapping[int, RemotePart]], None]


def new_key(upload_id: str) -> str:
    """A temporary key that was never used."""
    return temporary_key(upload_id, secrets.token_hex(8))


class Making:
    """One object in the making. Told to `seen` what parts the store has, whenever that is news."""

    def __init__(self, home: Line, upload_id: str, owner: str, key: str, seen: Seen) -> None:
        self.upload_id, self.key = upload_id, key
        self.store_upload_id: str | None = None
        self.assembled = False
        self.unchecked = False
        """It is known from the ledger only."""
        self.assembled_bytes: int | None = None
        """Of one that was found assembled."""
        self.found = False
        """An earlier process had it assembled and could not say so: parts may have become others since."""
        self._home, self._owner, self._seen = home, owner, seen
        self._lock = asyncio.Lock()
        self._asked = False  # the store was asked to begin under this key
        self._recorded_whole = False
        self._beginning: asyncio.Future[None] | None = None

    def restore(self, row: ObjectRow) -> None:
        """An earlier process began it."""
        self.store_upload_id, self._asked = row.store_upload_id, True
        self.assembled = self._recorded_whole = row.state == WHOLE
        self.unchecked = self.assembled or row.store_upload_id is not None

    async def ready(self) -> str:
        """The store's id, once it has begun and was looked at; empty when it is assembled.

        Raises: StorageFailed; StoreUnavailable, also while nothing may be stored there.
        """
        await self._home.require()
        async with self._lock:
            if self.unchecked:
                await self._check()
            if self.store_upload_id is None and not self.assembled:
                await self._begin()
            return self.store_upload_id or ""

    async def gone(self, store_upload_id: str) -> bool:
        """The store does not know this id any more; False when that is no news."""
        async with self._lock:
            if self.store_upload_id != store_upload_id or self.assembled:
                return False
            await self._renew()
            return True

    async def give_up(self) -> None:
        """Stand before the beginning, under another key. Raises: StorageFailed, and nothing has changed."""
        async with self._lock:
            await self._renew()

    async def assemble(self, parts: Sequence[RemotePart]) -> None:
        """Make it an object of these parts, unless it is one of that size; the ledger knows it on return.

        Raises:
            MultipartGone: the store has neither; StorageFailed.
        """
        size_bytes = sum(part.size_bytes for part in parts)
        if not self.assembled or self.assembled_bytes not in (None, size_bytes):
            await self._home.backend.assemble(self.key, self.store_upload_id or "", parts)
            self.assembled, self.assembled_bytes = True, size_bytes
        if not self._recorded_whole:
            await self._home.ledger.object_whole(self.key, self.upload_id)
            self._recorded_whole = True

    async def discard(self) -> None:
        """It is not needed any more, whatever it is. Raises: StorageFailed."""
        await self._home.ledger.discard_object(self.key, self.upload_id)
        self._home.discarding()

    async def _begin(self) -> None:
        if self._beginning is not None:
            await asyncio.shield(self._beginning)
            return
        if self._asked and is_temporary(self.key):
            await self._remove_lost()
        elif self._asked:
            await self._elsewhere()  # under a digest's key others may be at work
        self._beginning = asyncio.ensure_future(self._begun(self.key))
        self._beginning.add_done_callback(self._has_begun)
        await asyncio.shield(self._beginning)

    async def _remove_lost(self) -> None:
        """It may have begun, and only the answer was lost. Not every store, or every key, may be asked for that."""
        try:
            await self._home.backend.abort(self.key, None)
        except StoreUnavailable:
            raise
        except StorageFailed as error:
            log.debug("whether upload %s was begun before is not known: %s", self.upload_id, error)

    async def _begun(self, key: str) -> None:
        """Goes on when nobody waits: what the store begins after it was looked for there would stay for ever."""
        home, row = self._home, ObjectRow(key, self.upload_id, self._owner, self._home.clock.now_s())
        with home.beginning(key, self.upload_id):
            await home.ledger.intend_object(row)
            self._asked |= self.key == key
            store_upload_id = await home.backend.begin(key)
            if not await home.ledger.object_begun(key, self.upload_id, store_upload_id):
                await home.backend.abort(key, store_upload_id)
                raise StorageFailed("the upload has ended")
        if self.key == key:
            self.store_upload_id = store_upload_id

    def _has_begun(self, done: "asyncio.Future[None]") -> None:
        if not done.cancelled():
            done.exception()  # whoever waits hears of it
        if self._beginning is done:
            self._beginning = None

    async def _check(self) -> None:
        """Believe what the ledger says as far as the store says so too."""
        try:
            if self._recorded_whole or self.store_upload_id is None:
                raise MultipartGone("it is assembled")
            listed = await self._home.backend.list_parts(self.key, self.store_upload_id)
        except MultipartGone:
            if not await self._find_whole():
                await self._renew()
            self.unchecked = False
            return
        self.unchecked = False
        self._seen({part.number: part for part in listed})

    async def _find_whole(self) -> bool:
        """Whether an earlier process had it assembled; under a digest's key it may be somebody else's."""
        try:
            self.assembled_bytes = await self._home.backend.size(self.key)
        except KeyMissing:
            return False
        self.assembled = is_temporary(self.key)
        self.found = self.assembled and not self._recorded_whole
        return self.assembled

    async def _renew(self) -> None:
        await self._elsewhere()
        self.store_upload_id = self.assembled_bytes = None
        self.assembled = self._recorded_whole = self.unchecked = self.found = False
        self._seen({})

    async def _elsewhere(self) -> None:
        """From now on under another key; what is under the old one is discarded."""
        await self.discard()
        self.key, self._asked, self._beginning = new_key(self.upload_id), False, None
