"""A budget of bytes that all connections share: who wants more than is left waits its turn.

Manifests are read into memory before they are looked at. One is small; a thousand clients that each send four
mebibytes and stall are not.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model.errors import TooMany


class Budget:
    """At most `limit_bytes` for everybody together, first come first served."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, wanted_bytes: int, *, within_s: float) -> AsyncIterator[None]:
        """Have `wanted_bytes` of it for the length of the block.

        Raises:
            TooMany: there was not so much left for `within_s`.
        """
        wanted_bytes = min(wanted_bytes, self.limit_bytes)
        if self._waiting or self.used_bytes + wanted_bytes > self.limit_bytes:
            await self._wait(wanted_bytes, within_s)
        else:
            self.used_bytes += wanted_bytes
        try:
            yield
        finally:
            self.used_bytes -= wanted_bytes
            self._serve()

    async def _wait(self, wanted_bytes: int, within_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (wanted_bytes, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(within_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.used_bytes -= wanted_bytes  # it was granted while we were leaving
            else:
                self._waiting.remove(entry)
            self._serve()
            if isinstance(error, TimeoutError):
                raise TooMany("too much is being received at once; try again in a moment") from error
            raise

    def _serve(self) -> None:
        """Give to whoever waits longest what is left."""
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self.limit_bytes:
            wanted_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self.used_bytes += wanted_bytes
                turn.set_result(None)
