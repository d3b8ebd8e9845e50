"""Whose bucket it is: one registry's, which is written there, and nobody else's work is done in it.

    holdfast/registry        {"id": "...", "since": "..."}: the id of a catalog, which stands in its table `setting`

    no such object           written, if the catalog knows no blobs, or the bucket has them; not by a catalog that holds
                             nothing beside copies of one: those are another's
    our id                   fine
    another id               refused, until somebody takes the bucket over
    no answer                asked again until there is one; meanwhile nothing is stored, discarded, settled or copied
                             there: uploads wait in the spool, and go on by themselves

The id travels with copies of the catalog, so a restored one is the registry that it was.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backends.base import Backend, KeyMissing, StoreUnavailable
from model.clock import rfc3339
from model.errors import Unavailable
from store import blob_rows as rows
from store.bucket_copies import has_copies, registry_id
from store.catalog import Catalog
from store.layout import BLOBS, REGISTRY
from store.refusals import RESTORE_COMMAND, TAKE_OVER_COMMAND, CannotStart
from store.streams import closing

LOOK_S: Final = 1.0
"""How often a store that was away is asked whose bucket it is, once it answers."""
LOOK_AGAIN_S: Final = 60.0
"""How often a bucket that is another registry's is looked at again: somebody may have put it right."""
_LARGEST_BYTES: Final = 4096
_GOING: Final = "registry.unfinished"

_log: Final = logging.getLogger("holdfast.store")


@dataclass(frozen=True, slots=True)
class Owner:
    """Which registry a bucket belongs to, and since when (RFC 3339); both as the bucket says them."""

    id: str
    since: str = ""

    def __str__(self) -> str:
        return f"registry {self.id}" + (f" since {self.since}" if self.since else "")


UNASKED: Final = "it is not known whether the bucket is this registry's, so nothing is stored there"
UNKNOWN: Final = Owner("of an unknown id")
"""Whoever wrote something there that is not ours to read, or copies of a catalog before there were ids."""


class WrongStore(CannotStart):
    """The catalog knows blobs, and the bucket has none at all."""

    in_short = "the bucket has none of the blobs that are known here, so nothing is stored there"

    def __init__(self) -> None:
        super().__init__(
            f"the catalog knows blobs, but there are none at all below {BLOBS} in the bucket",
            "set s3_bucket, s3_endpoint and s3_path_prefix right; if the blobs are lost for good, put any object there"
            " to go on",
        )


class OtherRegistry(CannotStart):
    """The bucket, below the prefix, belongs to another registry than the data folder's. Nothing was changed there."""

    in_short = "the bucket belongs to another registry, so nothing is stored there"

    def __init__(self, owner: Owner, own_id: str) -> None:
        super().__init__(
            f"the bucket belongs to another registry ({owner}; this folder has registry {own_id})",
            f"on a machine that takes the place of a lost one, bring its names back with `{RESTORE_COMMAND}`; or set"
            f" another s3_path_prefix or s3_bucket; or begin anew there with `{TAKE_OVER_COMMAND}`",
        )
        self.owner = owner


class NotProvenOurs(StoreUnavailable):
    """Nothing is stored in the bucket for now: it is not proven to be ours, for the reason that the message says."""

    def __init__(self, message: str, inner: str) -> None:
        super().__init__(inner)
        self.message = message


