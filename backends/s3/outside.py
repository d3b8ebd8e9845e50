"""Single requests to a store as anybody could make them: to a URL, once, bounded in time, with words for what fails.

For looking at a store, where each answer counts as it came: no retries, no circuit. What carries content is `calls.py`.
aiohttp's client is imported when it is needed, so that a server on a directory starts without it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from model.clock import Clock

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES: Final = 64 * 1024
"""Of an answer: more is neither a probe's byte nor an error's XML."""

_CERTIFICATE_TROUBLES: Final[Mapping[int, str]] = {
    10: "its certificate has ended",
    9: "its certificate is not valid yet, or our clock is behind",
    62: "its certificate is for another name; set the endpoint to a name that the certificate has",
    64: "its certificate is not for that address; set the endpoint to a name that the certificate has",
}
"""By OpenSSL's number of what is wrong; every other one means that nobody vouches for it."""
_UNVOUCHED: Final = (
    "nobody we trust vouches for its certificate; set S3_CA_FILE to the certificate of the authority that signed it"
)


class Unreachable(Exception):
    """No answer came; the message says why, and what to look at."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its headers in lower case, the beginning of its body, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float

    @property
    def ok(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300


async def ask(
    session: "aiohttp.ClientSession",
    clock: Clock,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float,
) -> Reply:
    """What is answered at `url`, which is sent exactly as it is written; redirects are answers and not followed.

    Raises:
        Unreachable: nothing was answered within `timeout_s`.
    """
    import aiohttp
    from yarl import URL

    began_s, timeout = clock.monotonic_s(), aiohttp.ClientTimeout(total=timeout_s)
    sent = {**(headers or {}), "accept-encoding": "identity"}
    try:
        async with session.request(
            method, URL(url, encoded=True), headers=sent, data=body, timeout=timeout, allow_redirects=False
        ) as response:
            answered = b""
            async for piece in response.content.iter_chunked(MOST_BYTES):
                answered += piece
                if len(answered) >= MOST_BYTES:
                    break
            kept = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, kept, answered[:MOST_BYTES], clock.monotonic_s() - began_s)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(why(error, url, timeout_s)) from error


def why(error: Exception, url: str, timeout_s: float) -> str:
    """What went wrong, in words that lead to a setting."""
    import aiohttp

    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer within {timeout_s:.0f} s; look at the address, and at firewalls on the way"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {parts.hostname} is not known to this machine; look at the endpoint's name, or at DNS"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        number = getattr(error.certificate_error, "verify_code", 0)
        return f"{where}: {_CERTIFICATE_TROUBLES.get(number, _UNVOUCHED)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"{where} does not speak TLS; write http:// in the endpoint, or look at the port"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        reason = os.strerror(number) if number and number > 0 else type(error.os_error).__name__
        return f"nobody answers at {where} ({reason}); look at the address, and whether the store runs"
    if isinstance(error, ValueError):
        return f"{where} is no address that can be asked"
    return f"{where} ended the connection without an answer; look whether it speaks {parts.scheme} at this port"
