"""The durable record of upload sessions: which exist, whose they are, when they were last used, which parts they have.

Where a session in sequence stands is not in here but proven from its spool file (`multipart/marks.py`): a number in a
table cannot know what the disk kept. A part has a row once it is synced; after a restart its bytes are hashed again all
the same.
"""

from collections.abc import Iterable, Mapping

from store import upload_parts, uploads
from store.catalog import Catalog
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
