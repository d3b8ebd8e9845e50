"""Where content lies in an object store: what a session in sequence is made of there, and what it finds at a start."""

from collections.abc import Iterable
from pathlib import Path

from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.sending import Sending
from multipart.sliced_spool import SlicedSpool
from multipart.slices import Sizes, Slice, Slicing
from store.upload_parts import PartRow
from store.uploads import TRIMMED, UploadRow


class Slicer:
    """Makes spool files that are cut into slices, and what sends those."""

    def __init__(self, objects: ObjectStore, slicing: Slicing | None, folder: Path, *, uncached: bool = False) -> None:
        """Without `slicing`, as sessions in parts keep and send; `uncached` as for `SpoolFile`."""
        self.remotes, self._folder, self._uncached = objects.remote, folder, uncached
        self._slicing = slicing or Slicing(keep_bytes=objects.keep_bytes, unsent_bytes=objects.ahead_bytes)
        store = objects.backend
        self._sizes = Sizes.for_store(
            store.smallest_part_bytes, store.largest_part_bytes, store.most_parts, self._slicing.first_bytes
        )
        self._stored: dict[str, list[PartRow]] = {}

    async def load(self, ledger: Ledger) -> None:
        """At start: what earlier processes sent."""
        await self.remotes.load()
        for row in await ledger.parts():
            self._stored.setdefault(row.upload_id, []).append(row)

    def loaded(self) -> None:
        """All sessions were taken up."""
        self._stored.clear()

    def spool(self, row: UploadRow) -> SlicedSpool:
        """The spool file of a session."""
        spool = SlicedSpool(
            self._folder,
            row.id,
            (row.algorithm,),
            self._sizes,
            reserved_bytes=self._slicing.reserved_bytes,
            uncached=self._uncached,
        )
        if row.state == TRIMMED:
            spool.restore(stored_slices(self._stored.get(row.id, ())))
        return spool

    def sending(self, row: UploadRow, spool: SlicedSpool, *, key: str | None) -> Sending:
        """Its way into the store; with a `key` the session is of one request, and has no row in the ledger."""
        return Sending(
            row.id,
            row.owner,
            spool,
            self.remotes,
            self._slicing,
            key=key,
            recorded=key is None,
            trimmed=row.state == TRIMMED,
        )


def stored_slices(rows: Iterable[PartRow]) -> list[Slice]:
    """The slices that the store has, by the ledger, as far as they have no gap."""
    slices: list[Slice] = []
    for row in sorted(rows, key=lambda row: row.number):
        if row.number != len(slices) + 1 or row.store_etag is None:
            break
        slices.append(Slice(row.number, slices[-1].stop if slices else 0, row.size_bytes, row.sha256))
    return slices
