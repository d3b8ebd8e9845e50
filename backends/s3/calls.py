"""THE one place that talks to the store: circuit, retries, keys, errors and one line for the log, for every call.

may it go out (circuit.py) ─ with which keys (credentials.py) ─ one try (transfer.py, control.py)
  ├─ an answer                                     the circuit hears of it
  ├─ no answer, or one that says "ill" or "later"  rest (retrying.py), and again from the left
  ├─ the keys are refused                          again at once with the other pair, if there is one
  └─ anything else                                 an error of the port (errors.py)
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, Final, TypeVar

from backends.base import FileSlice, KeyMissing, StoreUnavailable
from backends.s3 import outside, reading, refused
from backends.s3.bodies import Bodies, length_of
from backends.s3.circuit import Circuit, State
from backends.s3.control import ASK_S, Control
from backends.s3.credentials import Keys
from backends.s3.errors import (
    OF_OUR_KEYS,
    OF_OUR_SETTINGS,
    TRIED_AGAIN,
    CallFailed,
    StoreDenied,
    Trouble,
    storage_error,
)
from backends.s3.readers import WIDE, Share
from backends.s3.retrying import BROKEN, patience_for
from backends.s3.settings import StoreSettings
from backends.s3.transfer import Request, Transfer
from model.clock import Clock
from model.errors import StorageFailed, StorageFull, Unavailable
from sigv4.authorization import signed_headers
from sigv4.canonical import EMPTY_SHA256
from sigv4.places import Place
from sigv4.signing import Credentials

if TYPE_CHECKING:
    import aiohttp

log: Final = logging.getLogger("holdfast.store")

PROBE_S: Final = 3.0
"""For the answer to a probe: a store that needs longer for nothing is no store to send anybody to."""
MISSING_PAUSE_S: Final = 0.1
"""What is not there is asked for once more after that."""
SAID_AGAIN_S: Final = 60.0
"""How often the log says the same about refused keys."""

T = TypeVar("T")


class Calls:
    """Calls to one bucket. `server`: the Server header last seen; `asked` and `failed`: how many tries there were."""

    def __init__(
        self,
        settings: StoreSettings,
        clock: Clock,
        keys: Keys,
        control: Control,
        session: "aiohttp.ClientSession",
        bodies: Bodies,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.place: Place = settings.internal
        self.session = session
        self.bodies = bodies
        self.transfer = Transfer(settings, clock, session, bodies)
        self.circuit = Circuit(clock)
        self.sleep = sleep
        self.server = ""
        self.denied = ""
        """Why the store refuses our keys; empty since it last took them."""
        self.denied_since_s = 0.0
        self.answered_at_s = clock.monotonic_s()
        self.asked = 0
        self.failed = 0
        self._keys = keys
        self._control = control
        self.chance = chance
        self._said_at_s = float("-inf")
        self._quiet = False

    def full_key(self, key: str) -> str:
        """The name of the object that has our `key`."""
        return self.settings.full_key(key)

    def credentials(self) -> Credentials:
        """The pair that works now."""
        return self._keys.now()

    async def control(
        self, operation: str, *, retry: bool = True, timeout_s: float | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """The answer to one operation of S3 on the bucket: `control("head_object", Key=full_key)`.

        Raises:
            StoreUnavailable, StoreDenied, StorageFull, KeyMissing, MultipartGone, StorageFailed: as errors.py says.
        """
        key = str(parameters.get("Key", parameters.get("Prefix", "")))

        async def once(pair: Credentials) -> dict[str, Any]:
            began_s = self.clock.monotonic_s()
            try:
                answer = await self._control.ask(operation, parameters, timeout_s or ASK_S)
            except CallFailed as failed:
                self._noted(operation, key, began_s, failed=failed)
                raise
            meta = answer.get("ResponseMetadata", {})
            headers = meta.get("HTTPHeaders", {})
            self._noted(operation, key, began_s, status=meta.get("HTTPStatusCode", 0), headers=headers)
            return answer

        try:
            return await self.tried(f"{operation.replace('_', ' ')} {key}".rstrip(), once, retry=retry)
        except KeyMissing as missing:
            if "Key" in parameters:  # what is gone is only believed of a bucket that is there
                await reading.check_missing(self, missing)
            raise

    async def send(
        self, key: str, query: Mapping[str, str], source: FileSlice | bytes, sha256: str | None
    ) -> Mapping[str, str]:
        """PUT bytes, which the store checks against their hash; the headers of the answer, in lower case.

        Raises: as `control`; StorageFailed: our own file cannot be read.
        """
        digest = sha256 or await self.bodies.sha256(source)
        request = Request("PUT", self.full_key(key), query, {})

        async def once(pair: Credentials) -> Mapping[str, str]:
            began_s = self.clock.monotonic_s()
            try:
                headers = await self.transfer.put(pair, request, source, digest)
            except CallFailed as failed:
                self._noted("PUT", request.key, began_s, failed=failed)
                raise
            self._noted("PUT", request.key, began_s, status=200, headers=headers, out_bytes=length_of(source))
            return headers

        try:
            return await self.tried(f"store {request.key}", once)
        except KeyMissing as missing:
            await reading.check_missing(self, missing)
            raise

    def fetch(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly those bytes, going on where a connection broke. Raises: KeyMissing, ShortRead as `Backend.get`."""
        return reading.pieces(self, key, start, length)

    async def opened(
        self, key: str, headers: Mapping[str, str], *, patient: bool = False, share: Share = WIDE
    ) -> "aiohttp.ClientResponse":
        """The answer to one GET, its body yet to be read; the caller closes it. `patient`: as in `tried`.

        Raises: as `control`; KeyMissing only when the bucket itself is there.
        """
        request = Request("GET", self.full_key(key), {}, headers)

        async def once(pair: Credentials) -> "aiohttp.ClientResponse":
            began_s = self.clock.monotonic_s()
            try:
                response = await self.transfer.get(pair, request, share)
            except CallFailed as failed:
                self._noted("GET", request.key, began_s, failed=failed)
                raise
            said, length_bytes = response.headers, response.content_length or 0
            self._noted("GET", request.key, began_s, status=response.status, headers=said, in_bytes=length_bytes)
            return response

        try:
            return await self.tried(f"read {request.key}", once, patient=patient)
        except KeyMissing as missing:
            await reading.check_missing(self, missing)
        # A store may say so for a moment while the object is replaced: nobody shall take it for lost because of that.
        await self.sleep(MISSING_PAUSE_S)
        try:
            return await self.tried(f"read {request.key}", once, patient=patient)
        except KeyMissing as missing:
            raise KeyMissing(f"nothing is stored under {request.key}") from missing.__cause__

    async def first_question(self) -> None:
        """List one object of ours: an answer to that has words, and no client knows better than our settings.

        Raises: as `control`.
        """
        request = Request("GET", "", {"prefix": self.full_key(""), "max-keys": "1"}, {})

        async def once(pair: Credentials) -> None:
            await self.transfer.closed(await self.transfer.get(pair, request))

        await self.tried(f"list the bucket {self.settings.bucket}", once)

    async def tried(
        self,
        doing: str,
        once: Callable[[Credentials], Awaitable[T]],
        *,
        retry: bool = True,
        patient: bool = False,
    ) -> T:
        """What `once` returns, tried as often as its troubles deserve. Raises: the port's errors.

        While the circuit is open a new call fails at once. One that has begun, or goes on with something (`patient`),
        waits for the store for as long as it would have tried again anyway.
        """
        began_s = since_s = self.clock.monotonic_s()
        tries = 0
        refused_keys: list[Credentials] = []
        while True:
            await self._admit(doing, began_s + BROKEN.whole_s if patient or (tries and retry) else began_s)
            pair, since_s = self._keys.now(), self.clock.monotonic_s()
            try:
                pair = await self._keys.current()
                result = await once(pair)
            except CallFailed as failed:
                self._heard(failed, doing.partition(" ")[0], since_s)
                if failed.trouble is Trouble.WRONG_KEY:
                    refused_keys.append(pair)
                    with suppress(CallFailed):  # borrowed keys that cannot be renewed are as good as none
                        if await self._keys.other_than(refused_keys) is not None:
                            continue
                tries += 1
                pause_s = self._pause_s(failed, tries, began_s) if retry else None
                if pause_s is None:
                    raise await self._error(failed, doing) from failed
                await self.sleep(pause_s)
            else:
                self._alive()
                self.denied = ""
                if refused_keys:
                    log.warning("the store refuses the key %s, and takes %s", refused_keys[0].key_id, pair.key_id)
                return result

    async def probe(self) -> None:
        """Ask the store for nothing (HEAD of the bucket), at once and once, and tell the circuit; never raises for it.

        One that answers with a refusal is asked again in the usual way, which finds a pair of keys that works.
        """
        url, region, pair = f"{self.place.root}{self.place.prefix}/", self.settings.region, self._keys.now()
        try:
            with suppress(CallFailed):  # an old pair is good enough to learn whether anybody answers
                pair = await self._keys.current()
            now_s = self.clock.now_s()
            signed = signed_headers(pair, self.place, "HEAD", "/", region=region, now_s=now_s, payload=EMPTY_SHA256)
            reply = await outside.ask(self.session, self.clock, "HEAD", url, headers=signed, timeout_s=PROBE_S)
        except outside.Unreachable as error:
            self.circuit.failed(str(error))
            return
        except BaseException as error:  # whatever it is: half open for ever would be worse
            self.circuit.failed(f"the probe was given up: {type(error).__name__}")
            raise
        if reply.status >= 500:
            self.circuit.failed(f"the store answers {reply.status}")
            return
        self.server = reply.headers.get("server", self.server)
        self._alive()
        if reply.ok:
            self.denied = ""
        elif reply.status == HTTPStatus.NOT_FOUND:  # or something on the way whose store is away
            self._refused_since(f"there is no bucket {self.settings.bucket!r} at {self.place.root}; look at S3_BUCKET")
        else:
            with suppress(Unavailable):
                await self.first_question()

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """The log is not told about refused keys, nor that nobody answers, meanwhile; only while nobody else asks."""
        self._quiet = self.circuit.quiet = True
        try:
            yield
        finally:
            self._quiet = self.circuit.quiet = False

    async def reconnect(self) -> None:
        """Send out the one probe that may go while the circuit is open; only when its `wait_s` is 0."""
        self.circuit.probing()
        await self.probe()

    def broke_off(self, failed: CallFailed) -> None:
        """An answer that had begun well did not come to its end."""
        self._heard(failed)

    async def _admit(self, doing: str, until_s: float) -> None:
        """Return when a call may go out. Raises: StoreUnavailable when none may before `until_s`."""
        while (wait_s := self.circuit.wait_s) > 0 or self.circuit.state is not State.CLOSED:
            if wait_s <= 0:
                await self.reconnect()
            elif self.clock.monotonic_s() + wait_s <= until_s:
                await self.sleep(wait_s)
            else:
                told = f"cannot {doing}: the store does not answer"
                raise StoreUnavailable(told, retry_after_s=max(1, ceil(wait_s)))

    def _pause_s(self, failed: CallFailed, tries: int, began_s: float) -> float | None:
        if failed.trouble not in TRIED_AGAIN:
            return None
        spent_s = self.clock.monotonic_s() - began_s
        return patience_for(failed.trouble).pause_s(tries, spent_s, self.chance(), failed.retry_after_s)

    def _alive(self) -> None:
        self.circuit.answered()
        self.answered_at_s = self.clock.monotonic_s()

    def _heard(self, failed: CallFailed, operation: str = "", since_s: float = 0.0) -> None:
        """What a failed try, made at `since_s`, says about the store itself."""
        if failed.trouble is Trouble.BROKEN:
            own = failed.refusal is not None and failed.refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR
            hung = failed.silent and self.answered_at_s <= since_s  # nobody else had an answer meanwhile either
            self.circuit.failed(failed.reason, at=operation if own else "", hung=hung)
        elif failed.refusal is not None and failed.trouble is not Trouble.BUSY:
            self._alive()

    async def _error(self, failed: CallFailed, doing: str) -> StorageFailed | StorageFull:
        """The error of the port; what only the operator can put right is told to the log (G19)."""
        if failed.trouble in OF_OUR_SETTINGS:
            failed = await self._seen_closer(failed)
            told = self._explained(failed)
            if failed.trouble is not Trouble.DENIED:  # that may be about this one object
                self._refused_since(told)
            now_s = self.clock.monotonic_s()
            if now_s - self._said_at_s >= SAID_AGAIN_S and not self._quiet:
                self._said_at_s = now_s
                log.error("cannot %s: %s", doing, told)
            if failed.trouble in OF_OUR_KEYS:
                return StoreDenied(told)
        return storage_error(failed, doing)

    async def _seen_closer(self, failed: CallFailed) -> CallFailed:
        """A refused signature, as told about a request of which we know what we signed, and whose answer has words."""
        worded = failed.canonical and failed.refusal is not None and failed.refusal.code
        if worded or failed.trouble is not Trouble.WRONG_KEY:
            return failed
        try:
            request = Request("GET", "", {"prefix": self.full_key(""), "max-keys": "1"}, {})
            await self.transfer.closed(await self.transfer.get(self._keys.now(), request))
        except CallFailed as again:
            return again if again.trouble in OF_OUR_SETTINGS else failed
        return CallFailed(Trouble.DENIED, failed.reason, failed.refusal)

    def _explained(self, failed: CallFailed) -> str:
        """Which setting to look at."""
        if failed.refusal is None:
            return failed.reason
        key_id, (canonical, skew_s) = self._keys.now().key_id, (failed.canonical, failed.skew_s)
        return refused.remedy(failed.refusal, self.settings, key_id, canonical=canonical, skew_s=skew_s)

    def _refused_since(self, told: str) -> None:
        if not self.denied:
            self.denied_since_s = self.clock.now_s()
        self.denied = told

    def _noted(
        self,
        method: str,
        key: str,
        began_s: float,
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        out_bytes: int = 0,
        in_bytes: int = 0,
        failed: CallFailed | None = None,
    ) -> None:
        """Count a try, and tell the log about it (M18, G13)."""
        self.asked += 1
        headers = headers or {}
        self.server = headers.get("server", self.server)
        came: object = status
        if failed is not None:
            self.failed += 1
            came = failed.reason
        if log.isEnabledFor(logging.DEBUG):
            took_ms = 1000 * (self.clock.monotonic_s() - began_s)
            request_id = headers.get("x-amz-request-id", "-")
            form = "%s %s: %s in %.0f ms, %d bytes out, %d in, request id %s"
            log.debug(form, method, key, came, took_ms, out_bytes, in_bytes, request_id)
