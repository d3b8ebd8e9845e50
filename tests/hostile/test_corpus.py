"""The hostile corpus against the real server: each row gets the answer that is right for it, and leaves nothing behind.

Never a 5xx, a traceback, a hang, something on disk, or a second answer.
"""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.client import Client, digest, manifest_of, noise
from tests.hostile import framing, manifests, requests, words
from tests.hostile.rows import Raw, Row
from tests.hostile.wire import HOST, Reply, check_reply, exchange
from tests.support.server import Server

BLOB = noise("hostile", 5000)
UPLOADS = "/v2/lab/tools/blobs/uploads/"
HEAD_LIMIT_S = 25.0
STALL = ("--stall-timeout", "2s")


class Target:
    """The server under attack, and what it has on disk and said before and after."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = Client(server.port)
        self.client.push("lab/tools", BLOB)
        config = noise("config", 10)
        self.client.push("lab/tools", config)
        self.manifest = manifest_of(config, BLOB)
        self.client.put_manifest("lab/tools", "1", self.manifest).expect(201)
        self.words = {"{blob}": digest(BLOB), "{manifest}": digest(self.manifest), "{absent}": "sha256:" + "1" * 64}
        self.log_read = len(server.log())
        self.before = self.listing()

    def listing(self) -> dict[str, int]:
        """Every file with its size, but for the catalog's own, and what it says of uploads, tags and repositories."""
        root = self.server.data
        found = {
            str(path.relative_to(root)): path.stat().st_size
            for folder in ("docker", "spool")
            for path in (root / folder).rglob("*")
            if path.is_file()
        }
        found |= {name.name: 0 for name in root.iterdir()}
        for target in ("/v2/_catalog", "/v2/lab/tools/tags/list", f"/v2/lab/tools/referrers/{digest(self.manifest)}"):
            found[self.client.request("GET", target).expect(200).body.decode()] = 0
        return found

    def check_nothing_is_left(self) -> None:
        """The server may learn a moment after us that we are gone."""
        until = time.monotonic() + 5
        while (now := self.listing()) != self.before and time.monotonic() < until:
            pass
        assert now == self.before

    def attack(self, sent: Callable[[dict[str, str]], bytes], method: str, *, hang_up: bool = False) -> Reply | None:
        """Send it, with a fresh session if it wants one, and check that nothing stays behind."""
        location = ""
        if b"{upload}" in sent({"{upload}": "{upload}"}):
            location = self.client.open("lab/tools").partition("?")[0]
        reply = exchange(self.server.port, sent({**self.words, "{upload}": location}), method, hang_up=hang_up)
        if location:
            self.client.request("DELETE", location).expect(204, 404)
        self.check_nothing_is_left()
        said = self.server.log()[self.log_read :]
        self.log_read += len(said)
        assert "Traceback" not in said, said[-5000:]
        assert "\x1b" not in said
        assert "\0" not in said
        return reply


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Server(tmp_path_factory.mktemp("hostile") / "data", flags=STALL) as server:
        yield Target(server)


def filled_in(text: bytes, words_: dict[str, str]) -> bytes:
    for word, value in words_.items():
        text = text.replace(word.encode(), value.encode())
    return text


def names(rows: list[Row] | list[Raw]) -> list[str]:
    return [row.name for row in rows]


