"""A machine of its own for container tools: a mount namespace with private settings, state and temporary folders.

The tools run as root, and some of their folders cannot be moved by any variable: the blob-info cache above all, which
makes a second push reuse blobs of the first. So each test gets a namespace in which /etc/containers, /var/lib, /var/tmp
and /run are folders of the test, and nothing of the machine changes.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import needs

COMMAND_S = 50
STOP_S = 20

# crun refuses hybrid cgroups; the default limits need CAP_SYS_RESOURCE, which containers and many CI machines lack.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
# vfs copies instead of mounting: slower for real images, but it works on every filesystem a test may be run on.
STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""
ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}
# The control groups that podman, dockerd and `ctr --namespace holdfast-interop` make for containers, and leave behind
# when those have ended. They are the machine's, not the namespace's, so the sandbox puts that in order itself.
CGROUPS = Path("/sys/fs/cgroup")
LEFT_BEHIND = ("libpod_parent", "docker", "holdfast-interop")


class Sandbox:
    """The namespace, held open by a small process until the context ends; daemons started in it end with it."""

    def __init__(self, folder: Path, insecure_registry: str) -> None:
        self.folder = folder
        self._registry = insecure_registry
        self._holder: subprocess.Popen[str] | None = None
        self._not_ours = _container_groups()

    @property
    def settings(self) -> Path:
        """/etc/containers inside; a test may change what it says before it runs anything."""
        return self.folder / "etc-containers"

    @property
    def home(self) -> Path:
        """HOME of everything that runs inside."""
        return self.folder / "home"

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; a status other than 0 fails the test, unless `check` is off."""
        done = subprocess.run(
            self._inside(command),
            env=self._env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            cwd=self.folder,
            check=False,
        )
        print(f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}[{done.returncode}]")
        if check:
            assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
        return done

    @contextlib.contextmanager
    def daemon(self, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon inside for the length of the block; its output is shown when the test fails."""
        log = self.folder / f"{Path(str(command[0])).name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._inside(command),
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            print(f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-10_000:]}")

    def wait_for(self, process: subprocess.Popen[bytes], *question: str | Path) -> None:
        """Return once `question` (a command) succeeds; fail if the daemon ends first or takes too long."""
        deadline = time.monotonic() + STOP_S
        while (asked := self.run(*question, check=False)).returncode != 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the daemon ended with {process.wait(0.1)}")
            assert time.monotonic() < deadline, f"the daemon never answered: {asked.stderr}"

    def __enter__(self) -> Self:
        needs.linux_mounts()
        mounts = self._furnish()
        script = "set -e\n" + "\n".join(mounts) + "\necho ready\nread _\n"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self._close()
            raise AssertionError("the mount namespace could not be made; the reason is on standard error")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        assert self._holder is not None
        self._holder.communicate("\n", timeout=STOP_S)
        for group in _container_groups() - self._not_ours:
            # One that the kernel still counts as busy may stay: it is empty and harms nobody.
            with contextlib.suppress(OSError):
                for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                    folder.rmdir()
                group.rmdir()

    def _furnish(self) -> list[str]:
        etc = self.settings
        for name in ("etc-containers", "var-lib", "var-tmp", "home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        (etc / "containers.conf").write_text(CONTAINERS_CONF)
        (etc / "storage.conf").write_text(STORAGE_CONF)
        (etc / "policy.json").write_text(json.dumps(ANYTHING))
        (etc / "registries.conf").write_text(f'[[registry]]\nlocation = "{self._registry}"\ninsecure = true\n')
        # buildah stops when the file named by REGISTRY_AUTH_FILE is not there.
        (self.home / "auth.json").write_text("{}")
        return [
            f"mount --bind '{etc}' /etc/containers",
            f"mount --bind '{self.folder / 'var-lib'}' /var/lib",
            f"mount --bind '{self.folder / 'var-tmp'}' /var/tmp",
            "mount -t tmpfs tmpfs /run",
        ]

    def _inside(self, command: tuple[str | Path, ...]) -> list[str]:
        assert self._holder is not None
        program = needs.tool(str(command[0]))
        # Without --wd nsenter leaves the caller in the old namespace's folder; nsenter replaces itself by the program,
        # so the process id is the program's own.
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", program, *map(str, command[1:])]

    def _env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "REGISTRY_AUTH_FILE": str(self.home / "auth.json"),
        }


def _container_groups() -> set[Path]:
    """The control groups named in LEFT_BEHIND that exist now, in the one hierarchy or in several."""
    return {path for name in LEFT_BEHIND for path in (*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}"))}
