"""The rooms below the handlers, put together from the configuration: folder, catalog, backend, store, sessions.

The server opens them (`registry.py`), and so does a command that works on a stopped one (`cli.py`): both hold the
folder's lock while they are inside, so there is one process on a folder at any time. No logic lives here.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from auth.policy import policy_of
from auth.principals import recogniser
from auth.signed_urls import UrlSigner
from auth.signing_keys import SigningKeys
from backends.base import Backend, Direct, Multipart
from config import Config
from handlers.forwarded import Proxies
from handlers.services import Border, HoldSettings, Services
from model.clock import Clock, SystemClock
from model.units import HOUR_S, MINUTE_S
from multipart import filesystem
from multipart.ledger import Ledger
from multipart.limits import UploadLimits
from multipart.objectstore import ObjectStore
from multipart.remote import PartStore, RemoteUploads
from multipart.sessions import Sessions
from store.blob_rows import has_blobs
from store.blobs import Blobs
from store.catalog import Catalog
from store.discarding import Discarder
from store.folder import DataFolder
from store.hot import Hot
from store.layout import BLOBS
from store.manifests import Manifests
from store.referrers import Referrers
from store.refusals import FolderError
from store.repositories import Repositories
from store.right_store import Ownership, require_right_store
from store.setting_rows import keep_noting
from store.settling import Settler
from store.tags import Tags
from stores import Remote, check_settings, is_away, open_backend, proves_copies, whenever_back

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
    ownership: Ownership
    """Whether the content's place is proven to be ours."""
    objects: ObjectStore | None = None
    """The object store, where content is in one."""
    lasting: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """What goes on in the background for as long as somebody serves; a command for itself does without."""


