"""The server in the test's own loop, and the registry as an OCI client sees it over a real socket.

What must hold for every answer is checked on every answer that any test of this folder gets (`laws_of`).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from config import load
from handlers.boundary import Boundary, Record
from handlers.connection import HttpServer
from handlers.shortcut import Shortcut
from rooms import Rooms, open_rooms
from tests.http.client import BODYLESS, PATIENCE_S, Answer, Body, Connection, Headers
from tests.http.oci.content import digest_of
from tests.support.content import Stored, stored_blobs
from tests.support.driver import DRIVER

CODE = re.compile(r"[A-Z][A-Z0-9_]*")
NEXT = re.compile(r'<(/v2/[^>]+)>; rel="next"')


class Oci:
    """A registry at the other end of a socket."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection of one's own."""
        connection = await Connection.open(self.host, self.port)
        self._all.append(connection)
        return connection

    async def ask(self, method: str, target: str, body: Body = None, headers: Headers = ()) -> Answer:
        """Ask on a connection that is kept alive, so that stray bytes behind an answer spoil the next one."""
        connection = self._idle.pop() if self._idle else await self.connect()
        answer = await connection.ask(method, target, body, headers)
        laws_of(answer, method)
        if answer.keeps_the_connection:
            self._idle.append(connection)
        return answer

    async def begin(self, repository: str, query: str = "") -> Answer:
        """POST: open a session, or what the query asks for instead."""
        return await self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}", b"")

    async def session(self, repository: str) -> str:
        """The first Location of a new session."""
        answer = await self.begin(repository)
        assert answer.status == 202
        return answer.location

    async def patch(self, location: str, body: Body, headers: Headers = ()) -> Answer:
        """PATCH a chunk."""
        return await self.ask("PATCH", location, body, headers)

    async def put(self, location: str, digest: str, body: Body = b"", headers: Headers = ()) -> Answer:
        """PUT: close the session; the Location may have a query already (C08)."""
        return await self.ask("PUT", closing(location, digest), body, headers)

    async def status(self, location: str) -> Answer:
        """GET: where the session stands."""
        return await self.ask("GET", location)

    async def holds(self, location: str, length_bytes: int) -> None:
        """Wait until the session says that it holds so many bytes."""
        wanted = f"0-{length_bytes - 1}"

        async def there() -> bool:
            return (await self.status(location)).headers["Range"] == wanted

        await until(there)

    async def push(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Put a blob there by POST and PUT; its digest."""
        digest = digest_of(content, algorithm)
        answer = await self.put(await self.session(repository), digest, content)
        assert answer.status == 201
        return digest

    async def blob(self, repository: str, digest: str, headers: Headers = (), method: str = "GET") -> Answer:
        """GET or HEAD a blob."""
        return await self.ask(method, f"/v2/{repository}/blobs/{digest}", headers=headers)

    async def has(self, repository: str, digest: str) -> bool:
        """Whether HEAD finds the blob."""
        status = (await self.blob(repository, digest, method="HEAD")).status
        assert status in (200, 404)
        return status == 200

    async def put_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str | None, query: str = ""
    ) -> Answer:
        """PUT a manifest."""
        headers = {} if media_type is None else {"Content-Type": media_type}
        return await self.ask("PUT", f"/v2/{repository}/manifests/{reference}{query}", content, headers)

    async def manifest(self, repository: str, reference: str, headers: Headers = (), method: str = "GET") -> Answer:
        """GET or HEAD a manifest."""
        return await self.ask(method, f"/v2/{repository}/manifests/{reference}", headers=headers)

    async def tags(self, repository: str, query: str = "") -> Answer:
        """GET the tag list."""
        return await self.ask("GET", f"/v2/{repository}/tags/list{query}")

    async def referrers(self, repository: str, digest: str, query: str = "") -> list[dict[str, Any]]:
        """What refers to a digest."""
        answer = await self.ask("GET", f"/v2/{repository}/referrers/{digest}{query}")
        assert answer.status == 200
        listed: list[dict[str, Any]] = answer.json()["manifests"]
        return listed

    async def delete(self, repository: str, what: str, reference: str) -> Answer:
        """DELETE `manifests` or `blobs`."""
        return await self.ask("DELETE", f"/v2/{repository}/{what}/{reference}")

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            await connection.close()


class Serving(Oci):
    """A registry in this very process, whose rooms can be looked into."""

    def __init__(self, host: str, port: int, rooms: Rooms, server: HttpServer, records: list[Record]) -> None:
        super().__init__(host, port)
        self.rooms = rooms
        self.server = server
        self.records = records
        """What the observers were told."""

    def sent_bytes(self) -> int:
        """How much the server has sent so far."""
        return self.server.traffic.sent_bytes

    def blob_files(self) -> list[Stored]:
        """The stored bytes of blobs."""
        return stored_blobs(self.rooms.config.data_dir, self.rooms.folder.storage_root)

    def spooled(self) -> list[Path]:
        """The files of uploads."""
        return sorted(self.rooms.folder.spool.iterdir())


@asynccontextmanager
async def serving(data: Path, **settings: str) -> AsyncIterator[Serving]:
    """A server over `data` for the length of the block; settings by their names, as text."""
    # What a test of the protocol asks is the same without waiting for the disk; the fault suites wait.
    store = {} if "storage_driver" in settings else DRIVER.settings(data)
    config = load({"data_dir": str(data), "durability": "none", **store, **settings}, {}, None)
    records: list[Record] = []
    observers = [records.append]
    async with open_rooms(config) as rooms:
        with ThreadPoolExecutor(4) as senders:
            boundary = Boundary(rooms.services, plain={}, observers=observers)
            server = HttpServer(
                boundary,
                on_protocol_error=boundary.protocol_error,
                shortcut=Shortcut(rooms.services, next_id=boundary.next_id, observers=observers),
                workers=rooms.workers,
                senders=senders,
            )
            works = [asyncio.create_task(work()) for work in rooms.lasting]
            listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            host, port = listening.sockets[0].getsockname()
            oci = Serving(host, port, rooms, server, records)
            lasting = [asyncio.create_task(work()) for work in rooms.lasting]
            try:
                yield oci
            finally:
                for task in lasting:
                    task.cancel()
                await asyncio.gather(*lasting, return_exceptions=True)
                await oci.close()
                listening.close()
                await server.shutdown(1)
                for work in works:
                    work.cancel()
                await asyncio.wait(works)


def closing(location: str, digest: str) -> str:
    """The Location with the digest that closes the session; an opaque URL, which may have a query (C08)."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def following(answer: Answer) -> str | None:
    """The URL of the next page, if the answer says that there is one."""
    if "Link" not in answer.headers:
        return None
    found = NEXT.fullmatch(answer.headers["Link"])
    assert found is not None
    return found.group(1)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            continue


def laws_of(answer: Answer, method: str) -> None:
    """What holds for every answer (oci.md 1.0)."""
    headers = answer.headers
    assert headers.getall("Docker-Distribution-Api-Version") == ["registry/2.0"]
    assert headers["X-Request-Id"]
    assert "Content-Encoding" not in headers
    assert answer.status < 500, answer.body
    if "Location" in headers:
        assert headers["Location"].startswith("/v2/"), "a Location is a path, without scheme and host"
    if answer.status in (201, 202):
        assert headers["Content-Length"] == "0"
    if answer.status >= 400 and method != "HEAD":
        assert headers["Content-Type"].partition(";")[0] == "application/json"
        errors = answer.json()["errors"]
        assert errors
        for error in errors:
            assert CODE.fullmatch(error["code"])
            assert isinstance(error["message"], str) and error["message"]
            assert set(error) <= {"code", "message", "detail"}
    if answer.status in BODYLESS:
        assert headers.get("Content-Length", "0") == "0" or answer.status == 304
