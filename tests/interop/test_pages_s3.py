"""The recipes of docs/testing.md with an object store, followed as they stand there, the line of the store included."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.http.pushing import MIB, some_file
from tests.interop import pages
from tests.interop.pages import Shell
from tests.interop.test_pages import SERVER, follow
from tests.support.objectstore import swift_python
from tests.support.server import ROOT, Server, free_port

STORE = "127.0.0.1:9000"
TITLES = ["4. An object store", "5. An object store, forced through us"]


@contextmanager
def store(folder: Path, command: str) -> Iterator[None]:
    """The store that a line of the page starts, in a folder that looks like a checkout."""
    swift_python()
    for name in ("build", "tests"):
        (folder / name).symlink_to(ROOT / name)
    words = command.split()
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("READY ")
        yield
        process.terminate()


@pytest.mark.only_with_directory("the recipe names a store of its own")
@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_with_an_object_store_does_what_it_says(tmp_path: Path, title: str) -> None:
    """H162, H130, H131, H132, H134, H135, H136, H137, H138, H139, H077: commands, log lines, the blob in the bucket."""
    (started, *_), blocks = pages.blocks("testing.md", TITLES[0]), pages.blocks("testing.md", title)
    running, *others = blocks[1:] if title == TITLES[0] else blocks
    netloc, at = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"

    def rename(text: str) -> str:
        return text.replace(SERVER, netloc).replace(STORE, at)

    command = started.commands.replace(" 9000 ", f" {at.rpartition(':')[2]} ")
    some_file(tmp_path / "file.bin", 80 * MIB)
    env = {name: rename(value) for name, value in pages.settings_of(running)}
    with store(tmp_path, command), Shell(tmp_path) as shell:
        with Server(tmp_path / "data", port=int(netloc.rpartition(":")[2]), env=env) as server:
            for block in others:
                if block.has_prompts:
                    follow(shell, block, rename)
        logged = [rename(line) for block in others if not block.has_prompts for line in block.lines]
        assert len(logged) >= 6
        assert pages.absent(logged, server.log(), whole_lines=False) == []
        if title == TITLES[0]:
            assert "stored part: " not in server.log()
            assert " PUT /multipart-parts/" not in server.log()
