"""Whether a signature is true: presigned URLs and Authorization headers, checked as s3-sigv4 1.9 lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Final

from sigv4 import presigning
from sigv4.canonical import UNSIGNED_PAYLOAD, Pair, canonical_query, encoded_path
from sigv4.diagnosis import Circumstances, Elements, diagnose
from sigv4.presigning import CONTENT_SHA256, SIGNATURE_ARGUMENT
from sigv4.received import Claims, Received, Target, claims_in_header, claims_in_query, read_target
from sigv4.refusals import (
    DENIED,
    HEADER_MALFORMED,
    QUERY_MALFORMED,
    SKEWED,
    Element,
    SignatureDenied,
    SignatureMalformed,
    mismatch,
    shown,
)
from sigv4.signing import S3, Credentials

MOST_SKEW_S: Final = 900
"""How far a clock may be off: a URL from the future, or a signed header either way (s3-sigv4 1.4)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is believed: these keys by their ids, for these hosts (as Host spells them), in one region and service.

    `suspects` are further hosts that somebody may have signed for; they are not believed, only recognised in a reason.
    """

    keys: Mapping[str, Credentials] = field(repr=False)
    hosts: Sequence[str]
    region: str
    service: str = S3
    suspects: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What a true signature grants: the path, the arguments that are not the signature's own, the host it names.

    `payload_sha256` is the hash that the body must have, in lower-case hex; None when the body was left open.
    """

    path: str
    parameters: Mapping[str, str]
    payload_sha256: str | None
    key_id: str
    host: str
    expires_at_s: int


def verify_query(request: Received, accepted: Accepted, now_s: float) -> Verified:
    """Check a presigned URL. An Authorization header is not looked at.

    Raises:
        SignatureMalformed: it is not a presigned URL, or one outside the grammar or scope.
        SignatureDenied: the signature is not true, or not true now.
    """
    target = read_target(request.target)
    claims = claims_in_query(request, target)
    host = _checked(request, target, claims, accepted, QUERY_MALFORMED)
    ends_s = claims.dated_s + (claims.expires_s or 0)
    if now_s >= ends_s:
        late_s = int(now_s - ends_s)
        raise SignatureDenied(
            DENIED, "Request has expired", Element.CLOCK, f"expired {late_s} s ago, {claims.expires_s} s after its date"
        )
    if claims.dated_s - now_s > MOST_SKEW_S:
        detail = f"dated {int(claims.dated_s - now_s)} s ahead of our clock"
        raise SignatureDenied(DENIED, "Request is not valid yet", Element.CLOCK, detail)
    own = presigning.REQUIRED_ARGUMENTS | presigning.OPTIONAL_ARGUMENTS
    parameters = {name: value for name, value in target.arguments if name not in own}
    return Verified(target.path, parameters, _body_hash(claims), claims.key_id, host, ends_s)


def verify_header(request: Received, accepted: Accepted, now_s: float) -> Verified:
    """Check a request that is signed in its Authorization header.

    Raises:
        SignatureMalformed: it is not signed so, or outside the grammar or scope.
        SignatureDenied: the signature is not true, or the clocks are more than 15 minutes apart.
    """
    target = read_target(request.target)
    claims = claims_in_header(request)
    host = _checked(request, target, claims, accepted, HEADER_MALFORMED)
    skew_s = claims.dated_s - now_s
    if abs(skew_s) > MOST_SKEW_S:
        detail = f"dated {abs(int(skew_s))} s {'ahead of' if skew_s > 0 else 'behind'} our clock"
        raise SignatureDenied(SKEWED, "The clocks of client and server are too far apart.", Element.CLOCK, detail)
    ends_s = claims.dated_s + MOST_SKEW_S
    return Verified(target.path, dict(target.arguments), _body_hash(claims), claims.key_id, host, ends_s)


