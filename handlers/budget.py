"""A budget of bytes that all connections share: who wants more than is left waits its turn.

Manifests are read into memory before they are looked at. One is small; a thousand clients that each send four
mebibytes and stall are not. Nor may one address keep the others out: it gets half of the budget at most, and those that
wait are served by address in turn.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from handlers.turns import Lines
from model.errors import TooMany


class _Wish:
    """Bytes that somebody wants, and then has."""

    __slots__ = ("granted", "peer", "turn", "wanted_bytes")

    def __init__(self, peer: str, wanted_bytes: int) -> None:
        self.peer = peer
        self.wanted_bytes = wanted_bytes
        self.granted = False
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends the wait; may be cancelled, by the end of whoever waits, before or after it was granted."""


class Budget:
    """At most `limit_bytes` for everybody together, and half of it for one address."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.share_bytes = limit_bytes // 2
        self.used_bytes = 0
        self._held_bytes: Counter[str] = Counter()
        """By address."""
        self._waiting: Lines[_Wish] = Lines()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, peer: str, wanted_bytes: int, *, within_s: float) -> AsyncIterator[None]:
        """Have `wanted_bytes` of it for `peer` for the length of the block.

        Raises:
            TooMany: there was not so much left for `within_s`.
        """
        wish = _Wish(peer, min(wanted_bytes, self.share_bytes))
        self._waiting.append(peer, wish)
        self._serve()
        try:
            if not wish.granted:
                await _granted(wish, within_s)
            yield
        finally:
            self._let_go(wish)

    def _let_go(self, wish: _Wish) -> None:
        if wish.granted:
            self.used_bytes -= wish.wanted_bytes
            self._held_bytes[wish.peer] -= wish.wanted_bytes
            if not self._held_bytes[wish.peer]:
                del self._held_bytes[wish.peer]
        else:
            self._waiting.remove(wish.peer, wish)
        self._serve()

    def _serve(self) -> None:
        """Give what is left to those whose turn it is."""
        while (peer := self._next()) is not None:
            wish = self._waiting.pop(peer)
            wish.granted = True
            self.used_bytes += wish.wanted_bytes
            self._held_bytes[peer] += wish.wanted_bytes
            if not wish.turn.done():
                wish.turn.set_result(None)

    def _next(self) -> str | None:
        """The first address that has not got its share; None when that must wait until enough is left for it."""
        for peer, wish in self._waiting.heads():
            if self._held_bytes[peer] + wish.wanted_bytes <= self.share_bytes:
                return peer if self.used_bytes + wish.wanted_bytes <= self.limit_bytes else None
        return None


async def _granted(wish: _Wish, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await wish.turn
    except TimeoutError as error:
        raise TooMany("too much is being received at once; try again in a moment") from error
