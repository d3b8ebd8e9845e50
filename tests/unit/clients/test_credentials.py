"""Where logins are found: the files of docker and podman, their helper programs, and which of them wins."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from clients.credentials import Credentials, stored
from clients.problems import Problem


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own, and a folder on its PATH."""
    (tmp_path / "bin").mkdir()
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def write(path: Path, **document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def helper(home: dict[str, str], name: str, script: str) -> None:
    path = Path(home["HOME"]) / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_who_never_logged_in_is_nobody(home: dict[str, str]) -> None:
    assert stored("r:5000", "a/b", home) is None


@pytest.mark.parametrize("key", ["r:5000", "https://r:5000", "https://r:5000/v2/", "r:5000/a", "r:5000/a/b"])
def test_a_login_of_docker_is_found_however_it_is_written(home: dict[str, str], key: str) -> None:
    write(Path(home["HOME"]) / ".docker/config.json", auths={key: auth("ann", "se:cret")})
    assert stored("r:5000", "a/b", home) == Credentials("ann", "se:cret")
    assert stored("other", "a/b", home) is None


def test_the_closest_login_wins(home: dict[str, str]) -> None:
    """Podman knows logins for a part of a registry."""
    write(Path(home["HOME"]) / ".config/containers/auth.json", auths={"r": auth("all", "1"), "r/a": auth("some", "2")})
    assert stored("r", "a/b", home) == Credentials("some", "2")
    assert stored("r", "c", home) == Credentials("all", "1")


def test_files_are_asked_in_the_order_that_is_promised(home: dict[str, str], tmp_path: Path) -> None:
    places = {
        "REGISTRY_AUTH_FILE": tmp_path / "named.json",
        "XDG_RUNTIME_DIR": tmp_path / "run/containers/auth.json",
        "XDG_CONFIG_HOME": tmp_path / "conf/containers/auth.json",
        "DOCKER_CONFIG": tmp_path / "docker/config.json",
    }
    values = [tmp_path / "named.json", tmp_path / "run", tmp_path / "conf", tmp_path / "docker"]
    environ = home | {name: str(value) for name, value in zip(places, values, strict=True)}
    for name, path in reversed(places.items()):
        write(path, auths={"r": auth(name, "x")})
        found = stored("r", "a", environ)
        assert found is not None
        assert found.username == name


def test_a_token_stands_for_name_and_password(home: dict[str, str]) -> None:
    write(Path(home["HOME"]) / ".docker/config.json", auths={"r": {"identitytoken": "tok"}})
    assert stored("r", "a", home) == Credentials("", "", "tok")


def test_a_helper_for_the_registry_is_asked_first(home: dict[str, str]) -> None:
    helper(home, "mine", 'read host; echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"')
    write(Path(home["HOME"]) / ".docker/config.json", auths={"r": auth("old", "x")}, credHelpers={"r": "mine"})
    assert stored("r", "a", home) == Credentials("r", "s")


def test_the_helper_for_all_is_asked_for_a_login_that_is_not_written_down(home: dict[str, str]) -> None:
    helper(home, "all", 'echo \'{"Username": "<token>", "Secret": "tok"}\'')
    write(Path(home["HOME"]) / ".docker/config.json", auths={"https://r": {}}, credsStore="all")
    assert stored("r", "a", home) == Credentials("", "", "tok")


def test_a_helper_that_knows_nothing_is_nobody(home: dict[str, str]) -> None:
    helper(home, "all", "echo credentials not found in native keychain; exit 1")
    write(Path(home["HOME"]) / ".docker/config.json", credsStore="all")
    assert stored("r", "a", home) is None


@pytest.mark.parametrize(
    ("store", "script", "told"),
    [
        ("all", "echo locked >&2; exit 1", "docker-credential-all failed: locked"),
        ("all", "echo hello", "something else than JSON"),
        ("gone", "", "docker-credential-gone cannot be asked"),
        ("../x", "", "is no name of a credential helper"),
    ],
)
def test_a_helper_that_fails_is_named(home: dict[str, str], store: str, script: str, told: str) -> None:
    helper(home, "all", script)
    write(Path(home["HOME"]) / ".docker/config.json", credsStore=store)
    with pytest.raises(Problem, match=told):
        stored("r", "a", home)


@pytest.mark.parametrize("text", ["{", '{"auths": {"r": {"auth": "!"}}}'])
def test_a_file_that_cannot_be_read_is_named(home: dict[str, str], text: str) -> None:
    path = Path(home["HOME"]) / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(Problem, match=r"config\.json"):
        stored("r", "a", home)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(Credentials("ann", "secret", "secret"))
