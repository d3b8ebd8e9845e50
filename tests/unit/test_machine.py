"""What the process asks of the machine: descriptors for its connections, and to be who owns the folder."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from machine import act_as_owner_of, connections_allowed
from tests.support import needs

ROOT = Path(__file__).parents[2]
STRANGER = 54321

AS_OWNER = """
import os, pathlib, sys
from machine import act_as_owner_of
folder = pathlib.Path(sys.argv[1])
act_as_owner_of(folder)
(folder / "made").write_text("x")
print(os.geteuid(), os.getegid(), os.getgroups())
"""


@pytest.fixture
def limits(monkeypatch):
    """A machine's limits on open files, which may be raised as far as the hard one."""
    now = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: now.__setitem__(slice(None), new))
    return now


def test_the_soft_limit_is_raised_to_the_hard_one(limits):
    assert connections_allowed(1000) == 1000
    assert limits == [4096, 4096]


def test_no_more_connections_are_allowed_than_there_are_descriptors_for(limits, caplog):
    allowed = connections_allowed(4096)
    assert allowed * 3 < 4096
    assert "4096" in caplog.text and str(allowed) in caplog.text
    assert connections_allowed(0) == allowed


def test_without_a_hard_limit_what_is_wanted_is_allowed(limits):
    limits[1] = resource.RLIM_INFINITY
    assert connections_allowed(50_000) == 50_000


def test_root_acts_as_the_owner_of_the_folder(tmp_path):
    needs.root()
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (folder, *tmp_path.parents[:3], tmp_path):
        path.chmod(0o755)
    os.chown(folder, STRANGER, STRANGER)
    done = subprocess.run(
        [sys.executable, "-c", AS_OWNER, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(STRANGER), str(STRANGER), "[]"]
    assert (folder / "made").stat().st_uid == STRANGER


def test_whoever_owns_the_folder_stays_who_they_are(tmp_path):
    before = os.geteuid()
    act_as_owner_of(tmp_path)
    act_as_owner_of(tmp_path / "not there")
    assert os.geteuid() == before
