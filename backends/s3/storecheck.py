"""What `storage check` asks of a store: a look at it, and what lies there that nobody knows any more (M18, G12).

Only `holdfast/uploads/` and `holdfast/probe/` are looked through for the latter: what lies there is made by us alone
(what has no name of ours is left alone even there), and whatever of it counts has a row in the catalog from before it
was begun. Unfinished multipart uploads under a blob's own key may be another program's, so they are told of and never
touched.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from backends.base import KeyMissing, MultipartGone
from backends.s3.addresses import barred
from backends.s3.backend import SEE_CHECK, S3Backend, open_store
from backends.s3.errors import StoreRefused
from backends.s3.findings import Aspect, Findings, Step
from backends.s3.ownprobe import PROBES, is_probe
from backends.s3.probing import look
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import RegistryError
from model.units import HOUR_S

if TYPE_CHECKING:
    import aiohttp

UPLOADS: Final = "holdfast/uploads/"
OURS: Final = (UPLOADS, PROBES)
"""Below these everything is ours, and temporary."""
_NAMED_BY_US: Final = re.compile(rf"{UPLOADS}[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}/[0-9a-f]{{16,32}}")
"""An upload's id, and a token."""
COPIES: Final = "holdfast/catalog/"
YOUNG_S: Final = HOUR_S
"""What is younger is left alone while a server runs."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object, or an unfinished multipart upload (`upload_id` is set): its key without the prefix, and its age."""

    key: str
    age_s: float
    size_bytes: int = 0
    upload_id: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What lies in the bucket besides blobs that are settled."""

    ours: list[Thing] = field(default_factory=list)
    """Below `OURS`."""
    elsewhere: list[Thing] = field(default_factory=list)
    """Unfinished multipart uploads under other keys."""
    copies: list[str] = field(default_factory=list)
    """The names of what lies below `COPIES`."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog knows: keys that are in use, and the store's ids of uploads under way."""

    keys: frozenset[str] = frozenset()
    upload_ids: frozenset[str] = frozenset()


class Checked:
    """A store that was opened to be looked at; `backend` is None where it could not be used at all."""

    def __init__(self, findings: Findings, backend: S3Backend | None, settings: StoreSettings, clock: Clock) -> None:
        self.findings = findings
        self.backend = backend
        self._calls = backend.calls if backend else None
        self._settings = settings
        self._clock = clock

    @property
    def key_id(self) -> str:
        """The id of the key that the store takes; without an open store the first that was said."""
        return self._calls.credentials().key_id if self._calls else self._settings.key_id

    async def holdings(self) -> Holdings:
        """Look through the bucket. StorageFailed: it cannot be listed; nothing is passed over in silence."""
        ours = [thing for prefix in OURS for thing in await self._objects(prefix)]
        uploads = await self._uploads()
        return Holdings(
            ours=ours + [thing for thing in uploads if thing.key.startswith(OURS)],
            elsewhere=[thing for thing in uploads if not thing.key.startswith(OURS)],
            copies=[thing.key.rpartition("/")[2] for thing in await self._objects(COPIES)],
        )

    async def remove(self, things: Collection[Thing]) -> list[Thing]:
        """Remove what is ours and forgotten; returns what could not be. ValueError, and nothing done: not all is ours.

        What is gone already is fine.
        """
        if not all(thing.key.startswith(OURS) for thing in things):
            raise ValueError("only what is below holdfast/ is ours to remove")
        return [thing for thing in things if not await self._removed(thing)]

    async def _removed(self, thing: Thing) -> bool:
        where = {"Key": self._settings.full_key(thing.key)}
        try:
            if thing.upload_id:
                await self._control("abort_multipart_upload", UploadId=thing.upload_id, **where)
            else:
                await self._control("delete_object", **where)
        except (KeyMissing, MultipartGone):
            return True
        except RegistryError:
            return False
        return True

    async def _objects(self, prefix: str) -> list[Thing]:
        found, more = [], {"Prefix": self._settings.full_key(prefix)}
        while True:
            page = await self._control("list_objects_v2", **more)
            found += [self._thing(each, "LastModified") for each in page.get("Contents") or []]
            if not page.get("IsTruncated"):
                return found
            more["ContinuationToken"] = page["NextContinuationToken"]

    async def _uploads(self) -> list[Thing]:
        found, more = [], {"Prefix": self._settings.full_key("")} if self._settings.prefix else {}
        while True:
            page = await self._control("list_multipart_uploads", **more)
            found += [self._thing(each, "Initiated") for each in page.get("Uploads") or []]
            if not page.get("IsTruncated"):
                return found
            more |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _thing(self, entry: dict[str, Any], dated: str) -> Thing:
        when = entry.get(dated)
        now_s = self._clock.now_s() + (self.findings.skew_s or 0.0)
        age_s = now_s - when.timestamp() if isinstance(when, datetime) else 0.0
        key = entry["Key"][len(self._settings.full_key("")) :]
        return Thing(key, max(0.0, age_s), entry.get("Size", 0), entry.get("UploadId", ""))

    async def _control(self, operation: str, **parameters: Any) -> dict[str, Any]:
        if self._calls is None:
            raise ValueError("the store could not be opened")
        return await self._calls.control(operation, **parameters)


@asynccontextmanager
async def checked(
    settings: StoreSettings, clock: Clock, make_session: "Callable[[], aiohttp.ClientSession]"
) -> AsyncIterator[Checked]:
    """Open the store and look at it. Never raises for the store's sake: what is wrong with it is in the findings."""
    async with AsyncExitStack() as stack:
        store: S3Backend | None = None
        try:
            store = await stack.enter_async_context(open_store(settings, clock, make_session))
        except StoreRefused as refusal:
            found = refused(refusal.reason if refusal.remedy == SEE_CHECK else str(refusal), settings, clock)
        else:
            found = store.findings
            if not found.reachable:  # it was not looked at, or not through: now for the reason
                found = await look(store.calls, settings, clock, store.calls.session)
        yield Checked(found, store, settings, clock)


def refused(why: str, settings: StoreSettings, clock: Clock) -> Findings:
    """What is found of a store that lets nobody in."""
    steps = (Step(Aspect.REACH, False, told=why),)
    return Findings(when_s=clock.now_s(), trouble=why, barred=barred(settings), steps=steps)


def forgotten(holdings: Holdings, known: Known, *, older_than_s: float) -> list[Thing]:
    """What is ours and nobody knows any more: neither a row nor a blob, and old enough.

    Ask the catalog after the bucket was looked through: a row is written before the store is asked for anything, so
    whatever was seen and counts has one then.
    """
    return [
        thing
        for thing in holdings.ours
        if thing.age_s >= older_than_s and is_named_by_us(thing.key) and not _is_known(thing, known)
    ]


def is_named_by_us(key: str) -> bool:
    """Whether a key below `OURS` has the form that we give to keys there; what somebody else put there has not."""
    return _NAMED_BY_US.fullmatch(key) is not None or is_probe(key)


def strangers(holdings: Holdings, known: Known) -> list[Thing]:
    """Unfinished uploads under other keys that the catalog does not know: perhaps ours, perhaps not."""
    return [thing for thing in holdings.elsewhere if not _is_known(thing, known)]


def _is_known(thing: Thing, known: Known) -> bool:
    return thing.key in known.keys or (thing.upload_id != "" and thing.upload_id in known.upload_ids)
