"""Signed URLs to ourselves: the URL is all the authority that a part or a download needs (M07-M11, s3-sigv4 1.9).

They are ordinary S3 presigned URLs in a region of our own, signed with keys of our own: form C when the hash of the
body is known beforehand, form U otherwise. What scopes a grant (session, part, length, owner) travels in the path and
the parameters, all of it signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from auth.signing_keys import SigningKeys
from model.clock import Clock
from sigv4.places import place
from sigv4.presigning import SIGNATURE_ARGUMENT, Form, presign
from sigv4.received import Received, is_plain
from sigv4.signing import S3
from sigv4.verifying import Accepted, verify_query

REGION: Final = "holdfast"
HOSTS_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL, when it ends, and the headers the client must send (`x-amz-content-sha256` where a hash was said)."""

    url: str
    expires_at_s: float
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a true URL allows besides its method and path.

    The parameters it was signed with, without the signature's own, and the hash that the body must have, if one was
    said.
    """

    parameters: Mapping[str, str]
    payload_sha256: str | None


class UrlSigner:
    """Makes URLs and believes them.

    Nothing is remembered about one, but the last few hosts that were signed for: where a proxy changes the Host, that
    explains the refusal.
    """

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self.keys = keys
        self._clock = clock
        self._hosts: dict[str, None] = {}

    def sign(
        self,
        method: str,
        base_url: str,
        path: str,
        parameters: Mapping[str, str],
        *,
        lifetime_s: int,
        payload_sha256: str | None = None,
    ) -> SignedUrl:
        """A URL for one method on one path, good for `lifetime_s` seconds from now.

        `base_url` is scheme, host and port as clients reach us (M11); `path` is decoded. A HEAD needs a URL of its own.

        Raises:
            ValueError: a base URL with more than that, a path with empty or dot segments, a lifetime outside 1..604800,
                a hash that is none.
        """
        if not is_plain(path):
            raise ValueError("a path without empty and dot segments can be signed")
        where = place(base_url)
        self._remember(where.authority)
        made = presign(
            self.keys.current,
            where,
            method,
            path,
            parameters,
            region=REGION,
            now_s=self._clock.now_s(),
            lifetime_s=lifetime_s,
            form=Form.PLAIN if payload_sha256 is None else Form.HASH,
            payload_sha256=payload_sha256,
        )
        return SignedUrl(made.url, made.expires_at_s, made.headers)

    def verify(self, method: str, target: str, hosts: Sequence[str], headers: Mapping[str, str]) -> Grant:
        """What the URL of a request grants; whether there is an Authorization header makes no difference.

        `target` is path and query as received, `hosts` the names we go by (with their ports), whatever the request's
        own Host says; that is only looked at to explain a refusal.

        Raises:
            SignatureRefused: SignatureMalformed (400) or SignatureDenied (403). `s3_code` and `message` are for the
                client, `reason` is for the log (auth/refusals.py).
        """
        accepted = Accepted(self.keys.accepted(), hosts, REGION, S3, tuple(self._hosts))
        verified = verify_query(Received(method, target, headers), accepted, self._clock.now_s())
        return Grant(verified.parameters, verified.payload_sha256)

    def _remember(self, host: str) -> None:
        if host not in self._hosts:
            if len(self._hosts) >= HOSTS_KEPT:
                del self._hosts[next(iter(self._hosts))]
            self._hosts[host] = None


def is_signed(target: str) -> bool:
    """Whether the query of a raw target has a signature, in whatever case; whether it is true is another matter."""
    wanted, query = SIGNATURE_ARGUMENT.lower(), target.partition("?")[2]
    return any(unquote(piece.partition("=")[0]).lower() == wanted for piece in query.split("&"))
