"""Byte ranges: those a download asks for (RFC 9110) and those an upload announces (OCI's own spelling)."""

import re
from dataclasses import dataclass
from typing import Final

from model.errors import RangeNotSatisfiable

MAX_RANGES: Final = 64
"""More ranges than this in one request are answered whole: each is a part with a head of its own, a cheap way to
make a server write more than it was asked for. zstd:chunked pulls of podman stay far below."""

_ONE: Final = re.compile(r"(\d{0,19})-(\d{0,19})", re.ASCII)
_UPLOAD: Final = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\*|\d{1,19}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start


def requested(header: str | None, size_bytes: int) -> list[Span] | None:
    """What a Range header asks of a blob of `size_bytes`; None when the whole is to be sent.

    A header that is malformed, of another unit, or asks for too many ranges is ignored (RFC 9110 section 14.2).
    Ranges that start behind the end are left out; overlapping ones are kept as they are asked for, unless together
    they exceed the blob, then the whole is sent.

    Raises:
        RangeNotSatisfiable: the header is well-formed, but nothing of the blob is in it.
    """
    if header is None or size_bytes == 0:
        return None  # nothing of an empty blob can be asked for, and containerd begins every layer with `bytes=0-`
    unit, equals, rest = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    asked = [_one(piece.strip(" \t"), size_bytes) for piece in rest.split(",") if piece.strip(" \t")]
    if not asked or None in asked or len(asked) > MAX_RANGES:
        return None
    spans = [span for span in asked if span is not None and span.length > 0]
    if not spans:
        raise RangeNotSatisfiable(size_bytes=size_bytes)
    if len(spans) > 1 and sum(span.length for span in spans) > size_bytes:
        return None
    return spans


def _one(text: str, size_bytes: int) -> Span | None:
    """One range of the list: None if malformed, an empty span if it lies behind the end."""
    match = _ONE.fullmatch(text)
    if match is None or match.group(0) == "-":
        return None
    first, last = match.groups()
    if not first:
        return Span(max(0, size_bytes - int(last)), size_bytes)
    start, stop = int(first), int(last) + 1 if last else size_bytes
    if last and int(last) < start:
        return Span(0, 0)  # RFC 9110 calls it invalid; the conformance suite wants 416, and a 200 helps nobody
    return Span(start, min(stop, size_bytes)) if start < size_bytes else Span(0, 0)


def announced(header: str) -> Span | None:
    """What the Content-Range of a chunk says; None when it is malformed.

    OCI writes `0-1023`: two inclusive offsets and, unlike RFC 9110, no unit. `bytes 0-1023/*` is understood as well
    (oci.md 2.3 rule 3).
    """
    match = _UPLOAD.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    first, last = int(match.group(1)), int(match.group(2))
    return Span(first, last + 1) if last >= first else None
