"""Signed URLs for tests: made by the server's own signer, at any time, and asked for byte by byte."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auth.signed_urls import SignedUrl, UrlSigner
from tests.http.client import Answer, Body, Connection
from tests.http.oci.serving import Serving

REFUSAL: Final = re.compile(
    r'<\?xml version="1.0" encoding="UTF-8"\?>\n'
    r"<Error><Code>([A-Za-z0-9]+)</Code><Message>([^<]+)</Message><RequestId>([^<]+)</RequestId></Error>"
)


@dataclass
class HandClock:
    """Stands still until it is moved."""

    at_s: float

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


def signer_at(oci: Serving, at_s: float) -> UrlSigner:
    """The server's signer, as it was or will be at some time."""
    return UrlSigner(oci.rooms.services.signer.keys, HandClock(at_s))


def sign(
    oci: Serving,
    method: str,
    path: str,
    parameters: Mapping[str, str],
    *,
    base: str = "",
    lifetime_s: int = 900,
    sha256: str | None = None,
    age_s: float = 0,
) -> SignedUrl:
    """A URL as the server would hand it out to a client that reaches it by `base`, some time ago."""
    signer = signer_at(oci, oci.rooms.clock.now_s() - age_s)
    base = base or f"http://{oci.host}:{oci.port}"
    return signer.sign(method, base, path, parameters, lifetime_s=lifetime_s, payload_sha256=sha256)


def target_of(signed: SignedUrl) -> str:
    """Path and query."""
    return "/" + signed.url.partition("://")[2].partition("/")[2]


async def ask(
    oci: Serving,
    method: str,
    target: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    *,
    host: str | None = None,
) -> Answer:
    """Ask on a connection of its own, by any Host."""
    reader, writer = await asyncio.open_connection(oci.host, oci.port)
    connection = Connection(reader, writer, f"{oci.host}:{oci.port}" if host is None else host)
    try:
        return await connection.ask(method, target, body, dict(headers or {}))
    finally:
        await connection.close()


def refused(answer: Answer, target: str = "") -> tuple[int, str]:
    """Status and S3's word of a refusal, which must have S3's shape and repeat nothing of the signature (G19)."""
    assert answer.headers["Content-Type"] == "application/xml"
    text = answer.body.decode()
    found = REFUSAL.fullmatch(text)
    assert found is not None, text
    assert found[3] == answer.headers["X-Request-Id"]
    for value in re.findall(r"X-Amz-(?:Signature|Credential)=([^&]+)", target):
        assert value not in text
    assert "AWS4" not in text
    return answer.status, found[1]
