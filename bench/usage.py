"""What a server costs: processor seconds and memory of its process tree, read from /proc."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.content import MIB

PROC = Path("/proc")
SAMPLE_S = 0.05
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Between two moments: processor seconds of server and machine, the clock, resident memory before and at most."""

    cpu_s: float
    peak_rss_mib: float
    machine_cpu_s: float = 0
    wall_s: float = 1
    rss_before_mib: float = 0

    @property
    def rss_growth_mib(self) -> float:
        return max(0.0, self.peak_rss_mib - self.rss_before_mib)

    def others(self, load_cpu_s: float) -> float:
        """How many cores were busy with neither the server nor the load; the kernel's own writing to disk is in it."""
        return max(0.0, self.machine_cpu_s - self.cpu_s - load_cpu_s) / self.wall_s


def cpu_ticks(stat_line: str) -> int:
    """The ticks, user and system, of a /proc/PID/stat line; a name in it may hold spaces and brackets (proc(5))."""
    fields = stat_line.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def busy_ticks(stat_page: str) -> int:
    """The ticks in which any processor of the machine was not idle, from /proc/stat; time stolen from it included."""
    user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, stat_page.split(maxsplit=9)[1:9])
    return user + nice + system + irq + softirq + stolen


def parent_of(stat_line: str) -> int:
    return int(stat_line.rpartition(")")[2].split()[1])


def status_kib(status: str, field: str) -> int:
    """A memory field of /proc/PID/status in KiB; 0 for a process that has none any more."""
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def tree_of(root: int) -> list[int]:
    """The process and its descendants that are alive now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            children.setdefault(parent_of(_read(entry / "stat") or ") Z 0"), []).append(int(entry.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def cpu_s(root: int) -> float:
    """Processor seconds of the living tree; a child that ended in between is not in it."""
    stats = (_read(PROC / str(process) / "stat") for process in tree_of(root))
    return sum(cpu_ticks(stat) for stat in stats if stat) / _TICKS_PER_S


class Meter:
    """Measures one server while it is entered; `cost` is there afterwards.

    One process: the kernel's own high-water mark, set back at the start. Several: the highest sum of samples.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._highest_kib = 0
        self.cost = Cost(0, 0)

    def __enter__(self) -> "Meter":
        self._tree = tree_of(self._root)
        for process in self._tree:
            (PROC / str(process) / "clear_refs").write_text("5")  # forget the high-water mark (proc(5))
        self._before_kib = self._resident_kib()
        self._cpu_before_s = cpu_s(self._root)
        self._machine_before = busy_ticks(_read(PROC / "stat"))
        self._begun_s = time.monotonic()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        wall_s = time.monotonic() - self._begun_s
        machine_s = (busy_ticks(_read(PROC / "stat")) - self._machine_before) / _TICKS_PER_S
        used_s = cpu_s(self._root) - self._cpu_before_s
        self._over.set()
        self._sampler.join()
        peak_kib = self._highest_kib
        if len(self._tree) == 1:
            peak_kib = max(peak_kib, status_kib(_read(PROC / str(self._root) / "status"), "VmHWM"))
        self.cost = Cost(used_s, peak_kib * 1024 / MIB, machine_s, wall_s, self._before_kib * 1024 / MIB)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._highest_kib = max(self._highest_kib, self._resident_kib())

    def _resident_kib(self) -> int:
        return sum(status_kib(_read(PROC / str(process) / "status"), "VmRSS") for process in self._tree)


def _read(path: Path) -> str:
    """The file's text, or nothing when its process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
