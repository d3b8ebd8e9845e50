"""A stream out of the store that survives a broken connection, and never mixes two objects.

    ask for what is still missing ─ pass pieces on ─ the connection breaks ─ rest ─ ask again from where it was

What is asked again is asked for the same object (If-Match); one that was replaced or removed meanwhile ends the stream
as a short read, never in somebody else's bytes.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from backends.base import ShortRead, StoreUnavailable
from backends.s3.errors import CallFailed, Trouble, trouble_behind, word_behind
from backends.s3.readers import WIDE, Share
from backends.s3.retrying import BROKEN
from backends.s3.settings import StoreSettings
from backends.s3.transfer import Transfer
from model.errors import StorageFailed

if TYPE_CHECKING:
    import aiohttp

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)


class Asker(Protocol):
    """What is needed of `Calls` here."""

    @property
    def settings(self) -> StoreSettings:
        """Which bucket."""
        ...

    @property
    def transfer(self) -> Transfer:
        """What reads the body of an answer."""
        ...

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]:
        """What rests."""
        ...

    @property
    def chance(self) -> Callable[[], float]:
        """What is random about it."""
        ...

    async def opened(
        self, key: str, headers: Mapping[str, str], *, patient: bool = False, share: Share = WIDE
    ) -> "aiohttp.ClientResponse":
        """The answer to one GET."""
        ...

    def broke_off(self, failed: CallFailed) -> None:
        """Told when an answer did not come to its end."""
        ...

    async def control(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one control call."""
        ...


@dataclass(frozen=True, slots=True)
class _Object:
    """What an answer says about the object behind it: its size, and what tells it from another."""

    size_bytes: int
    etag: str
    first: int
    """The position of the first byte in the answer."""


async def pieces(calls: Asker, key: str, start: int, length: int | None) -> AsyncIterator[bytes]:
    """The bytes `start` up to `start + length` (None: to the end); see `Backend.get`.

    Raises:
        KeyMissing: before the first piece.
        ShortRead: the object ends too early, before the first piece if that can be known; or it was replaced.
        StoreUnavailable: also when connections broke several times in a row without a byte; nothing is lost by that.
        StoreDenied, StorageFailed.
    """
    stop = None if length is None else start + length
    if start == stop:
        await _check_inside(calls, key, start)
        return
    with calls.transfer.readers.one_more() as share:
        async with aclosing(_shared(calls, key, start, stop, share)) as stream:
            async for piece in stream:
                yield piece


async def _shared(calls: Asker, key: str, start: int, stop: int | None, share: Share) -> AsyncGenerator[bytes, None]:
    """The bytes from `start` up to `stop`, with no more held of them than `share` says."""
    at, fruitless, known, named = start, 0, None, calls.settings.full_key(key)
    while stop is None or at < stop:
        response = await _asked(calls, key, at, stop, known, share)
        if response is None:
            if stop is not None:
                raise ShortRead(f"{named} ends at or before byte {at}, before what was asked for")
            await _check_inside(calls, key, at)
            return
        try:
            known = _checked(named, _described(named, response), known, at)
            stop = known.size_bytes if stop is None else stop
            if stop > known.size_bytes:
                raise ShortRead(f"{named} ends at byte {known.size_bytes}, before what was asked for")
            before = at
            try:
                async for piece in calls.transfer.pieces(response, share):
                    wanted = piece[: stop - at]
                    at += len(wanted)
                    yield wanted
                    if at == stop:
                        break
            except CallFailed as failed:
                calls.broke_off(failed)
        finally:
            response.close()
        if at < stop:
            fruitless = 0 if at > before else fruitless + 1
            await _rest(calls, named, at, fruitless)


async def _asked(
    calls: Asker, key: str, at: int, stop: int | None, known: _Object | None, share: Share
) -> "aiohttp.ClientResponse | None":
    """The answer to what is still missing; None: `at` is not before the object's end."""
    headers = {}
    if at or stop is not None:
        headers["range"] = f"bytes={at}-{'' if stop is None else stop - 1}"
    if known is not None and known.etag:
        headers["if-match"] = known.etag
    try:
        return await calls.opened(key, headers, patient=known is not None, share=share)
    except StorageFailed as error:
        match trouble_behind(error):
            case Trouble.RANGE if known is None:
                return None
            case Trouble.RANGE | Trouble.CHANGED | Trouble.NO_OBJECT if known is not None:
                named = calls.settings.full_key(key)
                raise ShortRead(f"{named} was replaced or removed while it was read, at byte {at}") from error
        raise


async def _check_inside(calls: Asker, key: str, at: int) -> None:
    """Raise what `Backend.get` raises when nothing is asked of the object, or nothing from behind its end."""
    size_bytes = await size(calls, key)
    if at > size_bytes:
        raise ShortRead(f"{calls.settings.full_key(key)} ends at byte {size_bytes}, before what was asked for")


async def size(calls: Asker, key: str) -> int:
    """How many bytes are stored under `key`: asked for by reading the first, since an answer to HEAD has no words.

    Without words a missing object looks like a missing bucket, and a refused key like a forbidden object.

    Raises:
        KeyMissing: nothing is stored there, in a bucket that is there; StorageFailed.
    """
    try:
        response = await calls.opened(key, {"range": "bytes=0-0"})
    except StorageFailed as error:
        if trouble_behind(error) is Trouble.RANGE:
            return 0
        raise
    try:
        return _described(calls.settings.full_key(key), response).size_bytes
    finally:
        await calls.transfer.closed(response)


async def check_missing(calls: Asker, error: StorageFailed) -> None:
    """Raise StorageFailed when the bucket itself is gone: then nothing may be taken for missing.

    `error` is what was said of an object; a store that says NoSuchKey has looked into the bucket already.
    """
    if word_behind(error) == "NoSuchKey":
        return
    try:
        await calls.control("list_objects", Prefix=calls.settings.full_key(""), MaxKeys=1)
    except StorageFailed as gone:
        if trouble_behind(gone) in (Trouble.NO_OBJECT, Trouble.NO_BUCKET):
            raise StorageFailed(f"the bucket {calls.settings.bucket} is gone") from gone
        raise


def _described(named: str, response: "aiohttp.ClientResponse") -> _Object:
    """What the head of an answer says."""
    etag = response.headers.get("ETag", "")
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            raise _odd(named, "answers a range without saying which")
        return _Object(int(found[3]), etag, int(found[1]))
    if response.content_length is None:
        raise _odd(named, "does not say how long it is")
    return _Object(response.content_length, etag, 0)


def _checked(named: str, now: _Object, known: _Object | None, at: int) -> _Object:
    """`now`, if it begins where it was asked to and is the object that the stream began with."""
    if known is not None and (now.etag, now.size_bytes) != (known.etag, known.size_bytes):
        raise ShortRead(f"{named} was replaced while it was read, at byte {at}")
    if now.first != at:
        raise _odd(named, f"answers from byte {now.first} instead of {at}")
    return now


def _odd(named: str, doing: str) -> StorageFailed:
    return StorageFailed(
        "the object store does not answer as it should", inner=f"cannot read {named}: the store {doing}"
    )


async def _rest(calls: Asker, named: str, at: int, fruitless: int) -> None:
    """Wait before asking again; StoreUnavailable when that has been in vain often enough."""
    pause_s = BROKEN.pause_s(fruitless, 0.0, calls.chance())
    if pause_s is None:
        raise StoreUnavailable(f"{named} cannot be read beyond byte {at}: the connection breaks each time")
    await calls.sleep(pause_s)
