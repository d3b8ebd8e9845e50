"""Who we are to a registry: names and passwords from where docker and podman keep them.

Looked at in this order, the first that knows the registry wins: REGISTRY_AUTH_FILE; podman's auth.json in
XDG_RUNTIME_DIR and below ~/.config; docker's config.json in DOCKER_CONFIG or ~/.docker. In each file: the helper
program for that registry, the logins written down, the helper program for all.
"""

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.problems import Problem

HELPER_S: Final = 30
"""How long a credential helper may think; some unlock a key ring."""

_HELPER: Final = re.compile(r"[A-Za-z0-9._-]+")
_DOCKER_HUB: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True)
class Credentials:
    """A name and password, or a token that stands for both."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def stored(netloc: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """What the files of docker and podman know about a registry; None when they know nothing.

    Raises:
        Problem: a file is not what it should be, or a helper program failed.
    """
    for path in _files(environ):
        found = _in_file(path, netloc, repository, environ)
        if found is not None:
            return found
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or "~").expanduser()
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _in_file(path: Path, netloc: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    document = _document(path)
    keys = list(_keys(netloc, repository))
    helpers = _mapping(document.get("credHelpers"))
    for key in keys:
        if isinstance(helper := helpers.get(key), str):
            return _from_helper(helper, key, environ)
    logins = _mapping(document.get("auths"))
    for key in keys:
        if (found := _written(_mapping(logins.get(key)), path)) is not None:
            return found
    if isinstance(helper := document.get("credsStore"), str) and helper:
        asked = [key for key in keys if key in logins] or [netloc]
        return _from_helper(helper, asked[0], environ)
    return None


def _keys(netloc: str, repository: str) -> Iterator[str]:
    """How a registry may be written in these files; podman also knows logins for a part of a registry."""
    words = f"{netloc}/{repository}".split("/")
    yield from ("/".join(words[:length]) for length in range(len(words), 0, -1))
    yield from (f"https://{netloc}", f"http://{netloc}", f"https://{netloc}/", f"https://{netloc}/v2/")
    if netloc in ("registry-1.docker.io", *_DOCKER_HUB):
        yield from _DOCKER_HUB


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Problem(f"the logins in {path} cannot be read: {error}", "repair or remove the file") from error
    return _mapping(document)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _written(login: dict[str, Any], path: Path) -> Credentials | None:
    token = login.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials("", "", token)
    if isinstance(login.get("username"), str) and isinstance(login.get("password"), str):
        return Credentials(login["username"], login["password"])
    encoded = login.get("auth")
    if not isinstance(encoded, str) or not encoded:
        return None
    try:
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise Problem(
            f"a login in {path} is not in base64", "log in again with docker login or podman login"
        ) from error
    return Credentials(username, password.rstrip("\0")) if colon else None


def _from_helper(name: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    """What `docker-credential-NAME` says; None when it knows nothing."""
    if not _HELPER.fullmatch(name):
        raise Problem(f"{name!r} is no name of a credential helper")
    program = f"docker-credential-{name}"
    try:
        ended = subprocess.run(
            [program, "get"],
            input=key,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=HELPER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"the credential helper {program} cannot be asked: {error}") from error
    if ended.returncode != 0:
        said = (ended.stdout + ended.stderr).strip()
        if "not found" in said.lower():
            return None
        raise Problem(f"the credential helper {program} failed: {said[:200]}")
    try:
        told = _mapping(json.loads(ended.stdout))
    except ValueError as error:
        raise Problem(f"the credential helper {program} answered something else than JSON") from error
    username, secret = str(told.get("Username", "")), str(told.get("Secret", ""))
    return Credentials("", "", secret) if username == "<token>" else Credentials(username, secret)
