"""The rooms below the handlers, put together from the configuration: folder, catalog, backend, store, sessions.

The server opens them (`registry.py`), and so does a command that works on a stopped one (`cli.py`): both hold the
folder's lock while they are inside, so there is one process on a folder at any time. No logic lives here.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from auth.policy import open_to_all
from backends.base import Backend
from backends.fs import FsBackend
from backends.memory import MemoryBackend
from config import Config
from handlers.services import Services
from model.clock import Clock, SystemClock
from multipart.ledger import Ledger
from multipart.sessions import Sessions, UploadLimits
from store.blobs import Blobs
from store.catalog import Catalog
from store.folder import DataFolder
from store.hot import Hot
from store.manifests import Manifests
from store.referrers import Referrers
from store.repositories import Repositories
from store.tags import Tags

WORKERS = 8
"""Threads for disk and hashing, shared by everything that receives; more gain nothing on a few cores."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything that is open while a process works on the folder."""

    config: Config
    clock: Clock
    folder: DataFolder
    catalog: Catalog
    hot: Hot
    backend: Backend
    services: Services
    workers: ThreadPoolExecutor


@asynccontextmanager
async def open_rooms(config: Config) -> AsyncIterator[Rooms]:
    """Take the folder's lock, open the catalog, settle what an earlier process left behind; undo it all at the end.

    Raises:
        CannotStart: the folder or the catalog cannot be used; says what to do.
    """
    clock, durable = SystemClock(), config.durability == "full"
    with (
        DataFolder(config.data_dir, config.storage_root) as folder,
        ThreadPoolExecutor(WORKERS, thread_name_prefix="worker") as workers,
    ):
        hot = Hot(config.cache_bytes)
        catalog = Catalog(folder.data_dir, clock, durable=durable, drop=hot.drop)
        catalog.open()
        try:
            backend = _backend(config, durable)
            services = _services(config, clock, catalog, hot, backend, folder, workers)
            try:
                await services.sessions.settle()
                yield Rooms(config, clock, folder, catalog, hot, backend, services, workers)
            finally:
                await services.blobs.close()
        finally:
            catalog.close()


def _backend(config: Config, durable: bool) -> Backend:
    if config.storage_driver == "memory":
        return MemoryBackend()
    return FsBackend(config.storage_root, durable=durable)


def _services(
    config: Config,
    clock: Clock,
    catalog: Catalog,
    hot: Hot,
    backend: Backend,
    folder: DataFolder,
    workers: ThreadPoolExecutor,
) -> Services:
    blobs = Blobs(catalog, backend, hot, clock, small_blob_bytes=config.small_blob_bytes)
    limits = UploadLimits(config.max_uploads, config.max_uploads_per_repository, config.upload_expiry_s)
    return Services(
        repositories=Repositories(catalog, hot),
        blobs=blobs,
        manifests=Manifests(catalog, hot, clock, sparse_indexes=config.sparse_indexes),
        tags=Tags(catalog, hot, clock),
        referrers=Referrers(catalog),
        sessions=Sessions(
            ledger=Ledger(catalog),
            blobs=blobs,
            spool_folder=folder.spool,
            workers=workers,
            clock=clock,
            limits=limits,
            durable=config.durability == "full",
        ),
        policy=open_to_all,
        clock=clock,
        max_manifest_bytes=config.max_manifest_bytes,
        delete_enabled=config.delete_enabled,
    )
