"""Single signed requests that carry bytes: one try each, streamed both ways, bounded in time (s3-sigv4 1.1, 6.3).

Signed in the header form with the payload's hash: it means the same to all families of stores, and every one of them
checks the body against it. The URL goes out exactly as it was signed. aiohttp's client is imported when it is needed,
so that a server on a directory starts without it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from backends.base import FileSlice
from backends.s3 import outside, refused
from backends.s3.bodies import Bodies, Buffers, Piece, length_of
from backends.s3.errors import CallFailed, Trouble
from backends.s3.readers import WIDE, Readers, Share, fit
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import StorageFailed
from model.units import KIB, MIB
from sigv4.authorization import signed_headers
from sigv4.canonical import EMPTY_SHA256, canonical_query, encoded_path
from sigv4.signing import Credentials

if TYPE_CHECKING:
    import aiohttp

CONNECT_S: Final = 3.0
STALL_S: Final = 30.0
"""For how long no byte may move in the middle of a body."""
ANSWER_S: Final = 10.0
LONGEST_ANSWER_S: Final = 120.0
WRITTEN_BYTES_PER_S: Final = 4 * MIB
"""For an answer to a body that has gone out whole: the store may have to write it to three disks first, so a large one
may take longer, see `answer_s`. A client must know of a store that hangs before it gives up itself."""
SMALL_BYTES: Final = MIB
"""What every store that is well stores within ANSWER_S."""
FIRST_BYTE_S: Final = 10.0
"""For an answer to a request without a body."""
_ERROR_BYTES: Final = 64 * KIB


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `key` is the full one, empty for the bucket; `headers` are signed as well."""

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """Below the bucket, decoded."""
        return f"/{self.key}"


@dataclass(slots=True)
class _Way:
    """A body on its way."""

    buffers: Buffers | None
    trouble: StorageFailed | None = None
    """What went wrong with our own file."""
    is_out: bool = False


