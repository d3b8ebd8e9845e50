"""The operator's view of uploads in parts: what is stored of how much, by whom, for what, and ending them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli
from admin.commands import COMMANDS
from rooms import Rooms, open_rooms
from tests.support.driver import environ
from tests.support.inside import ENVIRON, config_of, running
from tests.unit.multipart.harness import PlayedBody

MIB = 1 << 20
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line on the registry in `tmp_path`, which has to succeed."""

    def run(*argv: str) -> str:
        argv = (*argv, "--data", str(tmp_path))
        assert cli.run(argv, serve=lambda config: 0, more=COMMANDS, environ=environ(tmp_path, ENVIRON)) == 0
        return capsys.readouterr().out

    return run


async def two_uploads(rooms: Rooms) -> list[str]:
    """One of 12 MiB in three parts, of which two are stored; and one whose size nobody said."""
    parted = rooms.services.sessions.parted
    sizes: dict[str, Any] = {"size_bytes": 12 * MIB, "part_size_bytes": 5 * MIB}
    declared = await parted.open("lab/tools", owner="anna", target="uploads/temp-1", **sizes)
    for number, size in ((1, 5 * MIB), (3, 2 * MIB)):
        await parted.receive(declared.id, "anna", number, PlayedBody([bytes(size)]))
    other = await parted.open("lab/tools", owner="berta", target="uploads/temp-2")
    await parted.receive(other.id, "berta", 7, PlayedBody([b"12345"]))
    return [declared.id, other.id]


@pytest.mark.only_with_directory("the table has more columns on S3")
@pytest.mark.parametrize("way", ["running", "stopped"])
async def test_uploads_in_parts_are_listed_with_sizes_parts_age_and_owner_and_can_be_aborted(
    tmp_path: Path, run: Run, way: str
) -> None:
    """H061, H115."""
    async with running(config_of(tmp_path)) if way == "running" else _stopped() as found:
        if found is not None:
            ids = await two_uploads(found.rooms)
        else:
            async with open_rooms(config_of(tmp_path)) as rooms:
                ids = await two_uploads(rooms)
        rows = json.loads(await asyncio.to_thread(run, "uploads", "list", "--json"))["uploads"]
        assert [row["id"] for row in rows] == ids
        assert [row["kind"] for row in rows] == ["parts", "parts"]
        assert [(row["bytes"], row["size_bytes"]) for row in rows] == [(7 * MIB, 12 * MIB), (5, None)]
        assert [(row["parts"], row["total_parts"]) for row in rows] == [(2, 3), (1, None)]
        assert [(row["owner"], row["target"]) for row in rows] == [
            ("anna", "uploads/temp-1"),
            ("berta", "uploads/temp-2"),
        ]
        told = (await asyncio.to_thread(run, "uploads", "list")).splitlines()
        assert told[0].split() == ["ID", "REPOSITORY", "BYTES", "AGE", "IDLE", "OWNER", "PARTS", "TARGET"]
        assert "7.0 MiB of 12.0 MiB" in told[1]
        assert told[1].endswith("2 of 3  uploads/temp-1")
        for upload_id in ids:
            await asyncio.to_thread(run, "uploads", "abort", upload_id)
        assert await asyncio.to_thread(run, "uploads", "list") == "No open uploads.\n"
        assert list((tmp_path / "spool").iterdir()) == []


class _stopped:
    """No server runs in this block."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def test_an_upload_whose_part_arrives_is_shown_so(tmp_path: Path, run: Run) -> None:
    async with running(config_of(tmp_path)) as found:
        parted = found.rooms.services.sessions.parted
        session = await parted.open("lab/tools", owner="anna", target="uploads/temp-1")
        body = PlayedBody([b"some", b"more"], pause_before=1)
        sending = asyncio.create_task(parted.receive(session.id, "anna", 1, body))
        await body.paused.wait()
        assert " receiving " in await asyncio.to_thread(run, "uploads", "list")
        body.go.set()
        await sending
        assert " receiving " not in await asyncio.to_thread(run, "uploads", "list")
