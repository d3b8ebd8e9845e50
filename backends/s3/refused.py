"""What a store's refusal means for our settings: which one to look at, and what to do (G19, M11; s3-sigv4 1.3, 1.4).

A store that tells which canonical request it computed lets us compare it with ours, line by line: the line that differs
is what was changed on the way. The same request on both sides means that the secrets differ.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Final

from backends.s3.findings import ahead
from backends.s3.settings import StoreSettings
from sigv4.canonical import Pair, canonical_query, canonical_request, encoded_path
from sigv4.places import Place, Style

_FIELD: Final = re.compile(r"<([A-Za-z0-9]+)>([^<]*)</\1>")
_EXPECTING: Final = re.compile(r"expecting\s+'?\"?([a-z0-9-]+)")
_LINES: Final = ("method", "path", "query")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than success: `fields` are those of the store's XML, where it sent some."""

    status: int
    code: str = ""
    message: str = ""
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """As it is quoted: `403 SignatureDoesNotMatch`."""
        return f"{self.status} {printable(self.code[:100])}".strip()


def read(status: int, body: bytes, headers: Mapping[str, str]) -> Refusal:
    """The refusal in an answer; a body that is not S3's leaves the code empty.

    A region that is only said in a header counts as a field.
    """
    text = body.decode("utf-8", "replace")
    fields = {name: unescape(value) for name, value in _FIELD.findall(text)} if "<Error" in text else {}
    if "x-amz-bucket-region" in headers:
        fields.setdefault("Region", headers["x-amz-bucket-region"])
    return Refusal(status, fields.get("Code", ""), fields.get("Message", ""), fields)


def canonical_of(place: Place, method: str, path: str, parameters: Mapping[str, str], sent: Mapping[str, str]) -> str:
    """The canonical request of what `sigv4.authorization.signed_headers` signed and returned as `sent`."""
    signed: list[Pair] = sorted((name, value) for name, value in sent.items() if name != "authorization")
    uri, query = place.prefix + encoded_path(path), canonical_query(parameters.items())
    return canonical_request(method, uri, query, signed, sent["x-amz-content-sha256"])


def remedy(refusal: Refusal, settings: StoreSettings, key_id: str, *, canonical: str = "", skew_s: float = 0.0) -> str:
    """One sentence: what the store said, what it means, and which setting to look at.

    `canonical` is our canonical request of what was refused; `skew_s` how far the store's clock is ahead. The sentence
    goes to logs and terminals, so nothing of the store's words stays in it that they would obey.
    """
    means = _MEANINGS.get(refusal.code) or _BY_STATUS.get(refusal.status) or _unknown
    told = f"the store answers {refusal}: {means(_Case(refusal, settings, key_id, canonical, skew_s))}"
    return printable(told)


