"""Uploads in the making in an object store, for the whole process: begun, found again after a restart, bounded.

None of this exists where the backend is a folder. Sessions of both kinds use it alike: they give parts as slices of
spool files (`RemoteUpload.send`), and the rest happens in the background (`multipart/remote_upload.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Final

from model.clock import Clock
from model.errors import RegistryError
from multipart.ledger import Ledger
from multipart.line import Line, PartStore
from multipart.making import new_key
from multipart.remote_upload import PATIENCE_S, RemoteUpload, Then
from store.bucket_copies import anything
from store.layout import is_temporary
from store.store_objects import DISCARD

__all__ = ["PATIENCE_S", "PartStore", "RemoteUpload", "RemoteUploads", "Then"]

AT_ONCE: Final = 4
"""So many parts of one session are on their way at a time."""
IN_ALL: Final = 16
FIRST_PAUSE_S: Final = 0.5
"""So long a part waits after its first failure; twice as long each time."""


class RemoteUploads(Line):
    """All uploads that this process, or an earlier one, has in the making in the store."""

    def __init__(
        self,
        backend: PartStore,
        ledger: Ledger,
        clock: Clock,
        *,
        at_once: int = AT_ONCE,
        in_all: int = IN_ALL,
        discarding: Callable[[], None] = lambda: None,
        pause_s: float = FIRST_PAUSE_S,
        require: Callable[[], Awaitable[None]] = anything,
    ) -> None:
        """`at_once` for each session, `in_all` for the process; `discarding` wakes whoever removes what is left.

        `require`: see `Line`.
        """
        super().__init__(backend, ledger, clock, in_all=in_all, discarding=discarding, pause_s=pause_s, require=require)
        self._at_once = at_once
        self._uploads: dict[str, RemoteUpload] = {}
        self._loaded = False

    async def load(self) -> None:
        """At start: take up what earlier processes began, for the sessions that there are; once."""
        if self._loaded:
            return
        parts: dict[str, list[int]] = {}
        rows = await self.ledger.parts()
        for at, row in enumerate(rows):
            parts.setdefault(row.upload_id, []).append(at)
        for made in await self.ledger.objects():
            if not is_temporary(made.key):
                await self.ledger.discard_object(made.key, made.upload_id)  # the spool has everything of that session
            elif made.state != DISCARD:  # the latest counts: an earlier one was given up
                upload = RemoteUpload(self, made.upload_id, made.owner, made.key, self._at_once)
                upload.restore(made, (rows[at] for at in parts.get(made.upload_id, ())))
                self._uploads[made.upload_id] = upload
        self._loaded = True

    def of(self, upload_id: str) -> RemoteUpload | None:
        """What is in the making for this session."""
        return self._uploads.get(upload_id)

    @property
    def is_sending(self) -> bool:
        """Whether anything waits to get into the store, or is on its way."""
        return any(upload.unsent_bytes for upload in self._uploads.values())

    def start(self, upload_id: str, owner: str, *, key: str | None = None) -> RemoteUpload:
        """As `begin`, but nothing is asked of store or ledger before the first part is sent; returns at once."""
        upload = RemoteUpload(self, upload_id, owner, key or new_key(upload_id), self._at_once)
        self._uploads[upload_id] = upload
        return upload

    async def begin(self, upload_id: str, owner: str, *, key: str | None = None) -> RemoteUpload:
        """Begin an upload for the session, under a temporary key unless `key` is said.

        Nothing is in the store that the ledger does not know, whatever happens.

        Raises:
            StorageFailed: the store does not begin it; nothing is left but a row that says to discard it.
        """
        upload = self.start(upload_id, owner, key=key)
        try:
            await upload.begin()
        except BaseException as error:
            if isinstance(error, RegistryError):
                await upload.abort()
            self.ended(upload_id)
            raise
        return upload

    def ended(self, upload_id: str) -> None:
        """The session has ended; what it left in the store is discarded, as the ledger says."""
        if self._uploads.pop(upload_id, None) is not None:
            self.discarding()

    def rest(self) -> None:
        """The server is about to stop: send only what somebody waits for."""
        self.resting = True
        for upload in list(self._uploads.values()):
            upload.rest()

    async def close(self) -> None:
        """Stop all sending; on return nothing is on its way. Everything can be taken up again."""
        self.rest()
        for upload in list(self._uploads.values()):
            await upload.leave()
