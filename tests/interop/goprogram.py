"""The Go program as tests call it: words in, JSON out, with a home folder that holds no credentials."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_S = 50


class GoClientFailed(AssertionError):
    """The library behind the subcommand was not content; its words are the message."""


@dataclass(frozen=True)
class GoClient:
    """`goclient`, ready to run in a test's folder."""

    program: Path
    folder: Path

    def __call__(self, command: str, *args: str | Path) -> Any:
        """Run a subcommand to its end and return its result.

        Raises:
            GoClientFailed: the subcommand ended with a status other than 0.
        """
        done = subprocess.run(
            [str(self.program), command, *map(str, args)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        print(f"$ goclient {command} {' '.join(map(str, args))}\n{done.stdout}{done.stderr}[{done.returncode}]")
        if done.returncode != 0:
            raise GoClientFailed(done.stderr.strip())
        return json.loads(done.stdout)
