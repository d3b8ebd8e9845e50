"""Pages that people follow: their indented blocks, and a shell that runs the commands in them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support import needs
from tests.support.server import ROOT

PROMPT: Final = "$ "
ANYTHING: Final = re.escape("...")


@dataclass(frozen=True)
class Block:
    """Lines that stand together, without their indentation."""

    lines: tuple[str, ...]

    @property
    def commands(self) -> str:
        """What is typed: the lines behind a prompt, or all of them where there is none."""
        typed = [line.removeprefix(PROMPT) for line in self.lines if line.startswith(PROMPT)]
        return "\n".join(typed or self.lines) + "\n"

    @property
    def has_prompts(self) -> bool:
        """Whether it shows a terminal."""
        return any(line.startswith(PROMPT) for line in self.lines)

    @property
    def shown(self) -> list[str]:
        """The lines that are not typed."""
        return [line for line in self.lines if not line.startswith(PROMPT)]


def section(page: str, title: str) -> str:
    """The text of a section of a page below docs/; with an empty title, what stands before the first one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    start = f"\n## {title}\n"
    assert not title or text.count(start) == 1, f"{page} has no section {title!r}"
    return (text.split(start)[1] if title else text).split("\n## ")[0]


def blocks(page: str, title: str) -> list[Block]:
    """The indented blocks of a section, in order."""
    text = section(page, title)
    found = re.findall(r"(?:^    .*\n?)+", text + "\n", re.MULTILINE)
    return [Block(tuple(line[4:] for line in block.splitlines())) for block in found]


def absent(expected: list[str], text: str, *, whole_lines: bool) -> list[str]:
    """The expected lines that no line of `text` agrees with, or no part of one; `...` stands for anything."""
    agrees = re.fullmatch if whole_lines else re.search
    patterns = {line: re.compile(re.escape(line).replace(ANYTHING, ".*")) for line in expected}
    return [line for line, pattern in patterns.items() if not any(agrees(pattern, each) for each in text.splitlines())]


class Shell:
    """One `sh` that stays open over several blocks, in a folder that looks like a checkout; a context manager."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._ran = 0
        for name in ("examples", "registry.py"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        needs.tool("curl")
        self._process = subprocess.Popen(
            ["sh"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)} | dict(env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, commands: str) -> Callable[[], tuple[int, str]]:
        """Type these and do not wait; what is returned waits, for the exit code of the last and all that was shown."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._ran += 1
        script, shown = self.folder / f"{self._ran}.sh", self.folder / f"{self._ran}.shown"
        script.write_text(commands)
        stdin.write(f". ./{script.name} </dev/null >{shown.name} 2>&1; echo $?\n")
        stdin.flush()

        def ended() -> tuple[int, str]:
            code = stdout.readline()
            text = shown.read_text(errors="replace")
            print(f"--- {commands}{text}")
            assert code, "the shell ended"
            return int(code), text

        return ended

    def run(self, commands: str) -> tuple[int, str]:
        """Type these; the exit code of the last, and all that was shown."""
        return self.start(commands)()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def settings_of(block: Block) -> Iterator[tuple[str, str]]:
    """The variables in front of `make run`."""
    (line,) = block.lines
    *pairs, make, run = line.split()
    assert (make, run) == ("make", "run")
    for pair in pairs:
        name, _, value = pair.partition("=")
        yield name, value
