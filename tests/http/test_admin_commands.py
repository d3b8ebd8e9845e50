"""The operator's commands: the same on a running registry and on a stopped one, told well, refused in one line."""

import asyncio
import json
import os
import pty
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cli
from admin import asking
from admin.commands import COMMANDS
from config import Config
from multipart.bodies import Ending, Poured, Sink
from multipart.place import Place
from rooms import Rooms, open_rooms
from store.folder import DataFolder
from tests.support.driver import environ
from tests.support.inside import ENVIRON, config_of, put_image, running

NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass
class Ended:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line on the registry in `tmp_path`."""

    def run(*argv: str, data: Path = tmp_path) -> Ended:
        code = cli.run(
            [*argv, "--data", str(data)], serve=lambda config: 0, more=COMMANDS, environ=environ(data, ENVIRON)
        )
        return Ended(code, *capsys.readouterr())

    return run


@asynccontextmanager
async def registry(config: Config, way: str, fill: Callable[[Rooms], Any]) -> AsyncIterator[None]:
    """A registry that `fill` has filled; running in the block, or stopped, as `way` says."""
    if way == "running":
        async with running(config) as found:
            await fill(found.rooms)
            yield
    else:
        async with open_rooms(config) as rooms:
            await fill(rooms)
        yield


async def two_repositories(rooms: Rooms) -> None:
    """`lab/tools` with two images, one of which `base/debian` has as well."""
    await put_image(rooms, "lab/tools", "1", b"x" * 2048)
    await put_image(rooms, "lab/tools", "2", b"shared" * 500)
    await put_image(rooms, "base/debian", "12", b"shared" * 500)


async def an_upload(rooms: Rooms) -> None:
    """An upload in `lab/tools` that holds 5 bytes."""
    session = await rooms.services.sessions.open("lab/tools", owner="anna")
    await rooms.services.sessions.append("lab/tools", session.id, Played([b"12345"]), Place())


class Played:
    """A body that arrives as `pieces`; with `waits`, it then stays open until it is stopped."""

    length_bytes = None

    def __init__(self, pieces: list[bytes], *, waits: bool = False) -> None:
        self.pieces = pieces
        self.waits = waits
        self.arrived, self.stopped = asyncio.Event(), asyncio.Event()

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        for piece in self.pieces:
            await asyncio.to_thread(sink.write, memoryview(piece))
        self.arrived.set()
        if self.waits:
            await self.stopped.wait()
        return Poured(sum(map(len, self.pieces)), Ending.STOPPED if self.waits else Ending.WHOLE)

    def stop(self) -> None:
        self.stopped.set()


async def in_thread(run: Run, *argv: str, **more: Any) -> Ended:
    return await asyncio.to_thread(lambda: run(*argv, **more))


both_ways = pytest.mark.parametrize("way", ["running", "stopped"])


@pytest.mark.parametrize(
    "argv",
    [
        ("repo", "list"),
        ("repo", "list", "lab/"),
        ("repo", "list", "none/"),
        ("tag", "list", "lab/tools"),
        ("tag", "list", "no/such"),
        ("tag", "list", "NO"),
        ("tag", "copy", "lab/tools:none", "x"),
        ("tag", "copy", "no/such:1", "x"),
        ("tag", "copy", "lab/tools:1", "no good"),
        ("tag", "delete", "lab/tools:none"),
        ("tag", "delete", "no/such:1"),
        ("repo", "delete", "no/such", "--yes"),
        ("uploads", "abort", NOBODY),
        ("catalog", "copies"),
        ("repo", "list", "--json"),
        ("tag", "list", "lab/tools", "--json"),
        ("catalog", "copies", "--json"),
    ],
    ids=" ".join,
)
async def test_a_running_and_a_stopped_registry_give_the_same_answer(tmp_path: Path, run: Run, argv: list[str]) -> None:
    config = config_of(tmp_path)
    async with running(config) as found:
        await two_repositories(found.rooms)
        while_running = await in_thread(run, *argv)
    assert await in_thread(run, *argv) == while_running
    assert while_running.err.count("\n") == (1 if while_running.code else 0)


@both_ways
async def test_repo_list_tells_unique_and_shared_bytes_in_columns(tmp_path: Path, run: Run, way: str) -> None:
    async with registry(config_of(tmp_path), way, two_repositories):
        told = (await in_thread(run, "repo", "list")).out
    assert re.sub(r"[\d.]+ (KiB|B)", "SIZE", re.sub(" +", " ", told)).splitlines() == [
        "REPOSITORY MANIFESTS TAGS UNIQUE SHARED",
        "base/debian 1 1 SIZE SIZE",
        "lab/tools 2 2 SIZE SIZE",
        "total: 2 repositories 3 3 SIZE",
    ]


@both_ways
async def test_repo_list_json_has_exact_bytes(tmp_path: Path, run: Run, way: str) -> None:
    async with registry(config_of(tmp_path), way, two_repositories):
        told = (await in_thread(run, "repo", "list", "lab/", "--json")).json
    assert set(told) == {"repositories", "total"}
    (lab,) = told["repositories"]
    assert (lab["name"], lab["manifests"], lab["tags"]) == ("lab/tools", 2, 2)
    assert 2048 < lab["unique_bytes"] < 2048 + 600  # the layer and its image's manifest
    assert 3000 < lab["shared_bytes"] < 3000 + 600  # the other layer, its manifest, the configuration
    assert told["total"] == {"repositories": 1, "manifests": 2, "tags": 2, "unique_bytes": lab["unique_bytes"]}


@both_ways
async def test_repo_delete_says_what_went_and_leaves_the_others(tmp_path: Path, run: Run, way: str) -> None:
    async with registry(config_of(tmp_path), way, two_repositories):
        ended = await in_thread(run, "repo", "delete", "lab/tools", "--yes")
        assert (ended.code, ended.out.splitlines()[0]) == (0, "Deleted lab/tools with 2 manifests and 2 tags.")
        left = (await in_thread(run, "repo", "list", "--json")).json["repositories"]
        assert [(row["name"], row["tags"]) for row in left] == [("base/debian", 1)]


@both_ways
async def test_a_tag_is_copied_moved_and_deleted(tmp_path: Path, run: Run, way: str) -> None:
    async with registry(config_of(tmp_path), way, two_repositories):
        first = (await in_thread(run, "tag", "copy", "lab/tools:1", "latest", "--json")).json
        assert (first["tag"], first["former_digest"]) == ("latest", None)
        moved = await in_thread(run, "tag", "copy", "lab/tools:2", "latest")
        assert f"(was {first['digest']})" in moved.out
        deleted = await in_thread(run, "tag", "delete", "lab/tools:latest", "--json")
        assert deleted.json == {"repository": "lab/tools", "tag": "latest", "digest": deleted.json["digest"]}
        assert f"lab/tools:latest is {deleted.json['digest']} now" in moved.out
        assert (await in_thread(run, "tag", "list", "lab/tools")).out == "1\n2\n"


@both_ways
async def test_uploads_are_listed_with_what_lies_in_the_spool_and_can_be_aborted(
    tmp_path: Path, run: Run, way: str
) -> None:
    async with registry(config_of(tmp_path), way, an_upload):
        (row,) = (await in_thread(run, "uploads", "list", "--json")).json["uploads"]
        assert (row["repository"], row["bytes"], row["owner"], row["receiving"]) == ("lab/tools", 5, "anna", False)
        told = (await in_thread(run, "uploads", "list")).out.splitlines()
        assert told[0].split() == ["ID", "REPOSITORY", "BYTES", "AGE", "IDLE", "OWNER"]
        assert re.fullmatch(rf"{row['id']}  lab/tools +5 B +\d+ s +\d+ s  anna", told[1])
        assert (await in_thread(run, "uploads", "abort", row["id"])).code == 0
        assert (await in_thread(run, "uploads", "list")).out == "No open uploads.\n"
        assert list((tmp_path / "spool").iterdir()) == []


async def test_an_upload_that_receives_is_shown_so_and_ends_when_it_is_aborted(tmp_path: Path, run: Run) -> None:
    async with running(config_of(tmp_path)) as found:
        sessions = found.rooms.services.sessions
        session = await sessions.open("lab/tools")
        body = Played([b"some"], waits=True)
        receiving = asyncio.ensure_future(sessions.append("lab/tools", session.id, body, Place()))
        await body.arrived.wait()
        assert " receiving " in (await in_thread(run, "uploads", "list")).out
        assert (await in_thread(run, "uploads", "abort", session.id)).code == 0
        with pytest.raises(Exception, match="another request"):
            await receiving
        assert sessions.all() == []


async def test_a_command_on_a_stopped_registry_lets_no_upload_expire(tmp_path: Path, run: Run) -> None:
    """How long uploads live is a setting of the server, which the command may not have been told."""
    async with open_rooms(config_of(tmp_path)) as rooms:
        await rooms.services.sessions.open("lab/tools")
        old = rooms.clock.now_s() - 30 * 86400
        await rooms.catalog.run(lambda tx: tx.execute("UPDATE upload SET touched_at_s = ?", (old,)))
    assert len((await in_thread(run, "uploads", "list", "--json")).json["uploads"]) == 1


@both_ways
async def test_a_copy_of_the_catalog_is_taken_listed_and_brought_back(tmp_path: Path, run: Run, way: str) -> None:
    async with registry(config_of(tmp_path), way, two_repositories):
        assert (await in_thread(run, "catalog", "copies")).out == "No copies of the catalog yet.\n"
        copy = (await in_thread(run, "catalog", "backup", "--json")).json["path"]
        assert (await in_thread(run, "repo", "delete", "lab/tools", "--yes")).code == 0
        assert copy in (await in_thread(run, "catalog", "copies")).out
    ended = await in_thread(run, "restore", copy)
    assert (ended.code, ended.out.splitlines()[0]) == (0, f"{copy} is the catalog now.")
    assert "What it replaced is kept in" in ended.out
    assert (await in_thread(run, "tag", "list", "lab/tools")).out == "1\n2\n"


async def test_restore_is_refused_while_the_server_runs_and_for_what_is_no_catalog(tmp_path: Path, run: Run) -> None:
    (tmp_path / "letter").write_text("Dear Sir")
    config = config_of(tmp_path / "data")
    async with running(config) as found:
        await two_repositories(found.rooms)
        refused = await in_thread(run, "restore", str(tmp_path / "letter"), data=config.data_dir)
        assert refused.code == 1
        assert f"is running on {config.data_dir} (process {os.getpid()}); stop it first" in refused.err
    refused = await in_thread(run, "restore", str(tmp_path / "letter"), data=config.data_dir)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "letter is not a whole catalog" in refused.err
    assert (await in_thread(run, "tag", "list", "lab/tools", data=config.data_dir)).out == "1\n2\n"


async def test_status_is_short_and_says_when_nothing_runs(tmp_path: Path, run: Run) -> None:
    async with running(config_of(tmp_path)) as found:
        await two_repositories(found.rooms)
        told = (await in_thread(run, "status")).out
        assert "content    2 repositories, 3 tags, 3 manifests\n" in told
        assert "listening  127.0.0.1:5000\n" in told
        assert "ready      yes\n" in told
    ended = await in_thread(run, "status")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"registry.py: no server is running on {tmp_path}\n"
    assert (await in_thread(run, "status", "--json")).json == {"running": False, "data_dir": str(tmp_path)}


@both_ways
async def test_commands_at_the_same_time_all_succeed(tmp_path: Path, run: Run, way: str) -> None:
    """On a stopped registry they take turns at the lock; each is a process of its own then, as here."""
    async with registry(config_of(tmp_path), way, two_repositories):
        program = "import cli, sys; from admin.commands import COMMANDS as more; "
        program += "sys.exit(cli.run(sys.argv[1:], serve=print, more=more))"
        commands = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, "tag", "copy", "lab/tools:1", tag, "--data", str(tmp_path)),
                cwd=Path(cli.__file__).parent,
                env=os.environ | environ(tmp_path, ENVIRON),
                stderr=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )
            for tag in ("a", "b", "c", "d")
        ]
        assert [(await command.communicate())[1] for command in commands] == [b""] * 4
        assert (await in_thread(run, "tag", "list", "lab/tools")).out == "1\n2\na\nb\nc\nd\n"


def test_a_held_lock_without_a_socket_is_one_clear_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOCK_PATIENCE_S", 0.0)
    (tmp_path / "catalog.sqlite3").touch()
    with DataFolder(tmp_path):
        for argv in (("repo", "list"), ("restore", "x")):
            ended = run(*argv)
            assert (ended.code, ended.out) == (1, "")
            assert ended.err == (
                f"registry.py: process {os.getpid()} holds {tmp_path} but does not answer on {tmp_path}/admin.sock; "
                "it may be starting or stopping: try again in a moment\n"
            )


async def test_a_server_that_comes_up_while_a_command_waits_for_the_lock_is_asked(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    refused, listening = threading.Event(), threading.Event()

    def pause(seconds: float) -> None:
        refused.set()
        listening.wait(20)

    async with open_rooms(config) as rooms:
        await two_repositories(rooms)
    monkeypatch.setattr(time, "sleep", pause)
    with DataFolder(tmp_path):  # it has the lock and has not got to its socket yet
        command = asyncio.create_task(in_thread(run, "tag", "list", "lab/tools"))
        assert await asyncio.to_thread(refused.wait, 20)
    async with running(config):
        listening.set()
        assert (await command).out == "1\n2\n"


def test_a_mistyped_folder_is_named_and_not_made(tmp_path: Path, run: Run) -> None:
    for argv in (("repo", "list"), ("repo", "delete", "x", "--yes"), ("catalog", "backup"), ("uploads", "list")):
        ended = run(*argv, data=tmp_path / "typo")
        assert ended == Ended(
            2, "", f"registry.py: there is no registry in {tmp_path}/typo; name its folder with --data\n"
        )
    assert run("restore", "x", data=tmp_path / "typo").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_catalog_is_one_line_with_the_way_out(tmp_path: Path, run: Run) -> None:
    (tmp_path / "catalog.sqlite3").write_text("no catalog at all, but long enough to be looked at")
    ended = run("repo", "list")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "cannot be used" in ended.err


async def test_a_catalog_that_is_gone_is_one_line_with_the_copy_to_restore(tmp_path: Path, run: Run) -> None:
    async with registry(config_of(tmp_path), "stopped", two_repositories):
        copy = (await in_thread(run, "catalog", "backup", "--json")).json["path"]
    for path in tmp_path.glob("catalog.sqlite3*"):
        path.unlink()
    ended = await in_thread(run, "repo", "list")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "registry.py restore" in ended.err
    assert ended.err.endswith(f"{copy}\n")


async def test_repo_delete_without_anybody_to_ask_wants_yes(tmp_path: Path, run: Run) -> None:
    async with registry(config_of(tmp_path), "stopped", two_repositories):
        ended = await in_thread(run, "repo", "delete", "lab/tools")
    assert (ended.code, ended.err) == (2, "registry.py: there is nobody to ask; say --yes to do it unasked\n")


@pytest.mark.parametrize(("said", "code", "tags"), [("y\n", 0, 1), ("n\n", 1, 2), ("\n", 1, 2)])
async def test_repo_delete_asks_the_person_at_the_terminal(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, said: str, code: int, tags: int
) -> None:
    typing, terminal = pty.openpty()
    os.write(typing, said.encode())
    async with registry(config_of(tmp_path), "running", two_repositories):
        with os.fdopen(terminal) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            ended = await in_thread(run, "repo", "delete", "lab/tools")
        assert ended.code == code
        assert ended.err.startswith("Delete lab/tools with 2 manifests and 2 tags? [y/N] ")
        left = (await in_thread(run, "repo", "list", "--json")).json["total"]["repositories"]
        assert left == tags
    os.close(typing)


def test_a_tag_command_without_a_tag_says_how_to_write_one(run: Run) -> None:
    for argv in (("tag", "copy", "lab/tools", "x"), ("tag", "delete", "lab/tools")):
        assert run(*argv) == Ended(2, "", "registry.py: 'lab/tools' names no tag; write REPOSITORY:TAG\n")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_command_speaks_json_and_has_help(
    command: cli.Command, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(*command.words, "--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "--json" in printed
    assert "--data" in printed
    assert (command.run.__doc__ or "").split(".")[0] in " ".join(printed.split())
