"""oras-py and python-dxf, each run as a program of its own in the environment that holds them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop import layouts
from tests.interop.wire import Registry
from tests.support import needs

PROGRAMS = Path(__file__).parent / "pyclient"
COMMAND_S = 50


def run(folder: Path, program: str, *words: str | Path) -> Any:
    done = subprocess.run(
        [needs.client_python(), str(PROGRAMS / program), *map(str, words)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("chunk_bytes", [0, 70_000], ids=["whole", "in-chunks"])
def test_oras_py_gets_back_what_it_pushed(registry: Registry, repo: str, tmp_path: Path, chunk_bytes: int) -> None:
    data = layouts.filler(repo, 300_000)
    (tmp_path / "data.bin").write_bytes(data)
    target = registry.ref(repo, "1")
    pushed = run(tmp_path, "with_oras.py", registry.netloc, "push", target, tmp_path / "data.bin", str(chunk_bytes))

    assert pushed == {"status": 201, "digest": registry.manifest(repo, "1").digest}
    assert run(tmp_path, "with_oras.py", registry.netloc, "pull", target, tmp_path / "back") == ["data.bin"]
    assert (tmp_path / "back" / "data.bin").read_bytes() == data


def test_oras_py_attaches_to_what_is_there(registry: Registry, repo: str, tmp_path: Path) -> None:
    (tmp_path / "subject").write_text(repo)
    (tmp_path / "sbom").write_text("{}")
    with_oras = ("with_oras.py", registry.netloc)
    run(tmp_path, *with_oras, "push", registry.ref(repo, "1"), tmp_path / "subject", "0")
    held = registry.manifest(repo, "1")
    subject = {"mediaType": held.headers["Content-Type"], "digest": held.digest, "size": len(held.body)}
    told = run(tmp_path, *with_oras, "attach", registry.ref(repo, "sbom"), tmp_path / "sbom", json.dumps(subject))

    assert told["subject"] == held.digest
    assert [found["digest"] for found in registry.referrers(repo, str(held.digest))] == [told["digest"]]


def test_oras_py_deletes_a_tag(registry: Registry, repo: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(repo)
    with_oras = ("with_oras.py", registry.netloc)
    run(tmp_path, *with_oras, "push", registry.ref(repo, "1"), tmp_path / "file", "0")

    assert run(tmp_path, *with_oras, "delete", f"{registry.netloc}/{repo}", "1") == ["1"]
    assert registry.manifest(repo, "1").status == 404


def test_python_dxf_finds_everything_it_put_there(registry: Registry, repo: str, tmp_path: Path) -> None:
    data = layouts.filler(repo, 300_000)
    (tmp_path / "data.bin").write_bytes(data)
    digest = layouts.sha256(data)
    seen = run(tmp_path, "with_dxf.py", registry.netloc, repo, tmp_path / "data.bin")

    assert seen == {
        "digest": digest,
        "size": len(data),
        "same": True,
        "aliases": ["latest"],
        "alias": [digest],
        "mounted": digest,
        "deleted": [digest],
    }
    assert registry.manifest(repo, "latest").status == 404
