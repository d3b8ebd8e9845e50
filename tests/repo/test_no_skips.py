"""In CI a skipped test turns the run red and is named; elsewhere it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

SKIPS_ONE = """
import pytest

def test_that_runs(): pass

def test_that_does_not(): pytest.skip("the moon is full")
"""
SKIPS_ALL = 'import pytest\npytest.skip("the moon is new", allow_module_level=True)\n'
SKIPS_NONE = "import pytest\n@pytest.mark.xfail\ndef test_known_to_fail(): assert False\ndef test_that_runs(): pass\n"


def run(folder: Path, *texts: str, ci: str) -> tuple[int, str]:
    """Exit code and output of a run over these files, under the rules of this repository."""
    for number, text in enumerate(texts):
        (folder / f"test_{number}.py").write_text(text)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            ROOT / "pyproject.toml",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            folder,
        ],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_skip_in_ci_makes_the_run_red_and_is_named(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPS_ONE, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "skipped in CI, where nothing may be skipped" in output
    assert "test_that_does_not: Skipped: the moon is full" in output


def test_a_file_that_is_skipped_whole_counts_as_well(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPS_NONE, SKIPS_ALL, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "the moon is new" in output


def test_a_run_without_skips_is_green_in_ci(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPS_NONE, ci="true")
    assert code == pytest.ExitCode.OK, output


def test_a_persons_run_may_skip(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPS_ONE, SKIPS_ALL, ci="")
    assert code == pytest.ExitCode.OK, output
