"""Repository names and tags: the grammar of the distribution spec, checked once at the border.

A name that passes can hold neither `..` nor an absolute path nor anything but ASCII, so it is safe as part of a key.
"""

import re
from typing import Final

from model.digests import Digest
from model.errors import NameInvalid

MAX_REPOSITORY_LENGTH: Final = 255
"""Clients allow 255 characters for host and name together (oci.md 1.0); so nothing longer can be pulled."""

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


def repository(text: str) -> str:
    r"""`text`, if it is a repository name.

    Raises:
        NameInvalid: outside `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*`, or longer than 255 characters.
    """
    if len(text) > MAX_REPOSITORY_LENGTH or not _REPOSITORY.fullmatch(text):
        raise NameInvalid(
            "a repository name is lower-case words of letters, digits, '.', '_', '-' between slashes", name=text[:300]
        )
    return text


def tag(text: str) -> str:
    """`text`, if it is a tag; NameInvalid otherwise."""
    if not _TAG.fullmatch(text):
        raise NameInvalid(
            "a tag is up to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'", tag=text[:300]
        )
    return text


def reference(text: str) -> Digest | str:
    """What a manifest is asked by: a digest when there is a colon, a tag otherwise.

    Raises:
        DigestInvalid, NameInvalid: neither of the two.
    """
    return Digest.parse(text) if ":" in text else tag(text)