@asynccontextmanager
async def open_rooms(config: Config, *, look: bool = True, own: bool = True) -> AsyncIterator[Rooms]:
    """Take the folder's lock, open the catalog, settle what an earlier process left behind; undo it all at the end.

    Without `look` nobody finds out what an object store can do for clients: for who serves none.
    Without `own` the bucket may be another registry's, and nothing is written there: for who wants to know, or change,
    whose it is.

    Raises:
        CannotStart: the folder, the catalog or the store cannot be used; says what to do. ConfigError, likewise.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        check_settings(config)  # before anything is made
        folder = stack.enter_context(
            DataFolder(config.data_dir, config.storage_root, blobs=config.storage_driver != "s3")
        )
        names = stack.enter_context(_lasting_as_content(config, folder))
        backend = await stack.enter_async_context(open_backend(config, clock, look=look))
        workers = stack.enter_context(ThreadPoolExecutor(WORKERS, thread_name_prefix="worker"))
        hot = Hot(config.cache_bytes)
        catalog = Catalog(names.data_dir, clock, durable=config.durability == "full", drop=hot.drop)
        catalog.open()
        stack.callback(catalog.close)
        if config.storage_driver == "filesystem":
            await _require_content(catalog, folder)
        ownership = Ownership(catalog, backend, proven=config.storage_driver != "s3")
        if config.storage_driver == "s3" and own:
            ownership = await require_right_store(catalog, backend)
        discarder = Discarder(catalog, backend, ownership.is_proven)
        objects = _objects(backend, Ledger(catalog), clock, discarder, ownership)
        signer = _signer(config, folder, clock)
        services = _services(config, clock, catalog, hot, backend, names, workers, signer, objects, ownership)
        stack.push_async_callback(services.blobs.close)
        settler = Settler(
            catalog, backend, services.blobs, ownership.is_proven, is_busy=lambda: services.sessions.is_busy
        )
        services.blobs.tell(discarder.poke)
        await services.blobs.load()
        await discarder.settle()
        if objects is not None:
            stack.push_async_callback(objects.remote.close)
            await objects.remote.load()
        await services.sessions.settle()
        lasting = [settler.run, discarder.run, *_of_a_store(backend, ownership, catalog, settler, discarder, objects)]
        yield Rooms(config, clock, folder, catalog, hot, backend, services, workers, ownership, objects, lasting)


def _builds_from_parts(backend: object) -> TypeGuard[PartStore]:
    """Whether uploads can be made in the backend piece by piece."""
    return isinstance(backend, Multipart)


def _objects(
    backend: object, ledger: Ledger, clock: Clock, discarder: Discarder, ownership: Ownership
) -> ObjectStore | None:
    """The object store as upload sessions use it; None where content lies elsewhere."""
    if not _builds_from_parts(backend):
        return None
    remote = RemoteUploads(backend, ledger, clock, discarding=discarder.poke, require=ownership.require)
    discarder.is_beginning = remote.is_beginning
    return ObjectStore(
        backend,
        remote,
        copies_prove=partial(proves_copies, backend),
        is_ours=ownership.is_proven,
        is_away=partial(is_away, backend),
    )


def _of_a_store(
    backend: object,
    ownership: Ownership,
    catalog: Catalog,
    settler: Settler,
    discarder: Discarder,
    objects: ObjectStore | None,
) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
    """What goes on in the background where content is in an object store."""
    if not isinstance(backend, Remote):
        return

    def go_on() -> None:
        settler.wake()
        discarder.wake()
        if objects is not None:
            objects.remote.hurry()

    yield backend.watch
    yield partial(whenever_back, backend, go_on)
    yield partial(ownership.proven_later, go_on)
    yield partial(keep_noting, catalog, lambda: backend.findings.server)


async def _require_content(catalog: Catalog, folder: DataFolder) -> None:
    """The storage folder is the one that the catalog speaks of, not the empty place where it should be mounted.

    Raises:
        FolderError: the catalog knows blobs, and the folder has no place for any.
    """
    blobs = folder.storage_root / BLOBS
    if not blobs.exists() and await catalog.read(has_blobs):
        raise FolderError(
            f"the catalog knows blobs, but there are none at all in {folder.storage_root}",
            "mount it, or set storage_root_dir right, or storage_driver = s3 if they are in a bucket;"
            f" if they are lost for good, make the folder {blobs} to go on",
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


def _services(
    config: Config,
    clock: Clock,
    catalog: Catalog,
    hot: Hot,
    backend: Backend,
    names: DataFolder,
    workers: ThreadPoolExecutor,
    signer: UrlSigner,
    objects: ObjectStore | None,
    ownership: Ownership,
) -> Services:
    blobs = Blobs(catalog, backend, hot, clock, small_blob_bytes=config.small_blob_bytes, require=ownership.require)
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
            objects=objects,
        ),
        policy=policy_of(hold_token_set=bool(config.hold_token)),
        recognise=recogniser(config.hold_token),
        signer=signer,
        border=_border(config, backend),
        hold=_hold_settings(config, backend),
        clock=clock,
        max_manifest_bytes=config.max_manifest_bytes,
        delete_enabled=config.delete_enabled,
    )


def _signer(config: Config, folder: DataFolder, clock: Clock) -> UrlSigner:
    """The keys stay where they are when content is in memory: a URL that was handed out says what it says."""
    hold = _hold_settings(config, None)
    longest_url_s = max(hold.part_url_s, hold.download_url_s)
    return UrlSigner(SigningKeys.open(folder.data_dir, clock, longest_url_s=longest_url_s), clock)


def _border(config: Config, backend: Backend) -> Border:
    """Clients are sent to the store where the operator wants that, and wants signed URLs at all (H045)."""
    redirects = config.s3_redirect and not config.disable_presigned_urls and _direct(backend) is not None
    return Border(
        public_url=config.public_url,
        proxies=Proxies(config.trusted_proxies),
        redirect_s=round(config.signed_url_minutes * MINUTE_S) if redirects else 0,
    )


def _direct(backend: object) -> Direct | None:
    """The store that clients could be sent to; None where there is none."""
    return backend if isinstance(backend, Direct) else None


def _largest_part_bytes(backend: object) -> int:
    """What an object store takes as one part; 0 where there is no such limit."""
    return backend.largest_part_bytes if isinstance(backend, Multipart) else 0


def _hold_settings(config: Config, backend: Backend | None) -> HoldSettings:
    return HoldSettings(
        multipart=config.multipart,
        presigned=not config.disable_presigned_urls,
        part_url_s=round(config.signed_url_minutes * MINUTE_S),
        download_url_s=round(config.download_url_hours * HOUR_S),
        min_part_bytes=config.min_part_bytes,
        max_part_bytes=_largest_part_bytes(backend),
        max_upload_bytes=config.max_upload_bytes,
        storage=config.storage_driver,
        direct=_direct(backend),
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
