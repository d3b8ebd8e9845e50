"""Pushing one blob by plain OCI: POST, PATCH by PATCH, PUT (oci.md 2.3).

After a broken line the server is asked where it stands, and the rest is sent.
"""

import re
from typing import Final

from yarl import URL

from clients.answers import Answer
from clients.job import PushJob
from clients.plans import Blob
from clients.problems import LineBroken, Passing, Problem, Refused, SessionGone, SourceChanged
from clients.reading import Outgoing
from clients.together import together
from clients.whole import WholeDigest
from model.digests import Digest

NEW_SESSIONS: Final = 20
NO_CHUNKS: Final = frozenset({400, 405, 411, 415, 416, 501})
"""What registries answer to a chunk that take none."""

OCTETS: Final = {"Content-Type": "application/octet-stream"}
COMMIT_S: Final = 3600.0
_RANGE: Final = re.compile(r"(?:bytes=)?0-(-?\d+)")


class SequencePush:
    """Pushes one blob in sequence; `push` does it all."""

    def __init__(self, job: PushJob, blob: Blob) -> None:
        self._job, self._blob = job, blob
        self._chunk_bytes = job.in_one_bytes
        self._size_bytes = blob.bytes.size_bytes
        self._uploads = f"/v2/{job.repository}/blobs/uploads/"
        self._location: URL | None = None
        self._offset = 0
        self._lost = False
        """Whether a request was broken off, so that only the server knows where it stands."""
        self._resumed = False

    async def push(self, digest: Digest | None) -> Digest:
        """Push it, and return its digest, which is computed on the way unless it is known.

        Raises:
            Problem: it cannot be done, or not now; then an upload of several chunks stays open, and the journal knows.
        """
        if digest is not None and self._size_bytes <= self._job.in_one_bytes:
            await self._job.insistence.until_done(f"pushing {self._blob.title}", lambda: self._in_one(digest))
            return digest
        whole = WholeDigest(self._job.disk, self._blob.bytes)
        async with together() as group:
            running = group.create_task(whole.run()) if digest is None else None
            try:
                await self._all_sent(whole)
                refusal: Refused | None = None
            except Refused as no:
                refusal = no
            await whole.allow(self._size_bytes)
        found = digest or (running.result() if running else Digest.of(b""))
        if refusal is not None:
            await self._after_refusal(refusal, found)
        else:
            await self._committed(found)
        self._job.entry(self._blob).forget_upload()
        return found

    async def _after_refusal(self, refusal: Refused, digest: Digest) -> None:
        """A registry that takes no chunks may take the whole in one request."""
        if refusal.status not in NO_CHUNKS:
            raise refusal
        self._job.progress.note(f"{self._blob.title}: {refusal.message}; sent in one request instead")
        self._stand(None, 0)
        self._job.entry(self._blob).forget_upload()
        await self._job.insistence.until_done(f"pushing {self._blob.title}", lambda: self._in_one(digest))

    async def _in_one(self, digest: Digest) -> None:
        """POST and one PUT. Trying again is done in the same session, if it is there; it may have some of the bytes."""
        if self._location is not None:
            try:
                await self._ask()
            except SessionGone:
                self._stand(None, 0)
        if self._location is None:
            self._stand(await self._opened(), 0)
        location = self._location or self._job.peer.resolve(self._uploads)
        async with self._job.gate:
            body = self._body(self._offset, self._size_bytes - self._offset)
            answer = await self._sent("PUT", _closing(location, digest), body)
        if answer.status not in (201, 204):
            body.take_back()
            raise answer.refusal(f"{self._blob.title} cannot be stored")
        self._job.insistence.progressed()

    async def _all_sent(self, whole: WholeDigest) -> None:
        """Send chunk after chunk; what the server lost is sent again."""
        await self._resume()
        for _ in range(NEW_SESSIONS):
            try:
                while self._offset < self._size_bytes or self._location is None or self._lost:
                    await whole.allow(self._offset + 2 * self._chunk_bytes)
                    await self._job.insistence.until_done(f"pushing {self._blob.title}", self._step)
                return
            except SessionGone as gone:
                self._job.progress.note(f"{self._blob.title}: {gone.message}; begun anew")
                self._stand(None, 0)
                self._lost = False
        raise Problem(f"{self._blob.title}: the server loses the upload again and again")

    async def _resume(self) -> None:
        """Go on with what the journal knows; where it stands the server will say."""
        entry = self._job.entry(self._blob)
        if entry.location:
            self._location, self._lost, self._resumed = self._job.peer.resolve(entry.location), True, True

    async def _step(self) -> None:
        """One step: open, ask, or send a chunk."""
        if self._location is None:
            self._stand(await self._opened(), 0)
        elif self._lost:
            await self._ask()
        else:
            await self._chunk(self._location)
        self._job.entry(self._blob).location = str(self._location)
        await self._job.journal.later()

    async def _opened(self) -> URL:
        answer = await self._job.peer.call("POST", self._uploads)
        if answer.status != 202 or "Location" not in answer.headers:
            raise answer.refusal(f"the upload of {self._blob.title} cannot begin")
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        if least.isdecimal():
            self._chunk_bytes = max(self._chunk_bytes, int(least))
        return self._job.peer.resolve(answer.headers["Location"])

    async def _ask(self) -> None:
        """Where does the server stand? SessionGone if it does not know the upload."""
        answer = await self._job.peer.call("GET", self._location or self._uploads)
        if answer.status != 204 or not self._adopt(answer):
            raise SessionGone(answer.refusal("the server does not know the upload any more").message)
        self._lost = False
        if self._resumed:
            self._resumed = False
            told = f"{self._offset * 100 // max(1, self._size_bytes)}%"
            self._job.progress.note(f"{self._blob.title}: {told} of it is there already")

    async def _chunk(self, location: URL) -> None:
        """One PATCH."""
        stop = min(self._offset + self._chunk_bytes, self._size_bytes)
        headers = {"Content-Range": f"{self._offset}-{stop - 1}"}
        async with self._job.gate:
            body = self._body(self._offset, stop - self._offset)
            answer = await self._sent("PATCH", location, body, headers)
        if answer.status == 202 and "Location" in answer.headers:
            self._location, self._offset = self._job.peer.resolve(answer.headers["Location"]), stop
            self._job.insistence.progressed()
            return
        body.take_back()
        if answer.status == 404:
            raise SessionGone(answer.refusal("the server does not know the upload any more").message)
        if answer.status != 416:
            raise answer.refusal(f"{self._blob.title} cannot be sent")
        before = self._offset
        if not ("Location" in answer.headers and self._adopt(answer)):
            await self._ask()
        if self._offset == before:
            raise SessionGone("the server wants other bytes than those it asked for")

    async def _committed(self, digest: Digest) -> None:
        """The closing PUT. One whose answer was lost is settled by asking whether the blob is there."""
        tried = False

        async def close() -> None:
            nonlocal tried
            if tried and (await self._job.peer.call("HEAD", self._blob_path(digest))).status == 200:
                return
            tried = True
            location = self._location or self._job.peer.resolve(self._uploads)
            answer = await self._job.peer.call("PUT", _closing(location, digest), answer_s=COMMIT_S)
            if answer.status not in (201, 204):
                raise answer.refusal(f"{self._blob.title} cannot be completed")

        try:
            if self._job.entry(self._blob).digest not in ("", str(digest)):
                raise SourceChanged(f"{self._blob.title} was written to while it was pushed", "push it again")
            self._job.entry(self._blob).digest = str(digest)
            await self._job.insistence.until_done(f"completing {self._blob.title}", close)
        except Refused:
            self._job.entry(self._blob).forget_upload()
            raise

    def _blob_path(self, digest: Digest) -> str:
        return f"/v2/{self._job.repository}/blobs/{digest}"

    def _body(self, start: int, length: int) -> Outgoing:
        return Outgoing(self._job.disk, self._blob.bytes, start, length, self._job.progress.moved)

    async def _sent(self, method: str, url: URL, body: Outgoing, headers: dict[str, str] | None = None) -> Answer:
        """Send bytes; when the line breaks they count as not sent until the server says otherwise."""
        try:
            return await self._job.peer.call(method, url, headers=OCTETS | (headers or {}), body=body)
        except Passing as problem:
            body.take_back()
            self._lost = isinstance(problem, LineBroken) or self._lost
            raise
        except BaseException:
            body.take_back()
            raise

    def _adopt(self, answer: Answer) -> bool:
        """Stand where an answer says that the server stands; False if it does not say."""
        match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        if match is None:
            return False
        last = int(match[1])
        # `0-0` is what registries say of an empty upload (oci.md 2.1), and almost never of one byte.
        offset = last + 1 if last > 0 else 0
        if offset > self._size_bytes:
            raise SessionGone("the server has more bytes than there are")
        self._stand(self._job.peer.resolve(answer.headers.get("Location", str(self._location))), offset)
        return True

    def _stand(self, location: URL | None, offset: int) -> None:
        self._job.progress.found(offset - self._offset)
        self._location, self._offset = location, offset


def _closing(location: URL, digest: Digest) -> URL:
    """The URL of the closing PUT: what the server gave us is kept to the letter (C03, C08)."""
    sign = "&" if location.raw_query_string else "?"
    return URL(f"{location}{sign}digest={digest}", encoded=True)
