"""Work in the background: each thing until it is done, a few at a time, again after a failure, never in the way.

    add ──▶ waiting ──▶ running ──▶ done
               ▲           │
               └── resting ┘ failed: 1 s, 2 s, 4 s ... up to a minute

A store that is dead makes everything fail for a while: that is one line in the log when it begins and one when it ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from model.errors import RegistryError, Stopping

FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0

_log: Final = logging.getLogger("holdfast.catalog")

T = TypeVar("T", bound=Hashable)


class Lanes(Generic[T]):
    """Things to be done, told apart by what they equal. Used by one event loop."""

    def __init__(self, name: str, work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
        """`work` may be repeated, and raises RegistryError for what may go better later; `name` is for the log."""
        self._name = name
        self._work = work
        self._at_once = at_once
        self._waiting: asyncio.Queue[T] = asyncio.Queue()
        self._failures: dict[T, int] = {}
        """Everything that is not done, and how often it failed."""
        self._running: dict[T, bool] = {}
        """What is being done, and whether it was added once more meanwhile."""
        self._resting: dict[T, asyncio.TimerHandle] = {}
        self._failing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, item: T, *, again: bool = False) -> None:
        """See that `item` is done, once; `again`: one that is being done now is done once more behind that."""
        if item in self._running:
            self._running[item] |= again
        elif item not in self._failures:
            self._idle.clear()
            self._failures[item] = 0
            self._waiting.put_nowait(item)

    def wake(self) -> None:
        """Whatever made things fail is over, as far as is known: try them now."""
        for item, timer in list(self._resting.items()):
            timer.cancel()
            self._rested(item)

    async def run(self) -> None:
        """Do what there is, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._lane())

    async def idle(self) -> None:
        """Return when everything is done, also what failed so far."""
        await self._idle.wait()

    async def _lane(self) -> None:
        while True:
            item = await self._waiting.get()
            self._running[item] = False
            try:
                await self._work(item)
            except RegistryError as error:
                self._failed(item, error)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end what else this process does
                _log.exception("%s: %s", self._name, item)
                self._failed(item, error)
            else:
                self._done(item)

    def _done(self, item: T) -> None:
        if self._failing:
            self._failing = False
            _log.info("%s goes on", self._name)
        del self._failures[item]
        if self._running.pop(item):
            self.add(item)
        elif not self._failures:
            self._idle.set()

    def _failed(self, item: T, error: Exception) -> None:
        del self._running[item]
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self._failures[item], 10))
        self._failures[item] += 1
        if not self._failing and not isinstance(error, Stopping):
            self._failing = True
            _log.warning("%s: %s; it is tried again", self._name, error)
        self._resting[item] = asyncio.get_running_loop().call_later(rest_s, self._rested, item)

    def _rested(self, item: T) -> None:
        del self._resting[item]
        self._waiting.put_nowait(item)
