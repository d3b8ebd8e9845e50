"""Parts as values: their sizes and offsets, their ETags, and whether a client's list is what is stored (pure).

An upload has 1 to 10,000 parts, numbered from 1 (H097, H101). When its size was declared, all parts but the last have
the same size and part n begins at (n - 1) times that; otherwise each is as long as it came.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from model.ranges import Span
from model.units import MIB
from multipart.refusals import PartNumberInvalid, PartSizeInvalid

MAX_PARTS: Final = 10_000
SUGGESTED_BYTES: Final = 32 * MIB
"""Large enough that a part's own cost does not count, small enough that losing one on a bad line hurts little."""
MAX_DECLARED_BYTES: Final = 1 << 62
"""Nobody has more; what is above does not fit the numbers of a file system."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an upload of declared size is cut: `count` parts of `part_size_bytes`, the last as long as what is left."""

    size_bytes: int
    part_size_bytes: int

    def __post_init__(self) -> None:
        """Refuse what cannot be cut.

        Raises:
            PartSizeInvalid: negative sizes, parts of nothing, or more than 10,000 of them.
        """
        if not 0 <= self.size_bytes <= MAX_DECLARED_BYTES or self.part_size_bytes < 1:
            raise PartSizeInvalid("size and part size must be positive")
        if self.count > MAX_PARTS:
            smallest = suggested_part_size(self.size_bytes)
            raise PartSizeInvalid(
                f"{self.count} parts are more than {MAX_PARTS}; a part size of {smallest} would do", suggested=smallest
            )

    @property
    def count(self) -> int:
        """How many parts; an upload of nothing has one, of nothing."""
        return max(1, -(-self.size_bytes // self.part_size_bytes))

    def span(self, number: int) -> Span:
        """Which bytes of the whole are part `number`.

        Raises:
            PartNumberInvalid: there is no such part.
        """
        if not 1 <= number <= self.count:
            raise PartNumberInvalid(f"parts are numbered 1 to {self.count} here", part=number)
        start = (number - 1) * self.part_size_bytes
        return Span(start, min(start + self.part_size_bytes, self.size_bytes))


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part as the client lists it at completion."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that arrived whole: on the disk, in the object store, or both."""

    number: int
    size_bytes: int
    sha256: str
    """Empty of one that its client put into the object store itself."""
    store_etag: str = field(default="", compare=False)
    """What the object store called it, without quotes; empty when it has it not yet, or there is none."""

    @property
    def etag(self) -> str:
        """What the client is given and gives back, in quotes: the SHA-256, else the store's own (H022, H085, H089)."""
        return f'"{self.sha256 or self.store_etag}"'

    @property
    def is_native(self) -> bool:
        """Whether its client put it into the object store itself, so that nobody here knows its SHA-256."""
        return not self.sha256

    def is_called(self, etag: str) -> bool:
        """Whether that is its ETag, ours or the store's, however it is spelled (H085-H088)."""
        bare = normal_etag(etag)
        return bool(bare) and bare in (self.sha256, normal_etag(self.store_etag))


def require_number(number: int) -> None:
    """See that a part may have that number; PartNumberInvalid otherwise."""
    if not 1 <= number <= MAX_PARTS:
        raise PartNumberInvalid(f"parts are numbered 1 to {MAX_PARTS}", part=number)


def suggested_part_size(size_bytes: int) -> int:
    """A part size with which an upload of that size fits: at least 32 MiB, a whole number of MiB (H100, H102)."""
    smallest = -(-max(0, size_bytes) // MAX_PARTS)
    return max(SUGGESTED_BYTES, -(-smallest // MIB) * MIB)


def normal_etag(text: str) -> str:
    """The bare value of an ETag, however it was spelled: quoted, unquoted, weak, or with `&quot;` (H085-H087)."""
    bare = html.unescape(text).strip()
    if bare[:2] in ("W/", "w/"):
        bare = bare[2:].lstrip()
    return bare.strip('"').strip().lower()


def problems(
    listed: Sequence[ListedPart], stored: Mapping[int, StoredPart], layout: Layout | None, *, min_part_bytes: int
) -> list[str]:
    """Everything that is wrong with a list of parts; empty when it is exactly what is stored (H090, H097)."""
    if not listed:
        return ["no parts are listed"]
    return [
        *_in_itself(listed),
        *_against_stored(listed, stored),
        *_as_a_whole({part.number for part in listed}, stored, layout, min_part_bytes),
    ]


def _in_itself(listed: Sequence[ListedPart]) -> Iterator[str]:
    """Duplicates, and what does not rise."""
    seen: set[int] = set()
    highest = 0
    for part in listed:
        if part.number in seen:
            yield f"part {part.number} is listed twice"
        elif part.number < highest:
            yield f"part {part.number} is listed behind part {highest}"
        seen.add(part.number)
        highest = max(highest, part.number)


def _against_stored(listed: Sequence[ListedPart], stored: Mapping[int, StoredPart]) -> Iterator[str]:
    """Unknown ones and wrong ETags."""
    told: set[int] = set()
    for part in listed:
        held = stored.get(part.number)
        if held is None and part.number not in told:
            told.add(part.number)
            yield f"part {part.number} is missing: it was not received whole"
        elif held is not None and not held.is_called(part.etag):
            yield f"part {part.number} has another ETag: {held.etag} is stored"


def _as_a_whole(
    numbers: set[int], stored: Mapping[int, StoredPart], layout: Layout | None, min_part_bytes: int
) -> Iterator[str]:
    """Gaps, parts that are stored and not listed, and parts that are too small."""
    highest = max(numbers)
    last = layout.count if layout is not None else min(highest, MAX_PARTS)
    for number in range(1, last + 1):
        if number not in numbers:
            held = "stored, but not listed" if number in stored else "missing"
            yield f"part {number} is {held}"
    if layout is not None:
        yield from _of_another_length(stored, layout)
    else:
        yield from (f"part {number} is stored, but not listed" for number in sorted(stored) if number > highest)
        for number in sorted(numbers):
            if number in stored and number < last and stored[number].size_bytes < min_part_bytes:
                size_bytes = stored[number].size_bytes
                yield f"part {number} has {size_bytes} bytes; all but the last need {min_part_bytes}"


def _of_another_length(stored: Mapping[int, StoredPart], layout: Layout) -> Iterator[str]:
    """Parts that do not fit a declared size; those that came through us were refused for that already."""
    for number in sorted(stored):
        if number > layout.count:
            yield f"part {number} is stored, but behind the last one: there are {layout.count}"
        elif stored[number].size_bytes != layout.span(number).length:
            yield f"part {number} has {stored[number].size_bytes} bytes; it needs {layout.span(number).length}"
