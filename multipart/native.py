"""Native sessions: clients put parts into the object store themselves, and we ask the store what it has (H040-H048).

What a client says about parts that we never saw counts for nothing: at completion the store lists them, and what it
lists is what is recorded, and compared with the client's list (H088).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from backends.base import Direct, MultipartGone, RemotePart, StoreUnavailable
from model.digests import Digest
from model.errors import RegistryError
from multipart.arrivals import require_open
from multipart.handed import NATIVE
from multipart.hashing import ALWAYS
from multipart.kept import Kept
from multipart.ledger import Ledger
from multipart.objectstore import ObjectStore
from multipart.part_sending import is_same
from multipart.parted_session import PartedSession
from multipart.parts import Layout, StoredPart, require_number
from multipart.refusals import NativeNotConfigured
from multipart.remote import RemoteUpload
from sigv4.presigning import Presigned
from store.upload_parts import PartRow

NO_STORE: Final = "content lies in a directory, which clients cannot reach (setting storage_driver)"
NO_URLS: Final = "this store has no URLs for clients"

log = logging.getLogger("holdfast.uploads")


class Native:
    """What is particular about native sessions."""

    def __init__(self, objects: ObjectStore | None, ledger: Ledger) -> None:
        self._objects, self._ledger = objects, ledger

    def why_not(self, layout: Layout | None = None) -> str:
        """Why a session of that layout cannot be native now; empty when it can."""
        if self._objects is None:
            return NO_STORE
        store, direct = self._objects.backend, self._objects.direct
        if direct is None or not direct.native:
            return (direct.why_not_native if direct is not None else "") or NO_URLS
        if layout is None or (layout.count == 1 and layout.size_bytes <= store.largest_part_bytes):
            return ""
        if layout.count > store.most_parts:
            return f"the store takes {store.most_parts} parts"
        if not store.smallest_part_bytes <= layout.part_size_bytes <= store.largest_part_bytes:
            return f"the store takes parts of {store.smallest_part_bytes} to {store.largest_part_bytes} bytes"
        return ""

    def require(self, layout: Layout | None) -> None:
        """For a client that insists on it (H051).

        Raises:
            NativeNotConfigured: says what stands against it. StoreUnavailable: nothing does that would last.
        """
        why_not = self.why_not(layout)
        if why_not and self._objects is not None and self._objects.is_away():
            raise StoreUnavailable("no upload can go straight to the object store for now")
        if why_not:
            raise NativeNotConfigured(f"native uploads are not configured here: {why_not}")

    async def begin(self, session: PartedSession, *, insists: bool = False) -> None:
        """Make the session native; where that is not possible it stays buffered, and says why (H042, H047).

        Raises:
            StorageFailed, StorageFull: only to a client that `insists`, and that `require` let pass.
        """
        session.why_buffered = self.why_not(session.layout)
        if session.why_buffered or self._objects is None or session.sending is None:
            return
        try:
            upload = await self._objects.remote.begin(session.id, session.row.owner)
        except RegistryError as error:
            if insists:
                raise
            log.warning("upload %s is buffered, since the store does not begin it: %s", session.id, error)
            session.why_buffered = f"the store does not begin it: {error.message}"
            return
        session.sending.adopt(upload)
        session.row = replace(session.row, mode=NATIVE)

    def part_url(self, session: PartedSession, number: int, *, sha256: str | None, lifetime_s: int) -> Presigned | None:
        """A URL of the store for that part; None when there can be none now. See `PartedSessions.part_url`."""
        require_number(number)
        if session.layout is not None:
            session.layout.span(number)
        require_open(session, number)
        direct = self._objects.direct if self._objects is not None and self._objects.is_ours() else None
        if direct is None or not direct.native or not session.is_native:
            return None
        upload = session.sending.upload if session.sending is not None else None
        if upload is None or upload.store_upload_id is None:
            return None
        try:
            url = direct.part_url(upload.key, upload.store_upload_id, number, sha256=sha256, lifetime_s=lifetime_s)
        except (ValueError, RegistryError) as error:  # credentials that ended, for one
            log.warning("upload %s: part %d goes through us: %s", session.id, number, error)
            return None
        session.handed.note(number, _seen_to(direct, sha256), url.expires_at_s)
        return url

    async def look(self, session: PartedSession) -> None:
        """What the store has becomes what the session has, in the ledger first (H088).

        A part of ours that is still on its way there counts as it is.

        Raises:
            StorageFailed: the store cannot say.
        """
        upload = session.sending.upload if session.sending is not None else None
        if upload is None or self._objects is None or session.whole_afar:
            return
        await upload.begin()
        if upload.assembled or upload.store_upload_id is None:
            return
        before = dict(upload.confirmed)
        try:
            found = await self._objects.backend.list_parts(upload.key, upload.store_upload_id)
        except MultipartGone:
            if not session.parts:  # nothing is lost by it
                await upload.begin_again()
                await upload.begin()
            return  # it may have been assembled, and only the answer was lost: assembling tells
        await self._record(session, upload, found, before)

    async def _record(
        self,
        session: PartedSession,
        upload: RemoteUpload,
        found: Sequence[RemotePart],
        before: Mapping[int, RemotePart],
    ) -> None:
        """What the store listed counts, but for parts of ours that it took while it did: of those we know more.

        `before` is what was confirmed when it was asked. Parts that come through us meanwhile are let be.
        """
        news = _News.of(session, upload, found, before)
        if not news:
            return
        async with session.part_turns(news.numbers):
            news = _News.of(session, upload, found, before)
            rows = [PartRow(session.id, part.number, part.size_bytes, "", part.etag) for part in news.fresh]
            had = [number for number in news.numbers if number in session.parts]
            await self._ledger.set_parts(session.id, rows, news.gone)
            await self._take_out(session, had)
            fresh = [part for part in news.fresh if part.number not in {*session.parts, *session.arriving}]
            upload.adopt(fresh)
            for part in fresh:
                stored = StoredPart(part.number, part.size_bytes, "", part.etag)
                session.parts[part.number] = Kept(stored, proven=True, trimmed=True)

    async def _take_out(self, session: PartedSession, numbers: Sequence[int]) -> None:
        """What the session has of these parts is not in the store any more; whoever calls has their turns.

        Known they stay until their files are gone: whoever sends one meanwhile does so beside it.
        """
        if numbers and session.sending is not None:
            session.sending.forget(numbers)
            await session.follower.go_back(min(numbers))
            await session.remove_part_files(numbers)
        for number in numbers:
            kept = session.parts.pop(number, None)
            if kept is not None:
                session.unclaim(kept)

    def is_proven(self, session: PartedSession, digest: Digest) -> bool:
        """Whether the store itself has seen to it that the one part of the session has that digest."""
        if len(session.parts) != 1 or digest.algorithm != ALWAYS or not session.is_native:
            return False
        ((number, kept),) = session.parts.items()
        ours = kept.stored.sha256 == digest.hex and session.handed.none(number)
        return ours or session.handed.prove(number, digest.hex)


@dataclass(frozen=True, slots=True)
class _News:
    """What the store listed, as far as it is news."""

    fresh: Sequence[RemotePart]
    """Parts that clients put there."""
    gone: Sequence[int]
    """Parts that were there."""

    @classmethod
    def of(
        cls,
        session: PartedSession,
        upload: RemoteUpload,
        found: Sequence[RemotePart],
        before: Mapping[int, RemotePart],
    ) -> "_News":
        there = {part.number for part in found}
        newer = {number for number, part in upload.confirmed.items() if before.get(number) != part}
        fresh = [part for part in found if part.number not in newer and not _is_known(session, upload, part)]
        gone = [
            number
            for number, kept in session.parts.items()
            if number not in there and number not in newer and (kept.trimmed or number in upload.confirmed)
        ]
        return cls(fresh, gone)

    def __bool__(self) -> bool:
        return bool(self.fresh or self.gone)

    @property
    def numbers(self) -> list[int]:
        """Of all these parts."""
        return [*self.gone, *(part.number for part in self.fresh)]


def _seen_to(direct: Direct, sha256: str | None) -> str | None:
    """The hash that the store holds a body to; None when it takes any."""
    return sha256.lower() if sha256 is not None and direct.checks_hashes else None


def _is_known(session: PartedSession, upload: RemoteUpload, part: RemotePart) -> bool:
    """Whether the session has that part already, or has another of ours on its way, which will take its place."""
    kept = session.parts.get(part.number)
    if kept is None:
        return part.number in session.arriving
    if is_same(kept, part):
        return True
    confirmed = upload.confirmed.get(part.number)
    return not kept.stored.is_native and not kept.trimmed and (confirmed is None or confirmed == part)
