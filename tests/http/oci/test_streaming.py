"""Blobs that come from a store which is elsewhere: it may fail at first, in the middle, or hang; readers may leave."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from backends.base import ShortRead, StoreUnavailable
from backends.memory import MemoryBackend
from model.errors import StorageFailed
from model.units import KIB, MIB
from tests.http.client import PATIENCE_S
from tests.http.hold.client import FROM_AFAR
from tests.http.oci.conftest import Serve
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import Serving
from tests.support.stage import until

REPOSITORY = "lab/tools"
CONTENT = noise(3 * MIB, "far away")
PIECE_BYTES = 256 * KIB
READERS = 200


@dataclass
class Store:
    """What stands in for the reads of a store: pieces of a blob, then what a test wants to happen."""

    pieces: list[bytes]
    then: Callable[[], AsyncIterator[bytes]] | BaseException | None = None
    begun: int = 0
    ended: int = 0
    given_bytes: int = 0
    asked: list[tuple[int, int | None]] = field(default_factory=list)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """As `Backend.get`."""
        self.begun += 1
        self.asked.append((start, length))
        try:
            given = start - self.asked[0][0]  # who goes on in the middle has what came before
            for piece in self.pieces:
                rest, given = piece[given:], max(0, given - len(piece))
                if rest:
                    self.given_bytes += len(rest)
                    yield rest
            if isinstance(self.then, BaseException):
                raise self.then
            if self.then is not None:
                async for piece in self.then():
                    yield piece
        finally:
            self.ended += 1


@pytest.fixture
async def far(serve: Serve) -> Serving:
    """A server that streams everything it sends, and has CONTENT."""
    oci = await serve(storage_driver="memory", small_blob_bytes="0")
    await oci.push(REPOSITORY, CONTENT)
    return oci


def stored_as(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """From now on the backend's bytes are those of `store`."""
    monkeypatch.setattr(MemoryBackend, "get", lambda self, *asked, **named: store.get(*asked, **named))
    return store


def in_pieces(upto_bytes: int = len(CONTENT)) -> list[bytes]:
    """CONTENT as a store sends it, up to there."""
    return [CONTENT[at : min(at + PIECE_BYTES, upto_bytes)] for at in range(0, upto_bytes, PIECE_BYTES)]


async def hang() -> AsyncIterator[bytes]:
    """A store that says no more."""
    await asyncio.Event().wait()
    yield b""