class Transfer:
    """Requests to one bucket, by connections that are kept. `readers`: who reads long answers just now."""

    def __init__(self, settings: StoreSettings, clock: Clock, session: "aiohttp.ClientSession", bodies: Bodies) -> None:
        self._place = settings.internal
        self._region = settings.region
        self._clock = clock
        self._session = session
        self._bodies = bodies
        self._keeps_no_pieces = urlsplit(self._place.root).scheme == "http"
        """A plain connection holds at most the end of the last piece it was given; one with TLS may hold more."""
        self.readers = Readers()

    async def put(
        self, credentials: Credentials, request: Request, source: FileSlice | bytes, sha256: str
    ) -> Mapping[str, str]:
        """Send bytes that have that hash; the headers of the answer, in lower case, an `etag` among them.

        Raises:
            CallFailed; StorageFailed: our own file cannot be read.
        """
        way = _Way(self._bodies.lend() if self._keeps_no_pieces and isinstance(source, FileSlice) else None)
        try:
            async with asyncio.timeout(None) as stall:
                body = self._body(source, stall, way)
                length_bytes = length_of(source)
                response = await self._answer(
                    credentials, request, sha256, body, length_bytes, answer_s(length_bytes), WIDE
                )
                if way.is_out and way.buffers is not None:
                    self._bodies.give_back(way.buffers)  # the store has answered: nothing of them waits to be sent
                await self.closed(response)
                return lowered(_of_object(response).headers)
        except TimeoutError:
            raise CallFailed(Trouble.BROKEN, f"no byte moved for {STALL_S:.0f} s") from None
        except CallFailed:
            if way.trouble is not None:
                raise way.trouble from None
            raise

    async def get(self, credentials: Credentials, request: Request, share: Share = WIDE) -> "aiohttp.ClientResponse":
        """An answer whose body is yet to be read, by `pieces`; the caller closes it. Raises: CallFailed."""
        response = await self._answer(credentials, request, EMPTY_SHA256, None, 0, FIRST_BYTE_S, share)
        fit(response, share)
        return _of_object(response) if request.key else response

    async def closed(self, response: "aiohttp.ClientResponse") -> None:
        """Be through with an answer whose body does not matter; a short one is read, which keeps the connection."""
        import aiohttp

        try:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await _beginning(response)
        finally:
            response.close()

    async def pieces(self, response: "aiohttp.ClientResponse", share: Share) -> AsyncIterator[bytes]:
        """The body as it comes, in pieces of up to what `share` says. Raises: CallFailed when it breaks off."""
        import aiohttp

        try:
            async for piece in response.content.iter_chunked(share.piece_bytes):
                yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CallFailed(Trouble.BROKEN, f"the answer broke off: {told_of(error, self._place.root)}") from error

    async def _body(self, source: FileSlice | bytes, stall: asyncio.Timeout, way: _Way) -> AsyncGenerator[Piece, None]:
        """The pieces of a body; each gives the store more time, and the last one the time for its answer.

        What goes wrong with our own file is put aside, since the client of aiohttp makes its own error of it.
        """
        loop = asyncio.get_running_loop()
        stall.reschedule(loop.time() + STALL_S)
        try:
            async with aclosing(self._bodies.pieces(source, way.buffers)) as pieces:
                async for piece in pieces:
                    stall.reschedule(loop.time() + STALL_S)
                    yield piece
        except StorageFailed as error:
            way.trouble = error
            raise
        way.is_out = True
        stall.reschedule(loop.time() + STALL_S + answer_s(length_of(source)))

    async def _answer(
        self,
        credentials: Credentials,
        request: Request,
        payload: str,
        body: AsyncGenerator[Piece, None] | None,
        length_bytes: int,
        answer_s: float,
        share: Share,
    ) -> "aiohttp.ClientResponse":
        import aiohttp
        from yarl import URL

        from backends.s3.outgoing import Outgoing

        signed = signed_headers(
            credentials,
            self._place,
            request.method,
            request.path,
            request.query,
            region=self._region,
            now_s=self._clock.now_s(),
            payload=payload,
            headers=request.headers,
        )
        sent = {**signed, "accept-encoding": "identity"}
        if body is not None:
            sent["content-length"] = str(length_bytes)
        query = canonical_query(request.query.items())
        url = f"{self._place.root}{self._place.prefix}{encoded_path(request.path)}{'?' if query else ''}{query}"
        outgoing = None if body is None else Outgoing(body)
        try:
            response = await self._session.request(
                request.method,
                URL(url, encoded=True),
                headers=sent,
                data=outgoing,
                allow_redirects=False,
                auto_decompress=False,
                skip_auto_headers=("Content-Type",),
                read_bufsize=share.buffer_bytes,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=answer_s),
            )
        except asyncio.CancelledError:
            if outgoing is not None:
                outgoing.abort()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if outgoing is not None:
                outgoing.abort()
            silent = isinstance(error, TimeoutError) and length_bytes <= SMALL_BYTES
            raise CallFailed(trouble_of_connection(error), told_of(error, self._place.root), silent=silent) from error
        if response.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NO_CONTENT):
            return response
        try:
            raise await self._refusal(response, request, signed)
        finally:
            response.close()

    async def _refusal(
        self, response: "aiohttp.ClientResponse", request: Request, signed: Mapping[str, str]
    ) -> CallFailed:
        """What the store said instead of yes."""
        import aiohttp

        body = b""
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            body = await _beginning(response)
        headers = lowered(response.headers)
        return CallFailed.by(
            refused.read(response.status, body, headers),
            headers,
            now_s=self._clock.now_s(),
            canonical=refused.canonical_of(self._place, request.method, request.path, request.query, signed),
        )


def _of_object(response: "aiohttp.ClientResponse") -> "aiohttp.ClientResponse":
    """`response`, if it speaks of an object. Behind a 200 there may be an error, or no store at all: CallFailed."""
    if response.headers.get("ETag"):
        return response
    response.close()
    raise CallFailed(Trouble.BROKEN, f"{response.status}, but without an ETag")


async def _beginning(response: "aiohttp.ClientResponse") -> bytes:
    """The body of an answer that is not content, or as much of it as anybody wants."""
    body = bytearray()
    while len(body) < _ERROR_BYTES and (piece := await response.content.read(_ERROR_BYTES)):
        body += piece
    return bytes(body)


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def trouble_of_connection(error: object) -> Trouble:
    """Whether no answer came, or none that could be read as HTTP."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    unreadable = isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError))
    return Trouble.UNREADABLE if unreadable else Trouble.BROKEN


def answer_s(length_bytes: int) -> float:
    """How long the answer to a body of that length may take."""
    return min(ANSWER_S + length_bytes / WRITTEN_BYTES_PER_S, LONGEST_ANSWER_S)


def told_of(error: Exception, url: str) -> str:
    """The words for a connection to `url` that failed."""
    import aiohttp

    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return outside.why(error, url, CONNECT_S)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the store ended the connection"
    return f"{type(error).__name__}: {error}"[:200]
