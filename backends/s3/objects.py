"""An object store as a place for bytes: the verbs of the port, parts, copies, and URLs for clients.

Every object of ours lies below the prefix of the settings; everybody else sees keys without it (H077).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backends.base import FileSlice, KeyMissing, RemotePart, StoreUnavailable, to_its_end
from backends.keys import checked, is_key
from backends.s3 import parts, probing, reading
from backends.s3.calls import Calls
from backends.s3.circuit import State
from backends.s3.direct import DirectUrls
from backends.s3.errors import Trouble, trouble_behind
from backends.s3.findings import Findings, news
from model.errors import StorageFailed
from model.units import MIB, MINUTE_S
from sigv4.presigning import Presigned

log: Final = logging.getLogger("holdfast.store")

ONE_PUT_BYTES: Final = parts.LARGEST_PART_BYTES
"""What is larger has to go up in parts. Nothing else does: one PUT that is cut short leaves nothing in the store, and
uploads that are large and come slowly are sent in parts by those who keep a record of them."""
PUT_PART_BYTES: Final = 64 * MIB
SENT_AT_ONCE: Final = 4
IDLE_S: Final = 5.0
"""A store that nobody has heard of for so long is asked whether it is there."""
WATCH_S: Final = 1.0
LOOK_AGAIN_S: Final = 10.0 * MINUTE_S
"""How often it is looked at anew what the store can do (H046, H047)."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the store answers us and takes our keys; if not, why, and since when (seconds since the epoch)."""

    ok: bool
    reason: str
    since_s: float


