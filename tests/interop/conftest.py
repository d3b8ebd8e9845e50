"""What every client story starts with: a registry, a repository nobody else uses, a sandbox, an empty layout.

`INTEROP_REGISTRY=HOST:PORT` points the stories at a registry that runs already instead of starting ours, to learn what
another registry makes of them.
"""

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.goprogram import GoClient
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry
from tests.support import needs
from tests.support.server import Server

GOCLIENT = Path(__file__).parent / "goclient"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """Our server over an empty folder, one for each client; None when the stories go elsewhere."""
    if "INTEROP_REGISTRY" in os.environ:
        yield None
        return
    with Server(tmp_path_factory.mktemp("registry") / "data") as ours:
        yield ours
    assert "Traceback" not in ours.log(), ours.log()


@pytest.fixture(scope="module")
def registry(server: Server | None) -> Registry:
    """Where to push to."""
    return Registry(server.netloc if server else os.environ["INTEROP_REGISTRY"])


@pytest.fixture
def repo(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own, named so that a log tells which test it was."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    return f"interop/{words[:40].strip('-')}-{secrets.token_hex(3)}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty layout."""
    return Layout(tmp_path / "layout")


@pytest.fixture
def sandbox(tmp_path: Path, registry: Registry) -> Iterator[Sandbox]:
    """A machine of the test's own for container tools."""
    with Sandbox(tmp_path / "sandbox", registry.netloc) as own:
        yield own


@pytest.fixture(scope="session")
def goclient_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our small program on the libraries behind crane, regctl, oras and helm, compiled."""
    program = tmp_path_factory.mktemp("goclient") / "goclient"
    built = subprocess.run(
        [needs.tool("go"), "build", "-o", str(program), "."], cwd=GOCLIENT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture
def goclient(goclient_program: Path, tmp_path: Path) -> GoClient:
    """Runs a subcommand of that program and returns what it printed; it fails the test if the program does."""
    return GoClient(goclient_program, tmp_path)
