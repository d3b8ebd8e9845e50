"""One at a time for each digest: whoever comes while another is at it waits; nothing is kept for idle digests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model.digests import Digest


class Turns:
    """Turns by digest."""

    def __init__(self) -> None:
        self._locks: dict[Digest, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, digest: Digest) -> AsyncIterator[None]:
        """Alone with the digest for the length of the block."""
        lock, waiting = self._locks.get(digest, (asyncio.Lock(), 0))
        self._locks[digest] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(digest)
            if waiting > 1:
                self._locks[digest] = (lock, waiting - 1)
