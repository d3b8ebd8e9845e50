"""The rooms below the handlers, put together from the configuration: folder, catalog, backend, store, sessions.

The server opens them (`registry.py`), and so does a command that works on a stopped one (`cli.py`): both hold the
folder's lock while they are inside, so there is one process on a folder at any time. No logic lives here.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from auth.policy import policy_of
from auth.principals import recogniser
from auth.signed_urls import UrlSigner
from auth.signing_keys import SigningKeys
from backends.base import Backend
from backends.fs import FsBackend
from backends.memory import MemoryBackend
from config import Config
from handlers.forwarded import Proxies
from handlers.services import Border, HoldSettings, Services
from model.clock import Clock, SystemClock
from model.units import HOUR_S, MINUTE_S
from multipart import filesystem
from multipart.ledger import Ledger
from multipart.limits import UploadLimits
from multipart.sessions import Sessions
from store.blob_rows import has_blobs
from store.blobs import Blobs
from store.catalog import Catalog
from store.folder import DataFolder
from store.hot import Hot
from store.layout import BLOBS
from store.manifests import Manifests
from store.referrers import Referrers
from store.refusals import FolderError
from store.repositories import Repositories
from store.tags import Tags

WORKERS = 8
"""Threads for disk and hashing, shared by everything that receives; more gain nothing on a few cores."""

PASSING_NAME = "passing"
"""In the data folder: what goes with content that is kept in memory."""


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
        _lasting_as_content(config, folder) as names,
        _backend(config, durable) as backend,
        ThreadPoolExecutor(WORKERS, thread_name_prefix="worker") as workers,
    ):
        hot = Hot(config.cache_bytes)
        catalog = Catalog(names.data_dir, clock, durable=durable, drop=hot.drop)
        catalog.open()
        try:
            if config.storage_driver == "filesystem":
                await _require_content(catalog, folder)
            services = _services(config, clock, catalog, hot, backend, names, workers, _signer(config, folder, clock))
            try:
                await services.sessions.settle()
                yield Rooms(config, clock, folder, catalog, hot, backend, services, workers)
            finally:
                await services.blobs.close()
        finally:
            catalog.close()


async def _require_content(catalog: Catalog, folder: DataFolder) -> None:
    """The storage folder is the one that the catalog speaks of, not the empty place where it should be mounted.

    Raises:
        FolderError: the catalog knows blobs, and the folder has no place for any.
    """
    blobs = folder.storage_root / BLOBS
    if not blobs.exists() and await catalog.read(has_blobs):
        raise FolderError(
            f"the catalog knows blobs, but there are none at all in {folder.storage_root}",
            f"mount it, or set storage_root_dir right; if they are lost for good, make the folder {blobs} to go on",
        )


@contextmanager
def _lasting_as_content(config: Config, folder: DataFolder) -> Iterator[DataFolder]:
    """Where names and uploads are: in the folder itself, or, with content in memory, in one that goes as that does.

    Names must not outlive their bytes. What a killed process left of such a folder goes at the next start.
    """
    if config.storage_driver != "memory":
        yield folder
        return
    passing = folder.data_dir / PASSING_NAME
    shutil.rmtree(passing, ignore_errors=True)
    try:
        with DataFolder(passing) as inside:
            yield inside
    finally:
        shutil.rmtree(passing, ignore_errors=True)


@contextmanager
def _backend(config: Config, durable: bool) -> Iterator[Backend]:
    if config.storage_driver == "memory":
        yield MemoryBackend()
        return
    backend = FsBackend(config.storage_root, durable=durable)
    try:
        yield backend
    finally:
        backend.close()


def _services(
    config: Config,
    clock: Clock,
    catalog: Catalog,
    hot: Hot,
    backend: Backend,
    names: DataFolder,
    workers: ThreadPoolExecutor,
    signer: UrlSigner,
) -> Services:
    blobs = Blobs(catalog, backend, hot, clock, small_blob_bytes=config.small_blob_bytes)
    hold = _hold_settings(config)
    return Services(
        repositories=Repositories(catalog, hot),
        blobs=blobs,
        manifests=Manifests(catalog, hot, clock, sparse_indexes=config.sparse_indexes),
        tags=Tags(catalog, hot, clock),
        referrers=Referrers(catalog),
        sessions=Sessions(
            ledger=Ledger(catalog),
            blobs=blobs,
            spool_folder=names.spool,
            workers=workers,
            clock=clock,
            limits=_upload_limits(config),
            durable=config.durability == "full",
            uncached=config.uncached_writes and filesystem.can_write_uncached(),
        ),
        policy=policy_of(hold_token_set=bool(config.hold_token)),
        recognise=recogniser(config.hold_token),
        signer=signer,
        border=Border(public_url=config.public_url, proxies=Proxies(config.trusted_proxies)),
        hold=hold,
        clock=clock,
        max_manifest_bytes=config.max_manifest_bytes,
        delete_enabled=config.delete_enabled,
    )


def _signer(config: Config, folder: DataFolder, clock: Clock) -> UrlSigner:
    """The keys stay where they are when content is in memory: a URL that was handed out says what it says."""
    hold = _hold_settings(config)
    longest_url_s = max(hold.part_url_s, hold.download_url_s)
    return UrlSigner(SigningKeys.open(folder.data_dir, clock, longest_url_s=longest_url_s), clock)


def _hold_settings(config: Config) -> HoldSettings:
    return HoldSettings(
        multipart=config.multipart,
        presigned=not config.disable_presigned_urls,
        part_url_s=round(config.signed_url_minutes * MINUTE_S),
        download_url_s=round(config.download_url_hours * HOUR_S),
        min_part_bytes=config.min_part_bytes,
        storage=config.storage_driver,
    )


def _upload_limits(config: Config) -> UploadLimits:
    return UploadLimits(
        in_all=config.max_uploads,
        per_repository=config.max_uploads_per_repository,
        expiry_s=config.upload_expiry_s,
        min_part_bytes=config.min_part_bytes,
        max_upload_bytes=config.max_upload_bytes,
        max_uploads_per_caller=config.max_uploads_per_caller,
        max_spooled_bytes=config.max_spooled_bytes,
        max_spooled_bytes_per_caller=config.max_spooled_bytes_per_caller,
    )
