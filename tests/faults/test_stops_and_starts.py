"""Ends and beginnings: a graceful stop under transfers, and every reason not to start, in one line with exit code 2."""

import http.client
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.client import Client, digest, noise
from tests.support import needs
from tests.support.driver import DRIVER, environ
from tests.support.faulty import MIB, check_in_order, check_log, start_fails
from tests.support.server import ROOT, Server, free_port


def in_hand(client: Client, location: str, least: int) -> None:
    """Return when the session holds that much."""
    while client.request("GET", location).expect(204).received_bytes < least:
        pass


def stopping(server: Server) -> None:
    """Ask the server to stop, and return when it listens no more."""
    os.kill(server.pid, signal.SIGTERM)
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        except OSError:
            return


def test_a_stop_lets_running_transfers_finish(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", flags=("--grace", "20s")).start()
    client = Client(server.port)
    content, pulled = noise("pushed", 4 * MIB), noise("pulled", 24 * MIB)
    name, location = client.push("stop/pull", pulled), client.open("stop/push")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/v2/stop/pull/blobs/{name}")
    response = connection.getresponse()
    begun = response.read(1000)
    with client.begin_body("PUT", f"{location}&digest={digest(content)}", len(content), content[:MIB]) as push:
        in_hand(client, location, MIB // 2)
        stopping(server)
        push.sendall(content[MIB:])
        assert push.recv(100).startswith(b"HTTP/1.1 201")
    assert begun + response.read() == pulled
    connection.close()
    assert server._ended(20) == 0
    server._process = None
    with server:
        assert client.has_whole("stop/push", content)
    check_log(server.log())


def test_transfers_that_outlast_the_grace_are_ended_and_the_upload_is_resumable(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", flags=("--grace", "1s")).start()
    client = Client(server.port)
    content, pulled = noise("pushed", 4 * MIB), noise("pulled", 40 * MIB)
    name, location = client.push("stop/pull", pulled), client.open("stop/push")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/v2/stop/pull/blobs/{name}")
    connection.getresponse().read(1000)
    with client.begin_body("PATCH", location, len(content), content[: 3 * MIB]):
        in_hand(client, location, 2 * MIB)
        server.terminate()
    connection.close()
    with server:
        status = client.request("GET", location).expect(204)
        assert 2 * MIB <= status.received_bytes <= 3 * MIB
        client.finish(status.location, digest(content), content[status.received_bytes :]).expect(201)
        assert client.has_whole("stop/push", content)
        check_in_order(server.data)
    check_log(server.log())


def test_a_second_signal_ends_the_grace(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", flags=("--grace", "1h")).start()
    client = Client(server.port)
    location = client.open("stop/push")
    with client.begin_body("PATCH", location, 4 * MIB, noise("hurry", MIB)):
        in_hand(client, location, MIB // 2)
        stopping(server)
        server.terminate()


def refusal(data: Path, port: int | None = None) -> str:
    """The one line with which a start is refused."""
    status, said = start_fails(data, port=port or free_port())
    assert status == 2, said
    *before, refused = said.splitlines()
    assert [line for line in before if " INFO holdfast.store: " not in line] == [], said
    assert refused.startswith("registry.py: ")
    return f"{refused}\n"


def test_a_folder_is_served_by_one_process(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        said = refusal(server.data)
        assert f"process {server.pid} is already running on {server.data}" in said
        Client(server.port).request("GET", "/v2/").expect(200)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refusal(tmp_path / "data", port)
    with Server(tmp_path / "data", port=port):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert str(file) in refusal(file / "data")
    assert str(file) in refusal(file)


def test_a_folder_on_a_read_only_disk_is_named(tmp_path: Path) -> None:
    needs.root()
    folder = tmp_path / "read-only"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=True, timeout=10)
    try:
        assert str(folder) in refusal(folder)
        assert str(folder) in refusal(folder / "data")
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)


def with_an_image(data: Path) -> bytes:
    """A stopped registry with one image, `lab/tools:1`; the bytes of its manifest."""
    with Server(data) as server:
        client = Client(server.port)
        manifest = client.image("lab/tools", "kept")
        client.put_manifest("lab/tools", "1", manifest).expect(201)
    return manifest


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"
    }


def test_a_catalog_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with_an_image(data)
    with closing(sqlite3.connect(data / "catalog.sqlite3")) as catalog:
        catalog.execute("PRAGMA user_version = 9999")
    before = everything(data)
    assert "later version" in refusal(data)
    assert everything(data) == before


@pytest.mark.parametrize("damage", ["garbage", "torn in the middle", "empty", "missing"])
def test_a_damaged_catalog_is_refused_with_the_command_that_brings_it_back(tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    manifest = with_an_image(data)
    subprocess.run(
        [sys.executable, str(ROOT / "registry.py"), "catalog", "backup", "--data", str(data)],
        env=environ(data, os.environ),
        check=True,
        timeout=30,
    )
    catalog = data / "catalog.sqlite3"
    newest = max((data / "backups").glob("*.sqlite3"))
    if damage == "garbage":
        catalog.write_bytes(noise("garbage", 100_000))
    elif damage == "torn in the middle":
        catalog.write_bytes(b"\0" * 4096 + catalog.read_bytes()[4096:])
    elif damage == "empty":
        catalog.write_bytes(b"")
    else:
        catalog.unlink()
    said = refusal(data)
    assert str(newest) in said
    command = said.partition("registry.py restore")[2].split("\n")[0]
    assert command, f"no restore command in: {said}"
    done = subprocess.run(
        [sys.executable, str(ROOT / "registry.py"), "restore", *shlex.split(command)],
        env=environ(data, os.environ),
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Server(data) as server:
        assert Client(server.port).tagged("lab/tools", "1") == digest(manifest)
        check_in_order(data)


def test_a_folder_that_was_moved_while_stopped_serves_on(tmp_path: Path) -> None:
    manifest = with_an_image(tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    DRIVER.moved(tmp_path / "before", tmp_path / "after")
    with Server(tmp_path / "after") as server:
        assert Client(server.port).tagged("lab/tools", "1") == digest(manifest)
