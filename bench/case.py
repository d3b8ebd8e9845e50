"""What a case is: prepared once per server, outside the clock, then measured once per round, giving figures."""

import hashlib
import os
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.content import MIB, Blob, Content
from bench.loader import Loader, LoadFailed, Result, Running
from bench.plan import Plan, blob_path, checks, pushes
from bench.servers import Kind, Server
from bench.usage import Cost, Meter

Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one round: the row it belongs to, and what it cost the server where the row tells that.

    `others` is how many cores were busy with something else meanwhile, where that was measured.
    """

    row: str
    unit: str
    value: float
    better: Better = "more"
    cpu: float | None = None
    cpu_unit: str = ""
    peak_rss_mib: float | None = None
    note: str = ""
    others: float = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved: full as the README describes it, or a fraction that shows that all works."""

    quick: bool = False
    crowd_blob_mib: int = 256
    repositories: int = 10_000
    peer_repositories: int = 200
    parts_gib: int = 2
    part_mib: int = 64

    def bytes(self, full_mib: int) -> int:
        return full_mib * MIB // (8 if self.quick else 1)

    @property
    def seconds(self) -> float:
        """How long a row of small requests lasts."""
        return 0.5 if self.quick else 2.0


@dataclass(frozen=True)
class Stage:
    """One running server, and what a case needs to work on it."""

    server: Server
    loader: Loader
    content: Content
    sizes: Sizes
    is_subject: bool

    def start(self, plan: Plan, *, seconds: float = 0, every_ms: float = 0) -> Running:
        return self.loader.start(self.server.port, plan, seconds=seconds, every_ms=every_ms)

    def run(self, plan: Plan, *, seconds: float = 0) -> Result:
        return self.start(plan, seconds=seconds).result()

    def measured(self, plan: Plan, *, seconds: float = 0) -> tuple[Result, Cost]:
        """Run a load with the server's cost beside it, after the disk has written what earlier loads left in memory."""
        os.sync()
        with Meter(self.server.pid) as meter:
            result = self.run(plan, seconds=seconds)
        return result, meter.cost

    def give(self, repository: str, blobs: Sequence[Blob]) -> None:
        """Push blobs to work on later; the first is read back and hashed, so what is pulled is known to be right."""
        self.run(pushes("put", repository, blobs))
        self.verify(repository, blobs)
        url = f"http://127.0.0.1:{self.server.port}{blob_path(repository, blobs[0])}"
        with urllib.request.urlopen(url, timeout=60) as answer:  # nothing but our own server on this machine
            found = hashlib.file_digest(answer, "sha256").hexdigest()
        if blobs[0].digest != f"sha256:{found}":
            raise LoadFailed(f"{self.server.name} serves other bytes for {blobs[0].digest}")

    def verify(self, repository: str, blobs: Sequence[Blob]) -> None:
        """Each of them answers HEAD with 200 and its length, or LoadFailed."""
        self.run(checks(repository, blobs))

    def verify_and_forget(self, repository: str, blobs: Sequence[Blob]) -> None:
        """The same, and then they leave the page cache: nobody pulls them, and the next round needs the memory.

        A machine that is itself a guest often pays dearly for memory it has not touched for a while. Without this, each
        round would be slower than the one before, for every server.
        """
        self.verify(repository, blobs)
        os.sync()
        self.server.forget()


Measure = Callable[[], list[Figure]]


def room_of_pushes(sizes: Sizes, rounds: int) -> int:
    """What the pushes and pulls of the largest blobs leave on the disk of each server; small requests need less."""
    return rounds * 2 * sizes.bytes(512)


@dataclass(frozen=True, slots=True)
class Case:
    """A name for `--only`, what opens it on a server, and at most how many rounds it is worth.

    `room` is how many bytes its rounds leave on the disk of each server. `of_parts`: only for servers that take parts;
    `on_store`: for those that keep their blobs in an object store, and nothing else is for them.
    """

    name: str
    open: Callable[[Stage], Measure]
    rounds: int = 100
    room: Callable[[Sizes, int], int] = room_of_pushes
    of_parts: bool = False
    on_store: bool = False

    def is_for(self, kind: Kind) -> bool:
        """Whether such a server can do this."""
        return kind.on_store == self.on_store and (kind.takes_parts or not self.of_parts)


def throughput(row: str, result: Result, cost: Cost) -> Figure:
    per_gib = cost.cpu_s / (result.bytes / MIB / 1024)
    return _costed(Figure(row, "MiB/s", result.mib_per_s, cpu=per_gib, cpu_unit="s/GiB"), result, cost)


def rate(row: str, unit: str, count: int, result: Result, cost: Cost) -> Figure:
    """`count` things done in the run; the processor time is in milliseconds for each."""
    each_ms = cost.cpu_s * 1000 / count
    return _costed(Figure(row, unit, count / result.seconds, cpu=each_ms, cpu_unit="ms each"), result, cost)


def _costed(figure: Figure, result: Result, cost: Cost) -> Figure:
    return replace(figure, peak_rss_mib=cost.peak_rss_mib, others=cost.others(result.cpu_s))
