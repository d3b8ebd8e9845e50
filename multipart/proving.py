"""Proof of what clients put into the object store themselves: read again and hashed, a few at a time (C07, T01, T10).

An object that is assembled never changes, so a proof that breaks off goes on where it was when it is asked for again.
The bytes are read from the store's internal side while those before them are hashed in a thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from backends.base import Backend, ShortRead, in_thread
from model.digests import Digest
from model.errors import StorageFailed
from model.units import MIB
from multipart.hashing import RunningDigests
from multipart.uninterrupted import ended
from store.streams import closing

AT_ONCE: Final = 4
"""So many objects are read at a time, in the whole process; the others wait for their turn."""
BATCH_BYTES: Final = 4 * MIB
"""So much is given to a thread at once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a proof has come."""

    done_bytes: int
    total_bytes: int


class Proof:
    """The proof of one object, as far as it has come."""

    def __init__(self, key: str, size_bytes: int, algorithm: str) -> None:
        self.key, self.size_bytes, self.algorithm = key, size_bytes, algorithm
        self.done_bytes = 0
        self.digests = RunningDigests((algorithm,))

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(self.done_bytes, self.size_bytes)

    def fits(self, key: str, algorithm: str) -> bool:
        """Whether going on with it proves that object in that algorithm."""
        return key == self.key and algorithm in self.digests.algorithms


class Prover:
    """Whoever proves in this process: one for sessions of all kinds, since they share the line to the store."""

    def __init__(self, backend: Backend, workers: Executor, *, at_once: int = AT_ONCE) -> None:
        self._backend, self._workers = backend, workers
        self._turns = asyncio.Semaphore(at_once)

    async def digest_of(self, proof: Proof) -> Digest:
        """What the object hashes to; when this fails or is cancelled, asking again goes on from there.

        Raises:
            KeyMissing: there is no such object.
            StorageFailed: it cannot be read now, or is not as long as it should be.
        """
        async with self._turns:
            stored_bytes = await self._backend.size(proof.key)
            if stored_bytes != proof.size_bytes:
                raise StorageFailed(f"the object has {stored_bytes} bytes instead of {proof.size_bytes}")
            await self._read(proof)
        return proof.digests.digest(proof.algorithm)

    async def _read(self, proof: Proof) -> None:
        """Read on from where the proof stands: what came last is hashed while the next bytes come."""
        batch: list[bytes] = []
        batched_bytes, left_bytes = 0, proof.size_bytes - proof.done_bytes
        hashing: asyncio.Task[None] | None = None
        if not left_bytes:
            return
        try:
            async with closing(self._backend.get(proof.key, proof.done_bytes, left_bytes)) as pieces:
                async for piece in pieces:
                    batch.append(piece)
                    batched_bytes += len(piece)
                    if batched_bytes >= BATCH_BYTES:
                        if hashing is not None:
                            await hashing
                        hashing = asyncio.create_task(self._hash(proof, batch, batched_bytes))
                        batch, batched_bytes = [], 0
        finally:
            if hashing is not None:
                await ended(hashing)  # however often we are cancelled: whoever goes on counts from where it ends
        if hashing is not None:
            await hashing  # one that failed leaves a gap, behind which nothing may be hashed
        if batch:
            await self._hash(proof, batch, batched_bytes)
        if proof.done_bytes != proof.size_bytes:
            raise ShortRead("the object ended before its size")

    async def _hash(self, proof: Proof, batch: list[bytes], size_bytes: int) -> None:
        """One batch; it counts when it is done, also if nobody waits for it any more."""
        digests = proof.digests.copy()
        await in_thread(self._workers, _updating(digests, batch))
        proof.digests, proof.done_bytes = digests, proof.done_bytes + size_bytes


def _updating(digests: RunningDigests, batch: list[bytes]) -> Callable[[], None]:
    def update() -> None:
        for piece in batch:
            digests.update(piece)

    return update
