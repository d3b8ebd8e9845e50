"""Where a request says its bytes belong in a session, and whether that fits where the session stands (pure).

A request speaks in one of two ways: by Content-Range, or by the Location it uses, which carries the offset that the
session had when the Location was handed out. These are rules 3, 4 and 5 of oci.md 2.3.
"""

from dataclasses import dataclass

from model.errors import OffsetMismatch, SizeInvalid
from model.ranges import Span


@dataclass(frozen=True, slots=True)
class Place:
    """What the request says: the span of its Content-Range, or else the offset in its Location (None: nothing said)."""

    span: Span | None = None
    location_offset: int | None = None
    malformed: bool = False
    """There is a Content-Range, but it cannot be read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: write at `start` (going back to it first, once a byte comes), at most `limit_bytes`."""

    start: int
    limit_bytes: int | None


def plan(place: Place, *, length_bytes: int | None, offset_bytes: int, upload_id: str) -> Plan:
    """Decide where the body goes in a session that stands at `offset_bytes`; changes nothing.

    Going back is allowed only by Location: the client never learned of the bytes behind it: our answer was lost.
    A body that turns out to be empty never goes back (the caller waits for a byte before it cuts).

    Raises:
        SizeInvalid: Content-Range and Content-Length contradict each other.
        OffsetMismatch: the bytes would not continue the session.
    """
    if place.malformed:
        raise _mismatch("Content-Range is not <first byte>-<last byte>", offset_bytes, upload_id)
    if place.span is not None:
        if length_bytes is not None and length_bytes != place.span.length:
            raise SizeInvalid(
                "Content-Length is not the length of Content-Range",
                contentLength=length_bytes,
                contentRangeLength=place.span.length,
            )
        if place.span.start != offset_bytes:
            raise _mismatch(f"the chunk starts at {place.span.start}", offset_bytes, upload_id)
        return Plan(offset_bytes, place.span.length)
    at = place.location_offset
    if at is None and offset_bytes > 0:
        raise _mismatch("neither Content-Range nor the Location says where the bytes belong", offset_bytes, upload_id)
    if at is not None and at > offset_bytes:
        raise _mismatch(f"the Location says {at} bytes", offset_bytes, upload_id)
    return Plan(at or 0, None)


def _mismatch(said: str, offset_bytes: int, upload_id: str) -> OffsetMismatch:
    return OffsetMismatch(
        f"{said}, but the upload holds {offset_bytes}", upload_id=upload_id, offset_bytes=offset_bytes
    )
