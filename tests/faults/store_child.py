"""A process that works on a store, says what was acknowledged, and kills itself at a step it was told.

    python store_child.py FOLDER STEP NUMBER       STEP is a name of FileCalls, or `before commit`, `after commit`

Each line it prints is a promise: what it says is durable. The lines that begin with `trying` are none.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from backends.filecalls import FileCalls
from backends.fs import FsBackend
from model.digests import Digest
from store import uploads
from store.uploads import UploadRow
from store.writer import Writer
from tests.unit.store.shop import Shop, described, image, shop

ROUNDS = 40


class Killer:
    """Counts one kind of step, and ends the process, as a power switch would, at the given one."""

    def __init__(self, step: str, number: int) -> None:
        self.step, self.left, self.armed = step, number, False

    def at(self, step: str) -> None:
        """A step is about to happen."""
        if self.armed and step == self.step:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def deadly_calls(killer: Killer) -> FileCalls:
    """The filesystem's steps, each watched."""
    calls = FileCalls()
    for name in ("sync_file", "make_folder", "link", "rename", "sync_folder"):
        really = getattr(calls, name)

        def watched(*paths: Path, name: str = name, really: object = really) -> None:
            killer.at(name)
            really(*paths)  # type: ignore[operator]  # one of the methods above

        setattr(calls, name, watched)
    return calls


def deadly_commit(killer: Killer) -> None:
    """The catalog's commit, watched before and after."""
    really = Writer._commit

    def commit(writer: Writer, connection: sqlite3.Connection) -> None:
        killer.at("before commit")
        really(writer, connection)
        killer.at("after commit")

    setattr(Writer, "_commit", commit)  # noqa: B010 - in this process only


def layer(number: int) -> bytes:
    """The content of a round's blob; a few rounds share one."""
    return f"layer {number // 2}".encode() * 3000


def manifest(number: int) -> bytes:
    """The manifest of a round."""
    return image(f"round {number}", layers=[described(Digest.of(layer(number)), len(layer(number)))])


def say(*words: object) -> None:
    """Tell the parent at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def one_round(store: Shop, number: int) -> None:
    """Push an image the way a client does, and delete the one of five rounds ago."""
    content = layer(number)
    await store.catalog.run(uploads.insert, UploadRow(f"upload-{number}", "a", "sha256", 1.0, 1.0))
    say("opened", number)
    source = store.folder / "spool" / f"upload-{number}"
    source.write_bytes(content)
    await store.blobs.commit("a", Digest.of(content), source, len(content), f"upload-{number}")
    say("blob", number)
    say("trying manifest", number)
    await store.push("a", manifest(number), f"t{number}", "latest")
    say("manifest", number)
    if number >= 5:
        say("trying delete", number - 5)
        await store.manifests.delete("a", Digest.of(manifest(number - 5)))
        say("deleted", number - 5)


async def main(folder: Path, step: str, number: int) -> None:
    """Work until the end comes."""
    killer = Killer(step, number)
    deadly_commit(killer)
    async with shop(folder, backend=FsBackend(folder, calls=deadly_calls(killer)), durable=True) as store:
        await store.push_blob("a", b"{}")
        say("ready")
        killer.armed = True
        for round_number in range(ROUNDS):
            await one_round(store, round_number)
    say("survived")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