@pytest.fixture(scope="module")
def slow_heads(target: Target) -> Iterator[list[socket.socket]]:
    """Clients that begin a head and never end it; begun first, looked at last."""
    begun = []
    for first in (b"GET", b"GET /v2/ HTTP/1.1\r\n", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: "):
        begun.append(socket.create_connection((HOST, target.server.port), timeout=HEAD_LIMIT_S))
        begun[-1].sendall(first)
    yield begun
    for wire in begun:
        wire.close()


def test_slow_heads_begin(slow_heads: list[socket.socket]) -> None:
    """The end of these is the last test of the file; the corpus runs meanwhile."""
    assert len(slow_heads) == 3


ROWS = [*words.ROWS, *requests.ROWS]


@pytest.mark.parametrize("row", ROWS, ids=names(ROWS))
def test_a_request(target: Target, row: Row) -> None:
    def sent(words_: dict[str, str]) -> bytes:
        head = [f"{row.method} {row.target} HTTP/1.1", "Host: registry", "Connection: close"]
        head += [f"{name}: {value}" for name, value in row.headers]
        if row.body or row.method in ("POST", "PUT", "PATCH"):
            head.append(f"Content-Length: {len(row.body)}")
        return filled_in("\r\n".join([*head, "", ""]).encode("latin-1"), words_) + row.body

    reply = target.attack(sent, row.method)
    assert reply is not None
    assert reply.status == row.status, reply.body[:500]
    check_reply(reply, row.method, row.code)


@pytest.mark.parametrize("row", framing.ROWS, ids=names(framing.ROWS))
def test_bytes(target: Target, row: Raw) -> None:
    method = row.sent.partition(b" ")[0].decode("latin-1")
    reply = target.attack(lambda words_: filled_in(row.sent, words_), method, hang_up=0 in row.statuses)
    assert (reply.status if reply else 0) in row.statuses, reply
    if reply is not None:
        check_reply(reply, method)


@pytest.mark.parametrize("row", framing.TRUNCATED, ids=names(framing.TRUNCATED))
def test_a_client_that_leaves_in_the_middle(target: Target, row: Raw) -> None:
    method = row.sent.partition(b" ")[0].decode()
    reply = target.attack(lambda words_: filled_in(row.sent, words_), method, hang_up=True)
    assert (reply.status if reply else 0) in row.statuses, reply


@pytest.mark.parametrize(("name", "content", "kind", "code"), manifests.ROWS, ids=[row[0] for row in manifests.ROWS])
def test_a_manifest(target: Target, name: str, content: bytes, kind: str, code: str) -> None:
    head = f"PUT /v2/lab/tools/manifests/bad HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    sent = f"{head}Content-Length: {len(content)}\r\n\r\n".encode("latin-1") + content
    reply = target.attack(lambda _: sent, "PUT")
    assert reply is not None
    assert reply.status == (413 if code == "SIZE_INVALID" else 400), reply.body[:500]
    check_reply(reply, "PUT", code)


def test_a_chunked_manifest_above_the_limit_is_refused_as_it_comes(target: Target) -> None:
    body = b"".join(b"10000\r\n" + b" " * 0x10000 + b"\r\n" for _ in range(65)) + b"0\r\n\r\n"
    head = b"PUT /v2/lab/tools/manifests/bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = target.attack(lambda _: head + body, "PUT")
    assert reply is not None
    assert reply.status == 413
    check_reply(reply, "PUT", "SIZE_INVALID")


def test_a_manifest_with_the_same_key_twice_is_kept_as_it_is_and_read_one_way(target: Target) -> None:
    """The last one counts, here as in every client that was looked at; what it names must be here."""
    content = target.manifest[:-1] + b', "config": ' + json.dumps(manifests.CONFIG).encode() + b"}"
    answer = target.client.put_manifest("lab/tools", "twice", content)
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("where", ["artifactType", "annotations"])
def test_half_a_character_in_a_manifest_does_not_spoil_the_list_it_appears_in(target: Target, where: str) -> None:
    """A lone surrogate is JSON, but has no UTF-8: the manifest may be refused or kept, the list must be readable."""
    subject = {"mediaType": manifests.IMAGE, "digest": "sha256:" + "2" * 64, "size": 5}
    value = "\ud800" if where == "artifactType" else {"a": "\ud800"}
    config = noise("config", 10)
    content = manifest_of(config, BLOB, subject=subject, **{where: value})
    target.client.put_manifest("lab/surrogate", "1", content).expect(400)
    target.client.push("lab/surrogate", config)
    target.client.push("lab/surrogate", BLOB)
    stored = target.client.put_manifest("lab/surrogate", "1", content).expect(201, 400)
    listed = target.client.request("GET", f"/v2/lab/surrogate/referrers/{subject['digest']}").expect(200)
    assert len(json.loads(listed.body)["manifests"]) == (stored.status == 201)
    if stored.status == 201:
        assert target.client.manifest("lab/surrogate", "1").body == content
        target.client.request("DELETE", f"/v2/lab/surrogate/manifests/{digest(content)}").expect(202)
    for blob in (config, BLOB):
        target.client.request("DELETE", f"/v2/lab/surrogate/blobs/{digest(blob)}").expect(202)
    target.before = target.listing()


def test_a_content_encoding_is_not_undone(target: Target) -> None:
    """The bytes that were sent are the blob; a manifest in gzip is none."""
    packed = gzip.compress(b"x" * 100_000, mtime=0)
    coded = {"Content-Encoding": "gzip"}
    location = target.client.open("lab/coded")
    target.client.request("PUT", f"{location}&digest={digest(packed)}", packed, coded).expect(201)
    assert target.client.has_whole("lab/coded", packed)
    for name, text in (("gzip", packed), ("deflate", b"x\x9c\x03"), ("br", b"\x1b"), ("nonsense", b"{}")):
        answer = target.client.request(
            "PUT", "/v2/lab/coded/manifests/1", text, {"Content-Encoding": name, "Content-Type": manifests.IMAGE}
        )
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    target.client.request("DELETE", f"/v2/lab/coded/blobs/{digest(packed)}").expect(202)
    target.before = target.listing()  # the bytes of a deleted blob stay until they are swept


def test_a_body_that_stops_coming_is_answered_and_what_came_is_kept(target: Target) -> None:
    location = target.client.open("lab/tools")
    with target.client.begin_body("PATCH", location, 1000, b"x" * 10) as stalled:
        assert stalled.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert target.client.request("GET", location).received_bytes == 10
    target.client.request("DELETE", location).expect(204)
    head = b"PUT /v2/lab/tools/manifests/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection((HOST, target.server.port), timeout=10) as stalled:
        stalled.sendall(head)
        assert stalled.recv(1000).split()[1] in (b"400", b"408")


def test_bodies_sent_to_where_none_is_wanted_do_not_become_requests(target: Target) -> None:
    inner = b"DELETE /v2/lab/tools/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    for line in (b"GET /v2/", b"HEAD /v2/", b"DELETE /v2/lab/none/manifests/1", b"GET /healthz", b"POST /v2/_catalog"):
        head = line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(inner)
        sent = head + inner
        reply = exchange(target.server.port, sent, line.partition(b" ")[0].decode())
        assert reply is not None
        assert reply.beyond == b""
    target.check_nothing_is_left()
    assert target.client.tagged("lab/tools", "1") == digest(target.manifest)


def test_a_flood_of_pipelined_requests_is_answered_in_order(target: Target) -> None:
    ask = b"".join(b"GET /v2/p%d/tags/list HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(500))
    with socket.create_connection((HOST, target.server.port), timeout=10) as wire, wire.makefile("rb") as answers:
        wire.sendall(ask + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        came = answers.read()
    assert came.count(b"HTTP/1.1 404 ") == 500
    positions = [came.index(b'"p%d"' % number) for number in range(500)]
    assert positions == sorted(positions)
    assert came.endswith(b"{}")


def test_too_many_connections_of_one_address_do_not_end_the_server(target: Target, tmp_path: Path) -> None:
    flags = ("--max-connections-per-address", "20")
    with Server(tmp_path / "few", flags=flags) as server:
        wires = [socket.create_connection((HOST, server.port), timeout=10) for _ in range(60)]
        refused = wires[-1].recv(1000)
        assert not refused or refused.split()[1] in (b"429", b"503")
        for wire in wires:
            wire.close()
        client = Client(server.port)
        client.push("lab/after", BLOB)
        assert "Traceback" not in server.log()


def test_slow_heads_are_ended(slow_heads: list[socket.socket]) -> None:
    for wire in slow_heads:
        came = wire.recv(10_000)
        assert came.startswith(b"HTTP/1.1 408 ")
        assert b'"errors"' in came
