"""What the hold tells in the log: the modes it chose, whenever that changes, and where each upload stands (H130-H139).

The keys are those that people who run such a service look for: uploadID, s3UploadID, part, size, parts, totalSize,
written.
"""

import logging
from enum import Enum
from typing import Final
from weakref import WeakKeyDictionary

from handlers.services import HoldSettings
from multipart.parted_session import Completed, PartedSession

log: Final = logging.getLogger("holdfast.hold")

NATIVE: Final = "native"
"""Clients put the parts straight into the store, by URLs that we sign (H041)."""
BUFFERED: Final = "buffered"
"""Every part comes through this server and is written to its disk first (H043): what works with every store."""


class Herald:
    """Says how parts travel and why: once at the start, and again when that has changed; nobody configures it (H046).

    Where signed URLs are switched off nothing is ever said of their being on (H131), whatever the store could do.
    """

    def __init__(self, settings: HoldSettings) -> None:
        self._settings = settings
        self._native: bool | None = None
        self._why = ""

    def announce(self) -> None:
        """What there is to say at the start."""
        settings = self._settings
        if not settings.multipart:
            log.info("uploads in parts are switched off (MULTIPART=off)")
        if not settings.presigned:
            log.warning("presigned URLs disabled by configuration (DISABLE_PRESIGNED_URLS=true)")
            log.info("using buffered mode (DISABLE_PRESIGNED_URLS=true): parts are sent by the client's own authority")
        if settings.direct is None:
            driver = settings.storage
            log.info("storage driver is %s: presigned URLs of S3 are off, parts come through this server", driver)
        self.look()

    def look(self) -> None:
        """Say what has changed since the last time; nothing where the store has no say."""
        settings = self._settings
        if settings.direct is None or not settings.presigned:
            return
        native, why = settings.native, settings.direct.why_not_native
        if native and not self._native:
            log.info("presigned URLs enabled (S3): clients send parts straight to the store")
        elif not native and (self._native is not False or why != self._why):
            log.log(logging.WARNING if self._native else logging.INFO, "using buffered mode: %s", why)
        self._native, self._why = native, why


def started(session: PartedSession, did: str | None) -> None:
    """A session was opened (H134, H135); where it should have been native and is not, why (H047)."""
    row, words = session.row, ""
    if session.mode == NATIVE:
        words = f" s3UploadID={_store_upload_id(session)}"
    elif session.why_buffered:
        words = f" because={session.why_buffered!r}"
    more = (session.mode, session.id, words, row.repository, row.target, did or "-")
    log.info("started %s upload: uploadID=%s%s repository=%s digest=%s did=%s", *more)


def _store_upload_id(session: PartedSession) -> str:
    """What the store calls the upload; "-" for what it does not call anything any more."""
    upload = session.sending.upload if session.sending is not None else None
    return (upload.store_upload_id if upload is not None else None) or "-"


def stored(upload_id: str, part: int, size_bytes: int) -> None:
    """A part is on the disk (H136)."""
    log.info("stored part: uploadID=%s part=%d size=%d", upload_id, part, size_bytes)


def assembled(session: PartedSession, done: Completed) -> None:
    """The parts are one whole of that many bytes (H137)."""
    if _first(session, Step.ASSEMBLED):
        log.info("assembled parts: uploadID=%s parts=%d totalSize=%d", done.upload_id, done.parts, done.size_bytes)


def completed(session: PartedSession, done: Completed, written_bytes: int) -> None:
    """The blob is in the store (H138, H139); `written_bytes` is what that says, so that a short write shows (H113)."""
    if not _first(session, Step.COMPLETED):
        return
    if session.mode == NATIVE:
        words = (done.digest, done.upload_id, done.parts, done.size_bytes, written_bytes)
        log.info("completed native upload: digest=%s uploadID=%s parts=%d size=%d written=%d", *words)
    else:
        also = (done.upload_id, done.size_bytes, written_bytes, done.digest)
        log.info("completed buffered upload: uploadID=%s size=%d written=%d digest=%s", *also)


class Step(Enum):
    """What happens to an upload once, though several requests may be told so: those that came at the same time."""

    ASSEMBLED = "assembled"
    COMPLETED = "completed"


_told: Final[WeakKeyDictionary[PartedSession, set[Step]]] = WeakKeyDictionary()


def _first(session: PartedSession, step: Step) -> bool:
    """Whether this is the first time that the step is told; from now on it is not."""
    told = _told.setdefault(session, set())
    new = step not in told
    told.add(step)
    return new
