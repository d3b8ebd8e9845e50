"""How long we wait for a client that should be reading.

What counts is what it acknowledges, not whether our buffers have room: with a large socket buffer a slow but steady
reader makes no noticeable room for minutes, and must not be taken for one that has stopped.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

_BYTES_ACKED: Final = slice(120, 128)
"""`tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h, since Linux 4.1)."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ClientGone(ConnectionResetError):
    """The reader left, or was cut off because it took nothing; `sent_bytes` of the body had been sent."""

    def __init__(self, message: str, sent_bytes: int = 0) -> None:
        super().__init__(message)
        self.sent_bytes = sent_bytes


async def while_reading(
    event: "asyncio.Future[None]",
    *,
    loss: "asyncio.Future[None]",
    transport: asyncio.Transport,
    stall_timeout_s: float,
) -> None:
    """Wait for `event` for as long as the client takes what we send; `event` is cancelled when the wait is over.

    Raises:
        ClientGone: `loss` was first, or the client acknowledged nothing for `stall_timeout_s` and was cut off.
    """
    try:
        while not event.done():
            taken = _taken(transport)
            await asyncio.wait({event, loss}, timeout=stall_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if loss.done():
                raise ClientGone("the client went away")
            if not event.done() and _taken(transport) == taken:
                reset(transport)
                raise ClientGone("the client took nothing for too long")
        event.result()
    finally:
        event.cancel()


def reset(transport: asyncio.Transport) -> None:
    """Close without a regular end: the client cannot take what it has for all, and the kernel keeps nothing for it."""
    with suppress(OSError, AttributeError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _taken(transport: asyncio.Transport) -> int:
    """A number that changes while the client takes what we send."""
    own = transport.get_extra_info("socket")
    try:
        return int.from_bytes(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[_BYTES_ACKED], "little")
    except OSError:
        pass
    try:  # a unix socket: what waits in the kernel has to do
        waiting: int = struct.unpack("i", fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return 0
    return waiting
