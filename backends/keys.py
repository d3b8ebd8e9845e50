"""The one law of keys, applied when a key is accepted and again when keys are listed.

A key is one or more segments of `[A-Za-z0-9._-]` between slashes: relative, without `.` or `..`, and without the ending
that marks unfinished work. distribution's own walkers refuse any other character below `docker/registry/v2`
(oci.md 4.4), and what fits this law is safe as a path and as an object's name.
"""

import re
from typing import Final

UNFINISHED: Final = ".unfinished"
"""What a name ends with while its bytes are not complete; no key may, and no listing shows it."""

MAX_KEY_LENGTH: Final = 1024
"""What S3 allows."""
MAX_SEGMENT_LENGTH: Final = 200
"""Below the 255 bytes of file systems, so that a name for unfinished work fits beside each."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


class KeyInvalid(ValueError):
    """A key outside the law: a mistake of ours, never of a client."""


def is_segment(name: str) -> bool:
    """Whether `name` may be one segment of a key."""
    return (
        _SEGMENT.fullmatch(name) is not None
        and name not in {".", ".."}
        and len(name) <= MAX_SEGMENT_LENGTH
        and not name.endswith(UNFINISHED)
    )


def is_key(text: str) -> bool:
    """Whether `text` is a key."""
    return len(text) <= MAX_KEY_LENGTH and all(is_segment(segment) for segment in text.split("/"))


def checked(key: str) -> str:
    """`key`, if it is one; KeyInvalid otherwise."""
    if not is_key(key):
        raise KeyInvalid(f"not a key: {key[:200]!r}")
    return key
