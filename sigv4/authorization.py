"""Signing a request in its Authorization header: how we speak to a store ourselves (s3-sigv4 1.1, 1.4)."""

from collections.abc import Mapping

from sigv4.canonical import Pair, canonical_query, canonical_request, canonical_value, encoded_path
from sigv4.places import Place
from sigv4.presigning import CONTENT_SHA256
from sigv4.received import DATE_HEADER, SESSION_HEADER
from sigv4.signing import ALGORITHM, S3, Credentials, Scope, signature, timestamp


def signed_headers(
    credentials: Credentials,
    place: Place,
    method: str,
    path: str,
    parameters: Mapping[str, str] | None = None,
    *,
    region: str,
    now_s: float,
    payload: str,
    headers: Mapping[str, str] | None = None,
    service: str = S3,
) -> dict[str, str]:
    """All headers to send: `host`, those given, and those of the signature; every one of them is signed.

    `path` and `parameters` are decoded; the URL must be sent with exactly `canonical.encoded_path` and
    `canonical.canonical_query` of them. `payload` is the payload line: the body's SHA-256 in hex, or
    `canonical.UNSIGNED_PAYLOAD`. The store takes it for 15 minutes.

    Raises:
        ValueError: a path without a slash.
    """
    if not path.startswith("/"):
        raise ValueError("a path begins with a slash")
    stamp = timestamp(int(now_s))
    scope = Scope(stamp[:8], region, service)
    sent = {name.lower(): canonical_value(value) for name, value in (headers or {}).items()}
    sent |= {"host": place.authority, DATE_HEADER: stamp, CONTENT_SHA256: payload}
    if credentials.token is not None:
        sent[SESSION_HEADER] = credentials.token
    signed: list[Pair] = sorted(sent.items())
    query = canonical_query((parameters or {}).items())
    canonical = canonical_request(method, place.prefix + encoded_path(path), query, signed, payload)
    made = signature(credentials.secret, stamp, scope, canonical)
    names = ";".join(name for name, _ in signed)
    sent["authorization"] = (
        f"{ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={made}"
    )
    return sent
