"""What a look at the store has found: what it can do, what is done instead, and how to say it (H046, H047, M18, G12).

Values only. `probing.py` looks, `direct.py` and the upload sessions go by what it found.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sigv4.presigning import Form

SLOW_S: Final = 1.0
"""Requests of a few bytes that take longer on the average are worth a word."""
SKEWED_S: Final = 300.0
"""A third of what stores tolerate (s3-sigv4 1.4): from here on a person should look at the clocks."""


class Aspect(Enum):
    """What is tried, what is done where it does not work, how many requests it takes; in the order of the table."""

    REACH = "the bucket answers", "nothing can be read or written"
    WRITE = "write", "nothing can be stored"
    READ = "read", "nothing can be read"
    RANGE = "read a range", "downloads cannot be resumed, and not checked in pieces"
    LIST = "list", "copies of the catalog in the bucket and forgotten objects are not found", 2
    MULTIPART = "multipart upload", "nothing above 5 GiB can be stored, and no upload in parts", 5
    PLAIN = "signed URL, from outside", "parts come through this server (buffered)"
    LINK = "signed URL for a download", "downloads go through this server"
    HASH = "signed URL with payload hash", "clients that send one get the form with the hash as a header only"
    CHECKED = (
        "store checks the payload hash",
        "what clients send straight to the store is read once more before it counts",
    )
    UNHASHED = "signed URL, hash as a header only", "not needed where the form with payload hash works"
    COPY = "copy in the store", "nothing that arrived in pieces can be settled", 2
    COPY_PARTS = "copy by parts", "nothing above 5 GiB can be settled", 4
    COPY_SHA256 = (
        "copy tells the SHA-256",
        "what clients send straight to the store is read once more before it counts",
        2,
    )
    CLOCK = "clocks agree", "signatures are refused from 15 minutes on"
    CLEAN = "nothing left behind", "`storage check --fix` removes it later", 7

    def __init__(self, title: str, instead: str, requests: int = 1) -> None:
        self.title = title
        self.instead = instead
        self.requests = requests


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: whether it works (None: not tried), how long it took, and what is to be said."""

    aspect: Aspect
    works: bool | None
    took_s: float = 0.0
    told: str = ""

    @property
    def slow(self) -> bool:
        """Whether it works, but took longer than it should."""
        return self.works is True and self.took_s > SLOW_S * self.aspect.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One look at the store. A store that could not be reached has `reachable` False and nothing else.

    `plain`: a plain signed URL for a part works from outside. `hashed`: the form for clients that send a payload hash;
    None: they must not send it. `checks_hashes`: the store refuses a body that is not what its hash says.
    `external`: which address was tried for clients, and what came of it. `barred`: why our own settings forbid it.
    `skew_s`: how far the store's clock is ahead of ours. `server`: name and version as far as it tells.
    """

    when_s: float
    reachable: bool = False
    plain: bool = False
    hashed: Form | None = None
    checks_hashes: bool = False
    family: str = ""
    external: str = ""
    barred: str = ""
    multipart: bool = False
    copy: bool = False
    copy_sha256: bool = False
    skew_s: float | None = None
    server: str = ""
    trouble: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def native(self) -> bool:
        """Whether clients may be sent straight to the store with their parts (H041, H042)."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why they may not, in a few words; empty when they may. What the operator decided comes first (H045, H047)."""
        if self.barred:
            return self.barred
        if not self.reachable:
            return f"the store cannot be used: {self.trouble or 'it was not asked yet'}"
        if not self.multipart:
            return "the store does no multipart uploads"
        return "" if self.plain else self.external

    def lines(self) -> list[str]:
        """What there is to say about it, each line for itself."""
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.reachable:
            yield f"the store cannot be used: {self.trouble or 'it was not asked yet'}"
            return
        yield f"the store is {self.server or 'one that does not say its name'}"
        if self.native:
            yield f"clients send parts straight to it ({self.external}; {self._hashes()})"
        else:
            yield f"parts come through this server: {self.why_not}"
        for step in self.steps:
            if step.works is False and step.aspect in _WORTH_A_LINE:
                yield f"{step.aspect.title}: no; {step.aspect.instead}"
        if self.skew_s is not None and abs(self.skew_s) >= SKEWED_S:
            yield f"the store's clock is {ahead(self.skew_s)}: set one of the two right"

    def _hashes(self) -> str:
        if self.hashed is Form.HASH and self.checks_hashes:
            return f"it checks payload hashes: {self.family}"
        return f"it does not check payload hashes: {self.family}"


_WORTH_A_LINE: Final = {Aspect.WRITE, Aspect.READ, Aspect.RANGE, Aspect.LIST, Aspect.COPY, Aspect.COPY_PARTS}


def news(former: Findings | None, found: Findings) -> list[str]:
    """The lines of `found` that `former` did not have: for the log, where nothing is said twice (H046, H047)."""
    known = set() if former is None else set(former.lines())
    return [line for line in found.lines() if line not in known]


def not_yet(barred: str) -> Findings:
    """Before the first look. Nothing of the store's is known, so nothing is promised."""
    return Findings(when_s=0.0, barred=barred)


def ahead(skew_s: float) -> str:
    """`3 s ahead of ours`, `12 min behind ours`."""
    return f"{_span(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} ours"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
