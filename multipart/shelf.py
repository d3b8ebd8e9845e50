"""The open sessions in parts, by id and by temporary name, and the latest of those that ended.

Whoever asks for a session by its id gets it, or is told what became of it. At start the ledger's sessions are taken up
again (T09).
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from model.clock import Clock
from model.errors import RegistryError, UploadUnknown
from multipart.endings import KEPT_AT_MOST, Endings, refusal
from multipart.ledger import Ledger
from multipart.limits import Accounts, Held
from multipart.parted_session import Kept, PartedSession
from multipart.partfiles import PartFiles
from multipart.parts import Layout, StoredPart
from multipart.refusals import UploadForeign
from multipart.returning import remains
from store.upload_parts import PartRow
from store.uploads import UploadRow

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
    ) -> None:
        self._ledger, self._folder, self._workers, self._clock = ledger, spool_folder, workers, clock
        self._accounts, self._durable, self._uncached = accounts, durable, uncached
        self._sessions: dict[str, PartedSession] = {}
        self._assembled: dict[tuple[str, str], PartedSession] = {}
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
        files = PartFiles(self._folder, row.id, layout, durable=self._durable, uncached=self._uncached)
        expiry_s = self._accounts.limits.expiry_s
        session = PartedSession(row, files, self._ledger, self._workers, held, _log_lost, expiry_s)
        self._sessions[row.id] = session
        self._accounts.enter(row)
        return session

    def forget(self, session: PartedSession) -> None:
        """It has ended, and holds nothing any more."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._accounts.leave(session.row)
        session.held.end()
        if self.assembled(*_name(session)) is session:
            del self._assembled[_name(session)]

    def assembled(self, owner: str, target: str) -> PartedSession | None:
        """What this caller completed under that temporary name."""
        return self._assembled.get((owner, target))

    def keep_assembled(self, session: PartedSession) -> PartedSession | None:
        """It has its temporary name now; returns what had it before."""
        older = self._assembled.get(_name(session))
        self._assembled[_name(session)] = session
        return older if older is not session else None

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
        found = remains(row, layout, parts, sizes)
        for part in found.kept:
            session.parts[part.number] = Kept(StoredPart(part.number, part.size_bytes, part.sha256), proven=False)
        session.moved_away = found.moved_away
        if row.assembled_digest is not None:
            session.take_up_assembled(row.assembled_digest, row.assembled_bytes or 0)
            self.keep_assembled(session)
        session.held.claim(session.stored_bytes if layout is None else layout.size_bytes, enforced=False)
        if layout is not None:
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


def _log_lost(upload_id: str, number: int) -> None:
    log.warning("upload %s: part %d is not what was received; it has to be sent again", upload_id, number)
