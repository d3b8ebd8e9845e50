"""The real server as a child process, for suites that must see it from outside: start, stop, kill, start again.

Nothing here knows the server's insides. Readiness is an answer on the port; the end is the process's exit status.
Waiting is always waiting for the process to end, with a short time-out: an early death is noticed at once, and nothing
sleeps.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.driver import DRIVER
from tests.support.listening import Listening, free_port
from tests.support.objectstore import ROOT

__all__ = ["ROOT", "Server", "ServerFailed", "free_port"]

START_S = 30.0
STOP_S = 30.0
POLL_S = 0.02

# A developer's own settings must not reach the server under test; only these pass, and what a test sets itself.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDEVMODE")


class ServerFailed(AssertionError):
    """The server did not start, or did not end as it promises; the message ends with its log."""


class Server(Listening):
    """`registry.py serve` on a free port of 127.0.0.1 over `data`; a context manager that leaves no process behind.

    Args:
        data: the data folder; the log goes to a file of the same name ending in `.log` beside it.
        flags: more command line flags, e.g. `("--sparse-indexes",)`.
        env: more environment variables; they win over those that say where content goes (`driver.py`).
        prefix: words put before the command, of programs that replace themselves with it (`nsenter`, `prlimit`).
        port: the port to listen on; a free one if not given. It stays the same over restarts.
    """

    def __init__(
        self,
        data: Path,
        *,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.log_path = data.parent / f"{data.name}.log"
        self._command = [
            *prefix,
            *(sys.executable, str(ROOT / "registry.py"), "serve"),
            *("--listen", self.netloc, "--data", str(data), *flags),
        ]
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        self._env = kept | DRIVER.env(data) | dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def runs(self) -> bool:
        """Whether the server was started and has not ended, by us or on its own."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        return self._process is not None

    def log(self) -> str:
        """Everything the server has said so far, over all its starts."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def start(self) -> Self:
        """Start the server and return once it answers.

        Raises:
            ServerFailed: it ended, or did not answer within START_S seconds; it is gone by then.
        """
        assert self._process is None, "the server runs already"
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            status = self._ended(POLL_S)
            if status is not None:
                self._process = None
                raise ServerFailed(f"the server ended with status {status} instead of starting\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"the server did not answer within {START_S:g} s\n{self.log()}")
        return self

    @contextlib.contextmanager
    def told(self, **more: str) -> Iterator[None]:
        """Starts inside the block have these environment variables besides."""
        before = self._env
        self._env = before | more
        try:
            yield
        finally:
            self._env = before

    def terminate(self) -> None:
        """Ask the server to stop (SIGTERM) and hold it to its promise to end with status 0.

        Raises:
            ServerFailed: another status, or still there after STOP_S seconds; it is gone by then.
        """
        self._running().send_signal(signal.SIGTERM)
        status = self._ended(STOP_S)
        if status is None:
            self.kill()
            raise ServerFailed(f"the server did not stop within {STOP_S:g} s of SIGTERM\n{self.log()}")
        self._process = None
        if status != 0:
            raise ServerFailed(f"the server ended with status {status} after SIGTERM\n{self.log()}")

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL) and return when it is gone."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def restart(self) -> Self:
        """Stop politely and start again on the same folder and port."""
        self.terminate()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # pytest shows what is printed here only if the test failed.
        try:
            if self._process is not None and kind is None:
                self.terminate()
            elif self._process is not None:
                self.kill()
        finally:
            print(f"--- log of the server on {self.netloc}\n{self.log()[-20_000:]}")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server does not run"
        return self._process

    def _ended(self, timeout_s: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._running().wait(timeout_s)
        return None

    def _answers(self) -> bool:
        return any(self._status(path) == 200 for path in ("/healthz", "/v2/"))

    def _status(self, path: str) -> int | None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
