"""What the hold tells in the log: the modes it chose at the start, and where each upload stands (H131-H139).

The keys are those that people who run such a service look for: uploadID, part, size, parts, totalSize, written.
"""

import logging
from enum import Enum
from typing import Final
from weakref import WeakKeyDictionary

from handlers.services import HoldSettings
from multipart.parted_session import Completed, PartedSession

log: Final = logging.getLogger("holdfast.hold")

MODE: Final = "buffered"
"""Every part comes through this server and is written to its disk (H043): the only mode a directory has."""


def announce(settings: HoldSettings) -> None:
    """Say once, at the start, how parts will travel and why; nobody has to configure it (H046)."""
    if not settings.multipart:
        log.info("uploads in parts are switched off (MULTIPART=off)")
    if not settings.presigned:
        log.warning("presigned URLs disabled by configuration (DISABLE_PRESIGNED_URLS=true)")
        log.info("using %s mode (DISABLE_PRESIGNED_URLS=true): parts are sent with the client's own authority", MODE)
    log.info("storage driver is %s: presigned URLs of S3 are off, parts come through this server", settings.storage)


def started(upload_id: str, repository: str, target: str, did: str | None) -> None:
    """A session was opened."""
    words = (MODE, upload_id, repository, target, did or "-")
    log.info("started %s upload: uploadID=%s repository=%s digest=%s did=%s", *words)


def stored(upload_id: str, part: int, size_bytes: int) -> None:
    """A part is on the disk."""
    log.info("stored part: uploadID=%s part=%d size=%d", upload_id, part, size_bytes)


def assembled(session: PartedSession, done: Completed) -> None:
    """The parts are one file of that many bytes, hashed."""
    if _first(session, Step.ASSEMBLED):
        log.info("assembled parts: uploadID=%s parts=%d totalSize=%d", done.upload_id, done.parts, done.size_bytes)


def completed(session: PartedSession, done: Completed, written_bytes: int) -> None:
    """The blob is in the store; `written_bytes` is what the store says, so that a short write shows (H113)."""
    if _first(session, Step.COMPLETED):
        words = (MODE, done.upload_id, done.size_bytes, written_bytes, done.digest)
        log.info("completed %s upload: uploadID=%s size=%d written=%d digest=%s", *words)


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
