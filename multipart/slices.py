"""Slices: how a session in sequence is cut into the parts of an object, while its bytes arrive (pure).

Slices are contiguous and numbered from 1. A store takes at most 10,000 parts of at most 5 GiB, some want all but the
last of one size, and the upload is complete when its last slice has arrived there: so slices are small, all alike where
the length of the body that opens the session tells what comes, and growing where nobody said (H101, H102).
"""

from dataclasses import dataclass
from typing import Final

from model.units import GIB, MIB
from multipart.refusals import UploadTooLarge

FIRST_BYTES: Final = 16 * MIB
LARGEST_BYTES: Final = 5 * GIB
MOST_PARTS: Final = 10_000
STEPS: Final = 20
"""So often the size of a slice may double: there are MOST_PARTS / STEPS of each size. 10,000 parts then reach 30 TiB,
and 200 GiB end with slices of 256 MiB. For 48 TiB the first ten sizes could have 22 slices each, and 150 GiB would
already come in slices of 5 GiB, each to be spooled and sent as a whole."""
ROOMY: Final = 8
"""A known length is cut into up to MOST_PARTS / STEPS slices of up to so many times the first size, then into more."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice that has arrived whole."""

    number: int
    start: int
    length_bytes: int
    sha256: str

    @property
    def stop(self) -> int:
        """Where the next one starts."""
        return self.start + self.length_bytes


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of slices that a store takes."""

    first_bytes: int = FIRST_BYTES
    largest_bytes: int = LARGEST_BYTES
    most_parts: int = MOST_PARTS

    @classmethod
    def for_store(cls, smallest_bytes: int, largest_bytes: int, most_parts: int, first_bytes: int) -> "Sizes":
        """Sizes within the store's limits."""
        return cls(min(max(first_bytes, smallest_bytes), largest_bytes), largest_bytes, most_parts)

    def equal_bytes(self, declared_bytes: int) -> int:
        """The size of all slices of a body of that length; `first_bytes` of one that is small, or longer than any."""
        of_each = max(1, self.most_parts // STEPS)
        roomy_bytes = min(_divided(declared_bytes, of_each), ROOMY * self.first_bytes)
        needed_bytes = _divided(declared_bytes, self._most_equal)
        unit = MIB if self.first_bytes >= MIB else 1
        size_bytes = _divided(max(self.first_bytes, roomy_bytes, needed_bytes), unit) * unit
        return min(size_bytes, self.largest_bytes)

    def size_bytes(self, number: int, equal_bytes: int) -> int:
        """How long slice `number` is, where the length of the first body made it `equal_bytes`.

        What comes behind the announced length is taken as well, in slices of the largest size when it is much.

        Raises:
            UploadTooLarge: the store takes no more parts.
        """
        if number > self.most_parts:
            raise UploadTooLarge(f"the object store takes no more than {self.most_parts} parts", limit=self.most_parts)
        if equal_bytes > self.first_bytes:
            return equal_bytes if number <= self._most_equal else self.largest_bytes
        return min(self.first_bytes << ((number - 1) * STEPS // self.most_parts), self.largest_bytes)

    @property
    def _most_equal(self) -> int:
        """Of the parts, some are left for what nobody announced."""
        return max(1, self.most_parts - self.most_parts // 10)


def _divided(size_bytes: int, by: int) -> int:
    """Rounded up."""
    return -(-size_bytes // by)


@dataclass(frozen=True, slots=True)
class Slicing:
    """How sessions in sequence go into an object store."""

    first_bytes: int = FIRST_BYTES
    keep_bytes: int = 256 * MIB
    """So much of what was received last stays in the spool, also when the store has it: clients may go back there."""
    unsent_bytes: int = GIB
    """When more than this waits to be sent, the body is held back; never below two slices."""
    patience_s: float = 60.0
    """How long the end of an upload waits for a store that takes nothing."""

    @property
    def reserved_bytes(self) -> int:
        """How much of a large upload the spool has to have room for."""
        return self.keep_bytes + self.unsent_bytes
