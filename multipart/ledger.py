"""The durable record of upload sessions: which exist, whose they are, when they were last used, which parts they have.

Where a session in sequence stands is not in here but proven from its spool file (`multipart/marks.py`): a number in a
table cannot know what the disk kept. A part has a row once it is synced; after a restart its bytes are hashed again all
the same.
"""

from collections.abc import Iterable, Mapping, Sequence

from store import store_objects, upload_parts, uploads
from store.catalog import Catalog
from store.store_objects import ObjectRow
from store.upload_parts import EndedRow, PartRow
from store.uploads import UploadRow


class Ledger:
    """The upload rows of the catalog; each change is durable when its call returns."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def add(self, row: UploadRow) -> None:
        """Record a new session."""
        await self._catalog.run(uploads.insert, row)

    async def remove(self, upload_id: str) -> None:
        """Forget a session; an unknown one is fine."""
        await self._catalog.run(uploads.remove, upload_id)

    async def touch(self, touched_at_s: Mapping[str, float]) -> None:
        """Record when sessions were last used, all at once."""
        await self._catalog.run(uploads.touch, list(touched_at_s.items()))

    async def rows(self) -> list[UploadRow]:
        """All sessions."""
        return await self._catalog.read(uploads.all_rows)

    async def add_part(self, row: PartRow) -> None:
        """Record a part that is whole and synced."""
        await self._catalog.run(upload_parts.add_part, row)

    async def sent(self, upload_id: str, number: int, sha256: str, store_etag: str) -> None:
        """The object store has a part, if it is still that one; never makes a row."""
        await self._catalog.run(upload_parts.sent, upload_id, number, sha256, store_etag)

    async def unsent(self, upload_id: str) -> None:
        """The object store has no part of the session any more."""
        await self._catalog.run(upload_parts.unsent, upload_id)

    async def set_parts(self, upload_id: str, rows: Sequence[PartRow], gone: Iterable[int]) -> None:
        """Record what clients put into the object store themselves (H088); those of `gone` are not there."""
        await self._catalog.run(upload_parts.set_parts, upload_id, rows, list(gone))

    async def remove_parts(self, upload_id: str, numbers: Iterable[int]) -> None:
        """These parts are missing from now on."""
        await self._catalog.run(upload_parts.remove_parts, upload_id, list(numbers))

    async def parts(self) -> list[PartRow]:
        """The parts of all sessions, by number."""
        return await self._catalog.read(upload_parts.all_parts)

    async def assemble(self, upload_id: str, digest: str, size_bytes: int) -> None:
        """A session is complete under its temporary name."""
        await self._catalog.run(upload_parts.assemble, upload_id, digest, size_bytes)

    async def end(self, row: EndedRow) -> None:
        """A session has ended without becoming a blob."""
        await self._catalog.run(upload_parts.end, row)

    async def ended(self, since_s: float, most: int) -> list[EndedRow]:
        """How sessions in parts ended since then, at most so many, the latest first."""
        return await self._catalog.read(upload_parts.all_ended, since_s, most)

    async def forget_ended(self, before_s: float) -> None:
        """Forget how sessions ended before then."""
        await self._catalog.run(upload_parts.forget_ended, before_s)

    async def start_over(self, upload_id: str) -> None:
        """A session in sequence stands at nothing again: no part of it is stored, and its spool is whole."""
        await self._catalog.run(upload_parts.start_over, upload_id)

    async def trimmed(self, upload_id: str) -> None:
        """From now on the spool may lack the first bytes of this session in sequence; the store has them."""
        await self._catalog.run(uploads.trimmed, upload_id)

    async def intend_object(self, row: ObjectRow) -> None:
        """The store is about to be asked for this object."""
        await self._catalog.run(store_objects.intend, row)

    async def object_begun(self, key: str, upload_id: str, store_upload_id: str) -> bool:
        """The store has begun it; False when it is wanted no more: then abort it there."""
        return await self._catalog.run(store_objects.begun, key, upload_id, store_upload_id)

    async def object_whole(self, key: str, upload_id: str) -> None:
        """It is an object now."""
        await self._catalog.run(store_objects.whole, key, upload_id)

    async def discard_object(self, key: str, upload_id: str) -> None:
        """It is not needed any more, unless a blob lies there."""
        await self._catalog.run(store_objects.discard, key, upload_id)

    async def objects(self) -> list[ObjectRow]:
        """Everything that is, or was, in the making in the store, the oldest first."""
        return await self._catalog.read(store_objects.all_rows)
