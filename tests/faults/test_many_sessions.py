"""A restart with a thousand open uploads in parts: quick, answering at once, nothing forgotten, little memory."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.faults.client import digest, noise
from tests.faults.hold import SMALL_PARTS, Hold, cut, etag, etags, spool_of
from tests.support.faulty import MIB, check_in_order, check_log, open_uploads
from tests.support.memory import memory_bytes
from tests.support.server import Server

SESSIONS: Final = 1000
PART: Final = 40_000
REPOSITORY: Final = "many/parts"
START_S: Final = 10.0
"""What a start may take; without sessions it takes less than one. Generous, for machines that do other things."""
MORE_BYTES: Final = 24 * MIB
"""How much more memory a server with these sessions may have than one without; about 10 KiB for each is what it is."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", flags=SMALL_PARTS) as running:
        yield running
        check_log(running.log())


def sizes_of(number: int, content: bytes) -> dict[str, int]:
    """Every other upload declared its size."""
    return {"size": len(content), "part_size": PART} if number % 2 else {}


def content_of(number: int) -> bytes:
    return noise(("many", number), 3 * PART - 100)


def begun(client: Hold, number: int) -> tuple[str, dict[int, bytes]]:
    """Nothing, one part, or the first and the last."""
    content = content_of(number)
    parts = cut(content, PART)
    sent = {at: parts[at] for at in ((), (2,), (1, 3), (1, 2))[number % 4]}
    upload_id = client.start(f"uploads/temp-many{number}", REPOSITORY, **sizes_of(number, content))
    client.send_all(upload_id, sent)
    return upload_id, sent


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_thousand_open_uploads_are_taken_up_at_once_and_each_can_be_finished(server: Server) -> None:
    """T09, H175, H186: after kill -9; the first answer comes with the first request, and every part is listed."""
    client = Hold(server.port)
    client.push(REPOSITORY, noise("first", 1000))
    server.restart()
    client.request("GET", "/v2/").expect(200)
    without_bytes = memory_bytes(server.pid, "VmRSS")
    with ThreadPoolExecutor(8) as threads:
        sessions = list(threads.map(lambda number: begun(client, number), range(SESSIONS)))
    client.post("/start-multipart", digest="uploads/temp-one-more", repository=REPOSITORY).expect(429)
    server.kill()
    began_s = time.monotonic()
    server.start()
    assert time.monotonic() - began_s < START_S
    assert open_uploads(server.data) == {upload_id for upload_id, _ in sessions}
    last, sent = sessions[-1]
    assert client.stored(last) == etags(sent)
    assert time.monotonic() - began_s < START_S
    with ThreadPoolExecutor(8) as threads:
        listed = list(threads.map(lambda session: client.stored(session[0]), sessions))
    assert listed == [etags(sent) for _, sent in sessions]
    assert memory_bytes(server.pid, "VmHWM") < without_bytes + MORE_BYTES
    check_in_order(server.data)
    for number in range(0, SESSIONS, 40):
        finish(client, server.data, number, sessions[number][0])
    with ThreadPoolExecutor(8) as threads:
        ends = [(number, upload_id) for number, (upload_id, _) in enumerate(sessions) if number % 40]
        assert {answer.status for answer in threads.map(lambda end: client.abort(end[1]), ends)} == {200}
    assert open_uploads(server.data) == set()
    assert list((server.data / "spool").iterdir()) == []


def finish(client: Hold, data: Path, number: int, upload_id: str) -> None:
    content = content_of(number)
    parts, stored = cut(content, PART), client.stored(upload_id)
    client.send_all(upload_id, {at: part for at, part in parts.items() if stored.get(at) != etag(part)})
    client.complete(upload_id, digest(content), etags(parts)).expect(200)
    assert client.has_whole(REPOSITORY, content)
    assert list(spool_of(data, upload_id)) == []
