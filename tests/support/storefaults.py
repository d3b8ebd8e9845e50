"""What an object store can be asked, by kind of call, and every way in which it can fail the one who asks."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import parse_qs, unquote


class Call(StrEnum):
    """A kind of request to a store."""

    PUT = "put"
    GET = "get"
    HEAD = "head"
    DELETE = "delete"
    COPY = "copy"
    LIST = "list"
    CREATE = "create"
    PART = "part"
    PART_COPY = "part copy"
    COMPLETE = "complete"
    ABORT = "abort"
    LIST_PARTS = "list parts"
    LIST_UPLOADS = "list uploads"
    BUCKET = "bucket"


@dataclass(frozen=True)
class Head:
    """The head of a request."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name."""
    raw: bytes

    @property
    def path(self) -> str:
        """Percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """As it came."""
        return self.target.partition("?")[2]

    @property
    def call(self) -> Call:
        """What is asked, of S3 with buckets in the path."""
        asked, copying = parse_qs(self.query, keep_blank_values=True), "x-amz-copy-source" in self.headers
        if not self.path.strip("/").partition("/")[2]:
            if self.method != "GET":
                return Call.BUCKET
            return Call.LIST_UPLOADS if "uploads" in asked else Call.LIST
        match self.method, "uploadId" in asked:
            case "PUT", True:
                return Call.PART_COPY if copying else Call.PART
            case "PUT", False:
                return Call.COPY if copying else Call.PUT
            case "POST", True:
                return Call.COMPLETE
            case "POST", False:
                return Call.CREATE
            case "GET", True:
                return Call.LIST_PARTS
            case "DELETE", True:
                return Call.ABORT
            case "DELETE", False:
                return Call.DELETE
            case "HEAD", _:
                return Call.HEAD
        return Call.GET


@dataclass(frozen=True)
class Refusal:
    """The store does nothing, and answers this; with status 200 it is an error that looks like a success."""

    status: int
    code: str
    message: str = "so the test wants it"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, head: Head) -> bytes:
        """S3's XML."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>"
            f"<Resource>{head.path}</Resource><RequestId>tx0</RequestId></Error>"
        ).encode()


@dataclass(frozen=True)
class Reset:
    """The connection breaks when that much of the body has come; 0: before the store has heard anything."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Lost:
    """The store does what it is asked, and the connection breaks before its answer."""


@dataclass(frozen=True)
class Short:
    """The answer's body breaks off after that much."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Slow:
    """The bodies go at that rate, both ways."""

    bytes_per_s: float


@dataclass(frozen=True)
class Held:
    """Nothing goes on until the rule is released: before the store hears of it, or when it has done it."""

    where: Literal["before", "after"]


Fault = Refusal | Reset | Lost | Short | Slow | Held

FORBIDDEN: Final = Refusal(403, "AccessDenied")
BAD_SIGNATURE: Final = Refusal(403, "SignatureDoesNotMatch")
INTERNAL: Final = Refusal(500, "InternalError")
SLOW_DOWN: Final = Refusal(503, "SlowDown", headers={"Retry-After": "1"})
UNAVAILABLE: Final = Refusal(503, "ServiceUnavailable")
FULL: Final = Refusal(507, "XMinioStorageFull")
ERROR_IN_200: Final = Refusal(200, "InternalError")
RESET: Final = Reset()
LOST: Final = Lost()

ONCE: Final[Mapping[str, Fault]] = {
    "500": INTERNAL,
    "503 SlowDown": SLOW_DOWN,
    "503": UNAVAILABLE,
    "reset": RESET,
    "reset in the body": Reset(after_bytes=1000),
    "answer lost": LOST,
    "answer short": Short(after_bytes=40),
    "error in 200": ERROR_IN_200,
}
"""What may happen to a call now and then. Where a body is shorter, the short ones change nothing."""
LASTING: Final[Mapping[str, Fault]] = {
    "500": INTERNAL,
    "503 SlowDown": SLOW_DOWN,
    "reset": RESET,
    "403": FORBIDDEN,
    "signature": BAD_SIGNATURE,
    "full": FULL,
    "error in 200": ERROR_IN_200,
    "answer lost": LOST,
}
"""What may go on until somebody repairs the store."""


class Rule:
    """When a fault happens, and whether it has.

    Args:
        fault: what happens.
        calls: to which kinds of call; empty: to all.
        path: only where this regular expression is found in the decoded path; `query` likewise in the raw one.
        skip: how many such calls pass untouched first.
        times: how many are hit then; None: all.
    """

    def __init__(
        self, fault: Fault, calls: tuple[Call, ...], *, path: str, query: str, skip: int, times: int | None
    ) -> None:
        self.fault = fault
        self._calls, self._path, self._query = calls, re.compile(path), re.compile(query)
        self._skip, self._times = skip, times
        self._matched = self._struck = 0
        self._turn = threading.Condition()
        self._waiting = 0
        self._released = self._broken_off = False

    def takes(self, head: Head) -> bool:
        """Whether this request is hit; counts it if so."""
        if self._calls and head.call not in self._calls:
            return False
        if not (self._path.search(head.path) and self._query.search(head.query)):
            return False
        with self._turn:
            self._matched += 1
            if self._matched <= self._skip or (self._times is not None and self._struck >= self._times):
                return False
            if not isinstance(self.fault, Held):
                self._count()
            else:
                self._struck += 1
            return True

    @property
    def struck(self) -> int:
        """How many calls were hit so far; of a `Held`: that are held or were."""
        return self._struck

    def reached(self, times: int = 1, patience_s: float = 30.0) -> None:
        """Wait until so many were hit; of a `Held`: until that many have come to where they are held."""
        with self._turn:
            held = isinstance(self.fault, Held)
            came = self._turn.wait_for(lambda: (self._waiting if held else self._struck) >= times, patience_s)
        assert came, f"the store was not asked for it within {patience_s:g} s: {self._calls} {self.fault}"

    def arrive(self) -> None:
        """A held call has come to where it is held."""
        with self._turn:
            self._waiting += 1
            self._turn.notify_all()

    @property
    def released(self) -> bool:
        """Whether what is held is to be held no more."""
        return self._released

    @property
    def broken_off(self) -> bool:
        """Whether what was held is to come to nothing instead of going on."""
        return self._broken_off

    def release(self, *, break_off: bool = False) -> None:
        """Hold nothing more. What is held goes on, or, with `break_off`, the connections that it came on break."""
        with self._turn:
            self._broken_off = break_off
            self._released = True

    def _count(self) -> None:
        self._struck += 1
        self._turn.notify_all()
