"""The admin socket: who may use it, what it answers, and what it makes of garbage."""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from admin.asking import NobodyAnswers, NotDone, ask_running
from admin.operations import OPERATIONS
from config import Config
from handlers.admin import QUESTION_BYTES, serve_admin
from store.admin_socket import LONGEST_BYTES, SOCKET_NAME
from store.refusals import FolderError
from tests.support.inside import config_of, put_image, running


async def ask(config: Config, operation: str, **parameters: str) -> Any:
    """What the socket answers; asked from a thread, as the loop has to answer."""
    return await asyncio.to_thread(ask_running, config, operation, **parameters)


async def say(data_dir: Path, content: bytes) -> tuple[int, dict[str, Any]]:
    """Send these bytes; the status and the JSON that come back before the connection ends."""
    reader, writer = await asyncio.open_unix_connection(data_dir / SOCKET_NAME)
    writer.write(content)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    try:
        return int(head.split()[1]), json.loads(body)
    except ValueError:
        return int(head.split()[1]), {}


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_only_the_servers_user_may_open_the_socket_and_it_goes_with_the_server(tmp_path: Path) -> None:
    async with running(config_of(tmp_path)):
        found = (tmp_path / SOCKET_NAME).stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_the_socket_is_private_from_its_first_moment_whatever_the_umask_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)  # what comes a moment later must not be needed
    former = os.umask(0)
    try:
        async with running(config_of(tmp_path)):
            assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600
    finally:
        os.umask(former)


async def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    def left_behind(data_dir: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(data_dir / SOCKET_NAME))

    async with running(config_of(tmp_path), left_behind):
        assert (await ask(config_of(tmp_path), "repo.list"))["repositories"] == []


async def test_a_file_in_the_sockets_place_is_not_removed_but_named(tmp_path: Path) -> None:
    def in_the_way(data_dir: Path) -> None:
        (data_dir / SOCKET_NAME).write_text("mine")

    with pytest.raises(FolderError, match=r"admin\.sock is in the way of the admin socket; move it elsewhere"):
        async with running(config_of(tmp_path), in_the_way):
            pass
    assert (tmp_path / SOCKET_NAME).read_text() == "mine"


async def test_a_folder_with_a_very_long_path_has_a_socket_too(tmp_path: Path) -> None:
    config = config_of(tmp_path / ("deep" * 20) / ("deeper" * 20))
    async with running(config):
        assert len(str(config.data_dir / SOCKET_NAME)) > LONGEST_BYTES
        assert (config.data_dir / SOCKET_NAME).is_socket()
        assert (await ask(config, "status"))["data_dir"] == str(config.data_dir)
    with pytest.raises(NobodyAnswers):
        ask_running(config, "status")


async def test_where_there_can_be_no_socket_the_server_runs_without_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def perform(name: str, parameters: Mapping[str, str]) -> object:
        return {}

    async with serve_admin(tmp_path / "not-there", perform):
        assert "no admin socket" in caplog.text


async def test_every_operation_can_be_asked_for(tmp_path: Path) -> None:
    """None is unknown to the socket; those that need parameters, or a bucket, say so."""
    async with running(config_of(tmp_path)):
        for name in OPERATIONS:
            status, answer = await say(tmp_path, post(f"/{name}", b"{}"))
            if status != 200:
                wants = (405, "no bucket") if name == "storage.take-over" else (400, "missing a required argument")
                assert status == wants[0], answer
                assert wants[1] in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (post("/repo.list", b"not json"), 400, "not JSON"),
        (post("/repo.list", b"\xff\xfe"), 400, "not JSON"),
        (post("/repo.list", b"[" * 60_000), 400, "not JSON"),
        (post("/repo.list", b"[]"), 400, "not an object of strings"),
        (post("/repo.list", b'{"prefix": 1}'), 400, "not an object of strings"),
        (post("/repo.list", b'{"nonsense": "x"}'), 400, "unexpected keyword argument"),
        (post("/repo.list", b'{"desk": "x"}'), 400, "multiple values"),
        (post("/tag.list", b"{}"), 400, "missing a required argument"),
        (post("/tag.list", b'{"repository": "../etc"}'), 400, "a repository name is"),
        (post("/repo.list", b" " * (QUESTION_BYTES + 1)), 413, "too long"),
        (post("/no.such", b"{}"), 405, "no operation 'no.such'"),
        (post("/__class__", b"{}"), 405, "no operation"),
        (b"GET /repo.list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "only takes POST"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, ""),
        (b"POST /repo.list HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, ""),
    ],
)
async def test_garbage_is_refused_and_the_next_question_answered(
    tmp_path: Path, content: bytes, status: int, words: str
) -> None:
    async with running(config_of(tmp_path)):
        refused, answer = await say(tmp_path, content)
        assert refused == status
        assert not words or words in answer["errors"][0]["message"]
        assert (await say(tmp_path, post("/repo.list", b"")))[0] == 200


async def test_a_client_that_leaves_in_the_middle_of_its_question_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config_of(tmp_path)):
        _, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
        writer.write(b'POST /repo.list HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"pre')
        await writer.drain()
        writer.transport.abort()
        assert (await say(tmp_path, post("/repo.list", b"")))[0] == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_fault_of_ours_is_a_sentence_for_the_operator_and_a_traceback_for_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def perform(name: str, parameters: Mapping[str, str]) -> object:
        raise ZeroDivisionError("very secret insides")

    config = config_of(tmp_path)
    async with serve_admin(tmp_path, perform):
        with pytest.raises(NotDone, match="the server failed to do this; its log says more"):
            await ask(config, "repo.list")
    assert "very secret insides" in caplog.text


async def test_a_server_that_goes_away_over_a_question_is_not_taken_for_a_stopped_one(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tmp_path / SOCKET_NAME):
        with pytest.raises(NotDone, match="whether the command was done is not known") as told:
            await ask(config_of(tmp_path), "repo.delete", name="lab/x")
    assert not isinstance(told.value, NobodyAnswers)


async def test_a_slow_question_holds_nobody_up(tmp_path: Path) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def perform(name: str, parameters: Mapping[str, str]) -> object:
        if name == "slow":
            reached.set()
            await go.wait()
        return {"name": name}

    config = config_of(tmp_path)
    async with serve_admin(tmp_path, perform):
        slow = asyncio.create_task(ask(config, "slow"))
        await reached.wait()
        assert await ask(config, "quick") == {"name": "quick"}
        go.set()
        assert await slow == {"name": "slow"}


async def test_status_tells_of_the_running_server(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config) as registry:
        await put_image(registry.rooms, "lab/tools", "1", b"layer")
        await registry.rooms.services.sessions.open("lab/tools")
        told = await ask(config, "status")
        assert (told["running"], told["pid"], told["not_ready"]) == (True, os.getpid(), "")
        assert (told["repositories"], told["manifests"], told["tags"], told["uploads"]) == (1, 1, 1, 1)
        assert (told["listening"], told["connections"]) == (["127.0.0.1:5000"], 3)
        assert 0 < told["free_bytes"] < told["size_bytes"]
        registry.readiness.stop()
        assert (await ask(config, "status"))["not_ready"] == "the server is stopping"
