"""URLs that carry their own signature, with the payload hash said explicitly (s3-sigv4 0, 1.4, 1.6; M07-M12).

A URL is dated 30 s back, because some stores refuse one from the future however near, and Expires has those added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from re import ASCII
from re import compile as pattern
from typing import Final

from sigv4.canonical import (
    UNSIGNED_PAYLOAD,
    Pair,
    canonical_request,
    canonical_value,
    encoded,
    encoded_path,
    joined,
)
from sigv4.places import Place
from sigv4.signing import ALGORITHM, S3, Credentials, Scope, signature, timestamp

LONGEST_S: Final = 604_800
"""Seven days: the most that `X-Amz-Expires` may say."""
BACK_DATED_S: Final = 30
CONTENT_SHA256: Final = "x-amz-content-sha256"

ALGORITHM_ARGUMENT: Final = "X-Amz-Algorithm"
CREDENTIAL_ARGUMENT: Final = "X-Amz-Credential"
DATE_ARGUMENT: Final = "X-Amz-Date"
EXPIRES_ARGUMENT: Final = "X-Amz-Expires"
SIGNED_HEADERS_ARGUMENT: Final = "X-Amz-SignedHeaders"
SIGNATURE_ARGUMENT: Final = "X-Amz-Signature"
SESSION_ARGUMENT: Final = "X-Amz-Security-Token"
PAYLOAD_ARGUMENT: Final = "X-Amz-Content-Sha256"
"""Spelled exactly so: two stores look it up by case."""
REQUIRED_ARGUMENTS: Final = frozenset(
    {ALGORITHM_ARGUMENT, CREDENTIAL_ARGUMENT, DATE_ARGUMENT, EXPIRES_ARGUMENT, SIGNED_HEADERS_ARGUMENT}
    | {SIGNATURE_ARGUMENT}
)
OPTIONAL_ARGUMENTS: Final = frozenset({SESSION_ARGUMENT, PAYLOAD_ARGUMENT})
PREFIX: Final = "x-amz-"
"""Every argument whose name begins so, in any case, belongs to the signature."""

_HEX_SHA256: Final = pattern(r"[0-9a-f]{64}", ASCII)


class Form(Enum):
    """What a URL says about the body; the letters are those of s3-sigv4 1.6.

    Stores differ in what they put on the payload line of a presigned request: *header* stores (AWS, Ceph, Swift from
    2.34, we) the header `x-amz-content-sha256` or else `UNSIGNED-PAYLOAD`; *minio* stores first the argument of that
    name; *query* stores (SeaweedFS) the argument and never the header; *literal* stores (Garage, Versity, old Swift)
    always `UNSIGNED-PAYLOAD`.
    """

    PLAIN = "U"
    """Nothing: for clients that send no such header (curl, docker, browsers). Accepted by all families."""
    PLAIN_SAID = "AU"
    """`UNSIGNED-PAYLOAD` as an argument, as other SDKs write it: for the same clients. Accepted by all families."""
    HASH_IN_HEADER = "B"
    """The hash as a signed header that the client sends. Accepted by header and minio stores; they check the body."""
    HASH = "C"
    """As B, and as an argument too. Accepted by header, minio and query stores, which check the body."""
    HEADER_UNHASHED = "G"
    """A signed header with the hash, but an open payload line: for literal stores when the client insists on sending
    the header. Accepted by literal and query stores; header and minio stores refuse it."""


_HASHED: Final = frozenset({Form.HASH_IN_HEADER, Form.HASH})
_SENT: Final = frozenset({Form.HASH_IN_HEADER, Form.HASH, Form.HEADER_UNHASHED})
_SAID: Final = frozenset({Form.PLAIN_SAID, Form.HASH})


@dataclass(frozen=True, slots=True)
class Presigned:
    """A URL, when it ends, and the headers that the client has to send (`host` apart, which it sends anyway)."""

    url: str
    expires_at_s: int
    headers: Mapping[str, str]


def presign(
    credentials: Credentials,
    place: Place,
    method: str,
    path: str,
    parameters: Mapping[str, str] | None = None,
    *,
    region: str,
    now_s: float,
    lifetime_s: int,
    service: str = S3,
    form: Form = Form.PLAIN,
    payload_sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Presigned:
    """A URL that lets its holder do `method` on `path` for `lifetime_s` seconds from now.

    `path` is decoded and begins with a slash; in a bucket it is `/` and the key. `headers` are signed as well: the
    client must send them so. `payload_sha256` is the hex hash of the body, for the forms that speak of it.

    Raises:
        ValueError: a lifetime other than 1..604800 whole seconds, credentials that have ended, a hash that is none or
            that the form has no place for, a path without a slash, a parameter that belongs to the signature.
    """
    dated_s = int(now_s) - BACK_DATED_S
    expires_s = min(_lifetime(credentials, now_s, lifetime_s) + BACK_DATED_S, LONGEST_S)
    if not path.startswith("/"):
        raise ValueError("a path begins with a slash")
    stamp = timestamp(dated_s)
    scope = Scope(stamp[:8], region, service)
    sent = _headers(form, payload_sha256, headers)
    signed: list[Pair] = [("host", place.authority)]
    if sent:
        signed = sorted([*signed, *sent.items()])
    arguments = [
        (ALGORITHM_ARGUMENT, ALGORITHM),
        (CREDENTIAL_ARGUMENT, _credential(credentials.key_id, scope)),
        (DATE_ARGUMENT, stamp),
        (EXPIRES_ARGUMENT, str(expires_s)),
        (SIGNED_HEADERS_ARGUMENT, encoded(";".join([name for name, _ in signed]))),
    ]
    if credentials.token is not None:
        arguments.append((SESSION_ARGUMENT, encoded(credentials.token)))
    payload = payload_sha256 if payload_sha256 is not None and form in _HASHED else UNSIGNED_PAYLOAD
    if form in _SAID:
        arguments.append((PAYLOAD_ARGUMENT, payload))
    for name, value in parameters.items() if parameters else ():
        if name[:6].lower() == PREFIX:
            raise ValueError("a parameter named X-Amz-... belongs to the signature")
        arguments.append((encoded(name), encoded(value)))
    uri, query = place.prefix + encoded_path(path), joined(arguments)
    made = signature(credentials.secret, stamp, scope, canonical_request(method, uri, query, signed, payload))
    return Presigned(f"{place.root}{uri}?{query}&{SIGNATURE_ARGUMENT}={made}", dated_s + expires_s, sent)


def _lifetime(credentials: Credentials, now_s: float, lifetime_s: int) -> int:
    """`lifetime_s` if it may be, cut to what is left of the credentials (s3-sigv4 1.4)."""
    if type(lifetime_s) is not int or not 1 <= lifetime_s <= LONGEST_S:
        raise ValueError(f"a lifetime is a whole number of seconds from 1 to {LONGEST_S}")
    if credentials.expires_at_s is None:
        return lifetime_s
    left_s = int(credentials.expires_at_s - now_s)
    if left_s < 1:
        raise ValueError("the credentials have ended")
    return min(lifetime_s, left_s)


def _headers(form: Form, payload_sha256: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers that are signed besides `host`, by their lower-case names."""
    sent = {name.lower(): canonical_value(value) for name, value in headers.items()} if headers else {}
    if form not in _SENT:
        if payload_sha256 is not None:
            raise ValueError(f"form {form.value} has no place for a hash")
    elif payload_sha256 is None or not _HEX_SHA256.fullmatch(payload_sha256):
        raise ValueError(f"form {form.value} takes a SHA-256 in lower-case hex")
    else:
        sent[CONTENT_SHA256] = payload_sha256
    if "host" in sent:
        raise ValueError("the place says the host")
    return sent


@lru_cache(maxsize=64)
def _credential(key_id: str, scope: Scope) -> str:
    """The credential argument, encoded."""
    return encoded(f"{key_id}/{scope}")