async def test_what_comes_in_pieces_of_any_size_goes_out_whole(far: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    for pieces in (in_pieces(), [CONTENT], [CONTENT[:1], CONTENT[1:]]):
        store = stored_as(Store(pieces), monkeypatch)
        answer = await far.blob(REPOSITORY, digest_of(CONTENT))
        assert (answer.status, answer.body) == (200, CONTENT)
        assert (store.begun, store.ended) == (1, 1)


async def test_only_the_range_that_is_asked_for_is_read_from_the_store(
    far: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored_as(Store([CONTENT[5:9]]), monkeypatch)
    answer = await far.blob(REPOSITORY, digest_of(CONTENT), {"Range": "bytes=5-8"})
    assert (answer.status, answer.body) == (206, CONTENT[5:9])
    assert store.asked == [(5, 4)]
    assert (await far.blob(REPOSITORY, digest_of(CONTENT), method="HEAD")).status == 200
    assert len(store.asked) == 1, "HEAD reads nothing"


@pytest.mark.parametrize(
    ("error", "seconds"), [(StoreUnavailable("the store is away", retry_after_s=17), "17"), (StorageFailed("no"), "5")]
)
async def test_a_store_that_fails_before_the_first_byte_is_a_clean_refusal_in_each_protocol(
    far: Serving, monkeypatch: pytest.MonkeyPatch, error: StorageFailed, seconds: str
) -> None:
    """503 with Retry-After, in OCI's JSON, the hold's JSON and S3's XML; the connection goes on."""
    digest = digest_of(CONTENT)
    signed = await far.ask("POST", "/get-presigned-url", f'{{"digest":"{digest}"}}'.encode())
    store = stored_as(Store([], error), monkeypatch)
    connection = await far.connect()
    url = signed.json()["url"].partition(f":{far.port}")[2]
    for target, kind in (
        (f"/v2/{REPOSITORY}/blobs/{digest}", '"code":"UNAVAILABLE"'),
        (f"/xrpc/com.atproto.sync.getBlob?did=did:web:x&cid={digest}", '"error":"Unavailable"'),
        (url, "<Code>ServiceUnavailable</Code>"),
    ):
        answer = await connection.ask("GET", target)
        assert (answer.status, answer.headers["Retry-After"]) == (503, seconds)
        assert kind in answer.body.decode().replace('": "', '":"')
    assert store.ended == store.begun == 3
    assert (await connection.ask("GET", "/v2/")).status == 200
    assert {record.status for record in far.records[-4:-1]} == {503}


@pytest.mark.parametrize(
    "error", [ShortRead("it ended"), StoreUnavailable("the store went away"), StorageFailed("it broke")]
)
async def test_a_store_that_fails_in_the_middle_never_passes_for_whole(
    far: Serving, monkeypatch: pytest.MonkeyPatch, error: StorageFailed
) -> None:
    """The connection is reset, before the length that was announced; the log says why."""
    store = stored_as(Store(in_pieces(2 * MIB), error), monkeypatch)
    connection = await far.connect()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await connection.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(CONTENT)}")
    await until(lambda: store.ended == store.begun and bool(far.records[-1].error))
    assert str(error) in far.records[-1].error
    stored_as(Store(in_pieces()), monkeypatch)
    if isinstance(error, ShortRead):  # it is known to be damaged now, and may be pushed again
        assert (await far.blob(REPOSITORY, digest_of(CONTENT))).status == 404
        await far.push(REPOSITORY, CONTENT)
    assert (await far.blob(REPOSITORY, digest_of(CONTENT))).body == CONTENT


@pytest.mark.parametrize("given_bytes", [0, MIB])
async def test_a_reader_that_leaves_ends_the_reading_from_the_store_at_once(
    far: Serving, monkeypatch: pytest.MonkeyPatch, given_bytes: int
) -> None:
    """Also while the store says nothing, before the first byte or in the middle."""
    store = stored_as(Store(in_pieces(given_bytes), hang), monkeypatch)
    connection = await far.connect()
    await connection.send("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(CONTENT)}")
    await until(lambda: store.begun == 1 and store.given_bytes == given_bytes)
    connection.vanish()
    await until(lambda: store.ended == 1)
    await until(lambda: any(record.gone for record in far.records))
    assert not far.records[-1].error


async def test_two_hundred_readers_that_take_nothing_cost_little_each(
    far: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written and not yet taken by the kernel is 64 KiB of a piece each, and the head."""
    large, piece = bytes(16 * MIB), bytes(PIECE_BYTES)  # more than kernels buffer
    digest = await far.push(REPOSITORY, large)
    store = stored_as(Store([piece] * (len(large) // len(piece))), monkeypatch)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.socket()) for _ in range(READERS)]
        for reader in readers:
            reader.setblocking(False)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(reader, (far.host, far.port))
            target = f"/v2/{REPOSITORY}/blobs/{digest}"
            await loop.sock_sendall(reader, f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        for reader in readers:  # the answer has begun
            assert await asyncio.wait_for(loop.sock_recv(reader, 12), PATIENCE_S) == b"HTTP/1.1 200"
        await until(lambda: store.begun == READERS)
        for _ in range(50):
            assert (await far.ask("GET", "/v2/")).status == 200
            waiting = [each.transport.get_write_buffer_size() for each in far.server.connections if each.transport]
            assert len(waiting) >= READERS
            assert sum(waiting) <= READERS * 72 * KIB
        assert store.ended == 0
    await until(lambda: store.ended == READERS)


async def test_several_ranges_are_streamed_one_behind_the_other(far: Serving) -> None:
    answer = await far.blob(REPOSITORY, digest_of(CONTENT), {"Range": "bytes=0-99,1000000-1999999", **FROM_AFAR})
    assert answer.status == 206
    assert CONTENT[0:100] in answer.body and CONTENT[1_000_000:2_000_000] in answer.body
