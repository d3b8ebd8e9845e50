"""What the benchmark needs for object stores: single PUTs, a second host, redirects, and a bucket of its own."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bench.__main__ import CASES, main
from bench.bucket import Bucket, opened
from bench.content import KIB, Content
from bench.loader import BenchError, Loader, LoadFailed
from bench.object_store import bare_puts
from bench.plan import Plan
from bench.servers import Ours, OursOnStore
from tests.support.objectstore import swift_python

CONTENT = b"a blob in a store"


class Store(BaseHTTPRequestHandler):
    """Takes PUTs, gives one object; what it is asked for under /v2/ is elsewhere."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: list[tuple[str, str, str]]
    clients: set[tuple[str, int]]
    elsewhere = ""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.note(hashlib.sha256(body).hexdigest())
        self.answer(200, b"")

    def do_GET(self) -> None:
        self.note("")
        if self.path.startswith("/v2/") and self.elsewhere:
            self.send_response(307)
            self.send_header("Location", f"{self.elsewhere}/object?X-Amz-Signature=1")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(200, CONTENT)

    def note(self, digest: str) -> None:
        self.seen.append((self.headers["Host"], self.path, digest))
        self.clients.add(self.client_address)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def port() -> Iterator[int]:
    Store.seen, Store.clients, Store.elsewhere = [], set(), ""
    with serving() as port:
        yield port


def test_a_bare_put_carries_the_bytes_of_the_digest(loader: Loader, content: Content, port: int) -> None:
    blob = content.blob(5 * KIB * KIB + 3)
    result = loader.run(port, Plan().connection().store("/bucket/key?X-Amz-Signature=1", blob))
    assert Store.seen == [(f"127.0.0.1:{port}", "/bucket/key?X-Amz-Signature=1", blob.digest.partition(":")[2])]
    assert result.bytes == blob.size_bytes


def test_a_redirect_is_followed_to_another_host_and_both_connections_are_kept(loader: Loader, port: int) -> None:
    with serving() as other:
        Store.elsewhere = f"http://localhost:{other}"
        result = loader.run(port, Plan().connection().fetch("/v2/a", length_bytes=17).fetch("/v2/b", length_bytes=17))
    there = (f"localhost:{other}", "/object?X-Amz-Signature=1", "")
    here = [(f"127.0.0.1:{port}", path, "") for path in ("/v2/a", "/v2/b")]
    assert Store.seen == [here[0], there, here[1], there]
    assert (len(Store.clients), result.bytes) == (2, 2 * len(CONTENT))


def test_an_answer_where_a_redirect_was_to_come_is_an_error(loader: Loader, port: int) -> None:
    with pytest.raises(LoadFailed, match="GET /v2/a: 200, not 307"):
        loader.run(port, Plan().connection().fetch("/v2/a"))


def test_only_servers_on_a_store_are_measured_against_it() -> None:
    plain, stored = Ours(Path("registry.py")), OursOnStore(Path("registry.py"))
    on_store = {case.name for case in CASES if case.is_for(stored)}
    assert on_store == {case.name for case in CASES if case.name.startswith("s3-")}
    assert not on_store & {case.name for case in CASES if case.is_for(plain)}


def test_each_server_has_a_prefix_of_its_own(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "secret"}
    bucket = Bucket("http://store:9000", "b", "us-east-1", keys, "run")
    said = OursOnStore(Path("registry.py"), bucket=bucket).environment(tmp_path / "s3-push-1" / "holdfast")
    assert said["S3_PATH_PREFIX"] == "run/s3-push-1-holdfast"
    assert said["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "secret" not in repr(bucket)


@pytest.mark.parametrize(
    ("where", "why"),
    [("https://store/bucket", "plain http"), ("nonsense", "takes `swift`"), ("http://store:9000/b", "AWS_ACCESS_KEY")],
)
def test_a_store_that_cannot_be_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, why: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(BenchError, match=why), opened(where, tmp_path):
        pass


def test_a_store_that_is_not_there_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ann")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert main(["--s3", "http://127.0.0.1:1/b", "--only", "s3-push-1", "--dir", str(tmp_path)]) == 2
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err


def test_a_run_leaves_nothing_in_its_bucket(loader: Loader, content: Content, tmp_path: Path) -> None:
    """On the S3 server of the tests, which checks every signature."""
    swift_python()
    with opened("swift", tmp_path) as bucket:
        blobs = content.blobs(3, 100 * KIB)
        result = loader.run(bucket.port, bare_puts(bucket, [blobs[:2], blobs[2:]]), host=bucket.host)
        assert result.statuses == {"200": 3}
        assert len(bucket.below("bare")) == 3
        path = bucket.path("GET", f"bare/{blobs[0].digest.partition(':')[2]}")
        loader.run(bucket.port, Plan().connection().get(path, length_bytes=100 * KIB))
        with pytest.raises(LoadFailed, match="403, not 200"):
            loader.run(bucket.port, Plan().connection().get(path.replace("bare", "other")))
        bucket.wait_until_settled("s3-push-1-holdfast")
        bucket.clear()
        assert bucket.below("") == []
