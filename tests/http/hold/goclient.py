"""A client as the old ones are: it does not know the digest while it writes, and its JSON has Go's own casing.

It sends what it has whenever 5 MiB have come together, lists its parts as a struct without tags is written (PartNumber,
ETag), completes under a temporary name, moves that to the digest, and gives up by the upload's id alone.
"""

from typing import Final

from tests.http.client import Answer
from tests.http.hold.client import Hold, Json

PART_BYTES: Final = 5 * 1024 * 1024


class ClientError(Exception):
    """What this client would tell its user."""


class Writer:
    """One blob on its way."""

    def __init__(self, hold: Hold, name: str = "upload-1763651234567890123") -> None:
        self.temp = f"uploads/temp-{name}"
        self.upload_id = ""
        self.parts: list[Json] = []
        self.size = 0
        self.closed = False
        self._hold = hold
        self._buffer = bytearray()

    async def create(self) -> "Writer":
        """Start; whatever comes back is decoded, and its status is not looked at (T04)."""
        answer = await self._post("/start-multipart")
        self.upload_id = answer.json().get("upload_id", "")
        if self.upload_id:
            self._hold.ids.add(self.upload_id)
        return self

    async def write(self, data: bytes) -> None:
        """Take bytes; a part goes as soon as there is enough for one."""
        if self.closed:
            raise ClientError("written after it was closed")
        for at in range(0, len(data), PART_BYTES):
            piece = data[at : at + PART_BYTES]
            self._buffer += piece
            self.size += len(piece)
            if len(self._buffer) >= PART_BYTES:
                await self._flush()

    async def commit(self, digest: str) -> None:
        """Send the rest, complete, move."""
        if self.closed:
            raise ClientError("committed twice")
        self.closed = True
        try:
            await self._flush()
        except ClientError:
            await self._hold.post("/abort-multipart", {"upload_id": self.upload_id})
            raise
        answer = await self._post("/complete-multipart", upload_id=self.upload_id, parts=self.parts)
        if answer.status != 200:
            raise ClientError(f"completing failed: {answer.status}")
        answer = await self._hold.move(self.temp, digest)
        if answer.status not in (200, 201):
            raise ClientError(f"moving failed: {answer.status}, {answer.body.decode()}")

    async def cancel(self) -> None:
        """Give up."""
        await self._hold.post("/abort-multipart", {"upload_id": self.upload_id})

    async def _flush(self) -> None:
        if not self._buffer:
            return
        number = len(self.parts) + 1
        answer = await self._post("/part-presigned-url", upload_id=self.upload_id, part_number=number)
        if answer.status != 200:
            raise ClientError(f"no URL: {answer.status}")
        answer = await self._hold.put(answer.json()["url"], bytes(self._buffer))
        if answer.status not in (200, 201):
            raise ClientError(f"part failed: {answer.status}")
        etag = answer.headers.get("ETag")
        if not etag:
            raise ClientError("no ETag")
        self.parts.append({"PartNumber": number, "ETag": etag})
        self._buffer.clear()

    async def _post(self, path: str, **more: object) -> Answer:
        return await self._hold.post(path, {"did": "did:plc:tester", "digest": self.temp, **more})
