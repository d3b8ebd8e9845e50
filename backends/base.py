"""The port: what a place for bytes must promise, in five verbs, and the abilities some have beside them.

A backend knows keys and bytes. It does not know digests, repositories, retries or leases; rename and append are left
out on purpose, since an object store has neither. Keys follow `backends/keys.py`. One suite of promises
(`tests/contract/`) runs against every backend.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from model.errors import StorageFailed

T = TypeVar("T")


class KeyMissing(StorageFailed):
    """Nothing is stored under the key. Raised before the first byte of a `get`, never in its middle."""


class ShortRead(StorageFailed):
    """The stored bytes end before their size; what was sent so far must not pass for the whole."""


class Backend(Protocol):
    """A place for bytes."""

    async def put(self, key: str, source: Path) -> None:
        """Store the finished spool file `source` under `key`, replacing what is there; all or nothing.

        Durable on return (as far as the durability setting says), invisible before. On success `source` is gone: it has
        been moved, or copied and removed. On failure `source` is untouched, and what was under `key` before still is.
        A cancellation is raised when the work is done or has failed, never in its middle.

        Raises:
            StorageFull: no room; StorageFailed: any other trouble.
        """
        ...

    def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly the bytes `start` up to `start + length` (None: to the end), in pieces.

        Raises:
            KeyMissing: before the first piece.
            ShortRead: the content ends before the range does; never a silent end. When that is known at the
                beginning, it is raised before the first piece.
        """
        ...

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; KeyMissing if none are."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key`; a missing one is fine. Durable on return."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; never unfinished work.

        Raises:
            StorageFailed: a part of them cannot be read. Nothing is passed over in silence.
        """
        ...


@runtime_checkable
class LocalFile(Protocol):
    """Ability: the bytes are a file of this machine, fit for sendfile."""

    def open_local(self, key: str) -> tuple[int, int]:
        """A descriptor open for reading, and the file's size in bytes. Blocks: call it in a thread; the caller closes.

        Raises:
            KeyMissing: nothing is there.
        """
        ...


async def in_thread(pool: Executor | None, job: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """What `job`, which blocks, returns or raises, from a thread of `pool`; carried to its end even when cancelled.

    A thread cannot be cancelled. Were the caller let go at once, a file would still be moved, or a descriptor still
    be read, behind its back. So a cancellation waits for the job, gives its result to `undo` (to close what was
    opened), and is raised then.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, job)
    try:
        return await to_its_end(future)
    except asyncio.CancelledError:
        if not future.cancelled() and future.exception() is None and undo is not None:
            undo(future.result())
        raise


async def to_its_end(running: asyncio.Future[T]) -> T:
    """What `running` returns or raises; a cancellation, however often it comes, is raised only when that has ended."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await ended(running)
        raise


async def ended(running: asyncio.Future[T]) -> None:
    """Return when `running` has ended, whatever it came to; a cancellation is raised, but not before."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if not running.cancelled():
        running.exception()  # whoever wants it asks for it; nobody need be told that it was not asked for
    if cancelled is not None:
        raise cancelled
