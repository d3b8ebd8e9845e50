"""The backends that must keep the promises, each with the few handles a test of promises needs."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from backends.base import Backend
from backends.filecalls import FileCalls
from backends.fs import FsBackend
from backends.memory import MemoryBackend
from backends.memory_parts import MemoryStore
from backends.s3.backend import open_store
from backends.s3.settings import StoreSettings
from model.clock import SystemClock
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import FULL, Call


@dataclass(frozen=True)
class Subject:
    """A backend under test."""

    backend: Backend
    spool: Path
    shorten: Callable[[str, int], None]
    """Cut what is stored under a key, behind the backend's back."""
    fill: Callable[[], None]
    """From now on there is no room."""

    def source(self, content: bytes, name: str = "upload") -> Path:
        """A finished spool file."""
        path = self.spool / name
        path.write_bytes(content)
        return path

    async def put(self, key: str, content: bytes, name: str = "upload") -> None:
        """Store `content`."""
        await self.backend.put(key, self.source(content, name))

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """All pieces, joined."""
        return b"".join([piece async for piece in self.backend.get(key, start, length)])

    async def keys(self, prefix: str = "") -> list[str]:
        """The whole listing."""
        return [key async for key in self.backend.keys(prefix)]


class Elsewhere(FileCalls):
    """The spool is on another file system than the store, and that one may be full."""

    def __init__(self, spool: Path, *, crosses: bool, durable: bool = True) -> None:
        super().__init__(durable=durable)
        self.spool, self.crosses, self.full = spool, crosses, False

    def rename(self, source: Path, target: Path) -> None:
        if self.crosses and self.spool in source.parents:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        self._check_room()
        super().rename(source, target)

    def copy(self, source: Path, target: Path) -> None:
        self._check_room()
        super().copy(source, target)

    def _check_room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files(folder: Path, *, crosses: bool, durable: bool = True) -> Subject:
    """A folder, with the spool beside it or on another file system."""
    root, spool = folder / "root", folder / "spool"
    root.mkdir()
    spool.mkdir()
    calls = Elsewhere(spool, crosses=crosses, durable=durable)

    def fill() -> None:
        calls.full = True

    backend = FsBackend(root, calls=calls)
    return Subject(backend, spool, lambda key, size: os.truncate(root / key, size), fill)


def memory(folder: Path, backend: MemoryBackend) -> Subject:
    """A dictionary."""

    def shorten(key: str, size_bytes: int) -> None:
        backend.values[key] = backend.values[key][:size_bytes]

    def fill() -> None:
        backend.capacity_bytes = 0

    return Subject(backend, folder, shorten, fill)


def settings_of(bucket: Bucket, endpoint: str = "") -> StoreSettings:
    """What leads to that bucket; by another address than the store's own when there is a proxy."""
    store = bucket.store
    return StoreSettings(
        bucket=bucket.name,
        endpoint=endpoint or store.url,
        region=store.region,
        prefix=bucket.prefix,
        key_id=store.key_id,
        secret=store.secret,
    )


@asynccontextmanager
async def s3(folder: Path, store: ObjectStore, prefix: str = "some/prefix") -> AsyncIterator[Subject]:
    """A real store that verifies signatures; only that it is full is said by a proxy before it."""
    bucket = store.new_bucket(prefix=prefix)
    with FaultProxy(store.netloc) as proxy:
        settings = settings_of(bucket, proxy.url)
        async with open_store(settings, SystemClock(), aiohttp.ClientSession, look=False) as backend:
            yield Subject(
                backend,
                folder,
                lambda key, size: bucket.write(key, bucket.read(key)[:size]),
                lambda: void(proxy.on(FULL, Call.PUT, Call.PART, Call.CREATE, Call.COPY)),
            )


def void(_: object) -> None:
    """Nothing of it."""


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "memory": lambda folder: memory(folder, MemoryBackend()),
    "memory as an object store": lambda folder: memory(folder, MemoryStore()),
    "files": lambda folder: files(folder, crosses=False),
    "files not durable": lambda folder: files(folder, crosses=False, durable=False),
    "files with the spool elsewhere": lambda folder: files(folder, crosses=True),
}
"""Those that need nobody else."""
S3, OLD_S3 = "s3", "s3 by Debian's older Swift"
STORES = (S3, OLD_S3)
"""Those that are a bucket of a real store."""


@asynccontextmanager
async def subject_named(name: str, folder: Path, store: Callable[[str], ObjectStore]) -> AsyncIterator[Subject]:
    """One of `SUBJECTS`, or a bucket of one of `STORES`, which `store` gives when it is needed."""
    if name in STORES:
        async with s3(folder, store(name)) as subject:
            yield subject
    else:
        yield SUBJECTS[name](folder)


FIXTURES = {S3: "object_store", OLD_S3: "debian_store"}
"""The fixture that gives each store."""
