"""The access log: one line per request, formatted later and written in batches, so that a request pays for neither.

A line never holds a query, a header value of Authorization, or a signature (invariant 8).
"""

import asyncio
import contextlib
import functools
import json
from concurrent.futures import Executor
from typing import Final, TextIO

from handlers.boundary import Record
from model.clock import rfc3339

FLUSH_S: Final = 0.25
MAX_WAITING: Final = 20_000
"""Lines kept while the destination does not take them; what comes then is counted and dropped, not kept in memory."""


class AccessLog:
    """Collects records and writes them as text or JSON lines."""

    def __init__(self, stream: TextIO, *, as_json: bool, executor: Executor) -> None:
        self._stream = stream
        self._format = _json_line if as_json else _text_line
        self._executor = executor
        self._waiting: list[Record] = []
        self._dropped = 0

    def __call__(self, record: Record) -> None:
        """Take note of a request."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(record)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Write what comes in, until cancelled; then write the rest."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            self._write(self._take())

    async def flush(self) -> None:
        """Write what is waiting."""
        if records := self._take():
            await asyncio.get_running_loop().run_in_executor(self._executor, self._write, records)

    def _take(self) -> list[Record]:
        taken, self._waiting = self._waiting, []
        return taken

    def _write(self, records: list[Record]) -> None:
        lines = [self._format(record) for record in records]
        if self._dropped:
            lines.append(f"access log: {self._dropped} lines dropped, the destination is too slow")
            self._dropped = 0
        # A log that cannot be written (full disk, closed pipe) must not stop the registry.
        with contextlib.suppress(OSError, ValueError):
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


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
    return text[:2000].encode("ascii", "backslashreplace").decode().replace(" ", "\\x20").replace("\n", "\\n")
