"""Credentials, the scope they are used in, and the signature they make (s3-sigv4 1.1).

A signing key depends on secret, day, region and service only, so the last few are kept: one HMAC remains per request.
"""

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from hmac import digest
from typing import Final, NamedTuple

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
S3: Final = "s3"
_TIMESTAMP: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_FORMAT: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key id, which is public, and what is not: the secret and, for borrowed credentials, the session token.

    `expires_at_s`: when the credentials themselves end; no URL is made to outlive them.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at_s: float | None = None


class Scope(NamedTuple):
    """What a signature is good for: one day (`YYYYMMDD`), one region, one service."""

    day: str
    region: str
    service: str = S3

    def __str__(self) -> str:
        """As it stands in the string to sign."""
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"


@lru_cache(maxsize=64)
def timestamp(epoch_s: int) -> str:
    """`YYYYMMDDTHHMMSSZ`."""
    return time.strftime(_FORMAT, time.gmtime(epoch_s))


def seconds(stamp: str) -> int:
    """The time a timestamp means, in seconds since the epoch. ValueError when it is none."""
    if not _TIMESTAMP.fullmatch(stamp):
        raise ValueError("not a time like 20261121T120000Z")
    day, clock = stamp[:8], stamp[9:]
    moment = datetime(
        *(int(day[:4]), int(day[4:6]), int(day[6:])),
        *(int(clock[:2]), int(clock[2:4]), int(clock[4:6])),
        tzinfo=UTC,
    )
    return int(moment.timestamp())


@lru_cache(maxsize=64)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key that signs everything in that scope."""
    key = f"AWS4{secret}".encode()
    for word in (*scope, TERMINATOR):
        key = digest(key, word.encode(), "sha256")
    return key


def string_to_sign(stamp: str, scope: Scope, canonical: str) -> str:
    """What the signing key is applied to: the time, the scope, and the hash of the canonical request."""
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"


def signature(secret: str, stamp: str, scope: Scope, canonical: str) -> str:
    """The signature of a canonical request, in lower-case hex."""
    return digest(signing_key(secret, scope), string_to_sign(stamp, scope, canonical).encode(), "sha256").hex()
