"""Sends files, or spans of them, as the body of an answer.

Plain connections: `sendfile` in bursts. A thread of a small pool sends until the socket is full, or 16 MiB are gone,
and leaves; then the event loop waits for room. Never one call for a whole body: while the reader keeps up that call
does not come back, and on the event loop nothing else would move. A slow reader holds neither a thread nor memory.

Others (TLS): read in the pool, written by the loop. Small pieces at first, as a TLS connection keeps memory of the
largest piece it ever wrote; large ones and reading ahead for a reader that keeps up.

A reader that takes nothing for the stall time is cut off (`handlers.patience`).
"""

import asyncio
import errno
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeVar

from aiohttp import hdrs, web

from handlers.connection import Connection, connection_of
from handlers.patience import ClientGone, reset, while_reading
from model.units import KIB, MIB
from multipart.uninterrupted import ended, to_its_end

__all__ = ["ClientGone", "FileSpan", "ShortFile", "send_parts"]

CALL_BYTES: Final = 4 * MIB
"""What one `sendfile` call may send."""
BURST_BYTES: Final = 16 * MIB
"""After this much a thread serves the next connection."""
PATIENCE_MS: Final = 5
"""How long a burst waits in its thread for a reader that is nearly as fast, while threads are to spare."""
BURST_PATIENCE_S: Final = 0.02
"""How long it waits in all: a reader that only trickles is left to the event loop."""
SPARE_BURSTS: Final = 2
"""Up to so many bursts at a time leave threads to spare."""
PIECE_BYTES: Final = 64 * KIB
"""Of an answer in memory, so much is given to the connection at a time."""
SMALL_PIECE_BYTES: Final = 256 * KIB
LARGE_PIECE_BYTES: Final = MIB
QUICK_S: Final = 0.02
"""A reader that takes a piece in this time keeps up."""
QUICK_PIECES: Final = 48
"""How many such pieces in a row make the pieces large: more than the kernels at both ends buffer for any reader."""

_NETWORK: Final = {errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ESHUTDOWN}

_log = logging.getLogger("holdfast.http")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Bytes of an open file. The descriptor stays the caller's."""

    fd: int
    start: int
    length: int


class ShortFile(ConnectionAbortedError):
    """A file ended before its span, or could not be read; the connection was reset, so the client cannot miss it."""


async def send_parts(request: web.BaseRequest, response: web.StreamResponse, parts: Sequence[bytes | FileSpan]) -> int:
    """Prepare `response`, send `parts` as its body, end it; returns how many bytes of body were sent.

    `response` has a Content-Length that is the sum of the parts. HEAD sends none of them. On return, and also when this
    raises or is cancelled, no thread uses the descriptors any more.

    Raises:
        ClientGone: the client left, or made no progress for `Limits.stall_timeout_s`. Nothing needs to be done.
        ShortFile: logged as an error; nothing can be answered any more.
    """
    if response.content_length is None:
        raise ValueError("files are sent with a Content-Length")
    connection = connection_of(request)
    sending: _Sending | None = None
    try:
        await response.prepare(request)
        request.writer.send_headers()
        if request.method != hdrs.METH_HEAD:
            sending = _sending(connection, request)
            for part in parts:
                await sending.send(part)
            await sending.drained()
            sending.close()
        await response.write_eof()
    except ShortFile:
        raise
    except ConnectionError as error:
        gone = error if isinstance(error, ClientGone) else ClientGone("the client went away")
        gone.sent_bytes = sending.sent_bytes if sending else 0
        raise gone from error
    finally:
        if sending is not None:
            sending.close()
    return sending.sent_bytes if sending else 0


def _sending(connection: Connection, request: web.BaseRequest) -> "_Sending":
    transport = connection.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the connection is closed")
    plain = transport.get_extra_info("ssl_object") is None and transport.get_extra_info("sslcontext") is None
    return (_PlainSending if plain else _EncryptedSending)(connection, transport, request)


class _Sending:
    """What both ways have in common: counting, waiting for the reader, cutting it off."""

    high_water_bytes = 0

    def __init__(self, connection: Connection, transport: asyncio.Transport, request: web.BaseRequest) -> None:
        self._connection = connection
        self._transport = transport
        self._writer = request.writer
        self._loop = asyncio.get_running_loop()
        self._senders: Executor = connection.server.senders
        self._stall_timeout_s = connection.server.limits.stall_timeout_s
        # The loop may close its descriptor at any time, and the number may be another client's a moment later. Besides,
        # add_writer refuses a descriptor that belongs to a transport.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.set_write_buffer_limits(self.high_water_bytes, 0)
        self.sent_bytes = 0

    async def send(self, part: bytes | FileSpan) -> None:
        if isinstance(part, FileSpan):
            await self._send_span(part)
            return
        for at in range(0, len(part), PIECE_BYTES):
            if at:
                await self.drained()
            self._check()
            piece = part[at : at + PIECE_BYTES]
            self._transport.write(piece)
            self._count(len(piece))

    async def _send_span(self, span: FileSpan) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Let the transport be as it was; harmless when repeated."""
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        if not self._connection.loss.done() and not self._transport.is_closing():
            self._transport.set_write_buffer_limits()

    def _count(self, sent_bytes: int) -> None:
        self.sent_bytes += sent_bytes
        self._writer.output_size += sent_bytes
        if self._writer.length is not None:
            self._writer.length -= sent_bytes

    def _check(self) -> None:
        if self._connection.loss.done() or self._transport.is_closing():
            raise ClientGone("the client went away")

    async def drained(self) -> None:
        """Return when the transport has passed on what it was given, or says that it can take more."""
        self._check()
        await self._writer.drain()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in a sender thread; also when cancelled, return only after it did."""
        return await to_its_end(self._loop.run_in_executor(self._senders, work))

    def _short(self, span: FileSpan, at: int, why: str) -> ShortFile:
        _log.error("a file that is being sent %s at byte %d of %d", why, at, span.start + span.length)
        reset(self._transport)
        return ShortFile(f"the file {why}")


