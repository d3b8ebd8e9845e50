"""How much memory a process has and had, as the kernel counts it (proc(5))."""

import re
from pathlib import Path
from typing import Final, Literal

KIB: Final = 1024


def memory_bytes(pid: int, which: Literal["VmRSS", "VmHWM"]) -> int:
    """What is resident now (VmRSS), or was at the most since the start or the last `forget_peak` (VmHWM)."""
    found = re.search(rf"^{which}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, f"process {pid} has no {which}"
    return int(found[1]) * KIB


def forget_peak(pid: int) -> None:
    """From now on VmHWM counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
