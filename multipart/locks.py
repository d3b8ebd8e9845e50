"""Whose turn it is on an upload session: one at a time, and the newcomer asks the holder to leave.

When a client's line breaks, its old connection may look alive for minutes while the client is already back with a new
one. So who comes second neither waits for the dead connection nor is sent away: it asks, the holder saves what it has
and leaves (oci.md 2.3 rule 7).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """Turns by name."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[asyncio.Event, Callable[[], None]]] = {}

    @asynccontextmanager
    async def turn(self, name: str, *, please_stop: Callable[[], None]) -> AsyncIterator[None]:
        """Hold `name` for the length of the block; `please_stop` is called when somebody else wants it.

        No await stands between the check and the claim, which is what makes it safe in one process.
        """
        while (held := self._held.get(name)) is not None:
            left, ask = held
            ask()
            await left.wait()
        mine = asyncio.Event()
        self._held[name] = (mine, please_stop)
        try:
            yield
        finally:
            del self._held[name]
            mine.set()

    def ask_all(self) -> None:
        """Ask every holder to leave; for a graceful stop."""
        for _, ask in list(self._held.values()):
            ask()

    def held(self, name: str) -> bool:
        """Whether somebody holds `name` now."""
        return name in self._held
