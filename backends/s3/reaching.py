"""Asking for a bucket, once: whether it answers, what its refusal means, how its clock goes and what store it is.

One request of our own, signed in its header, past circuit and retries: its answer is looked at as it came.
"""

from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from backends.s3 import naming, refused
from backends.s3.calls import Calls
from backends.s3.outside import Reply, Unreachable, ask
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import RegistryError
from model.units import HOUR_S
from sigv4.authorization import signed_headers
from sigv4.canonical import EMPTY_SHA256, canonical_query

if TYPE_CHECKING:
    import aiohttp

ASK_S: Final = 10.0
_FORBIDDEN: Final = 403


class Refused(Exception):
    """The store, or something before it, did not do it; the message is one sentence for a person."""


class Reach:
    """The bucket of the settings, as we reach it ourselves."""

    skew_s: float | None = None
    """How far the store's clock is ahead of ours; None: it did not say."""
    server: str = ""
    """The store's name, as far as it tells."""

    def __init__(self, calls: Calls, settings: StoreSettings, clock: Clock, session: "aiohttp.ClientSession") -> None:
        self._calls = calls
        self._settings = settings
        self._clock = clock
        self._session = session
        self._canonical = ""

    async def bucket(self) -> None:
        """The bucket can be listed, with one of our key pairs (G04).

        Raises:
            Unreachable: nobody answers. Refused: somebody does; says which setting to look at.
        """
        reply = await self._listing()
        if reply.status == _FORBIDDEN:
            reply = await self._with_other_pair(reply)
        self.skew_s = skew_s(reply, self._clock.now_s())
        if not reply.ok:
            raise Refused(self._meaning(reply))
        await self._learn_name(reply)

    async def _with_other_pair(self, reply: Reply) -> Reply:
        former = self._calls.credentials()
        with suppress(RegistryError):  # what counts is only which pair works afterwards
            await self._calls.control("list_objects_v2", timeout_s=ASK_S, MaxKeys=1, Prefix=self._settings.full_key(""))
        return reply if self._calls.credentials() == former else await self._listing()

    async def _listing(self) -> Reply:
        place, path = self._settings.internal, "/"
        parameters = {"list-type": "2", "max-keys": "1", "prefix": self._settings.full_key("")}
        sent = signed_headers(
            self._calls.credentials(),
            place,
            "GET",
            path,
            parameters,
            region=self._settings.region,
            now_s=self._clock.now_s(),
            payload=EMPTY_SHA256,
        )
        self._canonical = refused.canonical_of(place, "GET", path, parameters, sent)
        url = f"{place.root}{place.prefix}{path}?{canonical_query(parameters.items())}"
        return await ask(self._session, self._clock, "GET", url, headers=sent, timeout_s=ASK_S)

    def _meaning(self, reply: Reply) -> str:
        refusal = refused.read(reply.status, reply.body, reply.headers)
        key_id, skewed_s = self._calls.credentials().key_id, self.skew_s or 0.0
        return refused.remedy(refusal, self._settings, key_id, canonical=self._canonical, skew_s=skewed_s)

    async def _learn_name(self, reply: Reply) -> None:
        self.server = naming.name_of(reply.headers)
        if self.server == naming.SWIFT:
            with suppress(Unreachable):
                url = f"{self._settings.base_url}/info"
                info = await ask(self._session, self._clock, "GET", url, timeout_s=ASK_S)
                self.server = f"{self.server} {naming.swift_version(info.body)}".strip()

    def is_old(self, when: object) -> bool:
        """Whether what the store dates so is older than an hour, by the store's own clock; no date: it is not."""
        store_now_s = self._clock.now_s() + (self.skew_s or 0.0)
        return isinstance(when, datetime) and store_now_s - when.timestamp() > HOUR_S


def skew_s(reply: Reply, now_s: float) -> float | None:
    """How far the store's clock is ahead of ours, by the Date of an answer, which has whole seconds only."""
    try:
        dated_s = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
    off_s = dated_s + 0.5 - (now_s - reply.took_s / 2)
    return 0.0 if abs(off_s) < 1 + reply.took_s / 2 else off_s
