"""The hostile corpus against the hold API and signed URLs: each row is refused as is right, and leaves nothing behind.

Never a 5xx, a traceback, a hang, something on disk, an upload id in an error (T04), or a signature in a log.
"""

import json
import re
from collections.abc import Iterator

import pytest

from tests.hostile import holding
from tests.hostile.rows import Row
from tests.hostile.test_corpus import STALL, Target, filled_in
from tests.hostile.wire import REQUEST_ID, Reply, exchange
from tests.http.signing import REFUSAL
from tests.support.server import Server

SIGNATURE = re.compile("X-Amz-Signature=([0-9A-Za-z]{32,})")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Server(tmp_path_factory.mktemp("hostile") / "data", flags=STALL) as server:
        yield Target(server)


def check(reply: Reply, row: Row, part: str) -> None:
    """What holds for every refusal of this face."""
    assert reply.status == row.status, reply.body[:500]
    assert reply.beyond == b""
    assert REQUEST_ID.fullmatch(reply.headers["X-Request-Id"])
    assert reply.headers["X-Injected"] is None
    assert reply.headers["Allow"] == (row.code if reply.status == 405 else None)
    text = reply.body.decode()
    assert len(text) < 20_000, "the answer repeats too much of the question"
    assert not part or part not in text
    if row.target.startswith("/signed/") or "X-Amz-Signature" in row.target:
        assert reply.headers["Content-Type"] == "application/xml"
        assert REFUSAL.fullmatch(text), text
        return
    assert reply.headers["Content-Type"] == "application/json"
    said = json.loads(text)
    assert set(said) <= {"error", "message", "problems"}
    assert re.fullmatch("[A-Za-z]+", said["error"])
    assert said["message"]


@pytest.mark.parametrize("row", holding.ROWS, ids=[row.name for row in holding.ROWS])
def test_a_request_is_refused_and_leaves_nothing(target: Target, row: Row) -> None:
    """T04, H076, H097, H101, H151."""
    part = ""
    if b"{part}" in row.body or "{part}" in row.target:
        said = b'{"digest": "%s", "repository": "lab/hold"}' % target.words["{absent}"].encode()
        part = json.loads(target.client.request("POST", "/start-multipart", said).expect(200).body)["upload_id"]
    words = {**target.words, "{part}": part}
    body = filled_in(row.body, words)
    fields = {"Host": "127.0.0.1", "Connection": "close", **dict(row.headers)}
    if body or row.method in ("POST", "PUT", "PATCH"):
        fields["Content-Length"] = str(len(body))
    head = "\r\n".join([f"{row.method} {row.target} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""])
    reply = exchange(target.server.port, filled_in(head.encode("latin-1"), words) + body, row.method)
    assert reply is not None
    check(reply, row, part)
    if part:
        gone = target.client.request("POST", "/abort-multipart", json.dumps({"upload_id": part}).encode())
        gone.expect(404, 410) if row.target.startswith("/abort") and row.status < 400 else gone.expect(200)
    target.check_nothing_is_left()
    log = target.server.log()[target.log_read :]
    target.log_read += len(log)
    assert "Traceback" not in log, log[-5000:]
    for hidden in ("\x1b", "\0", *SIGNATURE.findall(row.target)):
        assert hidden not in log
