"""The load generator's sessions of parts, against a small server that puts the parts together."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

from bench.content import KIB, Content
from bench.loader import Loader, LoadFailed
from bench.one_part import both_ends, posts_and_puts, sessions
from bench.parts import Shape
from bench.plan import Plan, in_parts

PART_BYTES = 100 * KIB


class Hold(BaseHTTPRequestHandler):
    """As much of the hold API as sessions need; it fails on the paths in `broken`, and forgets ETags when told to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    lock = Lock()
    opened: list[dict[str, Any]]
    parts: dict[str, dict[int, bytes]]
    order: list[int]
    clients: set[tuple[str, int]]
    finished: dict[str, str]
    broken: set[str]
    etags = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path in self.broken:
            self.answer(503, {"error": "broken"})
        elif self.path == "/start-multipart":
            with self.lock:
                self.opened.append(asked)
                upload_id = f"id-{len(self.opened)}"
                self.parts[upload_id] = {}
            self.answer(200, {"expires_at": "x", "upload_id": upload_id})
        elif self.path == "/part-presigned-url":
            path = f"/multipart-parts/{asked['upload_id']}/{asked['part_number']}?did=x&X-Amz-Signature=y"
            text = (
                json.dumps({"url": f"http://{self.headers['Host']}{path}"}).replace("&", "\\u0026").replace("/", "\\/")
            )
            self.answer(200, text)
        else:
            self.complete(asked)

    def complete(self, asked: dict[str, Any]) -> None:
        stored = self.parts[asked["upload_id"]]
        listed = [(part["part_number"], part["etag"]) for part in asked["parts"]]
        whole = hashlib.sha256(b"".join(stored[number] for number in sorted(stored)))
        right = listed == [(number, self.etag(stored[number])) for number in sorted(stored)]
        self.finished[asked["upload_id"]] = f"sha256:{whole.hexdigest()}"
        self.answer(200 if right and asked["digest"] == f"sha256:{whole.hexdigest()}" else 400, {"status": "completed"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, _, query = self.path.partition("?")
        _, _, upload_id, number = path.split("/")
        with self.lock:
            self.parts[upload_id][int(number)] = body
            self.order.append(int(number))
            self.clients.add(self.client_address)
        signed = query == "did=x&X-Amz-Signature=y" and path not in self.broken
        self.answer(200 if signed else 403, {}, etag=self.etag(body) if self.etags else "")

    def etag(self, body: bytes) -> str:
        return f'"{hashlib.sha256(body).hexdigest()}"'

    def answer(self, status: int, body: dict[str, Any] | str, etag: str = "") -> None:
        written = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Hold.opened, Hold.parts, Hold.order, Hold.clients = [], {}, [], set()
    Hold.finished, Hold.broken, Hold.etags = {}, set(), True
    with ThreadingHTTPServer(("127.0.0.1", 0), Hold) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("seed", [0, 7])
def test_all_connections_send_parts_whose_bytes_are_those_of_the_digest(
    loader: Loader, content: Content, port: int, seed: int
) -> None:
    blob = content.blob(20 * PART_BYTES + 7)
    result = loader.run(port, in_parts("a/b", blob, PART_BYTES, 4, seed=seed))
    assert Hold.finished == {"id-1": blob.digest}
    assert sorted(Hold.order) == list(range(1, 22))
    assert len(Hold.clients) == 4
    assert {name: call.count for name, call in result.calls.items()} == {
        "start": 1,
        "url": 21,
        "part": 21,
        "complete": 1,
    }
    assert (result.bytes, result.requests) == (blob.size_bytes, 44)
    assert result.calls["complete"].mean_ms == pytest.approx(result.calls["complete"].longest_s * 1000)


def test_the_start_says_what_is_coming(loader: Loader, content: Content, port: int) -> None:
    blob = content.blob(300)
    loader.run(port, in_parts("a/b", blob, 200, 1))
    said = {"did": "did:web:bench", "digest": blob.digest, "repository": "a/b", "size": 300, "part_size": 200}
    assert Hold.opened == [said]


def test_parts_go_in_sequence_or_shuffled_the_same_way_each_time(loader: Loader, content: Content, port: int) -> None:
    orders = []
    for seed in (0, 7, 7):
        Hold.order.clear()
        loader.run(port, in_parts("a/b", content.blob(1200), 100, 1, seed=seed))
        orders.append(list(Hold.order))
    assert orders[0] == sorted(orders[0])
    assert orders[1] == orders[2] != orders[0]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("/start-multipart", "POST /start-multipart: 503, not 200"),
        ("/part-presigned-url", "POST /part-presigned-url: 503, not 200"),
        ("/multipart-parts/id-1/3", "PUT /multipart-parts/id-1/3[^ ]*: 403, not 200"),
        ("/complete-multipart", "POST /complete-multipart: 503, not 200"),
    ],
)
def test_a_call_that_fails_ends_the_session_for_everybody(
    loader: Loader, content: Content, port: int, broken: str, why: str
) -> None:
    Hold.broken.add(broken)
    with pytest.raises(LoadFailed, match=why):
        loader.run(port, in_parts("a/b", content.blob(1200), 100, 4))
    assert Hold.finished == {}


def test_a_part_without_an_etag_is_an_error(loader: Loader, content: Content, port: int) -> None:
    Hold.etags = False
    with pytest.raises(LoadFailed, match=r"PUT [^ ]*: no ETag"):
        loader.run(port, in_parts("a/b", content.blob(100), 100, 1))


@pytest.mark.parametrize("laps", [False, True])
def test_many_small_sessions_end_each_with_its_own_blob(
    loader: Loader, content: Content, port: int, laps: bool
) -> None:
    blobs = content.blobs(7, 100)
    result = loader.run(port, sessions(blobs, 3, laps=laps))
    assert sorted(Hold.finished.values()) == sorted(blob.digest for blob in blobs)
    assert len(result.laps_s) == (3 if laps else 0)
    assert result.laps_s == sorted(result.laps_s)
    if laps:
        opened_s, sent_s, completed_s = result.laps_s
        assert both_ends(result) == pytest.approx(7 / (opened_s + completed_s - sent_s))


def test_who_waits_for_another_connection_in_vain_ends_with_the_run(loader: Loader, port: int) -> None:
    plan = Plan().connection().lap().connection()
    for _ in range(20):
        plan.get("/no/such/path")
    with pytest.raises(LoadFailed, match="20 errors, the first: GET /no/such/path: 501"):
        loader.run(port, plan.lap())


def test_a_shape_cuts_no_part_smaller_than_servers_insist_on() -> None:
    assert Shape(16, 4).part_bytes(1024 * KIB * KIB) == 64 * KIB * KIB
    full = Shape(200, 8).part_bytes(1024 * KIB * KIB)
    assert (full, -(-1024 * KIB * KIB // full)) == (5368710, 200)
    assert Shape(200, 8).part_bytes(128 * KIB * KIB) == 5 * KIB * KIB


def test_the_blobs_of_posts_and_puts_are_shared_evenly(content: Content) -> None:
    lines = posts_and_puts(content.blobs(5, 100), 2).encoded().decode().splitlines()
    assert [line.split()[0] for line in lines] == ["conn", "push", "push", "push", "conn", "push", "push"]