def printable(text: str) -> str:
    """`text` without anything that a log or a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


@dataclass(frozen=True, slots=True)
class _Case:
    refusal: Refusal
    settings: StoreSettings
    key_id: str
    canonical: str
    skew_s: float


def _key(case: _Case) -> str:
    return f"it does not know the key id {case.key_id!r}; look at AWS_ACCESS_KEY_ID"


def _signature(case: _Case) -> str:
    theirs = case.refusal.fields.get("CanonicalRequest", "")
    if theirs and case.canonical:
        if theirs.split() == case.canonical.split():
            return (
                "it computed the same request, so its secret is another one; "
                f"look at AWS_SECRET_ACCESS_KEY, and whether {case.key_id!r} is the right AWS_ACCESS_KEY_ID"
            )
        return _difference(case.canonical, theirs)
    return (
        "the secret is wrong (AWS_SECRET_ACCESS_KEY), or the key id is (AWS_ACCESS_KEY_ID), or a proxy on the way "
        "changes the request: it must pass Host and path on as they came"
    )


def _difference(ours: str, theirs: str) -> str:
    """Which line of the canonical request is another one there."""
    mine, other = ours.split("\n"), theirs.split("\n")
    for name, left, right in zip(_LINES, mine, other, strict=False):
        if left != right:
            return f"the {name} was changed on the way: we signed {left!r}, the store saw {right!r}; look at proxies"
    headers = dict(line.partition(":")[::2] for line in other[3:] if ":" in line)
    for line in mine[3:]:
        name, colon, value = line.partition(":")
        if colon and headers.get(name) != value:
            if name == "host":
                return host_rewritten(value, headers.get(name, "nothing"))
            if name == "x-amz-security-token":  # a secret, which no log is told
                return "the session token was changed on the way; look at proxies"
            return f"the header {name} was changed on the way: we signed {value!r}, the store saw {headers.get(name)!r}"
    return "it takes another payload line than we signed; this store cannot be spoken to in S3's usual way"


def host_rewritten(signed: str, seen: str) -> str:
    """What to do about a proxy that changes Host."""
    return (
        f"a proxy on the way changes the Host header: we signed {signed}, the store saw {seen}. "
        "Let the proxy pass Host on unchanged (nginx: proxy_set_header Host $http_host)"
    )


def _clock(case: _Case) -> str:
    return f"its clock is {ahead(case.skew_s)}; set the clock of one of the machines right (NTP)"


def _region(case: _Case) -> str:
    said = case.refusal.fields.get("Region") or next(iter(_EXPECTING.findall(case.refusal.message)), "")
    if said and said != case.settings.region:
        return f"the bucket's region is {said}, not {case.settings.region}; set S3_REGION={said}"
    return f"it does not take our kind of signature: {_quoted(case)}; look at S3_REGION ({case.settings.region})"


def _bucket(case: _Case) -> str:
    return f"there is no bucket {case.settings.bucket!r}; look at S3_BUCKET, or let us make it: S3_CREATE_BUCKET=on"


def _denied(case: _Case) -> str:
    return (
        f"the key {case.key_id!r} may not do this on the bucket {case.settings.bucket!r}; it needs the rights to list "
        "it, and to read, write and delete objects in it (and S3_BUCKET must be ours)"
    )


def _token(case: _Case) -> str:
    return "the session token has ended, or belongs to another key; renew the credentials"


def _busy(case: _Case) -> str:
    return "it is overloaded or starting; this passes, or look at the store's own log"


def _not_s3(case: _Case) -> str:
    hint = "; buckets are named in the path here: S3_ADDRESSING_STYLE=path" if _virtual(case) else ""
    return f"that is no answer of an S3 store; look whether {case.settings.base_url} is the S3 address{hint}"


def _virtual(case: _Case) -> bool:
    return case.settings.style is Style.VIRTUAL


def _unknown(case: _Case) -> str:
    return _quoted(case) if case.refusal.code else _not_s3(case)


def _quoted(case: _Case) -> str:
    return f"{case.refusal.message[:200] or 'without a reason'}"


_MEANINGS: Final[Mapping[str, Callable[[_Case], str]]] = {
    "InvalidAccessKeyId": _key,
    "SignatureDoesNotMatch": _signature,
    "RequestTimeTooSkewed": _clock,
    "RequestExpired": _clock,
    "AuthorizationHeaderMalformed": _region,
    "AuthorizationQueryParametersError": _region,
    "InvalidRegion": _region,
    "IllegalLocationConstraintException": _region,
    "PermanentRedirect": _region,
    "TemporaryRedirect": _region,
    "NoSuchBucket": _bucket,
    "AccessDenied": _denied,
    "AllAccessDisabled": _denied,
    "InvalidToken": _token,
    "ExpiredToken": _token,
    "SlowDown": _busy,
    "ServiceUnavailable": _busy,
    "InternalError": _busy,
}
"""By S3's code."""
_BY_STATUS: Final[Mapping[int, Callable[[_Case], str]]] = {301: _region, 307: _region}
"""Where there is no code, as in answers to HEAD."""
