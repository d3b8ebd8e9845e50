"""The state of an upload in parts (H070): which session, which parts, which are there; no I/O.

open ── record ──▶ open ── close ──▶ closed        anything else on a closed one: Closed (H114)
"""

from clients.hold import Started
from clients.journal import Entry
from clients.problems import Closed
from model.ranges import Span
from model.units import MIB

LEAST_PART_BYTES = 5 * MIB
"""S3 takes no smaller part but the last (H095, H096)."""

USUAL_PART_BYTES = 64 * MIB
MOST_PARTS = 10_000


def own_part_size(size_bytes: int) -> int:
    """The part size where the server suggests none: it never takes more than 10,000 parts (H100-H102)."""
    return max(USUAL_PART_BYTES, -(-size_bytes // MOST_PARTS))


class PartedUpload:
    """One upload in parts. What has to survive us is in the journal's `entry`."""

    def __init__(self, entry: Entry, size_bytes: int) -> None:
        self._entry = entry
        self._size_bytes = size_bytes
        self._closed = False
        self._front = 1

    @classmethod
    def begun(cls, entry: Entry, size_bytes: int, started: Started, target: str) -> "PartedUpload":
        """A fresh one; `entry` knows it from now on."""
        entry.upload_id, entry.target, entry.native = started.upload_id, target, started.native
        entry.part_size_bytes = started.part_size_bytes or own_part_size(size_bytes)
        entry.parts = {}
        return cls(entry, size_bytes)

    @property
    def upload_id(self) -> str:
        """The session, as the server calls it."""
        return self._entry.upload_id

    @property
    def target(self) -> str:
        """What the blob was called at the start."""
        return self._entry.target

    @property
    def native(self) -> bool:
        """Whether parts go to an object store, whose ETags mean nothing to us (T08)."""
        return self._entry.native

    @property
    def part_size_bytes(self) -> int:
        """Of all parts but the last."""
        return self._entry.part_size_bytes

    @property
    def count(self) -> int:
        """How many parts there are: at least one."""
        return max(1, -(-self._size_bytes // self._entry.part_size_bytes))

    def span(self, number: int) -> Span:
        """The bytes of a part; numbers begin at 1 (H097)."""
        start = (number - 1) * self._entry.part_size_bytes
        return Span(start, min(start + self._entry.part_size_bytes, self._size_bytes))

    def has(self, number: int) -> bool:
        """Whether a part was acknowledged."""
        return str(number) in self._entry.parts

    def missing(self) -> list[int]:
        """The parts still to be sent, in order."""
        return [number for number in range(1, self.count + 1) if not self.has(number)]

    def front(self) -> int:
        """The first byte that is not known to be there."""
        while self._front <= self.count and self.has(self._front):
            self._front += 1
        return self.span(self._front).start if self._front <= self.count else self._size_bytes

    def record(self, number: int, etag: str) -> None:
        """A part was acknowledged. Its ETag is kept as it came (H087).

        Raises:
            Closed: the upload is complete already (H114).
        """
        self._still_open()
        self._entry.parts[str(number)] = etag

    def keep_only(self, etags: dict[int, str]) -> None:
        """These are what the server has; whatever else we believed is forgotten."""
        self._entry.parts = {str(number): etag for number, etag in sorted(etags.items()) if 1 <= number <= self.count}
        self._front = 1

    def known(self) -> dict[int, str]:
        """ETag by number."""
        return {int(number): etag for number, etag in self._entry.parts.items()}

    def arrived_bytes(self) -> int:
        """How many bytes were acknowledged."""
        return sum(self.span(number).length for number in self.known())

    def close(self) -> list[str]:
        """All ETags in the order of the parts, for the completion (H097); nothing can be added from now on.

        Raises:
            Closed: a second time (H114), or parts are missing.
        """
        self._still_open()
        if missing := self.missing():
            raise Closed(f"part {missing[0]} is missing")
        self._closed = True
        return [self._entry.parts[str(number)] for number in range(1, self.count + 1)]

    def reopen(self) -> None:
        """The server does not take what we listed: parts have to be sent again."""
        self._closed = False

    def _still_open(self) -> None:
        if self._closed:
            raise Closed("the upload is committed already")