class S3Backend:
    """One bucket (`Backend`, with the abilities `Multipart`, `Copies` and `Direct`); made by `backend.open_store`."""

    smallest_part_bytes = parts.SMALLEST_PART_BYTES
    largest_part_bytes = parts.LARGEST_PART_BYTES
    most_parts = parts.MOST_PARTS

    def __init__(self, calls: Calls, direct: DirectUrls) -> None:
        self.calls = calls
        self._direct = direct
        self._looked_at_s = float("-inf")
        self._look_took_s = 0.0

    @property
    def health(self) -> Health:
        """For readiness."""
        calls, circuit = self.calls, self.calls.circuit
        if circuit.state is not State.CLOSED:
            return Health(False, f"the store does not answer: {circuit.reason}", circuit.since_s)
        if calls.denied:
            return Health(False, calls.denied, calls.denied_since_s)
        return Health(True, "", circuit.since_s)

    @property
    def findings(self) -> Findings:
        """What the last look at the store has found."""
        return self._direct.found

    async def look(self) -> None:
        """Find out anew what the store can do, and tell the log what is new about it."""
        calls = self.calls
        began_s = calls.clock.monotonic_s()
        try:
            found = await probing.look(calls, calls.settings, calls.clock, calls.session)
        finally:
            self._looked_at_s = calls.clock.monotonic_s()
            self._look_took_s = self._looked_at_s - began_s
        for line in news(self._direct.found, found):
            log.info("%s", line)
        self._direct.found = found

    async def watch(self) -> None:
        """For ever: notice that the store is gone or back, also when nobody asks for it, and look at it again."""
        calls = self.calls
        while True:
            await calls.sleep(WATCH_S)
            now_s = calls.clock.monotonic_s()
            if calls.circuit.state is State.CLOSED:
                if now_s - calls.answered_at_s >= IDLE_S:
                    await calls.probe()
            elif calls.circuit.wait_s <= 0:
                await calls.reconnect()
            due_s = LOOK_AGAIN_S if self.findings.reachable else max(IDLE_S, self._look_took_s)
            if self.health.ok and now_s - self._looked_at_s >= due_s:
                await self.look()

    async def put(self, key: str, source: Path) -> None:
        """Store the file `source` under `key` and remove it; see `Backend.put`."""
        checked(key)
        await to_its_end(asyncio.ensure_future(self._put(key, source)))

    async def _put(self, key: str, source: Path) -> None:
        size_bytes = await self.calls.bodies.size(source)
        whole = FileSlice(source, 0, size_bytes)
        if size_bytes <= ONE_PUT_BYTES:
            await self.calls.send(key, {}, whole, None)
        else:
            await self._put_by_parts(key, whole)
        await self.calls.bodies.remove(source)

    async def _put_by_parts(self, key: str, whole: FileSlice) -> None:
        store_upload_id = await self.begin(key)
        part_bytes = max(PUT_PART_BYTES, -(-whole.length_bytes // self.most_parts // MIB) * MIB)

        async def sent(number: int, start: int) -> RemotePart:
            piece = FileSlice(whole.path, start, min(part_bytes, whole.length_bytes - start))
            return await self.send_part(key, store_upload_id, number, piece)

        try:
            starts = enumerate(range(0, whole.length_bytes, part_bytes), 1)
            stored = await parts.some_at_once((sent(number, start) for number, start in starts), SENT_AT_ONCE)
            await self.assemble(key, store_upload_id, stored)
        except BaseException:
            await parts.swept(self.abort(key, store_upload_id))
            raise

    async def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly those bytes, in pieces of up to 256 KiB; see `Backend.get`."""
        async for piece in self.calls.fetch(checked(key), start, length):
            yield piece

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; see `Backend.size`."""
        return await reading.size(self.calls, checked(key))

    async def delete(self, key: str) -> None:
        """Remove `key`; see `Backend.delete`."""
        try:
            await self.calls.control("delete_object", Key=self.calls.full_key(checked(key)))
        except KeyMissing:
            return
        except StoreUnavailable as error:
            if trouble_behind(error) is not Trouble.UNREADABLE or await parts.size_or_none(self.calls, key) is not None:
                raise

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; see `Backend.keys`."""
        above = len(self.calls.full_key(""))
        async for name in self._names(self.calls.full_key(prefix)):
            if is_key(name[above:]):
                yield name[above:]

    async def _names(self, prefix: str) -> AsyncIterator[str]:
        """The names of all objects that start with `prefix`, page after page; from an old store in the old way."""
        last, operation = "", "list_objects_v2"
        more: dict[str, Any] = {}
        while True:
            try:
                answer = await self.calls.control(operation, Prefix=prefix, **more)
            except StorageFailed as error:
                if more or operation == "list_objects" or trouble_behind(error) not in _NO_SECOND_WAY:
                    raise
                operation = "list_objects"
                continue
            for each in answer.get("Contents", ()):
                name = each["Key"]
                if name < last:
                    raise StorageFailed(f"the store lists {name[:200]!r} behind {last[:200]!r}")
                if name > last:
                    yield name
                last = name
            more = _next_page(answer, more, last)
            if not more:
                return

    async def begin(self, key: str) -> str:
        """Begin an object under `key`; see `Multipart.begin`."""
        return await parts.begin(self.calls, checked(key))

    async def send_part(
        self, key: str, store_upload_id: str, number: int, source: FileSlice, sha256: str | None = None
    ) -> RemotePart:
        """Store one part; see `Multipart.send_part`."""
        return await parts.send(self.calls, checked(key), store_upload_id, number, source, sha256)

    async def list_parts(self, key: str, store_upload_id: str) -> list[RemotePart]:
        """The parts that the store has, by number; see `Multipart.list_parts`."""
        return await parts.listed(self.calls, checked(key), store_upload_id)

    async def assemble(self, key: str, store_upload_id: str, parts_: Sequence[RemotePart]) -> None:
        """Make `parts_`, in order of their numbers, the object under `key`; see `Multipart.assemble`."""
        await parts.assemble(self.calls, checked(key), store_upload_id, parts_)

    async def abort(self, key: str, store_upload_id: str | None) -> None:
        """Remove an unfinished object and all its parts; see `Multipart.abort`."""
        await parts.abort(self.calls, checked(key), store_upload_id)

    async def list_unfinished(self, key: str) -> list[str]:
        """The ids of all unfinished objects under exactly this key; see `Multipart.list_unfinished`."""
        return await parts.unfinished(self.calls, checked(key))

    async def copy(self, source: str, target: str, size_bytes: int, *, sha256: bool = False) -> str | None:
        """Copy an object of any size; see `Copies.copy`."""
        return await parts.copy(self.calls, checked(source), checked(target), size_bytes, sha256)

    @property
    def native(self) -> bool:
        """See `Direct.native`; nobody is sent to a store that does not answer us."""
        return not self.why_not_native

    @property
    def why_not_native(self) -> str:
        """See `Direct.why_not_native`; of a store that is away always in the same words, since changes are logged."""
        away = "" if self.calls.circuit.state is State.CLOSED else "the store does not answer"
        if not self.findings.reachable:  # then it was not looked at, and it is known why
            return away or self.calls.denied or self._direct.why_not_native
        return self._direct.why_not_native or away or self.calls.denied

    @property
    def checks_hashes(self) -> bool:
        """See `Direct.checks_hashes`."""
        return self._direct.checks_hashes

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        """See `Direct.part_url`."""
        return self._direct.part_url(key, store_upload_id, number, sha256=sha256, lifetime_s=lifetime_s)

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        """See `Direct.link`."""
        return self._direct.link(method, key, lifetime_s=lifetime_s, answer_headers=answer_headers)


_NO_SECOND_WAY: Final = frozenset({Trouble.UNSUPPORTED, Trouble.OTHER})
"""How a store refuses a listing of the second kind."""


def _next_page(answer: Mapping[str, Any], before: Mapping[str, Any], last: str) -> dict[str, Any]:
    """What to ask for the next page with; empty when there is none, or when the store would only repeat itself."""
    if not answer.get("IsTruncated"):
        return {}
    token = answer.get("NextContinuationToken")
    more = {"ContinuationToken": token} if token else {"Marker": answer.get("NextMarker") or last}
    if more == before:
        raise StorageFailed("the store lists the same page again and again")
    return more
