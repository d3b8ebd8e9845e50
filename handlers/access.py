"""The access log: one line per request, formatted later and written in batches, so that a request pays for neither.

A line never holds a query, a header value of Authorization, or a signature (invariant 8).
"""

import asyncio
import contextlib
import functools
import json
import os
import queue
import threading
from typing import Final

from handlers.boundary import Record
from model.clock import rfc3339

FLUSH_S: Final = 0.25
LAST_S: Final = 1.0
"""How long the end of the process waits for the last lines."""
MAX_WAITING: Final = 20_000
"""Lines kept while the destination does not take them; what comes then is counted and dropped, not kept in memory."""


class AccessLog:
    """Collects records and writes them as text or JSON lines to a descriptor, in a thread of its own.

    Whoever reads the log may be slow, stuck or gone. That costs lines, which are counted, and never a request: the
    thread is nobody else's, and neither the loop nor the end of the process waits for it.
    """

    def __init__(self, fd: int, *, as_json: bool) -> None:
        """Lines go to a duplicate of `fd`."""
        self._fd = os.dup(fd)
        self._format = _json_line if as_json else _text_line
        self._collected: list[Record] = []
        self._batches: queue.SimpleQueue[list[Record] | None] = queue.SimpleQueue()
        self._unwritten = self._dropped = 0
        self._done = threading.Event()

    def __call__(self, record: Record) -> None:
        """Take note of a request."""
        if self._unwritten + len(self._collected) < MAX_WAITING:
            self._collected.append(record)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Write what comes in, until cancelled; then give the rest a moment to be written."""
        threading.Thread(target=self._work, name="access-log", daemon=True).start()
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                self._pass_on()
        finally:
            self._pass_on()
            self._batches.put(None)
            await asyncio.to_thread(self._done.wait, LAST_S)

    def _pass_on(self) -> None:
        if self._collected:
            self._unwritten += len(self._collected)
            self._batches.put(self._collected)
            self._collected = []

    def _work(self) -> None:
        while (records := self._batches.get()) is not None:
            lines = [self._format(record) for record in records]
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f"access log: {dropped} lines dropped, their reader is too slow")
            # A log that cannot be written (full disk, closed pipe) must not stop the registry.
            with contextlib.suppress(OSError):
                _write_all(self._fd, ("\n".join(lines) + "\n").encode())
            self._unwritten -= len(records)
        self._done.set()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _text_line(record: Record) -> str:
    gone = " client-gone" if record.gone else ""
    error = f" error={json.dumps(record.error)}" if record.error else ""
    return (
        f"{_time(int(record.started_s))} {record.request_id} {_safe(record.remote)} {_safe(record.who)} "
        f"{record.method} {_safe(record.path)} {record.status} {record.sent_bytes}B {record.seconds * 1000:.1f}ms "
        f"{_quoted(record.agent[:200])}{gone}{error}"
    )


def _json_line(record: Record) -> str:
    return json.dumps(
        {
            "time": rfc3339(record.started_s),
            "id": record.request_id,
            "remote": record.remote,
            "who": record.who,
            "method": record.method,
            "path": record.path[:2000],
            "endpoint": record.endpoint,
            "status": record.status,
            "bytes": record.sent_bytes,
            "ms": round(record.seconds * 1000, 1),
            "agent": record.agent[:200],
            **({"gone": True} if record.gone else {}),
            **({"error": record.error} if record.error else {}),
        }
    )


@functools.lru_cache(maxsize=8)
def _time(started_s: int) -> str:
    return rfc3339(started_s)


@functools.lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return json.dumps(text)


def _safe(text: str) -> str:
    """`text` as one word of printable ASCII, however it was sent."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text[:2000]
    return text[:2000].encode("unicode_escape").decode().replace(" ", "\\x20")
