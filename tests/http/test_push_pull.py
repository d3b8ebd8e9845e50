"""push and pull against our own server, each a process: what arrives, what is sent again after a kill, what is said."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.gate import Gate, gate
from tests.http.pushing import MIB, PART, Client, ended, kill, parts_received, sha256, some_file
from tests.interop import layouts
from tests.interop.wire import Registry
from tests.support.server import ROOT, Server

SECRET = "a secret of the hold".replace(" ", "-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("registry") / "data") as ours:
        yield ours
    assert "Traceback" not in ours.log(), ours.log()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that may be killed."""
    with Server(tmp_path / "data") as ours:
        yield ours
    assert "Traceback" not in ours.log(), ours.log()


@pytest.fixture
def door(own: Server) -> Iterator[Gate]:
    with gate(own.netloc) as closed:
        yield closed


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "home")


def stored(server: Server, digest: str, repository: str = "a/b") -> str:
    """What the bytes that the server serves under a digest hash to."""
    return layouts.sha256(Registry(server.netloc).blob(repository, digest).body)


def test_a_file_goes_up_in_parts_and_comes_back(server: Server, client: Client, tmp_path: Path) -> None:
    """H209, H110: parts in parallel, complete with the digest, visible under it; the descriptor is right."""
    big = some_file(tmp_path / "big.bin", 4 * PART + 17)
    out, _ = client.run("push", big, f"{server.netloc}/a/b:1", "--part-size", "5MiB")

    manifest = Registry(server.netloc).manifest("a/b", "1")
    assert out == f"{server.netloc}/a/b:1@{manifest.digest}\n"
    (layer,) = manifest.json()["layers"]
    assert (layer["digest"], layer["size"]) == (sha256(big), big.stat().st_size)
    assert layer["mediaType"] == manifest.json()["artifactType"] == "application/octet-stream"
    assert stored(server, sha256(big)) == sha256(big)
    assert len(parts_received(server)) == 5
    assert client.journals == []

    back, _ = client.run("pull", f"{server.netloc}/a/b:1", "--output", tmp_path / "back.bin")
    assert back == out
    assert sha256(tmp_path / "back.bin") == sha256(big)


def test_a_healthy_push_leaves_no_line_that_looks_like_trouble(own: Server, client: Client, tmp_path: Path) -> None:
    """H140, H198, H199: every push succeeds; nobody went away, failed or was warned about, nor is a HEAD an error."""
    for number in range(5):
        big = some_file(tmp_path / f"{number}.bin", 3 * PART + number, seed=number)
        client.run("push", big, f"{own.netloc}/a/b:{number}", "--part-size", "5MiB")
    own.terminate()
    lines = own.log().splitlines()
    assert sum("/complete-multipart 200" in line for line in lines) == 5
    words = (" client-gone", " error=", " 499 ", " WARNING ", " ERROR ", "Traceback")
    assert [line for line in lines if any(word in line for word in words)] == []


def test_announced_hashes_are_what_the_urls_are_signed_for(server: Server, client: Client, tmp_path: Path) -> None:
    """M07, M08, M09: the signature covers X-Amz-Content-Sha256, and our server checks both."""
    big = some_file(tmp_path / "big.bin", 2 * PART, seed=7)
    client.run("push", big, f"{server.netloc}/a/b:7", "--part-size", "5MiB", "--announce-hashes")
    assert stored(server, sha256(big)) == sha256(big)


def test_a_layout_goes_up_with_all_its_images(server: Server, client: Client, tmp_path: Path) -> None:
    layout = layouts.Layout(tmp_path / "layout")
    index = layout.name(layouts.two_platforms(layout, "push"), "1")
    out, _ = client.run("push", layout.path, f"{server.netloc}/images/two:1")
    assert out == f"{server.netloc}/images/two:1@{index['digest']}\n"
    client.run("pull", f"{server.netloc}/images/two:1", tmp_path / "back")
    there, back = (
        sorted(path.name for path in (root / "blobs/sha256").iterdir()) for root in (layout.path, tmp_path / "back")
    )
    assert there == back


