"""Opening a session in parts: how it is cut, whether there is room, whether it is native, and its row in the ledger."""

import asyncio
import uuid
from pathlib import Path

from model.clock import Clock
from model.errors import StorageFull
from multipart import filesystem
from multipart.ledger import Ledger
from multipart.limits import Accounts
from multipart.native import Native
from multipart.parted_session import PartedSession
from multipart.parts import Layout, suggested_part_size
from multipart.refusals import PartSizeInvalid
from multipart.shelf import WHOLE, Shelf
from multipart.spool import RESERVED_BYTES
from multipart.uninterrupted import to_its_end
from store.uploads import UploadRow


class Opening:
    """Opens sessions."""

    def __init__(
        self, shelf: Shelf, ledger: Ledger, accounts: Accounts, clock: Clock, spool_folder: Path, native: Native
    ) -> None:
        self._shelf, self._ledger, self._accounts, self._clock = shelf, ledger, accounts, clock
        self._folder, self._native, self._limits = spool_folder, native, accounts.limits

    async def open(
        self,
        repository: str,
        *,
        owner: str,
        target: str,
        algorithm: str,
        size_bytes: int | None,
        part_size_bytes: int | None,
        native: bool,
        insists: bool,
        in_one_request: bool,
    ) -> PartedSession:
        """See `PartedSessions.open`."""
        layout = self._layout(size_bytes, part_size_bytes)
        if insists:
            self._native.require(layout)
        self._accounts.check(repository)
        self._accounts.check_caller(owner)
        held = self._accounts.hold(owner)
        if not self._shelf.separate:
            held.claim(size_bytes or 0)
        elif size_bytes is not None:
            held.require_fits(size_bytes)  # parts are counted as they come, and go
        now = self._clock.now_s()
        row = UploadRow(
            id=str(uuid.uuid4()),
            repository=repository,
            algorithm=algorithm,
            created_at_s=now,
            touched_at_s=now,
            owner=owner,
            declared_size_bytes=size_bytes,
            part_size_bytes=layout.part_size_bytes if layout is not None else None,
            kind="parts",
            target=target,
            state=WHOLE if in_one_request else "open",
        )
        session = self._shelf.enter(row, layout, held)
        try:
            if native or insists:
                await to_its_end(asyncio.ensure_future(self._native.begin(session, insists=insists)))
                self._shelf.note_whole(session)
            if layout is not None and session.files.in_one:
                held.pledge(layout.size_bytes)
                if layout.size_bytes >= RESERVED_BYTES:
                    await session.call(self._require_room)
            await self._ledger.add(session.row)
        except BaseException:
            self._shelf.forget(session)
            if session.sending is not None:
                await session.sending.end()
            raise
        return session

    def _layout(self, size_bytes: int | None, part_size_bytes: int | None) -> Layout | None:
        """How a declared size is cut; PartSizeInvalid when that cannot be."""
        if size_bytes is None:
            if part_size_bytes is not None:
                raise PartSizeInvalid("a part size means nothing without the size")
            return None
        layout = Layout(size_bytes, part_size_bytes if part_size_bytes is not None else suggested_part_size(size_bytes))
        if layout.count > 1 and layout.part_size_bytes < self._limits.min_part_bytes:
            raise PartSizeInvalid(
                f"all parts but the last need {self._limits.min_part_bytes} bytes (setting min_part_bytes)",
                smallest=self._limits.min_part_bytes,
            )
        return layout

    def _require_room(self) -> None:
        """In a thread: see that the disk has what was promised; StorageFull otherwise."""
        if filesystem.free_bytes(self._folder) < self._accounts.pledged_bytes:
            raise StorageFull("the disk has no room for an upload of this size")
