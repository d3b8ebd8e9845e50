"""What takes long and may be broken off: waiting for the object store, and proofs.

A completion is carried to its end, whoever asked for it. But a server that stops, and a client that aborts, must not
wait for minutes behind it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from model.errors import RegistryError

T = TypeVar("T")


class Waits:
    """What one session waits for."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._error: RegistryError | None = None

    async def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """What `doing` returns or raises; the error given to `stop`, if that is called before its end."""
        if self._error is not None:
            doing.close()
            raise self._error
        task = asyncio.create_task(doing)
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None
        finally:
            self._running.discard(task)

    def stop(self, error: RegistryError) -> None:
        """Break off what is waited for, now and from now on, with that error."""
        self._error = error
        for task in self._running:
            task.cancel()

    def go_on(self) -> None:
        """From now on waiting is right again."""
        self._error = None