class Ownership:
    """Whether the bucket is proven to be this catalog's. Once proven it stays so for as long as the process lives."""

    def __init__(self, catalog: Catalog, backend: Backend, *, proven: bool = False) -> None:
        """`proven`: there is nobody to share the content with, as in a folder."""
        self._catalog = catalog
        self._backend = backend
        self._proven = proven
        self.trouble = "" if proven else "it was not asked yet whose bucket it is"
        """Why it is not proven, for readiness."""
        self._in_short = UNASKED  # the same in words for clients; empty: the store is away
        self._refused = False
        self._asking: asyncio.Task[None] | None = None

    def is_proven(self) -> bool:
        """Whether what lies in the bucket may be removed, moved and added to."""
        return self._proven

    async def require(self) -> None:
        """For whoever is about to store something there; what is not known is asked now, once for all who want to know.

        Raises:
            NotProvenOurs, StoreUnavailable: it is not proven to be ours; tried again later, it may be.
        """
        if not self._proven and not self._refused:  # a bucket that is another's is looked at by `proven_later`
            await self._ask()
        if not self._proven and self._in_short:
            raise NotProvenOurs(self._in_short, self.trouble)
        if not self._proven:
            raise StoreUnavailable(self.trouble)

    async def prove(self) -> None:
        """Look whose bucket it is, and make it ours when it is nobody's; at most a few requests.

        Raises:
            OtherRegistry: it is another's. WrongStore: the catalog knows blobs, and the bucket has none.
            Unavailable, OSError: it is not known now; asking again later is right.
        """
        own_id = await registry_id(self._catalog)
        owner = await owner_of(self._backend)
        if owner is None:
            await self._require_free(own_id)
            await self._write(own_id)
            owner = await owner_of(self._backend)  # somebody may have written at the same moment
        if owner is None or owner.id != own_id:
            raise OtherRegistry(owner or UNKNOWN, own_id)
        self._proven, self._refused, self.trouble = True, False, ""

    async def proven_later(self, then: Callable[[], None]) -> None:
        """In the background: prove what could not be proven at the start, once the store is there; `then` is called."""
        if self.is_proven():
            return
        while not self.is_proven():
            await asyncio.sleep(LOOK_S)
            await self._ask()
            if self._refused:  # somebody may take it over
                await asyncio.sleep(LOOK_AGAIN_S)
        _log.info("the bucket is this registry's")
        then()

    async def _ask(self) -> None:
        """Try to prove it, together with whoever tries just now; what stands against it is told by `trouble`."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._try())
        await asyncio.shield(self._asking)

    async def _try(self) -> None:
        try:
            await self.prove()
        except (OtherRegistry, WrongStore) as refused:
            if self.trouble != str(refused):
                _log.error("%s; until then nothing is stored, settled, removed or copied there", refused)
            self.trouble, self._in_short, self._refused = str(refused), refused.in_short, True
        except (Unavailable, OSError) as error:
            self.unknown(error)

    def unknown(self, error: Exception) -> None:
        """It could not be asked, for that reason."""
        self.trouble = f"whether it is the right bucket is not known, since it cannot be asked now: {error}"
        self._in_short = "" if isinstance(error, StoreUnavailable) else UNASKED
        self._refused = False

    async def take_over(self) -> Owner | None:
        """Make the bucket ours, whosever it was; who that was, if it was another's. Unavailable, OSError: it is not."""
        own_id = await registry_id(self._catalog)
        former = await owner_of(self._backend)
        if former is None or former.id != own_id:
            await self._write(own_id)
            _log.warning("the bucket belongs to registry %s now; it was %s", own_id, former or "nobody's")
        self._proven, self._refused, self.trouble = True, False, ""
        return None if former is None or former.id == own_id else former

    async def _require_free(self, own_id: str) -> None:
        """Nobody's name is there; what else is there must be ours, or nobody's."""
        if await self._catalog.read(rows.has_blobs):
            if not await _has_any(self._backend, BLOBS) and not await _has_unsettled(self._catalog, self._backend):
                raise WrongStore
        elif not await self._catalog.read(rows.has_content) and await has_copies(self._backend):
            raise OtherRegistry(UNKNOWN, own_id)

    async def _write(self, own_id: str) -> None:
        since = rfc3339(self._catalog.clock.now_s())
        going = self._catalog.data_dir / _GOING
        try:
            await asyncio.to_thread(going.write_text, json.dumps({"id": own_id, "since": since}) + "\n", "utf-8")
            await self._backend.put(REGISTRY, going)
        finally:
            going.unlink(missing_ok=True)


async def require_right_store(catalog: Catalog, backend: Backend) -> Ownership:
    """At start: see that the bucket is ours. A store that does not answer now is asked again (`proven_later`).

    Raises:
        OtherRegistry: it is another registry's. WrongStore: the catalog knows blobs, and the bucket has none.
    """
    ownership = Ownership(catalog, backend)
    try:
        await ownership.prove()
    except (Unavailable, OSError) as error:
        ownership.unknown(error)
        said = isinstance(error, StoreUnavailable)  # whoever opened the store has warned of it
        _log.log(logging.INFO if said else logging.WARNING, "%s", ownership.trouble)
    return ownership


async def owner_of(backend: Backend) -> Owner | None:
    """Whose bucket it is, as it says itself; None: nobody's. StorageFailed: it cannot be asked."""
    content = b""
    try:
        async with closing(backend.get(REGISTRY)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > _LARGEST_BYTES:
                    return UNKNOWN
    except KeyMissing:
        return None
    return read_owner(content)


def read_owner(content: bytes) -> Owner:
    """What the object says; somebody unknown, where that is not what we write."""
    try:
        told = json.loads(content)
        return Owner(str(told["id"])[:64], str(told.get("since", ""))[:64])
    except (ValueError, KeyError, TypeError, AttributeError):
        return UNKNOWN


async def _has_any(backend: Backend, prefix: str) -> bool:
    async with closing(backend.keys(prefix)) as keys:
        async for _ in keys:
            return True
    return False


async def _has_unsettled(catalog: Catalog, backend: Backend) -> bool:
    """Whether a blob that is not settled is where it should be; one is enough to know the bucket by."""
    for _, key in await catalog.read(rows.unsettled):
        try:
            await backend.size(key)
        except KeyMissing:
            continue
        return True
    return False
