"""Opening a store: its keys, its client, and a first question, so that wrong settings are known at the start.

aiobotocore is imported here, and by nobody who does not open a store.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from backends.base import StoreUnavailable
from backends.s3 import refused
from backends.s3.bodies import Bodies
from backends.s3.calls import Calls
from backends.s3.control import open_control
from backends.s3.credentials import Keys
from backends.s3.direct import DirectUrls
from backends.s3.errors import CallFailed, StoreDenied, StoreRefused, Trouble
from backends.s3.objects import Health, S3Backend
from backends.s3.settings import DEFAULT_REGION, StoreSettings
from model.clock import Clock
from model.errors import Unavailable

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SEE_CHECK", "Health", "S3Backend", "open_store"]

log: Final = logging.getLogger("holdfast.store")

FIRST_QUESTION_S: Final = 6.0
"""For how long a start waits for any answer; a store that hangs is then waited for in the background."""
SAID_S: Final = 1.0
"""After so long it is said what is waited for."""
FIRST_LOOK_S: Final = 10.0
"""For how long a start waits for a store that answers slowly."""
_HARMLESS: Final = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"})
SEE_CHECK: Final = "correct the settings of the store; `registry.py storage check` tells more"
"""What to do about all that has no remedy of its own."""


@asynccontextmanager
async def open_store(
    settings: StoreSettings, clock: Clock, make_session: Callable[[], "aiohttp.ClientSession"], *, look: bool = True
) -> AsyncIterator[S3Backend]:
    """The store, open and looked at. One that does not answer is no obstacle: it is waited for (`S3Backend.watch`).

    Without `look` nobody finds out what it can do for clients; enough for a command that only reads and writes.

    Raises:
        StoreRefused: it answers, and the settings are wrong: bucket, keys, region, or no store at all.
    """
    keys, bodies = Keys(settings, clock), Bodies()
    await keys.open()
    try:
        async with make_session() as session, open_control(settings, clock, keys, session) as control:
            calls = Calls(settings, clock, keys, control, session, bodies)
            backend = S3Backend(calls, DirectUrls(settings, clock, calls.credentials))
            if await _reachable(calls) and look:
                with suppress(TimeoutError):  # `watch` looks again; until then clients are not sent there
                    async with asyncio.timeout(FIRST_LOOK_S):
                        await backend.look()
            yield backend
    finally:
        bodies.close()


async def _reachable(calls: Calls) -> bool:
    """Whether the store answers; then everything about the bucket and the keys is right. Raises: StoreRefused."""
    settings = calls.settings
    try:
        with calls.quietly():  # whoever starts us is told by the error
            await _asked_first(calls)
    except StoreUnavailable as error:
        reason = calls.circuit.reason or error
        log.warning("the store %s does not answer yet, and is waited for: %s", settings.base_url, reason)
        return False
    except StoreDenied as error:
        raise StoreRefused(error.reason, SEE_CHECK) from error
    except Unavailable as error:
        failed = error.__cause__
        if not isinstance(failed, CallFailed) or failed.refusal is None:
            raise StoreRefused(f"the store {settings.base_url} cannot be used: {error}", SEE_CHECK) from error
        if failed.trouble is Trouble.NO_BUCKET and settings.create_bucket:
            await _make_bucket(calls)
            return True
        told = refused.remedy(failed.refusal, settings, calls.credentials().key_id)
        raise StoreRefused(f"{settings.base_url}: {told}", SEE_CHECK) from error
    return True


async def _asked_first(calls: Calls) -> None:
    """Ask the first question, for FIRST_QUESTION_S at most; without an answer the circuit is open after it.

    Raises: as `Calls.first_question`.
    """

    def tell() -> None:
        if not calls.circuit.reason:  # else it is tried again, and told in the end
            log.info("asking the store %s, which does not answer at once", calls.settings.base_url)

    saying = asyncio.get_running_loop().call_later(SAID_S, tell)
    try:
        async with asyncio.timeout(FIRST_QUESTION_S):
            await calls.first_question()
    except (StoreUnavailable, TimeoutError) as error:
        why = calls.circuit.reason or f"no answer within {FIRST_QUESTION_S:.0f} s"
        calls.circuit.failed(why, hung=True)
        if isinstance(error, StoreUnavailable):
            raise
        raise StoreUnavailable("the store does not answer", retry_after_s=1) from None
    finally:
        saying.cancel()


async def _make_bucket(calls: Calls) -> None:
    """Make the bucket (M15). Raises: StoreRefused."""
    settings = calls.settings
    where: dict[str, Any] = {}
    if not settings.endpoint and settings.region != DEFAULT_REGION:
        where = {"CreateBucketConfiguration": {"LocationConstraint": settings.region}}
    try:
        await calls.control("create_bucket", **where)
    except Unavailable as error:
        failed = error.__cause__
        code = failed.refusal.code if isinstance(failed, CallFailed) and failed.refusal else ""
        if code not in _HARMLESS:
            told = f"the bucket {settings.bucket!r} is missing and cannot be made: {error}"
            raise StoreRefused(told, "make it by hand, or choose another name") from error
    else:
        log.info("the bucket %s was missing and has been made", settings.bucket)
