"""Repository names and tags: the grammar of the distribution spec, checked once at the border.

A name that passes can hold neither `..` nor an absolute path nor anything but ASCII, so it is safe as part of a key.
Hidden repositories have names outside that grammar, so that no client can spell one.
"""

import re
from typing import Final

from model.digests import Digest
from model.errors import NameInvalid

MAX_REPOSITORY_LENGTH: Final = 255
"""Clients allow 255 characters for host and name together (oci.md 1.0); so nothing longer can be pulled."""

HIDDEN: Final = "_hold/"
"""What the names of hidden repositories begin with; '_' begins no name that a client may say."""
BEHIND_HIDDEN: Final = "_~"
"""Comes after the name of every hidden repository, and before all that come after those."""

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_HIDDEN: Final = re.compile(r"_hold/[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
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


def hidden_repository(owner: str) -> str:
    """The repository of what `owner` uploads without naming one; "-" and "" are nobody in particular.

    Raises:
        NameInvalid: the owner's name cannot be part of a name.
    """
    name = HIDDEN + ("anonymous" if owner in ("", "-") else owner)
    if not _HIDDEN.fullmatch(name):
        raise NameInvalid("this owner cannot have a repository", owner=owner[:300])
    return name


def is_hidden(name: str) -> bool:
    """Whether `name` is that of a hidden repository, or looks like one."""
    return name.startswith("_")


def known_repository(text: str) -> str:
    """`text`, if it is the name of a repository, hidden ones included: what operators may say, and clients may not.

    Raises:
        NameInvalid: it is neither.
    """
    return text if _HIDDEN.fullmatch(text) else repository(text)


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