def test_what_is_there_is_not_sent_again(server: Server, client: Client, tmp_path: Path) -> None:
    big = some_file(tmp_path / "again.bin", 2 * PART, seed=3)
    client.run("push", big, f"{server.netloc}/a/again:1", "--part-size", "5MiB")
    before = len(parts_received(server))
    client.run("push", layout_of(client, server, tmp_path), f"{server.netloc}/a/again:2")
    assert len(parts_received(server)) == before


def layout_of(client: Client, server: Server, tmp_path: Path) -> Path:
    client.run("pull", f"{server.netloc}/a/again:1", tmp_path / "layout")
    return tmp_path / "layout"


@pytest.mark.slow
def test_only_unfinished_parts_are_sent_again_after_kills_of_both_sides(
    own: Server, door: Gate, client: Client, tmp_path: Path
) -> None:
    """H070, H071, T09, H115: client killed twice and server killed twice on the way; then it arrives whole."""
    big = some_file(tmp_path / "big.bin", 12 * PART)
    push = ("push", big, f"{door.netloc}/a/b:1", "--part-size", "5MiB", "--parallel", "2")

    door.allow(13 * MIB)
    first = client.start(*push)
    door.wait_until_it_holds()
    kill(first)
    assert client.journals

    door.allow(18 * MIB)
    second = client.start(*push)
    door.wait_until_it_holds()
    own.kill()
    own.start()
    door.allow(18 * MIB)
    door.wait_until_it_holds()
    kill(second)

    door.allow(8 * MIB)
    third = client.start(*push)
    door.wait_until_it_holds()
    own.kill()
    own.start()
    door.allow(1 << 40)
    _, said = ended(third)

    assert "parts are there already" in said
    assert stored(own, sha256(big)) == sha256(big)
    # Each kill costs at most the two parts that were under way; some requests of a few hundred bytes come on top.
    assert door.passed_bytes < big.stat().st_size + 4 * 2 * PART + MIB
    assert client.journals == []


@pytest.mark.slow
def test_a_plain_upload_goes_on_after_a_kill(own: Server, door: Gate, client: Client, tmp_path: Path) -> None:
    """A server without parts: by plain OCI, from the byte where it stands."""
    own.terminate()
    with Server(own.data, port=own.port, env={"MULTIPART": "off"}) as plain:
        big = some_file(tmp_path / "big.bin", 72 * MIB)
        door.allow(50 * MIB)
        first = client.start("push", big, f"{door.netloc}/a/b:1")
        door.wait_until_it_holds()
        kill(first)
        door.allow(1 << 40)
        _, said = client.run("push", big, f"{door.netloc}/a/b:1")
        assert "of it is there already" in said
        assert stored(plain, sha256(big)) == sha256(big)
        assert door.passed_bytes < big.stat().st_size + 20 * MIB
    own.start()


