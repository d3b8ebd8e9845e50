"""What a request says of its own signature, in either form: taken apart by hand and strictly, believed not at all.

The target is read as it was received, because everything between us and the socket has its own idea of decoding
(s3-sigv4 1.9).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sigv4 import presigning
from sigv4.canonical import UNSIGNED_PAYLOAD, Pair, canonical_value, decoded, decoded_query
from sigv4.refusals import HEADER_MALFORMED, QUERY_MALFORMED, URI_INVALID, Element, SignatureMalformed, mismatch, shown
from sigv4.signing import ALGORITHM, TERMINATOR, Scope, seconds

DATE_HEADER: Final = "x-amz-date"
SESSION_HEADER: Final = "x-amz-security-token"

MOST_ARGUMENTS: Final = 64
"""In one URL, those of the signature included; ours have ten."""

_DIGITS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_FIELD: Final = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*")
_KNOWN: Final = presigning.REQUIRED_ARGUMENTS | presigning.OPTIONAL_ARGUMENTS


@dataclass(frozen=True, slots=True)
class Received:
    """A request: its method, its target as received (path?query), its headers in any case, repeated ones included."""

    method: str
    target: str
    headers: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """The canonical value of a header: repeated ones joined by commas; None when it did not come."""
        values = [canonical_value(value) for key, value in self.headers.items() if key.lower() == name]
        return ",".join(values) if values else None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a request says of its signature. `expires_s` is None in the header form, which has none."""

    key_id: str
    scope: Scope
    stamp: str
    dated_s: int
    expires_s: int | None
    signed_headers: tuple[str, ...]
    signature: str
    token: str | None
    payload: str


@dataclass(frozen=True, slots=True)
class Target:
    """A target taken apart: the path and the arguments decoded, the path as it came beside it."""

    path: str
    raw_path: str
    arguments: tuple[Pair, ...]


def read_target(target: str) -> Target:
    """Take a target apart.

    Raises:
        SignatureMalformed: too many arguments; broken encoding; a path with `.`, `..`, an empty segment, an encoded
            slash or a NUL.
    """
    raw_path, _, query = target.partition("?")
    if query.count("&") >= MOST_ARGUMENTS:
        raise _malformed(Element.QUERY, "The URL has too many arguments.", f"more than {MOST_ARGUMENTS} arguments")
    try:
        path = decoded(raw_path)
        arguments = tuple(decoded_query(query))
    except ValueError as error:
        raise SignatureMalformed(
            URI_INVALID, "The URL is not properly encoded.", Element.PATH, f"cannot be decoded: {error}"
        ) from error
    if not is_plain(path) or "%2f" in raw_path.lower():
        raise SignatureMalformed(
            URI_INVALID,
            "The path of the URL has an empty segment, a dot segment or an encoded slash.",
            Element.PATH,
            f"{shown(raw_path)} has a segment that is empty, '.' or '..', an encoded slash or a NUL",
        )
    return Target(path, raw_path, arguments)


def is_plain(path: str) -> bool:
    """Whether a decoded path means the same to everybody: no segment that is empty, `.` or `..`, and no NUL."""
    odd = path != "/" and not {"", ".", ".."}.isdisjoint(path[1:].split("/"))
    return path.startswith("/") and not odd and "\0" not in path


def claims_in_query(request: Received, target: Target) -> Claims:
    """What the arguments of a presigned URL say.

    Raises:
        SignatureMalformed: an argument twice, one missing, one unknown to the signature, or one outside its grammar.
        SignatureDenied: the hash that the URL names is not the one the client sent.
    """
    arguments = dict(target.arguments)
    if len(arguments) != len(target.arguments):
        raise _malformed(Element.QUERY, "An argument of the URL is there twice.", "an argument is there twice")
    own = {name for name in arguments if name.lower().startswith(presigning.PREFIX)}
    if missing := sorted(presigning.REQUIRED_ARGUMENTS - own):
        raise _malformed(Element.QUERY, f"The URL lacks {missing[0]}.", f"lacks {', '.join(missing)}")
    if unknown := own - _KNOWN:
        raise _malformed(
            Element.QUERY, "The URL has an X-Amz argument that is not known.", f"has {shown(min(unknown))} too"
        )
    if arguments[presigning.ALGORITHM_ARGUMENT] != ALGORITHM:
        raise _malformed(Element.FORM, f"X-Amz-Algorithm has to be {ALGORITHM}.", "another algorithm")
    key_id, scope = _credential(arguments[presigning.CREDENTIAL_ARGUMENT], QUERY_MALFORMED)
    stamp = arguments[presigning.DATE_ARGUMENT]
    return Claims(
        key_id=key_id,
        scope=scope,
        stamp=stamp,
        dated_s=_dated(stamp, scope, QUERY_MALFORMED),
        expires_s=_expires(arguments[presigning.EXPIRES_ARGUMENT]),
        signed_headers=_signed_headers(arguments[presigning.SIGNED_HEADERS_ARGUMENT], QUERY_MALFORMED),
        signature=_signature(arguments[presigning.SIGNATURE_ARGUMENT], QUERY_MALFORMED),
        token=arguments.get(presigning.SESSION_ARGUMENT),
        payload=_presigned_payload(request, arguments.get(presigning.PAYLOAD_ARGUMENT)),
    )


