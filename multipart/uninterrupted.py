"""Waiting for something to its end, whatever happens to the one who waits.

A request that is cancelled must not leave a thread writing behind its back, nor a commit half watched.
"""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(running: "asyncio.Future[T]") -> T:
    """The result of `running`; a cancellation is raised only after `running` has ended."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not running.done():
            await asyncio.wait([running])
        raise
