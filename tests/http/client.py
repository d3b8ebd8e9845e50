"""An HTTP client that hides nothing: what is sent is what the test wrote, and what comes back is read byte for byte.

Ordinary clients mend what they get (a body behind a HEAD, a missing length); this one fails on it. A connection is a
value, so a test may send half a request, vanish, or come back on another one.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from multidict import CIMultiDict

PATIENCE_S = 30.0
BODYLESS = frozenset({204, 304})

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
Body = bytes | Iterable[bytes] | None
"""Counted; or chunked, one chunk each; or no body and no length at all."""


@dataclass(frozen=True)
class Answer:
    """One response, read to its end."""

    status: int
    headers: CIMultiDict[str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error."""
        return str(self.json()["errors"][0]["code"])

    @property
    def location(self) -> str:
        """Where to go on."""
        return self.headers["Location"]

    @property
    def digest(self) -> str:
        """Docker-Content-Digest."""
        return self.headers["Docker-Content-Digest"]

    @property
    def keeps_the_connection(self) -> bool:
        """Whether the next request may follow on the same connection."""
        return self.headers.get("Connection", "").lower() != "close"


class Connection:
    """One TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, f"{host}:{port}")

    async def ask(self, method: str, target: str, body: Body = None, headers: Headers = ()) -> Answer:
        """Send a request and read its answer, which may come before everything is sent."""
        sending = asyncio.create_task(self.send(method, target, body, headers))
        try:
            return await self.answer(method)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()  # a server that answers early may close; what counts is its answer

    async def send(self, method: str, target: str, body: Body = None, headers: Headers = ()) -> None:
        """Send a whole request."""
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        if isinstance(body, bytes):
            await self.send_head(method, target, [*fields, ("Content-Length", str(len(body)))])
            await self.send_raw(body)
        elif body is not None:
            await self.send_head(method, target, [*fields, ("Transfer-Encoding", "chunked")])
            for chunk in body:
                await self.send_raw(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await self.send_raw(b"0\r\n\r\n")
        else:
            await self.send_head(method, target, fields)

    async def send_head(self, method: str, target: str, headers: Headers = ()) -> None:
        """Send a head alone; the body, if it announces one, is the test's."""
        fields = headers.items() if isinstance(headers, Mapping) else headers
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", *(f"{name}: {value}" for name, value in fields)]
        await self.send_raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, method: str = "GET") -> Answer:
        """Read the answer to a request of that method; interim ones are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            status, headers = await self._head()
            while status < 200:
                status, headers = await self._head()
            return Answer(status, headers, await self._body(method, status, headers))

    async def ended(self) -> bytes:
        """What comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def vanish(self) -> None:
        """Be gone, as a client whose machine lost power: no goodbye, at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Leave politely."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    async def _head(self) -> tuple[int, CIMultiDict[str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
        first, *lines = head.split("\r\n")
        return int(first.split(" ")[1]), CIMultiDict([_field(line) for line in lines])

    async def _body(self, method: str, status: int, headers: CIMultiDict[str]) -> bytes:
        """The body that the head announces: its length is always known, as clients check it (oci.md 1.0)."""
        assert "Transfer-Encoding" not in headers
        if method == "HEAD" or status in BODYLESS:
            return b""
        assert len(headers.getall("Content-Length")) == 1
        return await self._reader.readexactly(int(headers["Content-Length"]))


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    assert colon and name == name.strip(), f"malformed header line {line!r}"
    return name, value.strip()
