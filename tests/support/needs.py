"""What a test needs of the machine it runs on, asked for in one word.

A developer without `skopeo`, or without root, still gets a useful run: the test is skipped and says what is missing.
In CI (environment `CI=true`) the same lack is a failure, because a check that quietly stops running protects nobody.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

# Where .ci/install-clients puts the Python clients, an environment apart from the registry's own.
CLIENTS_VENV = Path(__file__).resolve().parents[2] / "build" / "clients"


def in_ci() -> bool:
    """Whether a missing need is a failure here."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def missing(what: str) -> NoReturn:
    """End the test for want of `what`: skipped on a person's machine, failed in CI."""
    if in_ci():
        pytest.fail(f"{what}; CI must have it", pytrace=False)
    pytest.skip(what)


def tool(name: str) -> str:
    """The path of a program, looked for on PATH and in the sbin folders that a user's PATH often lacks."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if path is None:
        missing(f"needs `{name}`, which is not installed")
    return path


def root() -> None:
    """The test mounts, or starts daemons that do."""
    if os.geteuid() != 0:
        missing("needs root")


def linux_mounts() -> None:
    """The test may make a mount namespace of its own and mount in it; implies root."""
    root()
    tool("unshare")
    if (reason := _cannot_mount()) is not None:
        missing(f"needs a mount namespace of its own: {reason}")


def client_python() -> str:
    """The interpreter of the environment that holds the Python clients (.ci/install-clients makes it)."""
    python = CLIENTS_VENV / "bin" / "python"
    if not python.exists():
        missing("needs the Python clients in build/clients, which .ci/install-clients makes")
    return str(python)


@cache
def _cannot_mount() -> str | None:
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return None if tried.returncode == 0 else tried.stderr.strip()
