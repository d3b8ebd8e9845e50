"""Objects made of parts: begun, sent, listed, assembled, aborted, and copied by parts (s3-sigv4 3; T08, T11).

What S3 leaves open is settled here: a completion that is repeated succeeds again, and an abort has ended only when the
store says that nothing is left.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from backends.base import FileSlice, KeyMissing, MultipartGone, RemotePart, StoreUnavailable
from backends.s3 import reading
from backends.s3.calls import Calls
from backends.s3.control import LONG_S
from backends.s3.errors import Trouble, trouble_behind
from model.errors import StorageFailed, Unavailable
from model.units import GIB, MIB

SMALLEST_PART_BYTES: Final = 5 * MIB
LARGEST_PART_BYTES: Final = 5 * GIB
MOST_PARTS: Final = 10_000
LARGEST_COPY_BYTES: Final = 5 * GIB
"""By one request (T11)."""
COPY_PART_BYTES: Final = 512 * MIB
COPIED_AT_ONCE: Final = 4
ABORTS: Final = 8
"""How often an upload is aborted while parts of it still arrive."""
ABORT_PAUSE_S: Final = 0.5

T = TypeVar("T")


async def begin(calls: Calls, key: str) -> str:
    """The store's id of a new object in the making."""
    answer = await calls.control("create_multipart_upload", Key=calls.full_key(key))
    return str(answer["UploadId"])


async def send(
    calls: Calls, key: str, store_upload_id: str, number: int, source: FileSlice, sha256: str | None
) -> RemotePart:
    """Store one part."""
    query = {"partNumber": str(number), "uploadId": store_upload_id}
    try:
        headers = await calls.send(key, query, source, sha256)
    except KeyMissing as error:
        raise _gone(calls.full_key(key)) from error
    return RemotePart(number, source.length_bytes, plain_etag(headers["etag"]))


async def listed(calls: Calls, key: str, store_upload_id: str) -> list[RemotePart]:
    """The parts that the store has, by number."""
    found: dict[int, RemotePart] = {}
    more: dict[str, Any] = {}
    while True:
        answer = await _of_upload(calls, "list_parts", key, store_upload_id, **more)
        for part in answer.get("Parts", ()):
            found[part["PartNumber"]] = RemotePart(part["PartNumber"], part["Size"], plain_etag(part["ETag"]))
        mark = answer.get("NextPartNumberMarker") or max(found, default=0)
        if not answer.get("IsTruncated") or more.get("PartNumberMarker") == mark:
            return [found[number] for number in sorted(found)]
        more = {"PartNumberMarker": mark}


async def assemble(calls: Calls, key: str, store_upload_id: str, parts: Sequence[RemotePart]) -> None:
    """Make `parts` the object under `key`."""
    ordered = sorted(parts, key=lambda part: part.number)
    named = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in ordered]
    try:
        await _complete(calls, key, store_upload_id, named)
    except MultipartGone:
        if await size_or_none(calls, key) != sum(part.size_bytes for part in ordered):
            raise


async def _complete(calls: Calls, key: str, store_upload_id: str, named: Sequence[dict[str, object]]) -> None:
    whole = {"Parts": named}
    await _of_upload(calls, "complete_multipart_upload", key, store_upload_id, timeout_s=LONG_S, MultipartUpload=whole)


async def _of_upload(
    calls: Calls, operation: str, key: str, store_upload_id: str, *, timeout_s: float | None = None, **parameters: Any
) -> dict[str, Any]:
    """One call about an unfinished object. MultipartGone: there is none; some stores say NoSuchKey of it."""
    named = {"Key": calls.full_key(key), "UploadId": store_upload_id, **parameters}
    try:
        return await calls.control(operation, timeout_s=timeout_s, **named)
    except KeyMissing as error:
        raise _gone(calls.full_key(key)) from error


def _gone(full_key: str) -> MultipartGone:
    return MultipartGone(f"the store knows no such upload of {full_key}")


async def size_or_none(calls: Calls, key: str) -> int | None:
    """How many bytes are stored under `key`; None: there is no such object."""
    try:
        return await reading.size(calls, key)
    except KeyMissing:
        return None


async def abort(calls: Calls, key: str, store_upload_id: str | None) -> None:
    """Remove an unfinished object, or with None every one under exactly this key."""
    ids = [store_upload_id] if store_upload_id is not None else await unfinished(calls, key)
    for each in ids:
        await _abort_one(calls, key, each)


