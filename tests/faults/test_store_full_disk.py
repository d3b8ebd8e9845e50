"""A disk that is really full: refusals, no damage, and work as before once there is room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import needs

pytestmark = pytest.mark.only_with_directory("the store over a directory, without a server")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("size_kib", [1024, 1500, 2222])
def test_a_full_disk_refuses_and_nothing_acknowledged_is_lost(tmp_path: Path, size_kib: int) -> None:
    needs.linux_mounts()
    script = f'mount -t tmpfs -o size={size_kib}k none "$1" && exec "$2" -m tests.faults.full_disk_child "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tmp_path), sys.executable],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("held ")
