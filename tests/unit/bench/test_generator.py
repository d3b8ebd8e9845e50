"""The load generator in C, against a small server that writes down what it receives."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench.content import KIB, Content
from bench.loader import Loader, LoadFailed
from bench.plan import How, Plan


class Recorder(BaseHTTPRequestHandler):
    """As much of a registry as an upload needs; absolute Locations with a query, as some registries give."""

    protocol_version = "HTTP/1.1"
    bodies: dict[str, bytes]
    finished: dict[str, str]

    def do_POST(self) -> None:
        self.answer(202, location="/v2/upload?state=0")

    def do_PATCH(self) -> None:
        self.keep()
        self.answer(202, location=f"/v2/upload?state={len(self.bodies['upload'])}")

    def do_PUT(self) -> None:
        self.keep()
        digest = f"sha256:{hashlib.sha256(self.bodies['upload']).hexdigest()}"
        self.finished[self.path] = digest
        self.answer(201 if self.path.endswith(f"&digest={digest}") else 400)

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"abc")
            self.close_connection = True
        else:
            self.answer(404)

    def keep(self) -> None:
        received = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                received += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            received = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies["upload"] = self.bodies.get("upload", b"") + received

    def answer(self, status: int, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", f"http://{self.headers['Host']}{location}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Recorder.bodies, Recorder.finished = {}, {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("how", ["put", "patch", "chunked"])
def test_a_push_carries_the_bytes_of_the_digest_however_they_are_cut(
    loader: Loader, content: Content, port: int, how: How
) -> None:
    blob = content.blob(6 * KIB * KIB + 7)
    result = loader.run(port, Plan().connection().push(how, "a/b", blob))
    assert list(Recorder.finished.values()) == [blob.digest]
    assert (result.bytes, result.statuses["201"]) == (blob.size_bytes, 1)
    assert result.statuses["202"] == {"put": 1, "patch": 3, "chunked": 2}[how]


def test_an_answer_in_chunks_is_counted(loader: Loader, port: int) -> None:
    assert loader.run(port, Plan().connection().get("/chunked").get("/chunked")).bytes == 2 * 13


def test_another_status_than_the_expected_is_an_error(loader: Loader, port: int) -> None:
    with pytest.raises(LoadFailed, match="1 errors, the first: GET /nothing: 404, not 200"):
        loader.run(port, Plan().connection().get("/nothing"))


def test_a_body_that_ends_early_is_an_error(loader: Loader, port: int) -> None:
    with pytest.raises(LoadFailed, match="the body ended early"):
        loader.run(port, Plan().connection().get("/short"))


def test_a_server_that_is_not_there_is_an_error(loader: Loader) -> None:
    with pytest.raises(LoadFailed, match="connect: Connection refused"):
        loader.run(1, Plan().connection().get("/"))


def test_a_load_without_end_ends_when_it_is_told_to(loader: Loader, port: int) -> None:
    running = loader.start(port, Plan().connection().get("/chunked"), seconds=3600, every_ms=1)
    assert running.stop().errors == 0
