"""One case on all servers: each on a fresh folder, rounds alternating between them, every failure kept."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path

from bench.case import Case, Figure, Measure, Sizes, Stage
from bench.content import Content
from bench.loader import BenchError, Loader
from bench.servers import Kind, Server


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that did not come off on a server, and why; it has no figures there."""

    case: str
    server: str
    reason: str


@dataclass
class _Contender:
    """A server in one case; `measure` is None from its first failure on."""

    server: Server
    measure: Measure | None
    rounds: list[list[Figure]]


class Contest:
    """Runs cases; `failures` collects what went wrong in all of them."""

    def __init__(self, kinds: Sequence[Kind], loader: Loader, content: Content, sizes: Sizes, folder: Path) -> None:
        self._kinds = kinds
        self._loader = loader
        self._content = content
        self._sizes = sizes
        self._folder = folder
        self.failures: list[Failure] = []

    def run(self, case: Case, rounds: int) -> dict[str, Sequence[Sequence[Figure]]]:
        """What each server gave in each round; a server that failed is missing. The first kind is the subject."""
        contenders: list[_Contender] = []
        try:
            for kind in self._kinds:
                if not case.is_for(kind):
                    continue
                self._guarded(case, kind.name, partial(self._open, case, kind, contenders))
            for number in range(rounds):
                first = number % max(1, len(contenders))
                for contender in contenders[first:] + contenders[:first]:
                    self._measure(case, contender, number, rounds)
        finally:
            for contender in contenders:
                self._guarded(case, contender.server.name, contender.server.stop)
            shutil.rmtree(self._folder / case.name, ignore_errors=True)
        failed = {failure.server for failure in self.failures if failure.case == case.name}
        return {c.server.name: c.rounds for c in contenders if c.server.name not in failed}

    def _open(self, case: Case, kind: Kind, contenders: list[_Contender]) -> None:
        tell(f"{case.name}: preparing {kind.name}")
        server = Server(kind, self._folder / case.name / kind.name)
        try:
            stage = Stage(server, self._loader, self._content, self._sizes, kind is self._kinds[0])
            stage.give("bench/warm-up", [self._content.blob(1024 * 1024)])
            contenders.append(_Contender(server, case.open(stage), []))
        except BaseException:  # whatever it was goes on up; no server may be left behind
            with contextlib.suppress(BenchError):
                server.stop()
            raise

    def _measure(self, case: Case, contender: _Contender, number: int, rounds: int) -> None:
        def measure() -> None:
            if contender.measure is not None:
                figures = contender.measure()
                contender.rounds.append(figures)
                shown = ", ".join(f"{figure.value:.4g} {figure.unit}" for figure in figures[:4])
                others = f" (others: {figures[0].others:.1f} cores)" if figures[0].others else ""
                tell(f"{case.name}: round {number + 1} of {rounds}, {contender.server.name}: {shown}{others}")

        if not self._guarded(case, contender.server.name, measure):
            contender.measure = None

    def _guarded(self, case: Case, server: str, step: Callable[[], None]) -> bool:
        """False, and one more failure, when the step did not come off."""
        try:
            step()
        except (BenchError, OSError, HTTPException, ValueError) as error:  # what a server may do to wire and disk
            self.failures.append(Failure(case.name, server, f"{type(error).__name__}: {error}"))
            tell(f"{case.name}: {server} FAILED: {error}")
            return False
        return True


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
