"""Commands and the real server, each a process of its own: killed, started again, stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from store.admin_socket import SOCKET_NAME
from tests.http.test_admin import ask
from tests.support.driver import environ
from tests.support.inside import ENVIRON, config_of, running
from tests.support.server import ROOT, Server
from tests.support.stage import Stage


def command(data: Path, *words: str) -> tuple[int, Any]:
    """Exit code and JSON of a command."""
    ended = subprocess.run(
        [sys.executable, ROOT / "registry.py", *words, "--json", "--data", data],
        env=environ(data, ENVIRON),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


def test_commands_find_the_server_through_its_whole_life(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server(data)
    with server:
        code, told = command(data, "status")
        assert (code, told["pid"], told["listening"], told["not_ready"]) == (0, server.pid, [server.netloc], "")
        server.kill()
        assert (data / SOCKET_NAME).is_socket(), "a killed server leaves its socket behind"
        assert command(data, "status") == (1, {"running": False, "data_dir": str(data)})
        assert command(data, "repo", "list")[1]["repositories"] == []
        server.start()
        assert command(data, "status")[1]["pid"] == server.pid
        server.terminate()
        assert not (data / SOCKET_NAME).exists()
        assert command(data, "uploads", "list") == (0, {"uploads": []})
        server.start()


def test_the_socket_answers_on_either_kind_of_loop(tmp_path: Path, plain_stage: Stage) -> None:
    async def story() -> None:
        config = config_of(tmp_path)
        async with running(config):
            assert (await ask(config, "status"))["running"]

    plain_stage.run(story())
