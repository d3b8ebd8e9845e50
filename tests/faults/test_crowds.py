"""Several clients at the same thing: one session, one blob, one tag; and a blob that goes while it is pulled."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.client import LOST, Client, digest, noise
from tests.support.content import stored_blobs
from tests.support.faulty import MIB, check_in_order, check_log
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("crowds") / "data") as running:
        yield running
        check_log(running.log())


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.port)


def test_a_client_that_comes_back_takes_the_session_over_from_its_own_dead_connection(
    client: Client, server: Server
) -> None:
    content = noise("dead", 3 * MIB)
    location = client.open("crowd/dead")
    with client.begin_body("PATCH", location, len(content), content[:MIB]) as dead:
        status = client.request("GET", location).expect(204)
        while status.received_bytes < MIB:
            status = client.request("GET", location).expect(204)
        answer = client.patch(location, content[MIB:], MIB).expect(202)
        assert answer.received_bytes == len(content)
        assert dead.recv(64).startswith(b"HTTP/1.1 409")
    client.finish(answer.location, digest(content)).expect(201)
    assert client.has_whole("crowd/dead", content)
    check_in_order(server.data)


def test_two_clients_that_write_the_same_session_never_mix_their_bytes(client: Client, server: Server) -> None:
    """Whatever comes of it, what is acknowledged is what is served."""
    for number in range(12):
        mine, yours = noise(("mine", number), 900_000), noise(("yours", number), 1_100_000)
        location = client.open("crowd/two")
        with ThreadPoolExecutor(2) as threads:
            answers = list(
                threads.map(lambda content, at=location: client.finish(at, digest(content), content), (mine, yours))
            )
        assert {answer.status for answer in answers} <= {201, 400, 404, 409, 416}
        assert any(answer.status == 201 for answer in answers)
        for content, answer in zip((mine, yours), answers, strict=True):
            assert client.has_whole("crowd/two", content) == (answer.status == 201)
    check_in_order(server.data)


def test_thirty_two_clients_push_the_same_blob_at_once_and_it_is_stored_once(client: Client, server: Server) -> None:
    content = noise("same", 2 * MIB)
    locations = [client.open(f"crowd/same{number % 4}") for number in range(32)]
    together = threading.Barrier(len(locations))

    def push(location: str) -> int:
        together.wait()
        return client.finish(location, digest(content), content).status

    with ThreadPoolExecutor(len(locations)) as threads:
        assert list(threads.map(push, locations)) == [201] * len(locations)
    assert len([stored for stored in stored_blobs(server.data) if stored.read_bytes() == content]) == 1
    assert all(client.has_whole(f"crowd/same{number}", content) for number in range(4))
    check_in_order(server.data)


def test_a_blob_that_is_deleted_while_it_is_pulled_arrives_whole(client: Client, server: Server) -> None:
    content = noise("going", 24 * MIB)
    name = client.push("crowd/going", content)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/v2/crowd/going/blobs/{name}")
    response = connection.getresponse()
    first = response.read(1000)
    client.request("DELETE", f"/v2/crowd/going/blobs/{name}").expect(202)
    client.blob("crowd/going", name).expect(404)
    assert first + response.read() == content
    connection.close()


def test_a_blob_that_is_deleted_and_pushed_again_by_many_is_whole_whenever_it_is_there(client: Client) -> None:
    content = noise("to and fro", 300_000)
    target = f"/v2/crowd/fro/blobs/{digest(content)}"
    client.push("crowd/fro", content)

    def worker(number: int) -> None:
        for _ in range(10):
            if number % 2:
                client.push("crowd/fro", content)
            else:
                client.request("DELETE", target).expect(202, 404)
            client.has_whole("crowd/fro", content)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(worker, range(6)))
    client.push("crowd/fro", content)
    assert client.has_whole("crowd/fro", content)


def test_a_tag_that_moves_while_many_read_it_is_never_torn_also_over_kills(tmp_path: Path) -> None:
    server = Server(tmp_path / "moving").start()
    try:
        client = Client(server.port)
        manifests = [client.image("crowd/moving", number) for number in range(5)]
        client.put_manifest("crowd/moving", "latest", manifests[0]).expect(201)
        until = threading.Event()
        seen: set[int] = set()

        def read() -> int:
            answers = 0
            while not until.is_set():
                try:
                    answer = client.manifest("crowd/moving", "latest")
                except LOST:
                    until.wait(0.02)
                    continue
                seen.add(answer.status)
                assert answer.body in manifests
                answers += 1
            return answers

        def move() -> None:
            number = 0
            while not until.is_set():
                number += 1
                try:
                    client.put_manifest("crowd/moving", "latest", manifests[number % 5]).expect(201)
                except LOST:
                    until.wait(0.02)

        with ThreadPoolExecutor(5) as threads:
            moving = threads.submit(move)
            reading = [threads.submit(read) for _ in range(4)]
            for _ in range(4):
                until.wait(0.4)  # a while of reading and moving between two kills
                server.kill()
                server.start()
                assert client.tagged("crowd/moving", "latest") in {digest(content) for content in manifests}
            until.set()
            moving.result()
            assert all(each.result() > 0 for each in reading)
        assert seen == {200}
    finally:
        server.kill()
