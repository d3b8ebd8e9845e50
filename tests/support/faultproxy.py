"""An HTTP proxy before a store (or before us) that counts every byte, and breaks on order what a rule tells it to.

It runs on a loop of its own in a thread. The Host header passes unchanged, so signatures made for the proxy's address
hold; a connection to it is one connection to what is behind it. Faults are in `storefaults.py`.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.support.listening import Listening, free_port
from tests.support.storefaults import Call, Fault, Head, Held, Lost, Refusal, Reset, Rule, Short, Slow

T = TypeVar("T")
Forward = Callable[[bytes], Awaitable[None]]

PIECE_BYTES: Final = 65_536
HEAD_BYTES: Final = 65_536
STEPS_PER_S: Final = 20
"""Of what is slow: it trickles, it does not come in lumps."""
BODYLESS: Final = (204, 304)


@dataclass
class Seen:
    """A request that came, what was answered, and how much travelled; status 0: nothing was answered."""

    call: Call
    method: str
    path: str
    query: str
    status: int = 0
    body_bytes: int = 0
    answer_bytes: int = 0
    """Of the answer's body."""
    head_bytes: int = 0
    """Of both heads."""

    @property
    def in_all_bytes(self) -> int:
        """Everything that travelled, both ways."""
        return self.body_bytes + self.answer_bytes + self.head_bytes


class Broken(Exception):
    """The client's connection is to end as if somebody had pulled the plug."""


class CutShort(Exception):
    """The client's connection is to end here, after what it has been sent."""


