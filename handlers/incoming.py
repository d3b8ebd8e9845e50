"""The body of the request in progress, as far as the connection is concerned, and what becomes of one nobody wants.

Closing a socket with unread bytes makes the kernel send a reset, which may destroy the answer on its way to the client.
So a body that the handler did not want is read for a while, and thrown away behind the answer.
"""

import asyncio
from dataclasses import dataclass

from handlers.gathering import Gathering
from handlers.heads import Framing
from handlers.lending import Owner
from handlers.limits import Limits, Traffic
from multipart.bodies import Body, Ending


@dataclass(slots=True, eq=False)
class Incoming:
    """The body of the request in progress, as far as the connection is concerned."""

    framing: Framing
    first: bytes
    """What came together with the head."""
    body: Body | None = None
    """What `handlers.body` has made of it."""
    claimed: bool = False
    """Somebody has begun to receive it."""
    whole: bool = False
    """It was received to its end; the next request may follow."""
    left_bytes: int | None = None
    """How much of a counted body was not received when its receiver gave up."""

    @property
    def unasked(self) -> bool:
        """The client waits for `100 Continue`, which nobody has sent."""
        return self.framing.expects_continue and not self.claimed and not self.first


async def discard(
    owner: Owner,
    length_bytes: int | None,
    *,
    first: bytes = b"",
    limits: Limits,
    limit_s: float,
    landing: memoryview,
    traffic: Traffic,
) -> bool:
    """Read and forget a body of `length_bytes` (None: chunked) that begins with `first`; whether its end was found."""
    gathering = Gathering(
        owner,
        _forget,
        length_bytes=length_bytes,
        limit_bytes=limits.discard_bytes,
        landing=landing,
        traffic=traffic,
    )
    try:
        async with asyncio.timeout(limit_s):
            return await gathering.run(first, stall_timeout_s=limit_s) is Ending.WHOLE
    except TimeoutError:
        return False


def _forget(data: memoryview) -> None:
    """What becomes of a body that nobody wants."""
