"""The durable record of upload sessions: which exist, whose they are, when they were last used.

Where a session stands is not in here but proven from its spool file (`multipart/marks.py`): a number in a table cannot
know what the disk kept.
"""

from collections.abc import Mapping

from store import uploads
from store.catalog import Catalog
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
