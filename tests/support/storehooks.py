"""Hooks for the object store in memory (`backends.memory_parts.Hook`): it fails, it holds somebody up, it works."""

import asyncio
from collections.abc import Awaitable, Callable

from backends.base import StoreUnavailable


class Halt:
    """Whoever asks for `verb` waits until `go` is set; `reached` is set once somebody does."""

    def __init__(self, verb: str) -> None:
        self.verb, self.reached, self.go = verb, asyncio.Event(), asyncio.Event()

    async def __call__(self, verb: str, key: str) -> None:
        if verb == self.verb:
            self.reached.set()
            await self.go.wait()


def failing(*steps: tuple[str, str], error: Exception | None = None) -> Callable[[str, str], Awaitable[None]]:
    """A hook that fails at these verbs under keys that begin so, from the first time on."""
    struck = error or StoreUnavailable("the store is dead")

    async def hook(verb: str, key: str) -> None:
        if any(verb == each and key.startswith(prefix) for each, prefix in steps):
            raise struck

    return hook


async def no_hook(verb: str, key: str) -> None:
    """A store that works."""
