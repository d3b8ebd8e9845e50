"""The registry on the other side: one request, answered, refused, or broken off; and who gets to see our Authorization.

Nothing is tried again here except what a 401 or a redirect asks for; clients/retrying.py does that.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import aiohttp
from yarl import URL

from clients.answers import PASSING, Answer, retry_after_s
from clients.authorizing import Authorizer, Side
from clients.problems import Busy, LineBroken, Problem, Unreachable, Untrusted
from model.clock import Clock
from model.units import KIB, MIB
from model.version import VERSION

STALL_S: Final = 60.0
"""A transfer in which no byte moves for so long is broken off."""

ANSWER_S: Final = 120.0
"""How long an answer may take once everything was sent; the server may have to sync a disk."""

DEFAULT_PORT: Final = 80
"""Of http."""

MAX_ANSWER_BYTES: Final = 16 * MIB
MAX_REDIRECTS: Final = 5
READ_BYTES: Final = 256 * KIB

Sink = Callable[[Answer, bytes], Awaitable[None]]
"""Gets the bytes of a download, with the head they came under."""


class Body(Protocol):
    """What is sent: can be streamed again, from its beginning."""

    length: int
    failure: Problem | None

    def stream(self) -> AsyncIterator[bytes]:
        """The bytes."""
        ...


def open_session(trust: Any, parallel: int) -> aiohttp.ClientSession:
    """A session for one push or pull. `trust` is the TLS context (certs/trust.py)."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust, limit=parallel + 4),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=20.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"holdfast/{VERSION}"},
        auto_decompress=False,
        read_bufsize=READ_BYTES,
    )
    # aiohttp repeats a PUT by itself when a kept connection turns out dead, and sends whatever its body still yields:
    # nothing. There is no public switch (3.14); tests/unit/clients/test_sequence.py notices if this one is gone.
    session._retry_connection = False
    return session