async def unfinished(calls: Calls, key: str) -> list[str]:
    """The ids of all unfinished objects under exactly this key."""
    full_key = calls.full_key(key)
    found: list[str] = []
    more: dict[str, Any] = {}
    while True:
        answer = await calls.control("list_multipart_uploads", Prefix=full_key, **more)
        found += [each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == full_key]
        marks = {"KeyMarker": answer.get("NextKeyMarker", ""), "UploadIdMarker": answer.get("NextUploadIdMarker", "")}
        if not answer.get("IsTruncated") or marks == more:
            return list(dict.fromkeys(found))
        more = marks


async def _abort_one(calls: Calls, key: str, store_upload_id: str) -> None:
    """Abort until ListParts knows nothing of it: a part that was on its way may have come in behind an abort."""
    for _ in range(ABORTS):
        try:
            await _of_upload(calls, "abort_multipart_upload", key, store_upload_id)
        except MultipartGone:
            return
        except StoreUnavailable as error:
            if trouble_behind(error) is not Trouble.UNREADABLE:
                raise
        try:
            await _of_upload(calls, "list_parts", key, store_upload_id, MaxParts=1)
        except MultipartGone:
            return
        await calls.sleep(ABORT_PAUSE_S)
    told = "parts of the upload still arrive in the store"
    raise StorageFailed(told, inner=f"cannot abort an upload of {calls.full_key(key)}: {told}")


async def copy(calls: Calls, source: str, target: str, size_bytes: int, sha256: bool) -> str | None:
    """Copy an object of any size; its SHA-256 where it was asked for and the store computes it."""
    if size_bytes > LARGEST_COPY_BYTES:
        await _copy_by_parts(calls, source, target, size_bytes)
        return None
    where: dict[str, Any] = {"Key": calls.full_key(target), "CopySource": _named(calls, source)}
    try:
        asked: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if sha256 else {}
        answer = await calls.control("copy_object", timeout_s=LONG_S, **where, **asked)
    except StorageFailed as error:
        if not sha256 or trouble_behind(error) not in (Trouble.UNSUPPORTED, Trouble.OTHER):
            raise
        await calls.control("copy_object", timeout_s=LONG_S, **where)
        return None
    return _full_sha256(answer.get("CopyObjectResult", {})) if sha256 else None


def copy_part_bytes(size_bytes: int) -> int:
    """How large the parts of a copy are, so that there are few of them and never more than S3 takes (H102)."""
    return max(COPY_PART_BYTES, -(-size_bytes // MOST_PARTS // MIB) * MIB)


async def _copy_by_parts(calls: Calls, source: str, target: str, size_bytes: int) -> None:
    part_bytes = copy_part_bytes(size_bytes)
    store_upload_id = await begin(calls, target)

    async def copied(number: int, start: int) -> dict[str, object]:
        stop = min(start + part_bytes, size_bytes)
        answer = await calls.control(
            "upload_part_copy",
            timeout_s=LONG_S,
            Key=calls.full_key(target),
            CopySource=_named(calls, source),
            CopySourceRange=f"bytes={start}-{stop - 1}",
            UploadId=store_upload_id,
            PartNumber=number,
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    try:
        starts = range(0, size_bytes, part_bytes)
        named = await some_at_once((copied(number, start) for number, start in enumerate(starts, 1)), COPIED_AT_ONCE)
        try:
            await _complete(calls, target, store_upload_id, named)
        except MultipartGone:
            if await size_or_none(calls, target) != size_bytes:
                raise
    except BaseException:
        await swept(abort(calls, target, store_upload_id))
        raise


def _named(calls: Calls, key: str) -> dict[str, str]:
    return {"Bucket": calls.settings.bucket, "Key": calls.full_key(key)}


def _full_sha256(result: dict[str, Any]) -> str | None:
    """The SHA-256 of the whole in the answer to a copy; a hash of hashes is none (s3-sigv4 4d)."""
    if result.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    try:
        raw = base64.b64decode(result.get("ChecksumSHA256", ""), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 else None


def plain_etag(etag: str) -> str:
    """An ETag as we keep it: without blanks, quotes and the mark of a weak one (T08)."""
    return etag.strip().removeprefix("W/").replace("&quot;", '"').strip('"')


async def some_at_once(jobs: Iterable[Awaitable[T]], most: int) -> list[T]:
    """What all jobs return, in their order, `most` of them at a time; the first failure ends the others."""
    waiting = enumerate(jobs)
    done: dict[int, T] = {}

    async def work() -> None:
        for index, job in waiting:
            done[index] = await job

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(most):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        first: BaseException = failed.exceptions[0]
        raise first from first.__cause__  # which tells what kind of trouble it was
    return [done[index] for index in sorted(done)]


async def swept(cleaning: Awaitable[None]) -> None:
    """Clean up behind a failure, which is what the caller hears of; what stays is found by `storage check`."""
    with suppress(Unavailable):
        await cleaning
