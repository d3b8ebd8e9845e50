"""How much may be under way: open sessions and spooled bytes, in all, for each repository and for each caller.

Bytes are counted for sessions in parts: a declared size when the session is opened, anything else as it arrives. What
was counted is given back when the session ends, whatever its end.
"""

import threading
from dataclasses import dataclass
from typing import Final

from model.errors import TooMany
from model.units import MIB
from multipart.refusals import UploadTooLarge
from store.uploads import UploadRow

_ENDED: Final = "end or finish some"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How many sessions may be open, for how long (seconds) one may lie idle, and how much may lie in the spool.

    Of the limits below `expiry_s`, 0 means none.
    """

    in_all: int = 10_000
    per_repository: int = 1_000
    expiry_s: float = 24 * 3600
    min_part_bytes: int = 5 * MIB
    max_upload_bytes: int = 0
    max_uploads_per_caller: int = 0
    max_spooled_bytes: int = 0
    max_spooled_bytes_per_caller: int = 0


class Accounts:
    """What is under way now, against the limits."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self._open = 0
        self._per_repository: dict[str, int] = {}
        self._per_caller: dict[str, int] = {}
        self._lock = threading.Lock()  # bytes of a chunked body are counted in its thread
        self._spooled_bytes = 0
        self._spooled_by: dict[str, int] = {}
        self.pledged_bytes = 0
        """Room of the disk that is promised to sessions of a declared size, and not taken yet."""

    def in_repository(self, repository: str) -> int:
        """How many sessions are open in it."""
        return self._per_repository.get(repository, 0)

    @property
    def spooled_bytes(self) -> int:
        """How many bytes sessions in parts have, or have announced."""
        return self._spooled_bytes

    def check(self, repository: str) -> None:
        """See that one more session may be opened; TooMany otherwise."""
        limits = self.limits
        if self._open >= limits.in_all:
            raise TooMany("too many uploads are open; end or finish some (setting max_uploads)", limit=limits.in_all)
        if self.in_repository(repository) >= limits.per_repository:
            raise TooMany(
                "too many uploads are open in this repository; end or finish some (setting max_uploads_per_repository)",
                limit=limits.per_repository,
            )

    def check_caller(self, owner: str) -> None:
        """See that this caller may open one more session in parts; TooMany otherwise."""
        most = self.limits.max_uploads_per_caller
        if most and self._per_caller.get(owner, 0) >= most:
            raise TooMany(
                "too many uploads of yours are open; end or finish some (setting max_uploads_per_caller)", limit=most
            )

    def enter(self, row: UploadRow) -> None:
        """A session is open."""
        self._open += 1
        _count(self._per_repository, row.repository, 1)
        if row.kind == "parts":
            _count(self._per_caller, row.owner, 1)

    def leave(self, row: UploadRow) -> None:
        """It has ended."""
        self._open -= 1
        _count(self._per_repository, row.repository, -1)
        if row.kind == "parts":
            _count(self._per_caller, row.owner, -1)

    def hold(self, owner: str) -> "Held":
        """What a new session of this caller holds: nothing yet."""
        return Held(self, owner)

    def claim(self, held: "Held", size_bytes: int, *, instead_of_bytes: int = 0, enforced: bool) -> None:
        """See `Held.claim`."""
        with self._lock:
            if enforced and size_bytes > 0:
                self._check_bytes(held, size_bytes - instead_of_bytes)
            held.size_bytes += size_bytes
            self._spooled_bytes += size_bytes
            _count(self._spooled_by, held.owner, size_bytes)

    def require_fits(self, size_bytes: int) -> None:
        """See that an upload may have so many bytes; UploadTooLarge otherwise."""
        most = self.limits.max_upload_bytes
        if most and size_bytes > most:
            raise UploadTooLarge(f"an upload may have {most} bytes (setting max_upload_bytes)", limit=most)

    def _check_bytes(self, held: "Held", size_bytes: int) -> None:
        limits = self.limits
        if not held.fits:
            self.require_fits(held.size_bytes + held.beyond_bytes + size_bytes)
        mine = self._spooled_by.get(held.owner, 0)
        _check_spool("max_spooled_bytes_per_caller", limits.max_spooled_bytes_per_caller, mine + size_bytes)
        _check_spool("max_spooled_bytes", limits.max_spooled_bytes, self._spooled_bytes + size_bytes)


class Held:
    """The bytes that one session holds, or has announced."""

    def __init__(self, accounts: Accounts, owner: str) -> None:
        self._accounts, self.owner = accounts, owner
        self.size_bytes = 0
        self.beyond_bytes = 0
        """Of the upload, and not in the spool any more: an object store has them."""
        self.fits = False
        """The whole is known to be no larger than an upload may be."""
        self._pledged_bytes = 0
        self._ended = False

    def claim(self, size_bytes: int, *, instead_of_bytes: int = 0, enforced: bool = True) -> None:
        """Count bytes that come; callable from any thread.

        Those that they will replace are not counted twice against the limits. What was accepted by an earlier process
        is counted without being `enforced`.

        Raises:
            UploadTooLarge: more than one upload may have.
            TooMany: more than may lie in the spool, of this caller or in all.
        """
        self._accounts.claim(self, size_bytes, instead_of_bytes=instead_of_bytes, enforced=enforced)

    def release(self, size_bytes: int) -> None:
        """These bytes are not in the spool any more; nothing to do once the session has ended."""
        if not self._ended:
            self._accounts.claim(self, -size_bytes, enforced=False)

    def require_fits(self, size_bytes: int) -> None:
        """The whole will have so many bytes, of which each is counted when it comes; UploadTooLarge."""
        self._accounts.require_fits(size_bytes)
        self.fits = True

    def move_beyond(self, size_bytes: int) -> None:
        """These bytes left the spool for an object store, and are still the upload's."""
        self.release(size_bytes)
        self.beyond_bytes += size_bytes

    def pledge(self, size_bytes: int) -> None:
        """So much room of the disk is promised to the session, and not taken yet."""
        self.allocated()
        self._pledged_bytes = size_bytes
        self._accounts.pledged_bytes += size_bytes

    def allocated(self) -> None:
        """The promised room is taken."""
        self._accounts.pledged_bytes -= self._pledged_bytes
        self._pledged_bytes = 0

    def end(self) -> None:
        """The session has ended, and holds nothing."""
        self.allocated()
        self.release(self.size_bytes)
        self._ended = True


def _check_spool(setting: str, most_bytes: int, wanted_bytes: int) -> None:
    if most_bytes and wanted_bytes > most_bytes:
        raise TooMany(
            f"uploads under way hold as much as they may; {_ENDED} (setting {setting})",
            retry_after_s=60,
            limit=most_bytes,
        )


def _count(counts: dict[str, int], key: str, more: int) -> None:
    """Add to a count; what is at nothing is not kept."""
    left = counts.pop(key, 0) + more
    if left:
        counts[key] = left
