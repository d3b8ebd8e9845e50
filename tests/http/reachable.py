"""A store in memory that says that clients can reach it: for what answers say then. Nobody listens where it points."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import pytest

from backends.base import Backend
from backends.memory import MemoryBackend
from config import Config
from model.clock import Clock, SystemClock
from sigv4.presigning import Presigned

WHERE: Final = "https://store.example/bucket"


class Reachable(MemoryBackend):
    """`Direct`, as far as answers are concerned."""

    def __init__(self) -> None:
        super().__init__()
        self.why_not_native = ""
        self.checks_hashes = True
        self.lifetimes_s: list[int] = []
        """For how long URLs were asked for."""

    @property
    def native(self) -> bool:
        return not self.why_not_native

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        return self._url("PUT", key, lifetime_s)

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        assert answer_headers == {"Content-Type": "application/octet-stream"}
        return self._url(method, key, lifetime_s)

    def _url(self, method: str, key: str, lifetime_s: int) -> Presigned:
        self.lifetimes_s.append(lifetime_s)
        return Presigned(f"{WHERE}/{key}?for={method}", int(SystemClock().now_s()) + lifetime_s, {})


def reachable(monkeypatch: pytest.MonkeyPatch) -> Reachable:
    """The store of every server that is made from now on."""
    store = Reachable()

    @asynccontextmanager
    async def open_backend(config: Config, clock: Clock, *, look: bool) -> AsyncIterator[Backend]:
        yield store

    monkeypatch.setattr("rooms.open_backend", open_backend)
    return store