def _checked(request: Received, target: Target, claims: Claims, accepted: Accepted, s3_code: str) -> str:
    """Everything that both forms have in common; the host that was signed."""
    _check_scope(claims, accepted, s3_code)
    credentials = accepted.keys.get(claims.key_id)
    if credentials is None:
        raise mismatch(Element.KEY, f"{shown(claims.key_id)} is none of our keys, or one that is no longer accepted")
    if not compare_digest((credentials.token or "").encode(), (claims.token or "").encode()):
        raise mismatch(Element.SESSION, "the session token is not that of the key")
    arguments = [pair for pair in target.arguments if pair[0] != SIGNATURE_ARGUMENT]
    true = Elements(
        method=request.method,
        uri=encoded_path(target.path),
        query=canonical_query(arguments),
        host="",
        headers=_signed_headers(request, claims),
        payload=claims.payload,
        stamp=claims.stamp,
        scope=claims.scope,
    )
    candidates = host_spellings(accepted.hosts)
    for host in candidates:
        if replace(true, host=host).signed_by(credentials.secret, claims.signature):
            return host
    sent = [request.header(name) for name in ("host", "x-forwarded-host")]
    around = Circumstances(
        hosts=[host.lower() for host in (*sent, *accepted.suspects) if host],
        raw_path=target.raw_path,
        arguments=arguments,
        sent_payload=request.header(CONTENT_SHA256),
        others=accepted.keys,
    )
    raise mismatch(*_difference(true, candidates, claims.signature, credentials, around))


def _difference(
    true: Elements, candidates: Sequence[str], expected: str, credentials: Credentials, around: Circumstances
) -> tuple[Element, str]:
    """What to tell the log about a signature that fits none of our hosts."""
    found = Element.HOST, "no host is accepted at all"
    for host in candidates:
        found = diagnose(replace(true, host=host), expected, credentials, around)
        if found[0] is not Element.UNEXPLAINED:
            break
    return found


def host_spellings(hosts: Sequence[str]) -> list[str]:
    """The hosts as a signature may spell them: lower case, and without a default port."""
    lower = [host.lower() for host in hosts]
    bare = [host.rpartition(":")[0] for host in lower if host.endswith((":80", ":443"))]
    return list(dict.fromkeys([*lower, *bare]))


def _check_scope(claims: Claims, accepted: Accepted, s3_code: str) -> None:
    """Region and service are said in the open, so a wrong one can be told before anything is computed."""
    for element, said, wanted in (
        (Element.REGION, claims.scope.region, accepted.region),
        (Element.SERVICE, claims.scope.service, accepted.service),
    ):
        if said != wanted:
            message = f"The credential is for another {element.value}; it has to be {wanted!r}."
            raise SignatureMalformed(s3_code, message, element, f"signed for {shown(said)}, expected {wanted!r}")


def _signed_headers(request: Received, claims: Claims) -> tuple[Pair, ...]:
    """The signed headers apart from `host`, as they came; each has to have come."""
    found = []
    for name in claims.signed_headers:
        if name == "host":
            continue
        value = request.header(name)
        if value is None:
            element = Element.PAYLOAD if name == CONTENT_SHA256 else Element.HEADERS
            raise mismatch(element, f"the header {shown(name)} was signed and did not come")
        found.append((name, value))
    return tuple(found)


def _body_hash(claims: Claims) -> str | None:
    """The hash on the payload line, which is signed by now."""
    payload = claims.payload
    if payload == UNSIGNED_PAYLOAD:
        return None
    if len(payload) != 64 or not set(payload.lower()) <= set("0123456789abcdef"):
        code = QUERY_MALFORMED if claims.expires_s is not None else HEADER_MALFORMED
        message = f"x-amz-content-sha256 has to be a SHA-256 in hex or {UNSIGNED_PAYLOAD}."
        raise SignatureMalformed(code, message, Element.PAYLOAD, f"{shown(payload)} is not supported")
    return payload.lower()
