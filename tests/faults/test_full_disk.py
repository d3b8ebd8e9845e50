"""A full disk at every step: a clear refusal, nothing half visible, nothing lost, and all goes on once there is room.

The data folder is a small file system in memory; a ballast file takes what is left of it.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.client import Answer, Client, digest, noise, with_digest
from tests.support.faulty import MIB, check_in_order, check_log, filled, room_bytes, tmpfs
from tests.support.server import Server

pytestmark = pytest.mark.only_with_directory(
    "the disk that is full holds the blobs; a full spool before S3 has a file of its own"
)

DISK_BYTES = 48 * MIB
SLACK_BYTES = 256 * 1024
"""What the catalog and the marks may take while everything else is refused."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tmpfs(tmp_path_factory.mktemp("disk") / "small", DISK_BYTES) as disk:
        with Server(disk / "data") as running:
            yield running
        check_log(running.log())


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.port)


@pytest.fixture
def disk(server: Server) -> Path:
    return server.data.parent


def refused(answer: Answer) -> None:
    answer.expect(507)
    assert answer.code == "UNAVAILABLE"
    assert answer.headers["Retry-After"]
    assert b"/" not in answer.body, "the answer names a path of the server"


def test_a_body_for_which_there_is_no_room_is_refused_and_its_room_given_back(
    client: Client, disk: Path, server: Server
) -> None:
    content = noise("too large", 8 * MIB)
    location = client.open("full/announced")
    with filled(disk, 4 * MIB):
        before = room_bytes(disk)
        refused(client.patch(location, content))
        assert room_bytes(disk) >= before - SLACK_BYTES
        assert client.request("GET", location).expect(204).received_bytes == 0
    answer = client.patch(location, content).expect(202)
    client.finish(answer.location, digest(content)).expect(201)
    assert client.has_whole("full/announced", content)
    client.request("DELETE", f"/v2/full/announced/blobs/{digest(content)}").expect(202)
    check_in_order(server.data)


def test_a_disk_that_fills_up_in_the_middle_of_a_body_keeps_what_was_written(
    client: Client, disk: Path, server: Server
) -> None:
    content = noise("in the middle", 6 * MIB)
    pieces = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    location = client.patch(client.open("full/middle"), content[:1000]).expect(202).location
    with filled(disk, 2 * MIB):
        refused(client.patch(location, iter([pieces[0][1000:], *pieces[1:]])))
        status = client.request("GET", location).expect(204)
        assert 1000 <= status.received_bytes <= 3 * MIB
    rest = content[status.received_bytes :]
    answer = client.patch(status.location, rest, status.received_bytes).expect(202)
    client.finish(answer.location, digest(content)).expect(201)
    assert client.has_whole("full/middle", content)
    check_in_order(server.data)


@pytest.mark.parametrize("size_bytes", [3000, 700_000, 3 * MIB])
def test_a_put_that_finds_no_room_can_be_repeated(client: Client, disk: Path, server: Server, size_bytes: int) -> None:
    content, repository = noise(size_bytes, size_bytes), f"full/put{size_bytes}"
    location = client.open(repository)
    with filled(disk):
        refused(client.finish(location, digest(content), content))
        assert not client.has_whole(repository, content)
        client.request("GET", location).expect(204)
    client.finish(location, digest(content), content).expect(201)
    assert client.has_whole(repository, content)
    check_in_order(server.data)


def test_a_post_with_everything_that_finds_no_room_leaves_nothing(client: Client, disk: Path, server: Server) -> None:
    content = noise("one post", 700_000)
    target = with_digest("/v2/full/post/blobs/uploads/", digest(content))
    spooled = len(list((server.data / "spool").iterdir()))
    with filled(disk):
        refused(client.request("POST", target, content))
    assert len(list((server.data / "spool").iterdir())) == spooled
    client.request("POST", target, content).expect(201)
    assert client.has_whole("full/post", content)


