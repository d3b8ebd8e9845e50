"""Looking at a store: what it can do, tried on objects of a few bytes that are gone afterwards (s3-sigv4 0.3, 1.6).

    the bucket answers ─ write, read, list ─ multipart ─ signed URLs from outside, in each form ─ copies ─ clean-up

`reaching.py`, `ownprobe.py` and `urlprobe.py` have the steps; here is their order, and what they come to. A step that
does not work says so and the next one follows; only a store that is gone ends the look.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from backends.base import StoreUnavailable
from backends.s3 import families
from backends.s3.addresses import barred, external_url
from backends.s3.calls import Calls
from backends.s3.direct import DirectUrls
from backends.s3.findings import SKEWED_S, Aspect, Findings, Step, ahead
from backends.s3.outside import Unreachable
from backends.s3.ownprobe import BODY, OwnProbe
from backends.s3.reaching import Reach, Refused
from backends.s3.settings import StoreSettings
from backends.s3.urlprobe import UrlProbe
from model.clock import Clock
from model.errors import RegistryError

if TYPE_CHECKING:
    import aiohttp

LOOK_S: Final = 60.0
"""The longest that a look takes, the clean-up apart."""
OUTSIDE: Final = (Aspect.PLAIN, Aspect.LINK, Aspect.HASH, Aspect.CHECKED, Aspect.UNHASHED)
"""What takes a URL that is signed for clients."""


async def look(calls: Calls, settings: StoreSettings, clock: Clock, session: "aiohttp.ClientSession") -> Findings:
    """What the store can do now. Never raises for the store's sake: one that is dead has `reachable` False.

    Leaves nothing behind, also when it fails or is cancelled in the middle; if the store dies meanwhile, a few bytes
    stay until a look an hour later.
    """
    return await Look(calls, settings, clock, session).run()


class Look:
    """One look; `steps` grows as it goes on."""

    def __init__(self, calls: Calls, settings: StoreSettings, clock: Clock, session: "aiohttp.ClientSession") -> None:
        self._calls = calls
        self._settings = settings
        self._clock = clock
        self._barred = barred(settings)
        self._reach = Reach(calls, settings, clock, session)
        self._own = OwnProbe(calls, settings, clock, self._reach)
        self._urls = UrlProbe(DirectUrls(settings, clock, calls.credentials), settings, clock, session)
        self.steps: list[Step] = []

    async def run(self) -> Findings:
        """See `look`."""
        trouble = ""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._all()
        except TimeoutError:
            trouble = f"it answers too slowly: a look at it was not through after {LOOK_S:.0f} s"
        except _Gone as gone:
            trouble = str(gone)
        finally:
            if self._own.left_something:
                await self._try(Aspect.CLEAN, self._own.clean)
        return self._found(trouble)

    async def _all(self) -> None:
        await self._begin()
        own = self._own
        if written := await self._step(Aspect.WRITE, own.write):
            await self._step(Aspect.READ, own.read)
            await self._step(Aspect.RANGE, own.read_range)
        await self._step(Aspect.LIST, own.listed)
        if await self._step(Aspect.MULTIPART, own.multipart):
            await self._from_outside(written=written)
        if written:
            await self._step(Aspect.COPY, own.copy)
            await self._step(Aspect.COPY_PARTS, own.copy_parts)
            await self._step(Aspect.COPY_SHA256, own.copy_sha256)

    async def _begin(self) -> None:
        """The bucket answers; _Gone when it does not."""
        if not await self._try(Aspect.REACH, self._reach.bucket):
            raise _Gone(self.steps[-1].told)
        skew_s = self._reach.skew_s
        if skew_s is not None:
            told = ahead(skew_s) if skew_s else ""
            self.steps.append(Step(Aspect.CLOCK, abs(skew_s) < SKEWED_S, told=told))

    async def _from_outside(self, *, written: bool) -> None:
        """Every form of a signed URL, as far as those before it make sense; none where the operator wants none."""
        if not self._settings.direct:
            self.steps += [Step(aspect, None, told=self._barred) for aspect in OUTSIDE]
            return
        urls, key, upload_id = self._urls, self._own.open_key, self._own.open_id
        if await self._step(Aspect.PLAIN, lambda: urls.plain(key, upload_id, self._calls.credentials())):
            if written:
                await self._step(Aspect.LINK, lambda: urls.link(self._own.key, BODY))
            if await self._step(Aspect.HASH, lambda: urls.hashed(key, upload_id)) and written:
                await self._step(Aspect.CHECKED, lambda: urls.checked(key, upload_id, self._own.key))
            await self._step(Aspect.UNHASHED, lambda: urls.unhashed(key, upload_id))

    async def _step(self, aspect: Aspect, act: Callable[[], Awaitable[str | None]]) -> bool:
        """Try one thing, and tell a store that cannot do it from one that is gone. _Gone: it is."""
        try:
            return await self._try(aspect, act)
        except StoreUnavailable:
            if not await self._try(Aspect.REACH, self._reach.bucket):
                raise _Gone(self.steps[-1].told) from None
            self.steps.pop()
            return False

    async def _try(self, aspect: Aspect, act: Callable[[], Awaitable[str | None]]) -> bool:
        """Note whether it works, how long it took, and what is told of it. StoreUnavailable is noted and raised."""
        began_s = self._clock.monotonic_s()
        works, told = False, ""
        try:
            told, works = await act() or "", True
        except StoreUnavailable as error:
            told = str(error)
            raise
        except (Refused, Unreachable, RegistryError) as error:
            told = getattr(error, "reason", "") or str(error)
        finally:
            self.steps.append(Step(aspect, works, self._clock.monotonic_s() - began_s, told))
        return works

    def _works(self, aspect: Aspect) -> bool:
        return any(step.works for step in self.steps if step.aspect is aspect)

    def _found(self, trouble: str) -> Findings:
        """What the steps come to."""
        forms = families.Forms(
            plain=self._works(Aspect.PLAIN),
            hashed=self._works(Aspect.HASH),
            refuses_wrong=self._works(Aspect.CHECKED),
            unhashed=self._works(Aspect.UNHASHED),
        )
        return Findings(
            when_s=self._clock.now_s(),
            reachable=not trouble,
            plain=forms.plain,
            hashed=families.form_with_hash(forms),
            checks_hashes=forms.refuses_wrong,
            family=families.family(forms) if self._settings.direct else "",
            external=self._from_there(),
            barred=self._barred,
            multipart=self._works(Aspect.MULTIPART),
            copy=self._works(Aspect.COPY),
            copy_sha256=self._works(Aspect.COPY_SHA256),
            skew_s=self._reach.skew_s,
            server=self._reach.server,
            trouble=trouble,
            steps=tuple(sorted(self.steps, key=lambda step: _ORDER[step.aspect])),
        )

    def _from_there(self) -> str:
        """Which address was tried for clients, and what came of it."""
        url = external_url(self._settings)
        step = next((step for step in self.steps if step.aspect is Aspect.PLAIN), None)
        if step is None or step.works is None:
            return f"{url} was not tried"
        return f"reached at {url}" if step.works else f"signed URLs for {url} do not work: {step.told}"


class _Gone(Exception):
    """The store cannot be used, or not any more; the message says why."""


_ORDER: Final = {aspect: place for place, aspect in enumerate(Aspect)}
