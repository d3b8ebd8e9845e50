"""A store opened for a test: its clock moves by sleeping only, sleeps take no time, a proxy stands before it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from backends.s3.backend import S3Backend, open_store
from backends.s3.calls import Calls
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket
from tests.unit.backends.looking import settings_of


@dataclass
class Moved:
    """A clock that is right when it starts and moves when it is told to."""

    passed_s: float = 0.0
    slept: list[float] = field(default_factory=list)
    started_s: float = field(default_factory=time.time)

    def now_s(self) -> float:
        return self.started_s + self.passed_s

    def monotonic_s(self) -> float:
        return self.passed_s

    def move(self, seconds: float) -> None:
        self.passed_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed_s += seconds
        await asyncio.sleep(0)


@dataclass
class Rig:
    """A backend, its clock, the proxy before its store, and the bucket behind that."""

    backend: S3Backend
    clock: Moved
    proxy: FaultProxy
    bucket: Bucket
    folder: Path

    @property
    def calls(self) -> Calls:
        return self.backend.calls

    def file(self, content: bytes, name: str = "upload") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    async def put(self, key: str, content: bytes) -> None:
        await self.backend.put(key, self.file(content))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return b"".join([piece async for piece in self.backend.get(key, start, length)])


@asynccontextmanager
async def rigged(bucket: Bucket, folder: Path, **more: Any) -> AsyncIterator[Rig]:
    """The store of `bucket` behind a proxy; `more` by the fields of the settings."""
    clock = Moved()
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = settings_of(bucket, **{"endpoint": proxy.url, **more})
        async with open_store(settings, clock, aiohttp.ClientSession, look=False) as backend:
            backend.calls.sleep = clock.sleep
            backend.calls.chance = lambda: 1.0
            proxy.seen.clear()
            yield Rig(backend, clock, proxy, bucket, folder)
