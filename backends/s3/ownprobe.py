"""Trying what we ask of a store ourselves: objects, listing, parts, copies; and taking everything away again.

Everything lies below `holdfast/probe/`, under names that nobody else has. What is begun is noted before the store is
asked for it, so that the clean-up knows it also when the answer was lost.
"""

import asyncio
import base64
import re
import secrets
from collections.abc import Awaitable
from functools import partial
from hashlib import sha256
from typing import Any, Final

from backends.base import KeyMissing, MultipartGone, StoreUnavailable
from backends.s3.calls import Calls
from backends.s3.reaching import ASK_S, Reach, Refused
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import RegistryError

PROBES: Final = "holdfast/probe/"
_PROBE: Final = re.compile(rf"{PROBES}[0-9a-f]{{16}}(?:-[a-z-]+)?")
CLEAN_S: Final = 8.0
CLEAN_PAUSE_S: Final = 0.5
BODY: Final = b"holdfast looks at its store"
PIECE: Final = b"h"
PIECE_SHA256: Final = sha256(PIECE).hexdigest()
"""A part of one byte."""


class OwnProbe:
    """Objects of a few bytes, by the calls that carry content too. The steps raise Refused, or what the calls raise."""

    def __init__(self, calls: Calls, settings: StoreSettings, clock: Clock, reach: Reach) -> None:
        self._calls = calls
        self._settings = settings
        self._clock = clock
        self._reach = reach
        self.key = f"{PROBES}{secrets.token_hex(8)}"
        self._objects: set[str] = set()
        self._uploads: dict[str, str] = {}
        self._written = False
        self.open_key, self.open_id = f"{self.key}-forms", ""

    @property
    def left_something(self) -> bool:
        """Whether there is anything to clean up."""
        return bool(self._objects or self._uploads)

    async def write(self) -> None:
        """An object is stored; the store checks its hash."""
        self._objects.add(self.key)
        await self._calls.send(self.key, {}, BODY, sha256(BODY).hexdigest())
        self._written = True

    async def read(self) -> None:
        """What was stored comes back."""
        await self._expect(BODY, 0, None)

    async def read_range(self) -> None:
        """A piece of it comes back."""
        await self._expect(BODY[3:9], 3, 6)

    async def _expect(self, wanted: bytes, start: int, length: int | None) -> None:
        got = b"".join([piece async for piece in self._calls.fetch(self.key, start, length)])
        if got != wanted:
            raise Refused(f"other bytes came back than were stored ({len(got)} instead of {len(wanted)})")

    async def listed(self) -> None:
        """The object is in the listing; what an earlier look left there is noted, so that it goes too."""
        prefix, own = self._full(PROBES), len(self._full(""))
        listed = await self._control("list_objects_v2", Prefix=prefix)
        entries = listed.get("Contents") or []
        found = {each["Key"][own:] for each in entries if self._reach.is_old(each.get("LastModified"))}
        self._objects |= {key for key in found if is_probe(key)}
        uploads = (await self._control("list_multipart_uploads", Prefix=prefix)).get("Uploads") or []
        old = [each for each in uploads if self._reach.is_old(each.get("Initiated"))]
        self._uploads |= {key: each["UploadId"] for each in old if is_probe(key := each["Key"][own:])}
        if self._written and self._full(self.key) not in {each["Key"] for each in entries}:
            raise Refused("what was just written is not in the listing")

    async def multipart(self) -> None:
        """A part of one byte is sent, listed, and put together; `open_key` and `open_id` are another one, to try."""
        key = f"{self.key}-parts"
        upload_id = await self._begin(key)
        await self._calls.send(key, {"partNumber": "1", "uploadId": upload_id}, PIECE, PIECE_SHA256)
        await self._assemble(key, upload_id)
        self.open_id = await self._begin(self.open_key)

    async def _begin(self, key: str) -> str:
        """Begin a multipart upload, which the clean-up aborts unless it was put together."""
        self._uploads[key] = ""
        begun = await self._control("create_multipart_upload", Key=self._full(key))
        self._uploads[key] = str(begun["UploadId"])
        return self._uploads[key]

    async def _assemble(self, key: str, upload_id: str) -> None:
        listed = await self._control("list_parts", Key=self._full(key), UploadId=upload_id)
        parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed.get("Parts") or []]
        if len(parts) != 1:
            raise Refused(f"it lists {len(parts)} parts instead of one")
        self._objects.add(key)
        await self._control(
            "complete_multipart_upload", Key=self._full(key), UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
        self._uploads.pop(key)

    async def copy(self) -> None:
        """The store copies the object by itself."""
        await self._copied()

    async def copy_sha256(self) -> None:
        """It tells the SHA-256 of the copy when asked for it; a hash that is not told is not there."""
        answer = await self._copied(ChecksumAlgorithm="SHA256")
        said = (answer.get("CopyObjectResult") or {}).get("ChecksumSHA256")
        if said != base64.b64encode(sha256(BODY).digest()).decode():
            raise Refused("it does not tell" if said is None else "it tells a wrong one")

    async def _copied(self, **asking: str) -> dict[str, Any]:
        target = f"{self.key}-copy"
        self._objects.add(target)
        answer = await self._control("copy_object", Key=self._full(target), CopySource=self._source(), **asking)
        head = await self._control("head_object", Key=self._full(target))
        if head.get("ContentLength") != len(BODY):
            raise Refused(f"the copy has {head.get('ContentLength')} bytes instead of {len(BODY)}")
        return answer

    async def copy_parts(self) -> None:
        """It copies a range of the object as a part of another one: how anything above 5 GiB is copied."""
        key = f"{self.key}-copied-parts"
        upload_id = await self._begin(key)
        await self._control(
            "upload_part_copy",
            Key=self._full(key),
            UploadId=upload_id,
            PartNumber=1,
            CopySource=self._source(),
            CopySourceRange=f"bytes=0-{len(BODY) - 1}",
        )
        await self._assemble(key, upload_id)

    async def clean(self) -> None:
        """Remove all that was made, and what earlier looks left; bounded in time. Refused: something stays."""
        try:
            async with asyncio.timeout(CLEAN_S):
                while not await self._cleaned():
                    await self._calls.sleep(CLEAN_PAUSE_S)
        except TimeoutError:
            raise Refused(f"something stays below {PROBES}") from None

    async def _cleaned(self) -> bool:
        """Whether everything is gone. A store that does not let itself be asked just now may do so in a moment.

        One after the other: an old store may spoil a connection with each answer to a DELETE.
        """
        for key, store_id in list(self._uploads.items()):
            if await _gone(self._abort(key, store_id)):
                del self._uploads[key]
        for key in self._objects - {*self._uploads}:
            if await _gone(self._control("delete_object", Key=self._full(key))):
                self._objects.discard(key)
        return not self.left_something

    async def _abort(self, key: str, upload_id: str) -> None:
        """Abort an upload; one whose id never reached us is looked for by its key."""
        for each in [upload_id] if upload_id else await self._ids_of(key):
            await self._control("abort_multipart_upload", Key=self._full(key), UploadId=each)

    async def _ids_of(self, key: str) -> list[str]:
        listed = await self._control("list_multipart_uploads", Prefix=self._full(key))
        return [each["UploadId"] for each in listed.get("Uploads") or [] if each["Key"] == self._full(key)]

    def _source(self) -> dict[str, str]:
        return {"Bucket": self._settings.bucket, "Key": self._full(self.key)}

    def _full(self, key: str) -> str:
        return self._settings.full_key(key)

    async def _control(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Asked twice at most: enough for a connection that was stale, and no reason for the circuit to open."""
        ask = partial(self._calls.control, operation, retry=False, timeout_s=ASK_S, **parameters)
        try:
            return await ask()
        except StoreUnavailable:
            return await ask()


async def _gone(removing: Awaitable[object]) -> bool:
    """Whether what is removed here is gone, or was never there."""
    try:
        await removing
    except (KeyMissing, MultipartGone):
        return True
    except RegistryError:
        return False
    return True


def is_probe(key: str) -> bool:
    """Whether a look at the store may have made the key."""
    return _PROBE.fullmatch(key) is not None
