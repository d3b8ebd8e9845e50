"""Parts whose bytes changed on the disk while the server was down: found in the background, marked missing, sent again.

That is what an unclean end may leave on a disk that lies about syncing, and what a person's hand may do.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import digest, noise
from tests.faults.hold import SMALL_PARTS, Hold, cut, etag, etags, problems
from tests.support.faulty import check_in_order, check_log
from tests.support.server import Server

pytestmark = pytest.mark.only_with_directory("hurts parts that rest in the spool; on S3 they are sent on and leave it")

PART: Final = 400_001
COUNT: Final = 4
HURT: Final = 2
REPOSITORY: Final = "damaged/parts"
NOTICED_S: Final = 20.0
Damage = Callable[[Path, int], None]
"""Does something to a part, whose bytes begin there in that file."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("damage") / "data", flags=SMALL_PARTS) as running:
        yield running
        check_log(running.log())


def flipped(path: Path, start: int) -> None:
    """One bit is another."""
    with path.open("r+b") as file:
        file.seek(start + PART // 2)
        byte = file.read(1)[0]
        file.seek(start + PART // 2)
        file.write(bytes([byte ^ 4]))


def zeroed(path: Path, start: int) -> None:
    """Nothing but zeros, as where a length reached the disk before the bytes."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(PART))


def cut_short(path: Path, start: int) -> None:
    """The file ends in the middle of the part."""
    with path.open("r+b") as file:
        file.truncate(start + PART // 2)


def removed(path: Path, start: int) -> None:
    """The file is gone."""
    path.unlink()


def sent(client: Hold, name: str, content: bytes, *, declared: bool, gap: bool = False) -> tuple[str, str, int]:
    """An upload with its parts, the first left out for a `gap`; its id, and where the part lies that will be hurt."""
    sizes = {"size": len(content), "part_size": PART} if declared else {}
    upload_id = client.start(f"uploads/temp-{name}", REPOSITORY, **sizes)
    client.send_all(upload_id, {number: part for number, part in cut(content, PART).items() if not gap or number > 1})
    return upload_id, *((f"{upload_id}.data", (HURT - 1) * PART) if declared else (f"{upload_id}.part{HURT}", 0))


def finished(client: Hold, upload_id: str, content: bytes, sent_again: set[int]) -> None:
    """The completion names what is missing; with these parts sent again it succeeds."""
    parts = cut(content, PART)
    answer = client.complete(upload_id, digest(content), etags(parts)).expect(400)
    assert {number for number in parts if any(f"part {number} " in each for each in problems(answer))} == sent_again
    client.send_all(upload_id, {number: parts[number] for number in sent_again})
    client.complete(upload_id, digest(content), etags(parts)).expect(200)
    assert client.has_whole(REPOSITORY, content)


@pytest.mark.parametrize("damage", [flipped, zeroed, cut_short, removed])
@pytest.mark.parametrize(
    ("declared", "gap"),
    [(True, False), (True, True), (False, False), (False, True)],
    ids=["declared", "declared_with_a_gap", "undeclared", "undeclared_with_a_gap"],
)
def test_a_part_that_changed_on_the_disk_is_marked_missing_and_the_others_stay(
    server: Server, damage: Damage, declared: bool, gap: bool
) -> None:
    """T09, T10, H184, H205: nobody asks for it; it is looked for. What is sent again makes the blob right."""
    client = Hold(server.port)
    content = noise((damage.__name__, gap, declared), COUNT * PART)
    parts = cut(content, PART)
    upload_id, file, start = sent(client, "damaged", content, declared=declared, gap=gap)
    server.kill()
    damage(server.data / "spool" / file, start)
    server.start()
    lost = {number for number in parts if number == HURT or (gap and number == 1)}
    if declared and damage is cut_short:
        lost |= {number for number in parts if number > HURT}
    if declared and damage is removed:
        lost = set(parts)
    if not (declared and damage is removed and not gap):
        # a file that is gone with all its parts may have become the blob: only the completion can tell
        until_s = time.monotonic() + NOTICED_S
        while HURT in (stored := client.stored(upload_id)):
            assert time.monotonic() < until_s, "nobody noticed"
        assert stored == {number: etag(part) for number, part in parts.items() if number not in lost}
    finished(client, upload_id, content, lost)
    check_in_order(server.data)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_a_completion_that_comes_before_the_background_looks_finds_the_damage_too(
    server: Server, declared: bool
) -> None:
    """T10: what is served is what was received, also in the first moment after a start."""
    client = Hold(server.port)
    content = noise(("at once", declared), COUNT * PART)
    upload_id, file, start = sent(client, "at-once", content, declared=declared)
    server.kill()
    flipped(server.data / "spool" / file, start)
    server.start()
    finished(client, upload_id, content, {HURT})
    check_in_order(server.data)


def test_what_waits_for_its_move_and_changed_on_the_disk_is_never_published(server: Server) -> None:
    """T10, H110: the move hashes what an earlier process assembled."""
    client = Hold(server.port)
    content = noise("moved", COUNT * PART)
    temp = "uploads/temp-waiting"
    upload_id = client.start(temp, REPOSITORY, size=len(content), part_size=PART)
    client.send_all(upload_id, cut(content, PART))
    client.complete(upload_id, temp, etags(cut(content, PART))).expect(200)
    server.kill()
    flipped(server.data / "spool" / f"{upload_id}.data", PART)
    server.start()
    client.move(temp, digest(content)).expect(400, 404)
    assert not client.has_whole(REPOSITORY, content)
    check_in_order(server.data)