class _PlainSending(_Sending):
    """`sendfile` in bursts."""

    async def _send_span(self, span: FileSpan) -> None:
        at, stop = span.start, span.start + span.length
        await self.drained()  # the head, or what stands between two spans
        while at < stop:
            try:
                sent_bytes, full = await self._burst(span.fd, at, stop)
            except EOFError:
                raise self._short(span, at, "ended") from None
            except OSError as error:
                if isinstance(error, ConnectionError | TimeoutError) or error.errno in _NETWORK:
                    raise ClientGone("the client went away") from error
                raise self._short(span, at, f"could not be read ({error.strerror})") from error
            at += sent_bytes
            self._count(sent_bytes)
            self._check()
            if full:
                await self._room()

    async def _burst(self, file_fd: int, at: int, stop: int) -> tuple[int, bool]:
        """One burst; while there are threads to spare it waits for the reader for a moment in its thread."""
        server = self._connection.server
        server.bursts += 1
        patience_ms = PATIENCE_MS if server.bursts <= SPARE_BURSTS else 0
        try:
            return await self._in_thread(lambda: _burst(self._socket.fileno(), file_fd, at, stop, patience_ms))
        finally:
            server.bursts -= 1

    async def _room(self) -> None:
        """Return when the socket takes more."""
        event = self._loop.create_future()
        number = self._socket.fileno()
        self._loop.add_writer(number, _done, event)
        try:
            await while_reading(
                event,
                loss=self._connection.loss,
                transport=self._transport,
                stall_timeout_s=self._stall_timeout_s,
            )
        finally:
            self._loop.remove_writer(number)


class _EncryptedSending(_Sending):
    """Reads in the pool and writes to the transport, one piece ahead for a reader that keeps up."""

    high_water_bytes = 1

    def __init__(self, connection: Connection, transport: asyncio.Transport, request: web.BaseRequest) -> None:
        super().__init__(connection, transport, request)
        self._quick_pieces = 0

    async def _send_span(self, span: FileSpan) -> None:
        at, stop = span.start, span.start + span.length
        ahead: asyncio.Future[bytes] | None = None
        try:
            while at < stop:
                reading = ahead or self._read(span.fd, at, stop)
                ahead = reading
                try:
                    data = await asyncio.shield(reading)
                except OSError as error:
                    raise self._short(span, at, f"could not be read ({error.strerror})") from error
                if not data:
                    raise self._short(span, at, "ended")
                at += len(data)
                ahead = self._read(span.fd, at, stop) if self._quick_pieces and at < stop else None
                await self._write(data)
        finally:
            if ahead is not None:
                await ended(ahead)

    def _read(self, fd: int, at: int, stop: int) -> "asyncio.Future[bytes]":
        piece_bytes = LARGE_PIECE_BYTES if self._quick_pieces >= QUICK_PIECES else SMALL_PIECE_BYTES
        return self._loop.run_in_executor(self._senders, os.pread, fd, min(piece_bytes, stop - at), at)

    async def _write(self, data: bytes) -> None:
        self._check()
        began_s = self._loop.time()
        self._transport.write(data)
        self._count(len(data))
        await self.drained()
        quick = self._loop.time() - began_s < QUICK_S
        self._quick_pieces = self._quick_pieces + 1 if quick else 0


def _burst(socket_fd: int, file_fd: int, at: int, stop: int, patience_ms: int) -> tuple[int, bool]:
    """Send from `at` towards `stop`; returns how many bytes went, and whether the socket is full. In a thread.

    A full socket is waited for, but not longer than `patience_ms` at a time, and `BURST_PATIENCE_S` in all.
    """
    stop = min(stop, at + BURST_BYTES)
    sent_bytes, left_s = 0, BURST_PATIENCE_S
    while at + sent_bytes < stop:
        try:
            count = os.sendfile(socket_fd, file_fd, at + sent_bytes, min(CALL_BYTES, stop - at - sent_bytes))
        except BlockingIOError:
            began_s = time.monotonic()
            if not patience_ms or left_s <= 0 or not _writable(socket_fd, min(patience_ms, ceil(left_s * 1000))):
                return sent_bytes, True
            left_s -= time.monotonic() - began_s
            continue
        if not count:
            raise EOFError
        sent_bytes += count
    return sent_bytes, False


def _writable(fd: int, within_ms: int) -> bool:
    """Whether the socket takes more within that time."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    return bool(waiting.poll(within_ms))


def _done(event: "asyncio.Future[None]") -> None:
    if not event.done():
        event.set_result(None)
