"""Compiles the load generator on demand and runs it, one process per load.

It is C because a generator in Python would take more of the machine than the server it measures. The binary is kept in
the user's cache under the digest of its source, so it is compiled once.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.content import MIB
from bench.plan import Plan

SOURCE = Path(__file__).with_name("load.c")
RUN_LIMIT_S = 1800


class BenchError(Exception):
    """The benchmark cannot go on, and its text says why and what to do."""


class LoadFailed(BenchError):
    """A server answered something else than it had to, or not at all."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one kind that sessions of parts made, over all connections."""

    count: int
    total_s: float
    longest_s: float

    @property
    def mean_ms(self) -> float:
        return self.total_s * 1000 / self.count


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the load generator saw; latencies per HTTP exchange, `least_bytes` of the poorest connection.

    `calls` has `start`, `url`, `part` and `complete` where sessions were run, `commit` where a push ended in a PUT
    without a body, `laps_s` when each lap was over.
    """

    seconds: float
    bytes: int
    least_bytes: int
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float
    statuses: dict[str, int]
    first_error: str
    calls: dict[str, Calls] = field(default_factory=dict)
    laps_s: list[float] = field(default_factory=list)

    @property
    def mib_per_s(self) -> float:
        return self.bytes / MIB / self.seconds

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds


def read_result(line: str) -> Result:
    """The result in the generator's one line of JSON.

    Raises:
        LoadFailed: it counted an error, or did nothing at all.
    """
    values: dict[str, Any] = json.loads(line)
    calls = {name: Calls(**call) for name, call in values.pop("calls", {}).items()}
    result = Result(**values, calls=calls)
    if result.errors:
        raise LoadFailed(f"{result.errors} errors, the first: {result.first_error} (statuses {result.statuses})")
    return result


def compiled() -> Path:
    """The load generator's binary, compiled if this source was not compiled before.

    Raises:
        BenchError: there is no compiler, or it refused.
    """
    source = SOURCE.read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-bench"
    binary = cache / f"load-{hashlib.sha256(source).hexdigest()[:16]}"
    if binary.exists():
        return binary
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise BenchError("the load generator is written in C and needs a compiler: install gcc, or set CC")
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-pthread", "-o", str(unfinished), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{compiler} could not compile {SOURCE.name}:\n{done.stderr}")
    unfinished.replace(binary)
    return binary


class Running:
    """A load under way; `stop` ends it early, `result` waits for its end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def stop(self) -> Result:
        self._process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self) -> Result:
        try:
            out, complaint = self._process.communicate(timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise LoadFailed(f"the load was not over after {RUN_LIMIT_S} s") from None
        if self._process.returncode:
            raise LoadFailed(f"the load generator ended with {self._process.returncode}: {complaint.strip()}")
        return read_result(out)


class Loader:
    """Runs plans against a port, of this machine unless a host is named."""

    def __init__(self, binary: Path, pattern_file: Path, scratch: Path) -> None:
        self._command = [str(binary), "--pattern", str(pattern_file)]
        self._plan_file = scratch / "plan"

    def start(
        self, port: int, plan: Plan, *, seconds: float = 0, every_ms: float = 0, host: str = "127.0.0.1"
    ) -> Running:
        """Begin a load: each connection's script once, or repeatedly for `seconds`, or a request every `every_ms`."""
        self._plan_file.write_bytes(plan.encoded())
        command = [*self._command, "--host", host, "--port", str(port)]
        command += ["--seconds", str(seconds), "--every-ms", str(every_ms)]
        with self._plan_file.open("rb") as script, _sigterm_waits():
            process = subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._plan_file.unlink()
        return Running(process)

    def run(self, port: int, plan: Plan, *, seconds: float = 0, host: str = "127.0.0.1") -> Result:
        return self.start(port, plan, seconds=seconds, host=host).result()


@contextlib.contextmanager
def _sigterm_waits() -> Iterator[None]:
    """A process started within begins with SIGTERM blocked, so that a `stop` which comes early is not its death."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