def claims_in_header(request: Received) -> Claims:
    """What the Authorization header says.

    Raises:
        SignatureMalformed: it is not one of ours to read, or a header that belongs to it is missing or not signed.
    """
    kind, _, rest = (request.header("authorization") or "").partition(" ")
    if kind != ALGORITHM:
        raise _malformed(Element.FORM, f"Authorization has to be {ALGORITHM}.", "another kind", HEADER_MALFORMED)
    fields = [(match[1], match[2]) for each in rest.split(",") if (match := _FIELD.fullmatch(each))]
    said = dict(fields)
    if len(fields) != len(rest.split(",")) or len(said) != 3 or len(fields) != 3:
        text = "Authorization has to say Credential, SignedHeaders and Signature, once each."
        raise _malformed(Element.FORM, text, "not the three fields", HEADER_MALFORMED)
    key_id, scope = _credential(said["Credential"], HEADER_MALFORMED)
    names = _signed_headers(said["SignedHeaders"], HEADER_MALFORMED)
    needed = [DATE_HEADER, presigning.CONTENT_SHA256, *([SESSION_HEADER] if request.header(SESSION_HEADER) else [])]
    for name in needed:
        if request.header(name) is None or name not in names:
            raise _malformed(
                Element.HEADERS, f"The header {name} has to be sent and signed.", f"{name} is missing", HEADER_MALFORMED
            )
    stamp = request.header(DATE_HEADER) or ""
    return Claims(
        key_id=key_id,
        scope=scope,
        stamp=stamp,
        dated_s=_dated(stamp, scope, HEADER_MALFORMED),
        expires_s=None,
        signed_headers=names,
        signature=_signature(said["Signature"], HEADER_MALFORMED),
        token=request.header(SESSION_HEADER),
        payload=request.header(presigning.CONTENT_SHA256) or "",
    )


def _presigned_payload(request: Received, argument: str | None) -> str:
    """The payload line, as header stores find it: the header's value, or else that nothing was signed."""
    header = request.header(presigning.CONTENT_SHA256)
    payload = UNSIGNED_PAYLOAD if header is None else header
    if argument is not None and argument != payload:
        sent = "no x-amz-content-sha256 came" if header is None else "x-amz-content-sha256 is another one"
        raise mismatch(Element.PAYLOAD, f"the URL names {shown(argument)}, but {sent}")
    return payload


def _credential(text: str, s3_code: str) -> tuple[str, Scope]:
    """The key id, and the scope it is used in."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not all(parts) or parts[4] != TERMINATOR:
        raise _malformed(
            Element.FORM, "The credential is not KEY/DAY/REGION/SERVICE/aws4_request.", "no scope", s3_code
        )
    return parts[0], Scope(parts[1], parts[2], parts[3])


def _dated(stamp: str, scope: Scope, s3_code: str) -> int:
    """When it was signed, which has to be on the scope's day."""
    try:
        dated_s = seconds(stamp)
    except ValueError as error:
        raise _malformed(
            Element.CLOCK, "X-Amz-Date is not a time like 20261121T120000Z.", f"{shown(stamp)} is no time", s3_code
        ) from error
    if stamp[:8] != scope.day:
        detail = f"dated {stamp[:8]}, but the credential says {shown(scope.day)}"
        raise _malformed(Element.CLOCK, "X-Amz-Date is not on the day of the credential.", detail, s3_code)
    return dated_s


def _expires(text: str) -> int:
    """For how long it is good: 1..604800 whole seconds (M10)."""
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= presigning.LONGEST_S:
        message = f"X-Amz-Expires has to be a number of seconds from 1 to {presigning.LONGEST_S}."
        raise _malformed(Element.CLOCK, message, f"X-Amz-Expires is {shown(text)}")
    return int(text)


def _signed_headers(text: str, s3_code: str) -> tuple[str, ...]:
    """The names of the signed headers: lower case, in order, once each, `host` among them."""
    names = tuple(text.split(";"))
    if not all(map(_HEADER_NAME.fullmatch, names)) or list(names) != sorted(set(names)) or "host" not in names:
        message = "The signed headers have to be lower-case names in order, host among them."
        raise _malformed(Element.HEADERS, message, f"{shown(text)} is no such list", s3_code)
    return names


def _signature(text: str, s3_code: str) -> str:
    if not _SIGNATURE.fullmatch(text):
        raise _malformed(Element.FORM, "The signature is not 64 hexadecimal digits.", "no signature in hex", s3_code)
    return text


def _malformed(element: Element, message: str, detail: str, s3_code: str = QUERY_MALFORMED) -> SignatureMalformed:
    return SignatureMalformed(s3_code, message, element, detail)
