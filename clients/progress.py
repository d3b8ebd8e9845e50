"""How far it is, for the person who waits: one line that moves on a terminal, a plain line now and then elsewhere."""

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Protocol

from model.clock import Clock
from model.units import human_bytes, human_span

REDRAWN_S: Final = 0.2
TOLD_S: Final = 5.0
RATE_OVER_S: Final = 10.0
"""The rate is that of the last seconds; one of the whole time would hide that the line died."""

PUSHING: Final = "pushing"
"""What is not over when all bytes have gone: whoever receives them proves them."""

SAME_NOTE_S: Final = 5.0
"""The same sentence of several workers is said once in this time."""

BAR: Final = 24


class Terminal(Protocol):
    """Where it is written: sys.stderr."""

    def write(self, text: str, /) -> int:
        """Write it."""
        ...

    def flush(self) -> None:
        """Show it."""
        ...

    def isatty(self) -> bool:
        """Whether lines can be redrawn."""
        ...


class Progress:
    """Counts bytes and shows them. `verb` is what is said: `pushing`."""

    def __init__(self, terminal: Terminal, verb: str, clock: Clock, *, quiet: bool = False) -> None:
        self._terminal, self._verb, self._clock, self._quiet = terminal, verb, clock, quiet
        self._redraws = terminal.isatty() and not quiet
        self._drawn = False
        self._samples: deque[tuple[float, int]] = deque([(clock.monotonic_s(), 0)])
        self._noted: dict[str, float] = {}
        self.total_bytes = 0
        self.done_bytes = 0
        self.sent_bytes = 0
        """What this run moved itself; the rest was there."""

    def expect(self, count_bytes: int) -> None:
        """More is to be done."""
        self.total_bytes += count_bytes

    def moved(self, count_bytes: int) -> None:
        """So much went over the line; negative: it did not arrive after all."""
        self.done_bytes += count_bytes
        self.sent_bytes += count_bytes

    def found(self, count_bytes: int) -> None:
        """So much is there already."""
        self.done_bytes += count_bytes

    def note(self, text: str) -> None:
        """Say something between the pictures; the same thing not twice within a few seconds."""
        now_s = self._clock.monotonic_s()
        said = text.partition("; trying again")[0].rpartition(": ")[2]
        if self._quiet or now_s - self._noted.get(said, -SAME_NOTE_S) < SAME_NOTE_S:
            return
        self._noted[said] = now_s
        self._wipe()
        self._write(f"{text}\n")

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it for the length of the block."""
        task = asyncio.create_task(self._show()) if not self._quiet else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._wipe()

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(REDRAWN_S if self._redraws else TOLD_S)
            self.draw()

    def draw(self) -> None:
        """Show the present state once."""
        if self._redraws:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{self._bar()}{self.told()}"[: width + 4])
            self._drawn = True
        else:
            self._write(f"{self.told()}\n")

    def told(self) -> str:
        """`pushing: 1.2 GiB of 4.0 GiB, 30%, 80.1 MiB/s, 36 s left`."""
        share = self.done_bytes * 100 // self.total_bytes if self.total_bytes else 100
        size = f"{human_bytes(self.done_bytes)} of {human_bytes(self.total_bytes)}"
        rate = self._rate()
        if self._verb == PUSHING and 0 < self.total_bytes <= self.done_bytes:
            return f"{self._verb}: {size}, {share}%; the registry is checking it"
        left = f", {human_span((self.total_bytes - self.done_bytes) / rate)} left" if rate >= 1 else ""
        return f"{self._verb}: {size}, {share}%, {human_bytes(int(max(0.0, rate)))}/s{left}"

    def _bar(self) -> str:
        filled = BAR * self.done_bytes // self.total_bytes if self.total_bytes else BAR
        return f"[{'#' * filled:<{BAR}}] "

    def _rate(self) -> float:
        """Bytes in a second, over the last few."""
        now_s = self._clock.monotonic_s()
        self._samples.append((now_s, self.sent_bytes))
        while len(self._samples) > 2 and now_s - self._samples[0][0] > RATE_OVER_S:
            self._samples.popleft()
        since_s, bytes_then = self._samples[0]
        return (self.sent_bytes - bytes_then) / (now_s - since_s) if now_s > since_s else 0.0

    def _wipe(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        # Whoever reads this may have gone; that is no reason to stop what is being done.
        with contextlib.suppress(OSError, ValueError):
            self._terminal.write(text)
            self._terminal.flush()
