"""Parts whose connection breaks, hangs or is slow, and sessions that lie idle or end while parts arrive."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import digest, noise
from tests.faults.hold import KIB, SMALL_PARTS, Hold, cut, etag, etags, spool_of
from tests.support.faulty import MIB, check_in_order, check_log
from tests.support.server import Server

PART: Final = MIB + 3
REPOSITORY: Final = "parts/connections"
DECLARED: Final = pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("connections") / "data", flags=SMALL_PARTS) as running:
        yield running
        check_log(running.log())


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for nobody."""
    flags = (*SMALL_PARTS, "--upload-expiry", "3s", "--stall-timeout", "2s")
    with Server(tmp_path_factory.mktemp("hasty") / "data", flags=flags) as running:
        yield running
        check_log(running.log())


@pytest.fixture
def client(server: Server) -> Hold:
    return Hold(server.port)


def opened(client: Hold, name: str, size: int, *, declared: bool) -> str:
    sizes = {"size": size, "part_size": PART} if declared else {}
    return client.start(f"uploads/temp-{name}", REPOSITORY, **sizes)


def hanging(client: Hold, data: Path, upload_id: str, number: int, content: bytes, sent: int) -> socket.socket:
    """A part of which only so much was sent, and that the server has begun to take."""
    before = len(list(spool_of(data, upload_id)))
    connection = client.begin_body("PUT", client.url(upload_id, number), len(content), content[:sent])
    while not before and not list(spool_of(data, upload_id)):
        pass  # its file appears with its first byte
    return connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(200).split()[1])


