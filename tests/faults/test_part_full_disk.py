"""A full disk at every step of an upload in parts: 507 in the hold's words, the session as it was, on with it later.

The data folder is a small file system in memory; a ballast file takes what is left of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import Answer, digest, noise
from tests.faults.hold import SMALL_PARTS, Hold, cut, etag, etags, refusal, spool_of
from tests.support.faulty import MIB, check_in_order, check_log, filled, room_bytes, tmpfs
from tests.support.server import Server

pytestmark = pytest.mark.only_with_directory(
    "the disk that is full holds the blobs; a full spool before S3 has a file of its own"
)

DISK_BYTES: Final = 64 * MIB
PART: Final = 2 * MIB
REPOSITORY: Final = "full/parts"
SLACK_BYTES: Final = 512 * 1024
"""What the catalog may take meanwhile."""
DECLARED: Final = pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tmpfs(tmp_path_factory.mktemp("disk") / "small", DISK_BYTES) as disk:
        with Server(disk / "data", flags=SMALL_PARTS) as running:
            yield running
        check_log(running.log())


@pytest.fixture
def client(server: Server) -> Hold:
    return Hold(server.port)


@pytest.fixture
def disk(server: Server) -> Path:
    return server.data.parent


def refused(answer: Answer) -> None:
    """507, in the hold's words or, at a signed URL, in S3's; with a time to come again, and no path of ours."""
    answer.expect(507)
    assert refusal(answer) in ("StorageFull", "InsufficientStorage")
    assert answer.headers["Retry-After"]
    assert b"spool" not in answer.body


@contextmanager
def removed_afterwards(client: Hold, content: bytes, data: Path) -> Iterator[None]:
    """The small disk is for the next test again: the blob goes, and its bytes too."""
    try:
        yield
    finally:
        client.request("DELETE", f"/v2/{REPOSITORY}/blobs/{digest(content)}").expect(202, 404)
        hexadecimal = digest(content).removeprefix("sha256:")
        for path in (data / "docker").rglob(f"{hexadecimal}/data"):
            path.unlink()


def finished(client: Hold, data: Path, upload_id: str, content: bytes) -> None:
    """What is missing is sent, the upload is completed, and nothing of it stays in the spool."""
    parts = cut(content, PART)
    stored = client.stored(upload_id)
    client.send_all(upload_id, {number: part for number, part in parts.items() if stored.get(number) != etag(part)})
    client.complete(upload_id, digest(content), etags(parts)).expect(200)
    assert client.has_whole(REPOSITORY, content)
    assert list(spool_of(data, upload_id)) == []
    check_in_order(data)


def test_a_size_for_which_there_is_no_room_is_refused_at_the_start_or_with_the_first_part(
    client: Hold, disk: Path, server: Server
) -> None:
    """H148: room is made for the whole file before a byte of it is taken, and given back when it is not there."""
    content = noise("large", 4 * PART)
    spooled = len(list((server.data / "spool").iterdir()))
    upload_id = client.start("uploads/temp-large", REPOSITORY, size=len(content), part_size=PART)
    with removed_afterwards(client, content, server.data):
        with filled(disk, PART + PART // 2):
            before = room_bytes(disk)
            said = {"digest": "uploads/temp-x", "repository": REPOSITORY, "size": 4 * PART, "part_size": PART}
            refused(client.post("/start-multipart", **said))
            refused(client.send(upload_id, 2, content[PART : 2 * PART]))
            assert client.stored(upload_id) == {}
            assert room_bytes(disk) >= before - SLACK_BYTES
            assert len(list((server.data / "spool").iterdir())) == spooled
        finished(client, server.data, upload_id, content)


def test_room_that_is_promised_to_one_upload_is_not_promised_to_another(client: Hold, disk: Path) -> None:
    """H148: two sizes that fit one at a time."""
    with filled(disk, 3 * PART):
        sizes = {"size": 2 * PART, "part_size": PART}
        first = client.start("uploads/temp-first", REPOSITORY, size=2 * PART, part_size=PART)
        refused(client.post("/start-multipart", digest="uploads/temp-second", repository=REPOSITORY, **sizes))
        client.abort(first).expect(200)
        client.abort(client.start("uploads/temp-second", REPOSITORY, size=2 * PART, part_size=PART)).expect(200)


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "chunked"])
def test_a_part_into_a_file_of_its_own_that_finds_no_room_leaves_nothing(
    client: Hold, disk: Path, server: Server, counted: bool
) -> None:
    """H207, T07: announced or not, in the middle or before it; the other parts stay."""
    content = noise(("own file", counted), 3 * PART)
    parts = cut(content, PART)
    upload_id = client.start("uploads/temp-own", REPOSITORY)
    client.send_all(upload_id, {1: parts[1]})
    with removed_afterwards(client, content, server.data):
        with filled(disk, PART // 2):
            before = room_bytes(disk)
            pieces = (parts[2][at : at + 65_536] for at in range(0, PART, 65_536))
            refused(client.send(upload_id, 2, parts[2] if counted else pieces))
            assert client.stored(upload_id) == {1: etag(parts[1])}
            assert room_bytes(disk) >= before - SLACK_BYTES
        finished(client, server.data, upload_id, content)


@DECLARED
def test_a_part_that_was_to_be_replaced_stays_when_there_is_no_room_for_the_other(
    client: Hold, disk: Path, server: Server, declared: bool
) -> None:
    """H068: the side file finds no room, so the part is what it was."""
    content = noise(("replaced", declared), 2 * PART)
    parts = cut(content, PART)
    sizes = {"size": len(content), "part_size": PART} if declared else {}
    upload_id = client.start("uploads/temp-replaced", REPOSITORY, **sizes)
    client.send_all(upload_id, parts)
    with removed_afterwards(client, content, server.data):
        with filled(disk, PART // 2):
            refused(client.send(upload_id, 2, noise("other", PART)))
            if not declared:  # of a declared size the URL says the length, which is then said
                refused(client.send(upload_id, 2, iter([noise("other", PART)])))
            assert client.stored(upload_id) == etags(parts)
        finished(client, server.data, upload_id, content)


def test_parts_that_cannot_be_joined_for_want_of_room_stay_parts(client: Hold, disk: Path, server: Server) -> None:
    """H176, H205: the completion can be repeated, also by the next process, and the list is the same meanwhile."""
    content = noise("joined", 4 * PART)
    parts = cut(content, PART)
    upload_id = client.start("uploads/temp-joined", REPOSITORY)
    client.send_all(upload_id, parts)
    with removed_afterwards(client, content, server.data):
        with filled(disk, PART):
            before = room_bytes(disk)
            for target in (digest(content), "uploads/temp-joined"):
                refused(client.complete(upload_id, target, etags(parts)))
                assert client.stored(upload_id) == etags(parts)
                assert room_bytes(disk) >= before - SLACK_BYTES
            server.kill()
            server.start()
            refused(client.complete(upload_id, digest(content), etags(parts)))
            assert client.stored(upload_id) == etags(parts)
        client.complete(upload_id, digest(content), etags(parts)).expect(200)
        assert client.has_whole(REPOSITORY, content)
        assert list(spool_of(server.data, upload_id)) == []
        check_in_order(server.data)


def test_an_upload_whose_room_was_made_is_finished_on_a_full_disk(client: Hold, disk: Path, server: Server) -> None:
    """T07: nothing to assemble, so nothing to find room for; only the catalog may want some."""
    content = noise("made", 4 * PART)
    parts = cut(content, PART)
    upload_id = client.start("uploads/temp-made", REPOSITORY, size=len(content), part_size=PART)
    client.send_all(upload_id, {2: parts[2]})
    with removed_afterwards(client, content, server.data):
        with filled(disk, MIB):
            client.send_all(upload_id, {1: parts[1], 3: parts[3], 4: parts[4]})
            client.complete(upload_id, digest(content), etags(parts)).expect(200)
            assert client.has_whole(REPOSITORY, content)
        assert list(spool_of(server.data, upload_id)) == []
        check_in_order(server.data)


@DECLARED
def test_an_upload_can_be_given_up_on_a_full_disk(client: Hold, disk: Path, server: Server, declared: bool) -> None:
    """H185: that is what makes room."""
    sizes = {"size": 4 * PART, "part_size": PART} if declared else {}
    upload_id = client.start("uploads/temp-up", REPOSITORY, **sizes)
    client.send_all(upload_id, {1: noise("up", PART)})
    with filled(disk):
        client.abort(upload_id).expect(200)
        client.listing(upload_id).expect(410)
        assert list(spool_of(server.data, upload_id)) == []
        assert room_bytes(disk) >= PART - SLACK_BYTES


def test_a_start_with_a_full_disk_lists_every_part(client: Hold, disk: Path, server: Server) -> None:
    """T09, H205: nothing has to be written to take a session up again."""
    content = noise("start", 3 * PART)
    parts = cut(content, PART)
    ids = [
        client.start("uploads/temp-start", REPOSITORY, size=len(content), part_size=PART),
        client.start("uploads/temp-start2", REPOSITORY),
    ]
    for upload_id in ids:
        client.send_all(upload_id, {1: parts[1], 3: parts[3]})
    with removed_afterwards(client, content, server.data):
        with filled(disk):
            server.kill()
            server.start()
            for upload_id in ids:
                assert client.stored(upload_id) == etags({1: parts[1], 3: parts[3]})
        for upload_id in ids:
            finished(client, server.data, upload_id, content)
