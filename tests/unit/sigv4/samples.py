"""The credentials and moments of AWS's own examples, and short ways to sign and to verify in tests."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from sigv4.places import Place, Style, place
from sigv4.presigning import BACK_DATED_S, Presigned, presign
from sigv4.received import Received
from sigv4.refusals import SignatureRefused
from sigv4.signing import Credentials, seconds
from sigv4.verifying import Accepted, Verified, verify_query

# Published in AWS's documentation, and good for nothing else.
EXAMPLE: Final = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
REGION: Final = "us-east-1"
STAMP: Final = "20130524T000000Z"
DATED_S: Final = seconds(STAMP)
NOW_S: Final = DATED_S + BACK_DATED_S
DAY_S: Final = 86_400

BODY: Final = b"Welcome to Amazon S3."
BODY_SHA256: Final = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

LOCAL: Final = place("http://127.0.0.1:9000")
AMAZON: Final = Place("https", "s3.amazonaws.com", None, "examplebucket", Style.VIRTUAL)


def signed(
    method: str = "PUT",
    path: str = "/multipart-parts/5031bb36/1",
    parameters: Mapping[str, str] | None = None,
    *,
    where: Place = LOCAL,
    by: Credentials = EXAMPLE,
    **more: Any,
) -> Presigned:
    """A URL that says it was signed at STAMP, good for a day from then unless said otherwise."""
    said: dict[str, Any] = {"region": REGION, "now_s": NOW_S, "lifetime_s": DAY_S - BACK_DATED_S} | more
    return presign(by, where, method, path, parameters, **said)


def signature_of(url: str) -> str:
    """The signature at the end of a URL."""
    return url.rpartition("X-Amz-Signature=")[2]


def target_of(url: str) -> str:
    """Path and query of a URL, as they go over the wire."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def verified(
    target: str,
    method: str = "PUT",
    headers: Mapping[str, str] | None = None,
    *,
    now_s: float = NOW_S,
    hosts: tuple[str, ...] = ("127.0.0.1:9000",),
    by: Credentials = EXAMPLE,
    region: str = REGION,
) -> Verified:
    """What a server that knows these keys and hosts makes of a request for that target."""
    accepted = Accepted({by.key_id: by}, hosts, region)
    return verify_query(Received(method, target, headers or {}), accepted, now_s)


def refused(*args: Any, **more: Any) -> SignatureRefused:
    """The refusal that `verified` ends in."""
    with pytest.raises(SignatureRefused) as caught:
        verified(*args, **more)
    return caught.value