def test_the_catalog_may_find_no_room_for_a_manifest_and_all_else_stays_readable(
    client: Client, disk: Path, server: Server
) -> None:
    config, layer = noise("config", 500), noise("layer", 200_000)
    names = [client.push("full/names", content) for content in (config, layer)]
    kept = client.image("full/names", "kept")
    client.put_manifest("full/names", "kept", kept).expect(201)
    large = [padded(client, "full/names", number) for number in range(24)]
    with filled(disk):
        answers = [client.put_manifest("full/names", f"t{number}", content) for number, content in enumerate(large)]
        assert answers[-1].status == 507
        for number, answer in enumerate(answers):
            answer.expect(201, 507)
            there = client.tagged("full/names", f"t{number}")
            assert there == (digest(large[number]) if answer.status == 201 else None)
        assert client.tagged("full/names", "kept") == digest(kept)
        assert [client.blob("full/names", name).expect(200).body for name in names] == [config, layer]
        client.request("GET", "/healthz").expect(200)
    for number, content in enumerate(large):
        client.put_manifest("full/names", f"t{number}", content).expect(201)
    check_in_order(server.data)


def padded(client: Client, repository: str, number: int) -> bytes:
    """A manifest of half a mebibyte."""
    content = client.image(repository, "kept")
    return content[:-1] + b', "annotations": {"a": "' + noise(number, 250_000).hex().encode() + b'"}}'


def test_deleting_works_while_the_disk_is_full(client: Client, disk: Path, server: Server) -> None:
    manifests = []
    for number in range(6):
        manifests.append(client.image("full/deleting", number))
        client.put_manifest("full/deleting", f"t{number}", manifests[-1]).expect(201)
    blob = client.push("full/deleting", noise("deleted", 5000))
    location = client.patch(client.open("full/deleting"), noise("cancelled", 300_000)).expect(202).location
    with filled(disk):
        exhausted(client)
        for content in manifests[:3]:
            client.request("DELETE", f"/v2/full/deleting/manifests/{digest(content)}").expect(202)
        for number in (3, 4, 5):
            client.request("DELETE", f"/v2/full/deleting/manifests/t{number}").expect(202)
        client.request("DELETE", f"/v2/full/deleting/blobs/{blob}").expect(202)
        client.request("DELETE", location).expect(204)
        client.request("GET", location).expect(404)
        assert [client.tagged("full/deleting", f"t{number}") for number in range(6)] == [None] * 6
    client.push("full/deleting", noise("after", 5000))
    check_in_order(server.data)


def exhausted(client: Client) -> None:
    """Use up what room the catalog has left within its own files."""
    for _ in range(400):
        if client.request("POST", "/v2/full/exhausted/blobs/uploads/", b"").expect(202, 507).status == 507:
            return
    pytest.fail("the disk was never full for the catalog")


def test_a_full_disk_stops_neither_a_start_nor_pulling(client: Client, disk: Path, server: Server) -> None:
    content = noise("after a start", 400_000)
    client.push("full/start", content)
    with filled(disk):
        server.kill()
        server.start()
        assert client.has_whole("full/start", content)
    client.push("full/start", noise("and on", 400_000))
    check_in_order(server.data)


def test_a_disk_that_stays_full_ends_nothing_in_the_background(client: Client, disk: Path, server: Server) -> None:
    """The server notes from time to time when uploads were last used, and syncs them; that may fail, not end it."""
    location = client.open("full/long")
    with filled(disk):
        exhausted(client)
        said = len(server.log())
        until = time.monotonic() + 20
        while "uploads" not in server.log()[said:] and time.monotonic() < until:
            client.request("GET", location).expect(204)  # it is in use, which is what is noted
        assert time.monotonic() < until, "nothing was tried in the background"
        client.request("GET", "/v2/").expect(200)
    client.request("DELETE", location).expect(204)
    check_in_order(server.data)
