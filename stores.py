"""Where content lies, opened from the configuration: a folder, a bucket of an object store, or memory.

Whoever works with a store's own settings (`storage check`) takes them from here as well. What belongs to object stores
alone is imported only where one is chosen: a server on a folder starts no slower for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import urlsplit

from backends.base import Backend
from backends.fs import FsBackend
from backends.memory import MemoryBackend
from backends.s3.findings import Findings
from backends.s3.settings import StoreSettings
from certs.trust import CaFileUnusable, client_context
from config import Config, ConfigError
from config.checks import check_store
from model.clock import Clock
from sigv4.places import Style
from store.refusals import CannotStart

if TYPE_CHECKING:
    import aiohttp

    from backends.s3.backend import S3Backend

KEEPALIVE_S = 30.0
"""How long a connection to the store is kept for the next request; stores close theirs later than that."""

BACK_S = 1.0
"""How long it takes to be noticed that a store is back."""

log = logging.getLogger("holdfast.store")


class Health(Protocol):
    """How a store is that may not answer."""

    @property
    def ok(self) -> bool:
        """Whether it answers."""
        ...

    @property
    def reason(self) -> str:
        """Why not."""
        ...


class Counted(Protocol):
    """What is counted about the requests to a store."""

    asked: int
    failed: int


@runtime_checkable
class Remote(Protocol):
    """Ability of a backend that is elsewhere: it may not answer, and is watched."""

    @property
    def health(self) -> Health:
        """How it is, as far as is known without asking."""
        ...

    @property
    def findings(self) -> Findings:
        """What it was last found to do."""
        ...

    @property
    def calls(self) -> Counted:
        """Who talks to it."""
        ...

    async def watch(self) -> None:
        """For ever, in the background: notice that it is back, and what it can do."""
        ...


class StoreUnusable(CannotStart):
    """The object store cannot be used as it is set up, and waiting would not help."""


def trouble_with(backend: object) -> str:
    """Why content cannot be reached now; empty when it can, as far as is known without asking."""
    if not isinstance(backend, Remote) or backend.health.ok:
        return ""
    return backend.health.reason


def is_away(backend: object) -> bool:
    """Whether clients are not sent to the store for a reason that may end by itself: it is away, or not looked at yet.

    What the operator decided, or the last look found, does not.
    """
    if not isinstance(backend, Remote) or backend.findings.barred:
        return False
    return not backend.health.ok or not backend.findings.reachable


def proves_copies(backend: object) -> bool:
    """Whether the store says what its copies hash to (`Copies.copy`), as it was last found."""
    return isinstance(backend, Remote) and backend.findings.copy_sha256


async def whenever_back(backend: object, then: Callable[[], None]) -> None:
    """For ever: call `then` whenever the store answers again, so that nobody waits for longer than it was away."""
    was_well = True
    while isinstance(backend, Remote):
        if backend.health.ok and not was_well:
            then()
        was_well = backend.health.ok
        await asyncio.sleep(BACK_S)


@asynccontextmanager
async def open_backend(config: Config, clock: Clock, *, look: bool = True) -> AsyncIterator[Backend]:
    """The place for content, as configured, for the length of the block.

    A store that does not answer is opened all the same: it is asked again, and readiness says so meanwhile. Without
    `look` nobody finds out what it can do for clients.

    Raises:
        ConfigError: what was said about an object store does not go together.
        StoreUnusable: the store refuses our keys, or has no such bucket.
    """
    if config.storage_driver == "memory":
        yield MemoryBackend()
    elif config.storage_driver == "s3":
        async with open_object_store(config, clock, look=look) as store:
            yield store
    else:
        folder = FsBackend(config.storage_root, durable=config.durability == "full")
        try:
            yield folder
        finally:
            folder.close()


@asynccontextmanager
async def open_object_store(config: Config, clock: Clock, *, look: bool = True) -> "AsyncIterator[S3Backend]":
    """The bucket that the configuration names. Errors: those of `open_backend`."""
    from backends.s3.backend import open_store
    from backends.s3.errors import StoreRefused

    check_store(config)
    async with AsyncExitStack() as stack:
        opening = open_store(store_settings(config), clock, session_maker(config), look=look)
        try:
            store = await stack.enter_async_context(opening)
        except StoreRefused as refused:
            raise StoreUnusable(refused.reason, refused.remedy) from refused
        if config.min_part_bytes < store.smallest_part_bytes:
            log.warning("%s: S3 takes no parts below 5 MiB but the last", config.said("min_part_bytes"))
        yield store


def check_settings(config: Config) -> None:
    """See that an object store can be spoken to with what was said about it; nothing is asked of it, or made.

    Raises:
        ConfigError: something is missing, cannot be read, or contradicts something else.
    """
    check_store(config)
    if config.storage_driver == "s3":
        session_maker(config)


def store_settings(config: Config) -> StoreSettings:
    """What the backend is told about the store; `config` says one, see `check_store`."""
    return StoreSettings(
        bucket=config.s3_bucket,
        endpoint=config.s3_url,
        region=config.s3_region,
        prefix=config.s3_path_prefix,
        external_endpoint=config.s3_external_url,
        style=Style(config.s3_addressing_style),
        create_bucket=config.s3_create_bucket,
        key_id=config.aws_access_key_id,
        secret=config.aws_secret_access_key,
        session_token=config.aws_session_token,
        other_key_id=config.s3_other_access_key_id,
        other_secret=config.s3_other_secret_access_key,
        credentials_file=config.s3_credentials_file,
        direct=not config.disable_presigned_urls,
        listens_beyond=_serves_others(config),
    )


def session_maker(config: Config) -> "Callable[[], aiohttp.ClientSession]":
    """What makes the session that bytes travel to and from the store by.

    Raises:
        ConfigError: the CA file holds no certificate.
    """
    try:
        trust = client_context(config.s3_ca_file)
    except CaFileUnusable as problem:
        raise ConfigError(f"{config.said('s3_ca_file')}: {problem}; name another") from problem

    def make() -> "aiohttp.ClientSession":
        import aiohttp

        # Not limited: each request to the store is made for one of ours, and those are. A body is passed on as it is
        # stored, also where the store says that it is packed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=trust)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )

    return make


def _serves_others(config: Config) -> bool:
    """Whether clients come from other machines: to us, or to a proxy before us; to them our loopback is their own."""
    public_host = urlsplit(config.public_url).hostname or config.listen_host
    return bool(config.trusted_proxies) or not (is_loopback(config.listen_host) and is_loopback(public_host))


def is_loopback(host: str) -> bool:
    """Whether a host that is listened on is reached from this machine only."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
