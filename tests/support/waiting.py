"""Waiting for what another process does in its own time: asked again and again, never slept through."""

import contextlib
import http.client
import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0
"""By then everything that goes on in the background has come to its end, and what was ill is well."""
PAUSE_S: Final = 0.05


def eventually(
    holds: Callable[[], bool],
    what: str,
    *,
    patience_s: float = PATIENCE_S,
    told: Callable[[], object] = lambda: "",
) -> None:
    """Ask until it holds; what the asking itself may lose on a server that is starting is asked again."""
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if holds():
                return
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what} {told()}"
        rest()


def rest() -> None:
    """Let others work; two cores are shared by all of them."""
    time.sleep(PAUSE_S)
