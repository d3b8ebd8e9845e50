"""How much of a stream is held for its reader: plenty for the first, little for all others, so that the sum is bounded.

A reader that is slow is waited for with what was read ahead for him. Nobody knows beforehand who is slow, so whoever
comes while many read already gets small buffers for as long as he reads, and a connection that takes little at a time.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from model.units import KIB

if TYPE_CHECKING:
    import aiohttp

WIDE_AT_ONCE: Final = 64
"""How many read with large buffers at a time."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one stream may hold: pieces of so much, up to twice `buffer_bytes` ahead of them, and what comes at once.

    `kernel_bytes`: the most that comes at once, where that is not left to the system.
    """

    piece_bytes: int
    buffer_bytes: int
    kernel_bytes: int = 0


WIDE: Final = Share(256 * KIB, 128 * KIB)
"""About 1 MiB in all, with what waits to be written to the client."""
NARROW: Final = Share(16 * KIB, 8 * KIB, 64 * KIB)
"""About 0.1 MiB. With less than 64 KiB in the kernel a connection within the machine moves a few packets a second."""


class Readers:
    """Who reads just now. `wide`: how many of them with large buffers."""

    def __init__(self) -> None:
        self.wide = 0

    @contextmanager
    def one_more(self) -> Iterator[Share]:
        """The share of one more reader, for the length of the block."""
        if self.wide >= WIDE_AT_ONCE:
            yield NARROW
            return
        self.wide += 1
        try:
            yield WIDE
        finally:
            self.wide -= 1


def fit(response: "aiohttp.ClientResponse", share: Share) -> None:
    """See that no more comes at once than `share` says; a connection that is so slow then ends with the answer."""
    connection = response.connection
    if not share.kernel_bytes or connection is None or connection.transport is None or connection.protocol is None:
        return
    connection.protocol.force_close()
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, share.kernel_bytes)
