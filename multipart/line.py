"""The line to an object store that all uploads in the making share: how many may be on it, and when to try again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from backends.base import Backend, Multipart
from model.clock import Clock
from multipart.ledger import Ledger

LONGEST_PAUSE_S: Final = 10.0


class PartStore(Backend, Multipart, Protocol):
    """A backend in which objects are built from parts."""


class Line:
    """Store, ledger and clock, and what keeps many uploads from crowding them."""

    def __init__(
        self,
        backend: PartStore,
        ledger: Ledger,
        clock: Clock,
        *,
        in_all: int,
        discarding: Callable[[], None],
        pause_s: float,
        require: Callable[[], Awaitable[None]],
    ) -> None:
        """`in_all` parts are on their way at a time; the first pause after a failure is `pause_s`, then they double.

        `require` raises StoreUnavailable while nothing may be stored there.
        """
        self.backend, self.ledger, self.clock, self.require = backend, ledger, clock, require
        self.slots = asyncio.Semaphore(in_all)
        self.discarding, self.pause_s = discarding, pause_s
        self.resting = False
        """The server stops: nothing is sent but what somebody waits for."""
        self._hurry = asyncio.Event()
        self._beginning: set[tuple[str, str]] = set()

    def is_beginning(self, key: str) -> bool:
        """Whether the store is being asked to begin an upload there, of which nobody knows yet what it is called."""
        return any(key == each for each, _ in self._beginning)

    @contextmanager
    def beginning(self, key: str, upload_id: str) -> Iterator[None]:
        """In this block the store is asked to; what is to be discarded there is discarded only behind it."""
        self._beginning.add((key, upload_id))
        try:
            yield
        finally:
            self._beginning.discard((key, upload_id))
            self.discarding()

    def ended(self, upload_id: str) -> None:
        """The session has ended; what it left in the store is discarded, as the ledger says."""
        self.discarding()

    def hurry(self) -> None:
        """The store works again, or somebody waits for it: try everything now."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    async def pause(self, pause_s: float) -> float:
        """Wait before the next attempt, unless there is hurry; returns how long to wait after that one."""
        try:
            async with asyncio.timeout(pause_s * (0.5 + random.random() / 2)):  # noqa: S311 - no secret
                await self._hurry.wait()
        except TimeoutError:
            pass
        return min(2 * pause_s, LONGEST_PAUSE_S)
