"""How sessions in parts ended: remembered for some days, so that a question asked again gets the same answer.

A client whose answer was lost asks again, perhaps after a restart of ours: a repeated completion or move succeeds with
what it made, and whoever comes too late is told what became of the session. The ledger has the same rows; here are the
latest of them, bounded in number.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from model.clock import Clock
from model.digests import Digest
from model.errors import RegistryError
from multipart.parted_session import Completed, PartedSession
from multipart.refusals import UploadAborted, UploadExpired, UploadFinished
from store.upload_parts import EndedRow

KEPT_S: Final = 7 * 24 * 3600.0
KEPT_AT_MOST: Final = 10_000

DONE: Final = "done"
ABORTED: Final = "aborted"
EXPIRED: Final = "expired"
REFUSED: Final = "refused"

_MEANING: Final[dict[str, tuple[type[RegistryError], str]]] = {
    DONE: (UploadFinished, "the upload has become a blob already"),
    ABORTED: (UploadAborted, "the upload was aborted"),
    EXPIRED: (UploadExpired, "the upload lay idle for too long and was removed; start again"),
    REFUSED: (UploadAborted, "the upload was removed, because its bytes did not have the digest; start again"),
}


class Endings:
    """The latest ends of sessions, by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: OrderedDict[str, EndedRow] = OrderedDict()

    @property
    def since_s(self) -> float:
        """What ended before then is forgotten."""
        return self._clock.now_s() - KEPT_S

    def load(self, rows: Iterable[EndedRow]) -> None:
        """At start: what the ledger has, the latest first."""
        for row in reversed(list(rows)):
            self.note(row)

    def row(self, session: PartedSession, how: str, digest: str = "") -> EndedRow:
        """What is to be kept of a session that ends now."""
        row = session.row
        parts = session.assembled.parts if session.assembled is not None else len(session.parts)
        now_s = self._clock.now_s()
        return EndedRow(row.id, row.repository, row.owner, row.target, how, digest, session.stored_bytes, parts, now_s)

    def note(self, row: EndedRow) -> None:
        """Remember an end."""
        self._rows[row.id] = row
        if len(self._rows) > KEPT_AT_MOST:
            self._rows.popitem(last=False)

    def forget(self) -> bool:
        """Forget what ended too long ago; whether there was anything."""
        since_s, before = self.since_s, len(self._rows)
        while self._rows and next(iter(self._rows.values())).ended_at_s < since_s:
            self._rows.popitem(last=False)
        return len(self._rows) < before

    def of(self, upload_id: str) -> EndedRow | None:
        """How the session ended, if that is still known."""
        return self._rows.get(upload_id)

    def completed(self, upload_id: str, digest: Digest | None) -> Completed | None:
        """What the same completion was answered before; None if it is not the same, or did not succeed."""
        row = self._rows.get(upload_id)
        if row is None or row.how != DONE or (digest is not None and row.digest != str(digest)):
            return None
        return _completed(row)

    def published(self, owner: str, target: str, digest: Digest) -> Completed | None:
        """What the same move was answered before."""
        wanted = (owner, target, DONE, str(digest))
        rows = reversed(self._rows.values())
        found = next((row for row in rows if (row.owner, row.target, row.how, row.digest) == wanted), None)
        return None if found is None else _completed(found)


def refusal(row: EndedRow) -> RegistryError:
    """What whoever asks for an ended session is told."""
    error, message = _MEANING[row.how]
    return error(message)


def _completed(row: EndedRow) -> Completed:
    return Completed(row.id, row.repository, row.digest, row.size_bytes, row.parts)
