"""`keys rotate` on a running registry and on a stopped one; and what a start does about the file of keys (G04)."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import cli
from admin.commands import COMMANDS
from auth.refusals import SigningKeysUnusable
from auth.signed_urls import UrlSigner
from config import Config
from rooms import open_rooms
from tests.support.driver import environ
from tests.support.inside import ENVIRON, config_of, running

BASE = "http://127.0.0.1:5001"
PATH = "/signed/blobs/sha256:ab"


async def command(data: Path, *argv: str) -> int:
    """The exit code of one command line on the registry in that folder."""
    line = [*argv, "--data", str(data)]
    return await asyncio.to_thread(cli.run, line, serve=lambda config: 0, more=COMMANDS, environ=environ(data, ENVIRON))


def a_url(signer: UrlSigner) -> str:
    """The target of a URL that was handed out."""
    parts = urlsplit(signer.sign("GET", BASE, PATH, {"repository": "lab/tools"}, lifetime_s=900).url)
    return f"{parts.path}?{parts.query}"


def believed(signer: UrlSigner, target: str) -> bool:
    """Whether the registry still takes it."""
    try:
        return signer.verify("GET", target, ["127.0.0.1:5001"], {}).parameters == {"repository": "lab/tools"}
    except Exception as error:
        assert "is none of our keys" in getattr(error, "reason", ""), error
        return False


async def rotated(config: Config, way: str, *argv: str) -> tuple[bool, bool]:
    """Whether a URL from before `keys rotate` is still believed, and one from after it; by whoever serves then."""
    async with AsyncExitStack() as stack:
        if way == "running":
            signer = (await stack.enter_async_context(running(config))).rooms.services.signer
            former = a_url(signer)
            assert await command(config.data_dir, "keys", "rotate", *argv) == 0
        else:
            async with open_rooms(config) as rooms:
                former = a_url(rooms.services.signer)
            assert await command(config.data_dir, "keys", "rotate", *argv) == 0
            signer = (await stack.enter_async_context(open_rooms(config))).services.signer
        return believed(signer, former), believed(signer, a_url(signer))


@pytest.mark.parametrize("way", ["running", "stopped"])
async def test_a_rotation_breaks_no_url_that_was_handed_out(
    tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await rotated(config_of(tmp_path), way) == (True, True)
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Signed URLs are made with key hf[0-9a-f]{16} now\.", first)
    assert re.fullmatch(r"Those made with hf[0-9a-f]{16} count until 20\S+Z, or their own end\.", second)


@pytest.mark.parametrize("way", ["running", "stopped"])
async def test_a_revocation_ends_every_url_that_was_handed_out(
    tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await rotated(config_of(tmp_path), way, "--revoke") == (False, True)
    assert "Every signed URL that was handed out before has ended." in capsys.readouterr().out


async def test_the_answer_for_programs_names_keys_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(tmp_path)
    async with open_rooms(config) as rooms:
        former = rooms.services.signer.keys.current
    caplog.set_level("INFO")
    assert await command(tmp_path, "keys", "rotate", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["key"] for row in answer["former"]] == [former.key_id]
    secrets = [row["secret"] for row in json.loads((tmp_path / "signing-keys.json").read_text())["keys"]]
    assert former.secret in secrets and answer["key"] in caplog.text
    assert [each for each in secrets if each in json.dumps(answer) + caplog.text] == []


async def test_a_registry_whose_content_is_in_memory_keeps_its_keys_in_the_folder(tmp_path: Path) -> None:
    config = config_of(tmp_path, storage_driver="memory")
    assert await rotated(config, "running") == (True, True)
    current = json.loads((tmp_path / "signing-keys.json").read_text())["keys"][0]["id"]
    async with open_rooms(config) as rooms:
        assert rooms.services.signer.keys.current.key_id == current


async def test_keys_that_others_can_read_stop_the_start_and_a_command_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file = config_of(tmp_path), tmp_path / "signing-keys.json"
    async with open_rooms(config):
        pass
    file.chmod(0o644)
    with pytest.raises(SigningKeysUnusable):
        async with open_rooms(config):
            pass
    assert await command(tmp_path, "keys", "rotate") == 2
    told = capsys.readouterr().err
    assert f"chmod 600 {file}" in told and "keys rotate --revoke" in told
    file.chmod(0o600)
    assert await command(tmp_path, "keys", "rotate", "--revoke") == 0