@pytest.mark.slow
def test_a_pull_goes_on_after_a_kill(own: Server, client: Client, tmp_path: Path) -> None:
    """What arrived is kept in FILE.partial; FILE is there when it is whole and verified."""
    big = some_file(tmp_path / "big.bin", 80 * MIB)
    client.run("push", big, f"{own.netloc}/a/b:1")
    with gate(own.netloc) as door:
        door.allow(1 << 40)
        pulling = client.start("pull", f"{door.netloc}/a/b:1", "--output", tmp_path / "back", "--parallel", "1")
        sidecar = tmp_path / "back.partial.json"
        while not sidecar.exists():
            assert pulling.poll() is None
        kill(pulling)
        assert not (tmp_path / "back").exists()
        _, said = client.run("pull", f"{door.netloc}/a/b:1", "--output", tmp_path / "back")
    assert "of 5 ranges are there already" in said
    assert sha256(tmp_path / "back") == sha256(big)
    assert not list(tmp_path.glob("back.*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_is_told_how_to_go_on(
    own: Server, door: Gate, client: Client, tmp_path: Path, number: signal.Signals
) -> None:
    big = some_file(tmp_path / "big.bin", 6 * PART)
    door.allow(12 * MIB)
    push = ("push", big, f"{door.netloc}/a/b:1", "--part-size", "5MiB", "--parallel", "1")
    running = client.start(*push)
    door.wait_until_it_holds()
    running.send_signal(number)
    _, said = ended(running, 130)
    assert said.endswith(
        "registry.py: stopped; the same command goes on where it stopped. What was pushed is not lost.\n"
    )
    door.allow(1 << 40)
    _, said = client.run(*push)
    assert "2 of 6 parts are there already" in said


def test_the_secret_of_the_hold_opens_its_door(client: Client, tmp_path: Path) -> None:
    """HOLD_TOKEN goes with the calls of the hold API; without it the push takes the plain way (H048)."""
    big = some_file(tmp_path / "big.bin", 2 * PART)
    with Server(tmp_path / "data", env={"HOLD_TOKEN": SECRET}) as server:
        push = ("push", big, f"{server.netloc}/a/b:1", "--part-size", "5MiB")
        _, said = client.run(*push)
        assert "takes no parts from us" in said
        assert not parts_received(server)
        some_file(big, 2 * PART, seed=2)
        client.run(*push, env={"HOLD_TOKEN": SECRET})
        assert len(parts_received(server)) == 2


def test_urls_that_are_not_signed_are_used_with_our_own_proof(client: Client, tmp_path: Path) -> None:
    """H048: proxy part URLs; a server that signs nothing gets each part once, at the URL it gave."""
    big = some_file(tmp_path / "big.bin", 2 * PART)
    with Server(tmp_path / "data", env={"HOLD_TOKEN": SECRET, "DISABLE_PRESIGNED_URLS": "true"}) as server:
        push = ("push", big, f"{server.netloc}/a/b:1", "--part-size", "5MiB")
        client.run(*push, env={"HOLD_TOKEN": SECRET})
    assert len(parts_received(server)) == server.log().count(" PUT /multipart-parts/") == 2


def test_a_terminal_gets_one_line_that_moves(server: Server, client: Client, tmp_path: Path) -> None:
    big = some_file(tmp_path / "big.bin", 30 * MIB, seed=9)
    with gate(server.netloc) as door:
        door.allow(20 * MIB)
        ours, theirs = pty.openpty()
        client.home.mkdir()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "registry.py"), "push", str(big), f"{door.netloc}/a/tty:1"],
            env={"PATH": os.environ["PATH"], "HOME": str(client.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while b"B/s" not in shown:  # none, when all that is let through was through before the first look
            shown += os.read(ours, 4096)
        door.allow(1 << 40)
        assert process.wait(60) == 0
        process.communicate()
        os.close(ours)
    assert b"\r\x1b[K[" in shown
    assert b"pushing: " in shown
    assert b"\n" not in shown


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["push", "/nonexistent", "h/a"], 2, "/nonexistent is not there"),
        (["push", "README.md", "h"], 2, "'h' names no repository; write [http://]HOST[:PORT]/REPOSITORY[:TAG]"),
        (["push", "README.md", "h/A"], 2, "'h/A': a repository name is lower-case words"),
        (["push", "README.md", "docker://h/a"], 2, "'docker://h/a': write it without docker://, or with http://"),
        (
            ["push", "README.md", "127.0.0.1:1/a", "--give-up-after", "1s"],
            1,
            "cannot connect to 127.0.0.1:1 (Connection refused)",
        ),
        (["push", "README.md", "h/a", "--parallel", "0"], 2, "'0' is no number from 1 to 64"),
        (["push", "README.md", "h/a", "--part-size", "5 megs"], 2, "'5 megs' is no size, such as 64MiB"),
        (["push", "README.md", "h/a", "--username", "ann"], 2, "--username and --password-stdin belong together"),
        (
            ["push", "README.md", "h/a", "--ca-file", "README.md"],
            2,
            "cannot be used as a CA file: no certificate in it",
        ),
        (["push", "README.md", "h/a@sha256:" + "0" * 64], 2, "a push goes to a tag"),
        (["pull", "h/a"], 2, "name either a folder to pull into, or a file with --output FILE"),
        (["pull", "h/a", "README.md"], 2, "say --output FILE to pull a single file, or another name"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    client: Client, monkeypatch: pytest.MonkeyPatch, argv: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(ROOT)
    out, said = client.run(*argv, code=code)
    assert told in said.splitlines()[-1]
    assert out == ""
