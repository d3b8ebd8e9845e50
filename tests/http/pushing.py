"""`registry.py push` and `pull` as a person runs them: processes of their own, with a home that knows nobody."""

import hashlib
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import ROOT, Server

MIB = 1 << 20
PART = 5 * MIB
TIMEOUT_S = 100


@dataclass
class Client:
    """Runs commands; everything they keep lies below `home`."""

    home: Path

    def start(self, *argv: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command and do not wait."""
        self.home.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, str(ROOT / "registry.py"), *map(str, argv)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)} | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str | Path, code: int = 0, env: dict[str, str] | None = None) -> tuple[str, str]:
        """Run a command to its end, with this exit code; what it said on stdout and on stderr."""
        return ended(self.start(*argv, env=env), code)

    @property
    def journals(self) -> list[Path]:
        """What is kept for the next time."""
        return sorted((self.home / ".cache" / "holdfast").glob("*"))


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for a command; what it said."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return out, err


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, as a crash or a power cut would end it."""
    process.kill()
    process.communicate()


def some_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of bytes that do not repeat."""
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def sha256(path: Path) -> str:
    """`sha256:...` of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def parts_received(server: Server) -> list[str]:
    """The lines of the log about parts that arrived whole, which unlike access lines are written at once."""
    return [line for line in server.log().splitlines() if " stored part: " in line]
