"""A registry on a directory pays nothing for the object store that it does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
VALUES = {f"backends.s3.{name}" for name in ("settings", "findings", "errors", "refused")}
"""What only says things, and asks nobody."""
HEAVY = ("aiobotocore", "botocore", "moto", "boto3")


def imported(statement: str) -> set[str]:
    """All modules of a fresh interpreter that has done that."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["registry", "rooms", "cli", "admin.commands", "handlers.routes", "backends.base", "backends.fs"]
)
def test_a_server_on_a_directory_imports_nothing_of_the_object_store(module: str) -> None:
    modules = imported(f"import {module}")
    assert module in modules
    found = {name for name in modules if name.split(".")[0] in HEAVY or name.startswith("backends.s3.")}
    assert found <= VALUES


def test_the_backend_itself_is_imported_without_the_client_of_the_store() -> None:
    modules = imported("import backends.s3.backend")
    assert "backends.s3.calls" in modules
    assert {name for name in modules if name.split(".")[0] in {*HEAVY, "aiohttp"}} == set()
