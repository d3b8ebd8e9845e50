"""The open sessions in parts, by id and by temporary name, and the latest of those that ended.

Whoever asks for a session by its id gets it, or is told what became of it. At start the ledger's sessions are taken up
again (T09).
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from model.clock import Clock
from model.errors import RegistryError, UploadUnknown
from multipart.endings import KEPT_AT_MOST, Endings, refusal
from multipart.ledger import Ledger
from multipart.limits import Accounts, Held
from multipart.objectstore import ObjectStore
from multipart.part_sending import PartSending
from multipart.parted_session import Kept, PartedSession
from multipart.partfiles import PartFiles
from multipart.parts import Layout, StoredPart
from multipart.refusals import UploadForeign
from multipart.returning import remains
from store.upload_parts import PartRow
from store.uploads import UploadRow

WHOLE: Final = "whole"
"""State, in the ledger, of a native session that takes everything in one request."""

log = logging.getLogger("holdfast.uploads")


class Shelf:
    """All sessions in parts that are known."""

    def __init__(
        self,
        ledger: Ledger,
        spool_folder: Path,
        workers: Executor,
        clock: Clock,
        accounts: Accounts,
        *,
        durable: bool,
        uncached: bool,
        objects: ObjectStore | None = None,
    ) -> None:
        self._ledger, self._folder, self._workers, self._clock = ledger, spool_folder, workers, clock
        self._objects = objects
        self.separate = objects is not None
        """Every part has a file of its own, until an object store has it."""
        self._accounts, self._durable, self._uncached = accounts, durable, uncached
        self._sessions: dict[str, PartedSession] = {}
        self._assembled: dict[tuple[str, str], PartedSession] = {}
        self._wholes: dict[tuple[str, str], PartedSession] = {}
        self.endings = Endings(clock)

    def all(self) -> list[PartedSession]:
        """The open sessions, oldest first."""
        return sorted(self._sessions.values(), key=lambda session: session.row.created_at_s)

    def has(self, session: PartedSession) -> bool:
        """Whether it is still open."""
        return self._sessions.get(session.id) is session

    def find(self, upload_id: str, owner: str | None) -> PartedSession:
        """The open session of that id, in use by this; see `PartedSessions.find`."""
        session = self._sessions.get(upload_id)
        if session is None:
            raise self._unknown(upload_id, owner)
        _require_owner(session.row.owner, owner)
        self.touch(session)
        return session

    def _unknown(self, upload_id: str, owner: str | None) -> RegistryError:
        """Why there is no open session of that id."""
        ended = self.endings.of(upload_id)
        if ended is None:
            return UploadUnknown("no such upload; start again")
        _require_owner(ended.owner, owner)
        return refusal(ended)

    def touch(self, session: PartedSession) -> None:
        """The session is in use."""
        session.touched_at_s = self._clock.now_s()

    def enter(self, row: UploadRow, layout: Layout | None, held: Held) -> PartedSession:
        """A session is open; it holds what `held` says."""
        files = PartFiles(
            self._folder, row.id, layout, durable=self._durable, uncached=self._uncached, separate=self.separate
        )
        expiry_s = self._accounts.limits.expiry_s
        session = PartedSession(row, files, self._ledger, self._workers, held, _log_lost, expiry_s)
        if self._objects is not None:
            session.sending = PartSending(session, self._ledger, self._objects)
        self._sessions[row.id] = session
        self.note_whole(session)
        self._accounts.enter(row)
        return session

    def note_whole(self, session: PartedSession) -> None:
        """Find it by its name, if it is one that takes everything in one request."""
        if session.row.state == WHOLE and session.is_native:
            self._wholes[_name(session)] = session

    def forget(self, session: PartedSession) -> None:
        """It has ended, and holds nothing any more."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._accounts.leave(session.row)
        session.held.end()
        if self.whole(*_name(session)) is session:
            del self._wholes[_name(session)]
        if self.assembled(*_name(session)) is session:
            del self._assembled[_name(session)]

    def assembled(self, owner: str, target: str) -> PartedSession | None:
        """What this caller completed under that temporary name."""
        return self._assembled.get((owner, target))

    def whole(self, owner: str, target: str) -> PartedSession | None:
        """The open session by which this caller puts a whole into the store under that name, in one request."""
        return self._wholes.get((owner, target))

    def keep_assembled(self, session: PartedSession) -> list[PartedSession]:
        """It has its temporary name now; returns what had it before, or was to have it."""
        name = _name(session)
        older = [each for each in (self._assembled.get(name), self._wholes.pop(name, None)) if each is not None]
        self._assembled[name] = session
        return [each for each in older if each is not session]

    async def settle(self, rows: Sequence[UploadRow], sizes: Mapping[str, int]) -> set[str]:
        """At start: take up the sessions of the ledger, given what is in the spool; returns which files are theirs."""
        parts: dict[str, list[PartRow]] = {}
        for part in await self._ledger.parts():
            parts.setdefault(part.upload_id, []).append(part)
        files: set[str] = set()
        for row in rows:
            files |= await self._take_up(row, parts.get(row.id, []), sizes)
        await self._ledger.forget_ended(self.endings.since_s)
        self.endings.load(await self._ledger.ended(self.endings.since_s, KEPT_AT_MOST))
        return files

    async def _take_up(self, row: UploadRow, parts: Sequence[PartRow], sizes: Mapping[str, int]) -> frozenset[str]:
        """One session of an earlier process; its parts are proven later, and before anything is made of them."""
        size_bytes, layout = row.declared_size_bytes, None
        if size_bytes is not None:
            layout = Layout(size_bytes, row.part_size_bytes or max(1, size_bytes))
        session = self.enter(row, layout, self._accounts.hold(row.owner))
        afar = session.sending.upload if session.sending is not None else None
        found = remains(row, layout if session.files.in_one else None, parts, sizes, afar=afar is not None)
        for part in found.kept:
            stored = StoredPart(part.number, part.size_bytes, part.sha256, part.store_etag or "")
            trimmed = part.number in found.trimmed
            kept = session.parts[part.number] = Kept(stored, proven=trimmed, trimmed=trimmed)
            if session.sending is not None:
                session.sending.stored(kept)
        session.moved_away = found.moved_away
        session.handed.forget()
        if row.assembled_digest is not None:
            session.take_up_assembled(row.assembled_digest, row.assembled_bytes or 0)
            self.keep_assembled(session)
        _claim(session, layout)
        if layout is not None and session.files.in_one:
            session.files.allocated = sizes.get(session.files.data_path.name) == layout.size_bytes
            if not session.files.allocated:
                session.held.pledge(layout.size_bytes)
        if found.joined:
            await session.call(session.files.take_apart, found.kept[0].size_bytes)
        if found.lost:
            log.warning("upload %s: parts whose bytes are not there, to be sent again: %d", row.id, len(found.lost))
            await self._ledger.remove_parts(row.id, found.lost)
        return found.files


def _name(session: PartedSession) -> tuple[str, str]:
    return session.row.owner, session.row.target


def _require_owner(owner: str, asking: str | None) -> None:
    """UploadForeign unless the caller is the owner, or proved another way that he may."""
    if asking is not None and owner != asking:
        raise UploadForeign("this upload belongs to somebody else")


def _claim(session: PartedSession, layout: Layout | None) -> None:
    """Count what an earlier process accepted."""
    if layout is not None and session.files.in_one:
        session.held.claim(layout.size_bytes, enforced=False)
        return
    if layout is not None:
        session.held.fits = True
    for kept in session.parts.values():
        if not kept.trimmed:
            session.held.claim(kept.stored.size_bytes, enforced=False)
        elif not kept.stored.is_native:
            session.held.beyond_bytes += kept.stored.size_bytes


def _log_lost(upload_id: str, number: int) -> None:
    log.warning("upload %s: part %d is not what was received; it has to be sent again", upload_id, number)
