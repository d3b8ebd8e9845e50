"""docs/testing.md, the uploads by hand of docs/multipart.md, the scripts in examples/: followed as they stand there."""

import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.http.gate import gate
from tests.http.pushing import MIB, sha256, some_file
from tests.interop import layouts, pages
from tests.interop.pages import Block, Shell
from tests.interop.wire import Registry
from tests.support.server import Server, free_port

SERVER, PROXY = "127.0.0.1:5000", "127.0.0.1:8080"
SECRET = 'not-for-"quotes"-or-\\c-or-\\'
PARTS = "examples/push-in-parts-with-curl.sh"


def follow(shell: Shell, block: Block, rename: Callable[[str], str]) -> None:
    """Type what a block says, and see what it says comes out."""
    code, shown = shell.run(rename(block.commands))
    assert pages.absent([rename(line) for line in block.shown], shown, whole_lines=True) == []
    assert code == 0


@pytest.mark.parametrize("title", ["1. A directory", "2. Forced through us", "3. Behind a proxy"])
def test_a_recipe_of_the_testing_page_does_what_it_says(tmp_path: Path, title: str) -> None:
    """H162, H172, H174, H123, H131, H132, H133, H135, H136, H137, H139, H079: commands, log lines, the blob."""
    (making,) = pages.blocks("testing.md", "")
    running, *others = pages.blocks("testing.md", title)
    port = free_port()
    with gate(f"127.0.0.1:{port}") as door, Shell(tmp_path) as shell:
        door.allow(1 << 40)
        netloc = f"127.0.0.1:{port}"

        def rename(text: str) -> str:
            return text.replace(SERVER, netloc).replace(PROXY, door.netloc)

        env = {name: rename(value) for name, value in pages.settings_of(running)}
        with Server(tmp_path / "data", port=port, env=env) as server:
            shell.run(making.commands)
            for block in others:
                if block.has_prompts:
                    follow(shell, block, rename)
        # Lines of requests are written a moment after their end, at the latest when the server stops.
        logged = [rename(line) for block in others if not block.has_prompts for line in block.lines]
        assert len(logged) >= 3
        assert pages.absent(logged, server.log(), whole_lines=False) == []


def test_the_upload_by_hand_survives_the_kill_in_its_middle(tmp_path: Path) -> None:
    """H160, H189, H190, H191, T09: from the start to the blob pulled by OCI, as written in docs/multipart.md."""
    server = Server(tmp_path / "data")
    with server, Shell(tmp_path) as shell:

        def rename(text: str) -> str:
            return text.replace(SERVER, server.netloc)

        code, shown = shell.run("".join(rename(block.commands) for block in pages.blocks("multipart.md", "By hand")))
        assert code == 0
        assert '"status":"completed"' in shown
        assert shown.endswith("the same\n")
        steps = pages.blocks("multipart.md", "Killed on the way")
        kills = ["kill -9" in block.commands for block in steps]
        assert kills.count(True) == 1
        for block, kill in zip(steps, kills, strict=True):
            follow(shell, block, rename)
            if kill:
                server.kill()
                server.start()


def test_the_script_sends_only_what_is_missing(tmp_path: Path) -> None:
    """H160, T09: the server is killed in the middle; the same command goes on, and no stored part goes twice."""
    big = some_file(tmp_path / "big.bin", 61 * MIB + 3)
    with Server(tmp_path / "data") as server, gate(server.netloc) as door, Shell(tmp_path) as shell:
        push = f"sh {PARTS} {door.netloc} hello/big:1 big.bin 5\n"
        door.allow(28 * MIB)
        pushing = shell.start(push)
        door.wait_until_it_holds()
        server.kill()
        server.start()
        door.allow(1 << 40)
        code, said = pushing()
        assert code == 1
        assert said.endswith("stopped; the same command goes on\n")
        assert (tmp_path / "big.bin.upload").exists()

        code, rest = shell.run(push)
        assert code == 0
        assert parts_in(rest)
        assert not parts_in(said) & parts_in(rest)
        assert not (tmp_path / "big.bin.upload").exists()
        stored = Counter(re.findall(r"stored part: .* part=(\d+)", server.log()))
        assert set(stored.values()) == {1}
        assert layouts.sha256(Registry(server.netloc).blob("hello/big", sha256(big)).body) == sha256(big)

        code, again = shell.run(push)
        assert (code, parts_in(again)) == (0, set())
        layer = Registry(server.netloc).manifest("hello/big", "1").json()["layers"][0]
        assert (layer["digest"], layer["size"]) == (sha256(big), big.stat().st_size)


def test_the_script_says_what_the_server_says(tmp_path: Path) -> None:
    """H161: refused for want of the secret, for parts that are too small, for a name; and how it is used."""
    some_file(tmp_path / "some.bin", 6 * MIB)
    with Server(tmp_path / "data", env={"HOLD_TOKEN": SECRET}) as server, Shell(tmp_path) as shell:
        for words, code, said in (
            (f"{server.netloc} hello/some:1 some.bin", 1, "AuthRequired"),
            (f"{server.netloc} hello/some:1 none.bin", 1, "none.bin cannot be read\n"),
            (f"{server.netloc} hello/some some.bin", 2, "usage: sh"),
        ):
            ended, shown = shell.run(f"sh {PARTS} {words}\n")
            assert (ended, said in shown) == (code, True)
        shell.run(f"export HOLD_TOKEN={shlex.quote(SECRET)}\n")
        code, shown = shell.run(f"sh {PARTS} {server.netloc} hello/some:1 some.bin 1\n")
        assert (code, "InvalidPartSize" in shown) == (1, True)
        code, shown = shell.run(f"sh {PARTS} {server.netloc} hello/SOME:1 some.bin\n")
        assert (code, "InvalidRepository" in shown) == (1, True)
        assert shell.run(f"sh {PARTS} {server.netloc} hello/some:1 some.bin\n")[0] == 0


def test_the_first_push_of_the_readme_works(tmp_path: Path) -> None:
    """A file as an image of one layer, by plain OCI."""
    some_file(tmp_path / "README.md", 10_000)
    with Server(tmp_path / "data") as server, Shell(tmp_path) as shell:
        code, shown = shell.run(f"sh examples/push-with-curl.sh {server.netloc} hello/world:1 README.md\n")
        assert (code, "pushed" in shown) == (0, True)
        layer = Registry(server.netloc).manifest("hello/world", "1").json()["layers"][0]
        assert layer["digest"] == sha256(tmp_path / "README.md")


def parts_in(shown: str) -> set[str]:
    """The parts that a run of the script says are stored."""
    return set(re.findall(r"^part (\d+) of \d+ is stored$", shown, re.MULTILINE))
