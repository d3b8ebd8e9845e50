"""The port through which a received body enters a session, so that sessions need not know HTTP.

A handler brings a `Body`; a session brings a `Sink`. The body fills large buffers from the connection and hands them,
one at a time and in order, to the sink in a worker thread. A client that vanishes is not a storage failure: it is one
of the ways a body can end.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Ending(Enum):
    """How the receiving of a body came to its end. In every case all received bytes were handed to the sink."""

    WHOLE = "whole"
    """Every byte that the request declared has arrived."""
    VANISHED = "vanished"
    """The client went away, or its connection broke, before the end."""
    STALLED = "stalled"
    """Nothing arrived for the allowed time."""
    STOPPED = "stopped"
    """`stop` was called: another request takes the session over, or the server stops."""
    TOO_LONG = "too long"
    """A chunked body went on behind `limit_bytes`; the sink got exactly `limit_bytes`."""
    MALFORMED = "malformed"
    """The chunked framing is broken; what came before the break was handed over."""


@dataclass(frozen=True, slots=True)
class Poured:
    """What came of pouring a body into a sink."""

    received_bytes: int
    ending: Ending


class Sink(Protocol):
    """Where the bytes of a body go."""

    def write(self, data: memoryview) -> None:
        """Take `data`; called in a worker thread, one call at a time, in order. The view is dead after return.

        An exception stops the receiving, and `pour` raises it.
        """
        ...


class Body(Protocol):
    """The body of one request, not yet received."""

    @property
    def length_bytes(self) -> int | None:
        """The declared Content-Length; None for a chunked body."""
        ...

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        """Receive the body to its end into `sink`; may be called once.

        On return no thread touches the sink any more, also when cancelled.
        """
        ...

    def stop(self) -> None:
        """Make a running `pour` hand over what it has and end with STOPPED; does nothing after the end."""
        ...


class EmptyBody:
    """The body of a request that has none."""

    length_bytes = 0

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        """Nothing to receive."""
        return Poured(0, Ending.WHOLE)

    def stop(self) -> None:
        """Nothing to stop."""
