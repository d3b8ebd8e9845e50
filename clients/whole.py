"""The digest of a whole file that is in transfer: computed in order, near the bytes that are moving.

When pushing, it runs a little ahead of the parts, so that they find their pages in memory and the disk is read once;
when pulling, it follows what has arrived without a gap.
"""

import asyncio
import hashlib

from clients.reading import HASHED_AT_ONCE_BYTES, Disk, Hash, Slice
from model.digests import Digest


class WholeDigest:
    """Hashes a slice from its beginning, as far as `allow` lets it."""

    def __init__(self, disk: Disk, whole: Slice, algorithm: str = "sha256") -> None:
        self._disk, self._whole, self._algorithm = disk, whole, algorithm
        self._allowed = 0
        self._at = 0
        self._moved = asyncio.Condition()

    async def allow(self, stop: int) -> None:
        """It may hash up to there."""
        if stop > self._allowed:
            async with self._moved:
                self._allowed = min(stop, self._whole.size_bytes)
                self._moved.notify_all()

    async def reached(self, stop: int) -> None:
        """Wait until everything before `stop` is hashed."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._at >= min(stop, self._whole.size_bytes))

    async def run(self) -> Digest:
        """The digest of the whole; ends when all of it was allowed and hashed."""
        sums: Hash = hashlib.new(self._algorithm)
        while self._at < self._whole.size_bytes:
            async with self._moved:
                await self._moved.wait_for(lambda: self._allowed > self._at)
                stop = self._allowed
            while self._at < stop:
                length = min(HASHED_AT_ONCE_BYTES, stop - self._at)
                await self._disk.read(self._whole, self._at, length, sums)
                self._at += length
                async with self._moved:
                    self._moved.notify_all()
        return Digest(self._algorithm, sums.hexdigest())