@DECLARED
@pytest.mark.parametrize("there", [False, True], ids=["new", "again"])
def test_a_part_whose_client_vanishes_leaves_the_part_as_it_was(
    client: Hold, server: Server, declared: bool, there: bool
) -> None:
    """H068, H069, H184: wherever the connection breaks; the same part is then sent again as if nothing had been."""
    content = noise(("vanish", declared, there), 3 * PART - 5)
    parts, earlier = cut(content, PART), noise("earlier", PART)
    upload_id = opened(client, "vanish", len(content), declared=declared)
    client.send_all(upload_id, {1: parts[1], 3: parts[3]} | ({2: earlier} if there else {}))
    before = client.stored(upload_id)
    for sent in (0, 1, 64 * KIB, PART // 2, PART - 1):
        client.begin_body("PUT", client.url(upload_id, 2), PART, noise("half", PART)[:sent]).close()
        assert client.stored(upload_id) == before
    while server.log().count(f"PUT /multipart-parts/{upload_id}/2 499") < 5:
        pass  # it says so when it has noticed
    assert client.stored(upload_id) == before
    client.send_all(upload_id, {2: parts[2]})
    client.complete(upload_id, digest(content), etags(parts)).expect(200)
    assert client.has_whole(REPOSITORY, content)
    assert list(spool_of(server.data, upload_id)) == []
    check_in_order(server.data)


@DECLARED
def test_a_client_that_comes_back_replaces_its_own_hanging_part(client: Hold, server: Server, declared: bool) -> None:
    """H068, H177: the first connection learns that it lost, and whatever it still sends goes nowhere."""
    content = noise(("hanging", declared), 2 * PART)
    parts, other = cut(content, PART), noise("other", PART)
    upload_id = opened(client, "hanging", len(content), declared=declared)
    with hanging(client, server.data, upload_id, 1, other, PART // 2) as first:
        client.send_all(upload_id, {1: parts[1]})
        assert status_of(first) == 409
    with client.begin_body("PUT", client.url(upload_id, 1), PART, other[: PART // 3]) as second:
        client.send_all(upload_id, {1: parts[1], 2: parts[2]})
        assert client.stored(upload_id) == etags(parts)
        second.sendall(other[PART // 3 :])
        assert status_of(second) == 200
    assert client.stored(upload_id)[1] == etag(other)
    client.send_all(upload_id, {1: parts[1]})
    client.complete(upload_id, digest(content), etags(parts)).expect(200)
    assert client.has_whole(REPOSITORY, content)
    check_in_order(server.data)


@DECLARED
def test_two_clients_that_send_one_part_at_once_never_mix_their_bytes(
    client: Hold, server: Server, declared: bool
) -> None:
    """H060, H068, H069, H177: the last whole one wins."""
    for number in range(6):
        one, two = noise(("one", number), PART), noise(("two", number), PART)
        upload_id = opened(client, "two", PART, declared=declared)
        targets = [client.url(upload_id, 1) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(client.put, targets, (one, two, one, two)))
        assert {answer.expect(200, 409).status for answer in answers} <= {200, 409}
        won = {answer.headers["ETag"].strip('"') for answer in answers if answer.status == 200}
        stored = client.stored(upload_id)[1]
        assert stored in won
        content = one if stored == etag(one) else two
        client.complete(upload_id, digest(content), {1: stored}).expect(200)
        assert client.has_whole(REPOSITORY, content)
    check_in_order(server.data)


@DECLARED
def test_an_abort_sends_the_parts_that_arrive_away_and_leaves_nothing(
    client: Hold, server: Server, declared: bool
) -> None:
    """T03, H178, H185, H205: also when several arrive, and one of them for the second time."""
    parts = cut(noise(("abort", declared), 4 * PART), PART)
    upload_id = opened(client, "abort", 4 * PART, declared=declared)
    client.send_all(upload_id, {1: parts[1]})
    arriving = [
        client.begin_body("PUT", client.url(upload_id, number), PART, parts[number][: PART // 2])
        for number in (1, 2, 3, 3)
    ]
    client.abort(upload_id).expect(200)
    client.listing(upload_id).expect(410)
    assert list(spool_of(server.data, upload_id)) == []
    assert {status_of(each) for each in arriving} <= {409, 410}
    for each in arriving:
        each.close()
    assert list(spool_of(server.data, upload_id)) == []
    client.abort(upload_id).expect(410)
    check_in_order(server.data)


@DECLARED
def test_a_completion_does_not_wait_for_a_part_that_hangs(client: Hold, server: Server, declared: bool) -> None:
    """H176: everything is there; a connection that sends something once more is told to go."""
    content = noise(("late", declared), 3 * PART)
    parts = cut(content, PART)
    upload_id = opened(client, "late", len(content), declared=declared)
    client.send_all(upload_id, parts)
    with client.begin_body("PUT", client.url(upload_id, 2), PART, noise("late", PART // 2)) as late:
        client.complete(upload_id, digest(content), etags(parts)).expect(200)
        assert status_of(late) == 409
    assert client.has_whole(REPOSITORY, content)
    assert list(spool_of(server.data, upload_id)) == []
    check_in_order(server.data)


@DECLARED
def test_a_part_that_is_replaced_while_it_is_completed_is_one_or_the_other(
    client: Hold, server: Server, declared: bool
) -> None:
    """H068, H176, T10: either the completion has what it listed, or it is told that the list is out of date."""
    for number in range(8):
        content, other = noise(("race", number), 3 * PART), noise(("other", number), PART)
        parts = cut(content, PART)
        upload_id = opened(client, "race", len(content), declared=declared)
        client.send_all(upload_id, parts)
        target = client.url(upload_id, 2)
        with ThreadPoolExecutor(2) as threads:
            sending = threads.submit(client.put, target, other)
            completed = client.complete(upload_id, digest(content), etags(parts)).expect(200, 400)
            sent = sending.result().expect(200, 409)
        if completed.status == 200:
            assert sent.status == 409
        else:
            assert client.stored(upload_id)[2] == etag(other if sent.status == 200 else parts[2])
            client.send_all(upload_id, {2: parts[2]})
            client.complete(upload_id, digest(content), etags(parts)).expect(200)
        assert client.has_whole(REPOSITORY, content)
    check_in_order(server.data)


@DECLARED
def test_completions_and_moves_that_come_at_once_are_all_answered_the_same(
    client: Hold, server: Server, declared: bool
) -> None:
    """H060, T01, H110: whoever asks the same gets the same."""
    content = noise(("together", declared), 3 * PART)
    parts = cut(content, PART)
    with ThreadPoolExecutor(8) as threads:
        upload_id = opened(client, "together", len(content), declared=declared)
        client.send_all(upload_id, parts)
        asked = [threads.submit(client.complete, upload_id, digest(content), etags(parts)) for _ in range(8)]
        assert {each.result().expect(200).body for each in asked} == {asked[0].result().body}
        upload_id = opened(client, "together", len(content), declared=declared)
        client.send_all(upload_id, parts)
        temp = "uploads/temp-together"
        asked = [threads.submit(client.complete, upload_id, temp, etags(parts)) for _ in range(8)]
        assert {each.result().expect(200).body for each in asked} == {asked[0].result().body}
        asked = [threads.submit(client.move, temp, digest(content)) for _ in range(8)]
        assert {each.result().expect(200).body for each in asked} == {asked[0].result().body}
    assert client.has_whole(REPOSITORY, content)
    check_in_order(server.data)


@DECLARED
def test_a_completion_and_an_abort_at_once_end_in_one_of_the_two(client: Hold, server: Server, declared: bool) -> None:
    """H060, H185: never in a blob that is half there, never in a session that is neither."""
    for number in range(6):
        content = noise(("end", declared, number), 2 * PART)
        parts = cut(content, PART)
        upload_id = opened(client, "end", len(content), declared=declared)
        client.send_all(upload_id, parts)
        with ThreadPoolExecutor(2) as threads:
            ending = threads.submit(client.abort, upload_id)
            completed = client.complete(upload_id, digest(content), etags(parts)).expect(200, 409, 410)
            aborted = ending.result().expect(200, 409)
        assert {completed.status, aborted.status} in ({200, 409}, {200, 410})
        assert client.has_whole(REPOSITORY, content) == (completed.status == 200)
        assert list(spool_of(server.data, upload_id)) == []
    check_in_order(server.data)


@DECLARED
def test_a_client_that_stalls_is_told_and_its_part_is_as_it_was(hasty: Server, declared: bool) -> None:
    """H148, H149: it holds nothing for longer than the setting says."""
    client = Hold(hasty.port)
    upload_id = opened(client, "stall", 2 * PART, declared=declared)
    with client.begin_body("PUT", client.url(upload_id, 1), PART, bytes(1000)) as stalled:
        assert status_of(stalled) == 408
    assert client.stored(upload_id) == {}
    client.abort(upload_id).expect(200)
    check_in_order(hasty.data)


@DECLARED
def test_an_idle_upload_goes_with_its_files_and_a_slow_part_keeps_its_own(hasty: Server, declared: bool) -> None:
    """H064, H065, H066, H149, H178: expiry counts from the last use, and a part under way is use."""
    client = Hold(hasty.port)
    slow_part, parts = noise("slow", PART), cut(noise("idle", 2 * PART), PART)
    slow = opened(client, "slow", PART, declared=declared)
    sent = 1000
    with client.begin_body("PUT", client.url(slow, 1), PART, slow_part[:sent]) as sending:
        idle = opened(client, "idle", 2 * PART, declared=declared)  # later than the slow one was touched
        client.send_all(idle, {1: parts[1]})
        while list(spool_of(hasty.data, idle)):
            sending.sendall(slow_part[sent : sent + 1])
            sent += 1
        for answer in (
            client.listing(idle),
            client.ask_url(idle, 2),
            client.complete(idle, digest(b""), etags(parts)),
            client.abort(idle),
        ):
            answer.expect(410)
        sending.sendall(slow_part[sent:])
        assert status_of(sending) == 200
    client.complete(slow, digest(slow_part), {1: etag(slow_part)}).expect(200)
    assert client.has_whole(REPOSITORY, slow_part)
    check_in_order(hasty.data)


def test_an_upload_that_expired_while_the_server_was_down_goes_at_the_start(hasty: Server) -> None:
    """H065, T09: the time counts on, and its files go with it."""
    client = Hold(hasty.port)
    parts = cut(noise("down", 2 * PART), PART)
    upload_id = opened(client, "down", 2 * PART, declared=True)
    client.send_all(upload_id, {1: parts[1]})
    hasty.kill()
    for _ in range(30):  # starts and dies until it is too old; each start takes a part of a second
        hasty.start()
        if not list(spool_of(hasty.data, upload_id)):
            break
        hasty.kill()
    client.listing(upload_id).expect(410)
    check_in_order(hasty.data)