class Peer:
    """One registry, as one push or pull sees it. `base` is `https://host:port`."""

    def __init__(self, session: aiohttp.ClientSession, base: str, authorizer: Authorizer, clock: Clock) -> None:
        self._session = session
        self._authorizer = authorizer
        self._clock = clock
        self.base = URL(base)

    def resolve(self, location: str) -> URL:
        """Where a Location leads. A proxy that forgets its TLS makes http of https; that is put right.

        Another port is another service: an object store that stands beside the registry, say.

        Raises:
            Problem: it leads nowhere.
        """
        url = _joined(self.base, location)
        forgotten = url.scheme == "http" and self.base.scheme == "https" and url.port in (DEFAULT_PORT, self.base.port)
        if url.host == self.base.host and forgotten:
            return url.with_scheme("https").with_port(self.base.port)
        return url

    def is_own(self, url: URL) -> bool:
        """Whether it is the registry itself, which may see our Authorization."""
        return url.origin() == self.base.origin()

    async def call(
        self,
        method: str,
        where: str | URL,
        *,
        side: Side = "registry",
        headers: Mapping[str, str] | None = None,
        document: object = None,
        body: Body | None = None,
        sink: Sink | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        """Send one request and read its answer.

        `document` is sent as JSON. A 401 is answered with our credentials once, redirects are followed; neither
        Authorization nor anything else of ours goes to another host.

        Raises:
            LineBroken: the connection broke, or nothing moved for STALL_S; Unreachable: there was none.
            Busy: a status that may pass.
            Untrusted: TLS that cannot be trusted.
            Problem: a redirect that leads nowhere; what `body` met while it was read.
        """
        url = self.resolve(where) if isinstance(where, str) else where
        head = dict(headers or {})
        body = _Document(document) if document is not None else body
        if document is not None:
            head["Content-Type"] = "application/json"
        challenged, hops = False, 0
        while True:
            used = self._authorizer.header(side) if self.is_own(url) else None
            try:
                answer, asked = await self._once(method, url, head, used, body, sink, answer_s)
            except LineBroken as problem:
                if hops and not self.is_own(url):
                    problem.remedy = SENT_ON
                raise
            if answer.status == 401 and self.is_own(url) and not challenged:
                challenged = True
                if await self._authorizer.challenged(self._session, self.base, side, used, asked):
                    continue
            elif (to := _redirect(answer, method)) is not None and hops < MAX_REDIRECTS:
                hops += 1
                url = _joined(url, to)
                continue
            return self._final(replace(answer, remedy=SENT_ON) if hops and not self.is_own(url) else answer)

    def _final(self, answer: Answer) -> Answer:
        """The answer, unless it may be another one later: Busy."""
        if answer.status in PASSING:
            after_s = retry_after_s(answer.headers.get("Retry-After"), self._clock.now_s())
            raise Busy(answer.refusal(f"{answer.method} {answer.path}").message, answer.status, after_s)
        return answer

    async def _once(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        authorization: str | None,
        body: Body | None,
        sink: Sink | None,
        answer_s: float,
    ) -> tuple[Answer, list[str]]:
        """The answer, and what it challenges us with."""
        head = dict(headers) | ({"Authorization": authorization} if authorization else {})
        if body is not None or method in ("POST", "PUT", "PATCH"):
            head["Content-Length"] = str(body.length if body else 0)
        try:
            async with asyncio.timeout(answer_s) as limit:
                data = _paced(body, limit, answer_s) if body is not None and body.length else None
                request = self._session.request(method, url, headers=head, data=data, allow_redirects=False)
                async with request as response:
                    answer = Answer(method, url.authority, url.path, response.status, response.headers)
                    if sink is not None and response.status in (200, 206):
                        await _poured(response, answer, sink, limit)
                    else:
                        answer = await _read(response, answer)
                    return answer, response.headers.getall("WWW-Authenticate", [])
        except aiohttp.ConnectionTimeoutError as error:
            raise Unreachable(f"cannot connect to {url.authority} (nobody answers)") from error
        except TimeoutError as error:
            raise LineBroken(f"{url.authority} went silent") from error
        except aiohttp.ClientSSLError as error:
            raise _untrusted(url, error) from error
        except (aiohttp.ClientError, OSError) as error:
            if body is not None and body.failure is not None:
                raise body.failure from error
            remedy = UNKNOWN_NAME if isinstance(error, aiohttp.ClientConnectorDNSError) else ""
            broken = Unreachable if isinstance(error, aiohttp.ClientConnectorError) else LineBroken
            raise broken(_broken(url, error), remedy) from error


class _Document:
    """A body of JSON."""

    def __init__(self, value: object) -> None:
        self._content = json.dumps(value).encode()
        self.length = len(self._content)
        self.failure: Problem | None = None

    async def stream(self) -> AsyncIterator[bytes]:
        """The one piece."""
        yield self._content


async def _paced(body: Body, limit: asyncio.Timeout, answer_s: float) -> AsyncIterator[bytes]:
    """The pieces of a body; each one that is taken renews the time in which the next has to be."""
    now = asyncio.get_running_loop().time
    async for piece in body.stream():
        if not limit.expired():
            limit.reschedule(now() + STALL_S)
        yield piece
    if not limit.expired():
        limit.reschedule(now() + answer_s)


async def _poured(response: aiohttp.ClientResponse, answer: Answer, sink: Sink, limit: asyncio.Timeout) -> None:
    now = asyncio.get_running_loop().time
    async for piece in response.content.iter_any():
        limit.reschedule(now() + STALL_S)
        await sink(answer, piece)


async def _read(response: aiohttp.ClientResponse, answer: Answer) -> Answer:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise Problem(f"{answer.host} answers {answer.method} {answer.path} with more than anybody would")
    return Answer(answer.method, answer.host, answer.path, answer.status, answer.headers, b"".join(pieces))


def _joined(url: URL, location: str) -> URL:
    with contextlib.suppress(ValueError):
        joined = url.join(URL(location, encoded=True))
        if joined.host is not None:  # what is wrong with host or port is only noticed by looking at it
            return joined
    raise Problem(f"{url.authority} sends us to {location[:200]!r}, which is no address")


def _redirect(answer: Answer, method: str) -> str | None:
    """Where the answer sends us instead; uploads are sent on only where the method is kept."""
    statuses = (301, 302, 303, 307, 308) if method in ("GET", "HEAD") else (307, 308)
    return answer.headers.get("Location") if answer.status in statuses else None


def _untrusted(url: URL, error: Exception) -> Problem:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = str(getattr(error.certificate_error, "verify_message", "") or error.certificate_error)
        return Untrusted(
            f"the certificate of {url.authority} is not trusted: {reason}",
            "name the authority that signed it with --ca-file FILE, or take any certificate with --insecure",
        )
    if "wrong version number" in str(error).lower() or "record layer" in str(error).lower():
        return Untrusted(f"{url.authority} does not speak TLS", "say --plain-http, or write http:// before the host")
    return LineBroken(f"TLS with {url.authority} failed: {error}")


def _broken(url: URL, error: Exception) -> str:
    """What happened, in words of our own: those of the HTTP client hold the whole URL, signature included."""
    inner: Exception = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    numbers = [each.errno for each in (inner, error.__cause__) if isinstance(each, OSError) and each.errno]
    reason = next((os.strerror(number) for number in numbers if number > 0), "")
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {url.authority} ({reason or getattr(inner, 'strerror', None) or inner})"
    return f"the connection to {url.authority} broke ({reason or HUNG_UP.get(type(error), type(error).__name__)})"


UNKNOWN_NAME: Final = "what stands before the first slash is the host; nothing is known by that name"

SENT_ON: Final = (
    "the registry sent us there, to its object store; whoever runs it can say by what address it is reached from here "
    "(with a Holdfast: s3_external_endpoint), or have the registry send everything itself (s3_redirect off)"
)

HUNG_UP: Final[Mapping[type[Exception], str]] = {
    aiohttp.ServerDisconnectedError: "the server hung up",
    aiohttp.ClientPayloadError: "the answer ended early",
    aiohttp.ClientOSError: "the server hung up while we were sending",
    aiohttp.ClientConnectionResetError: "the server hung up while we were sending",
}