class FaultProxy(Listening):
    """A proxy on a port of 127.0.0.1; a context manager.

    Args:
        upstream: HOST:PORT of what is behind it.
        port: where it listens; a free one if not given.
    """

    def __init__(self, upstream: str, port: int | None = None) -> None:
        self._upstream = upstream.rpartition(":")
        self.port = port or free_port()
        self.seen: list[Seen] = []
        self._rules: list[Rule] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def on(
        self, fault: Fault, *calls: Call, path: str = "", query: str = "", skip: int = 0, times: int | None = None
    ) -> Rule:
        """From now on that happens to such calls (`storefaults.Rule`); of several rules the oldest that fits counts."""
        rule = Rule(fault, calls, path=path, query=query, skip=skip, times=times)
        self._rules.append(rule)
        return rule

    def drop(self, rule: Rule) -> None:
        """That rule no more; what it holds goes on."""
        rule.release()
        self._rules.remove(rule)

    def clear(self) -> None:
        """No rule any more; what is held goes on."""
        for rule in list(self._rules):
            self.drop(rule)

    def down(self) -> None:
        """Be a machine whose store is not running: connections are refused, and those there are, broken."""
        self._do(self._stop())

    def up(self) -> None:
        """Listen again."""
        self._do(self._listen())

    def asked(self, *calls: Call) -> list[Seen]:
        """Everything of these kinds that came; of all kinds if none is named."""
        return [each for each in list(self.seen) if not calls or each.call in calls]

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(20)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._client, self.host, self.port, limit=HEAD_BYTES, backlog=512, reuse_address=True
            )

    async def _stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._open):
            reset(writer)

    async def _end(self) -> None:
        await self._stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        self._loop.set_exception_handler(lambda loop, context: None)  # asyncio complains of handlers that are cancelled
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await Passage(self, reader, writer).run()
        except CutShort:
            pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, Broken):
            reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    def rule_for(self, head: Head) -> Rule | None:
        """The rule that hits this request."""
        return next((rule for rule in list(self._rules) if rule.takes(head)), None)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to what is behind; OSError when that is not there."""
        reader, writer = await asyncio.open_connection(self._upstream[0], int(self._upstream[2]), limit=HEAD_BYTES)
        self._open.add(writer)
        return reader, writer

    def let_go(self, writer: asyncio.StreamWriter) -> None:
        """A connection of `connect` is over."""
        self._open.discard(writer)
        writer.close()


class Passage:
    """One client's connection, and the one behind it."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._behind: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._ends = False

    async def run(self) -> None:
        """Pass request after request; Broken, OSError, IncompleteReadError: the connection is to be broken."""
        try:
            while not self._ends:
                try:
                    raw = await self._reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        raise
                    return
                await self._pass(request_of(raw))
        finally:
            if self._behind is not None:
                self._proxy.let_go(self._behind[1])

    async def _pass(self, head: Head) -> None:
        seen = Seen(head.call, head.method, head.path, head.query, head_bytes=len(head.raw))
        self._proxy.seen.append(seen)
        rule = self._proxy.rule_for(head)
        fault = rule.fault if rule else None
        if isinstance(fault, Refusal):
            await self._refuse(head, fault, seen)
            return
        if fault == Reset():
            raise Broken
        if rule is not None and fault == Held("before"):
            await self._hold(rule)
        reader, writer = self._behind = self._behind or await self._proxy.connect()
        writer.write(head.raw)
        sending = asyncio.ensure_future(self._send_body(head, writer, fault, seen))
        try:
            await self._answer(head, reader, rule, seen, sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _hold(self, rule: Rule) -> None:
        rule.arrive()
        while not rule.released:
            await asyncio.sleep(0.005)
        if rule.broken_off:
            raise Broken

    async def _refuse(self, head: Head, fault: Refusal, seen: Seen) -> None:
        if "expect" in head.headers:
            self._ends = True
        else:
            seen.body_bytes += await pour(self._reader, head.headers, False, nowhere)
        body = fault.body(head) if head.method != "HEAD" else b""
        extra = {"Connection": "close"} if self._ends else {}
        headers = {"Content-Type": "application/xml", "Content-Length": str(len(body)), **fault.headers, **extra}
        line = f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}"
        text = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items())]) + "\r\n\r\n"
        self._writer.write(text.encode() + body)
        await self._writer.drain()
        seen.status, seen.answer_bytes = fault.status, len(body)
        seen.head_bytes += len(text)

    async def _send_body(self, head: Head, writer: asyncio.StreamWriter, fault: Fault | None, seen: Seen) -> None:
        async def forward(piece: bytes) -> None:
            seen.body_bytes += len(piece)
            if isinstance(fault, Reset) and seen.body_bytes > fault.after_bytes:
                raise Broken
            await put_out(writer, piece, fault)

        await pour(self._reader, head.headers, False, forward)

    async def _answer(
        self, head: Head, reader: asyncio.StreamReader, rule: Rule | None, seen: Seen, sending: asyncio.Future[None]
    ) -> None:
        fault = rule.fault if rule else None
        while (first := await self._first_line_of(reader, sending)).status == HTTPStatus.CONTINUE:
            self._writer.write(first.raw)
        if rule is not None and fault == Held("after"):
            await self._hold(rule)
        if isinstance(fault, Lost):
            await pour(reader, first.headers, first.bodyless(head), nowhere, until_end=True)
            raise Broken
        seen.status = first.status
        seen.head_bytes += len(first.raw)
        self._writer.write(first.raw)

        async def forward(piece: bytes) -> None:
            if isinstance(fault, Short) and seen.answer_bytes + len(piece) > fault.after_bytes:
                await put_out(self._writer, piece[: fault.after_bytes - seen.answer_bytes], fault)
                raise CutShort
            seen.answer_bytes += len(piece)
            await put_out(self._writer, piece, fault)

        await pour(reader, first.headers, first.bodyless(head), forward, until_end=True)
        await self._writer.drain()
        await asyncio.wait(
            {sending}, timeout=1
        )  # an early answer ends the connection, one that crosses the end does not
        closes = first.headers.get("connection", "").lower() == "close"
        self._ends = closes or not sending.done() or (not sending.cancelled() and sending.exception() is not None)

    async def _first_line_of(self, reader: asyncio.StreamReader, sending: asyncio.Future[None]) -> "First":
        """The head of the answer; what broke while the body was sent is raised here."""
        reading = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        try:
            both: set[asyncio.Future[Any]] = {reading, sending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and (error := sending.exception()) is not None and not reading.done():
                raise error
            raw = await reading
        finally:
            reading.cancel()
        try:
            return First.of(raw)
        except (ValueError, IndexError):  # Debian's Swift says more than it announced, and this is the rest of it
            self._writer.write(raw)
            await self._writer.drain()
            raise CutShort from None


@dataclass(frozen=True)
class First:
    """The head of an answer."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @classmethod
    def of(cls, raw: bytes) -> "First":
        line, headers = lines_of(raw)
        return cls(int(line.split(" ")[1]), headers, raw)

    def bodyless(self, head: Head) -> bool:
        """Whether nothing follows, whatever the headers say."""
        return head.method == "HEAD" or self.status in BODYLESS


def request_of(raw: bytes) -> Head:
    """The head of a request."""
    line, headers = lines_of(raw)
    method, target, _ = line.split(" ")
    return Head(method, target, headers, raw)


def lines_of(raw: bytes) -> tuple[str, dict[str, str]]:
    """The first line, and the headers by lower-case name."""
    first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    return first, {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, not with a goodbye."""
    if (own := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def put_out(writer: asyncio.StreamWriter, piece: bytes, fault: Fault | None) -> None:
    """Send, at the pace that the fault allows."""
    step = max(1, int(fault.bytes_per_s / STEPS_PER_S)) if isinstance(fault, Slow) else len(piece)
    for start in range(0, len(piece), step or 1):
        writer.write(piece[start : start + step])
        await writer.drain()
        if isinstance(fault, Slow):
            await asyncio.sleep(1 / STEPS_PER_S)


async def nowhere(piece: bytes) -> None:
    """What is read is dropped."""


async def pour(
    reader: asyncio.StreamReader, headers: dict[str, str] | Any, bodyless: bool, to: Forward, *, until_end: bool = False
) -> int:
    """Pass a body on, framing and all; how much there was. `until_end`: without a length it goes on to the end."""
    poured = 0

    async def some(count: int) -> None:
        nonlocal poured
        left = count
        while left:
            piece = await reader.read(min(left, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            poured += len(piece)
            await to(piece)

    if bodyless:
        return 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        while True:
            line = await reader.readuntil(b"\r\n")
            await to(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            await some(size + 2)
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            await to(line)
        await to(line)
    elif "content-length" in headers:
        await some(int(headers["content-length"]))
    elif until_end:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while piece := await reader.read(PIECE_BYTES):
                poured += len(piece)
                await to(piece)
    return poured
