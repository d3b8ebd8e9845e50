"""Pushing one blob in parts: parallel, resumed, retried, falling back to the server's own endpoint (H048, H209)."""

import secrets
from collections import deque
from functools import partial

from clients.answers import Answer
from clients.hold import GONE, HoldCalls, PartUrl, normal_etag
from clients.job import PushJob
from clients.journal import Entry
from clients.parted import PartedUpload
from clients.plans import Blob
from clients.problems import (
    Damaged,
    LineBroken,
    PartsMissing,
    PartsRefused,
    Problem,
    Refused,
    SessionGone,
    SourceChanged,
)
from clients.reading import Outgoing, sha256_of
from clients.together import together
from clients.whole import WholeDigest
from model.digests import Digest

NEW_SESSIONS = 5
"""How often an upload may vanish from the server before we stop believing in it."""

ELSEWHERE_FAILURES = 2
"""So many broken connections in a row to the host of part URLs, and parts go to the server itself."""

OTHER_BYTES = ("XAmzContentSHA256Mismatch", "PartMismatch", "BadDigest")
"""What servers call it when a part does not hash to what was announced (M09)."""

LOGIN_HELPS = frozenset({401, 403})
REFUSED_BY_SERVER = frozenset({403, 405, 409, 501})
"""Answers of the server's own part endpoint that mean: not this way (H019)."""


class PartsPush:
    """Pushes one blob in parts; `push` does it all.

    When it fails for good the upload is aborted at the server (H111). When only the line, the time or a login ran out,
    it stays open there and in the journal, and the next push goes on with it.
    """

    def __init__(self, job: PushJob, calls: HoldCalls, blob: Blob) -> None:
        self._job, self._calls, self._blob = job, calls, blob
        self._size_bytes = blob.bytes.size_bytes
        self._direct = False
        self._elsewhere_failures = 0

    async def push(self, digest: Digest | None) -> Digest:
        """Push it, and return its digest, which is computed on the way unless it is known.

        Raises:
            PartsRefused: this server takes no parts from us; nothing is left behind.
            Problem: it cannot be done, or not now.
        """
        entry = self._job.entry(self._blob)
        for _ in range(NEW_SESSIONS):
            upload = await self._resumed(entry) or await self._begun(entry, digest)
            try:
                return await self._carried_out(upload, entry, digest)
            except SessionGone as gone:
                self._job.progress.found(-upload.arrived_bytes())
                entry.forget_upload()
                self._job.progress.note(f"{self._blob.title}: {gone.message}; begun anew")
            except (PartsRefused, Refused, SourceChanged) as final:
                if isinstance(final, Refused) and final.status in LOGIN_HELPS:
                    raise  # who has logged in again goes on with it
                self._job.progress.found(-upload.arrived_bytes())
                await self._calls.abort(upload.upload_id)
                entry.forget_upload()
                raise
        raise Problem(f"{self._blob.title}: the server loses the upload again and again")

    async def _begun(self, entry: Entry, digest: Digest | None) -> PartedUpload:
        target = str(digest) if digest else f"uploads/temp-{secrets.token_hex(16)}"

        async def start() -> PartedUpload:
            started = await self._calls.start(target, self._size_bytes, self._job.part_size_bytes)
            return PartedUpload.begun(entry, self._size_bytes, started, target)

        upload = await self._job.insistence.until_done(f"beginning {self._blob.title}", start)
        await self._job.journal.save()
        return upload

    async def _resumed(self, entry: Entry) -> PartedUpload | None:
        """The upload that the journal knows, with the parts that the server has as well."""
        if not entry.upload_id:
            return None
        upload = PartedUpload(entry, self._size_bytes)
        try:
            await self._ask_what_is_there(upload)
        except SessionGone as gone:
            self._job.progress.note(f"{self._blob.title}: {gone.message}; begun anew")
            entry.forget_upload()
            return None
        told = f"{self._blob.title}: {upload.count - len(upload.missing())} of {upload.count} parts are there already"
        self._job.progress.note(told)
        self._job.progress.found(upload.arrived_bytes())
        return upload

    async def _ask_what_is_there(self, upload: PartedUpload) -> None:
        """Take over what the server has: parts we know of, and parts that are ours by their hash.

        The latter arrived just before we were killed, and could not be written down any more.
        """
        there = await self._job.insistence.until_done(
            f"asking about {self._blob.title}", lambda: self._calls.parts(upload.upload_id)
        )
        known = upload.known()
        kept = {number: etag for number, etag in known.items() if normal_etag(etag) == there.get(number)}
        for number, etag in there.items():
            if number not in kept and number <= upload.count and not upload.native:
                span = upload.span(number)
                if await sha256_of(self._job.disk, self._blob.bytes, span.start, span.length) == etag:
                    kept[number] = f'"{etag}"'
        upload.keep_only(kept)

    async def _carried_out(self, upload: PartedUpload, entry: Entry, digest: Digest | None) -> Digest:
        """Send what is missing and complete."""
        for _ in range(NEW_SESSIONS):
            found = await self._all_sent(upload, digest)
            if self._blob.bytes.identity() != entry.identity:
                raise SourceChanged(f"{self._blob.title} was written to while it was pushed", "push it again")
            # Before the completion: if its answer is lost with us, the next push finds the blob by its digest.
            entry.digest = str(found)
            await self._job.journal.save()
            etags = upload.close()
            try:
                await self._job.insistence.until_done(
                    f"completing {self._blob.title}",
                    partial(self._calls.complete, upload.upload_id, found, etags),
                )
            except PartsMissing as missing:
                self._job.progress.note(f"{self._blob.title}: {missing.message}; sending them again")
                upload.reopen()
                counted_bytes = upload.arrived_bytes()
                await self._ask_what_is_there(upload)
                self._job.progress.found(upload.arrived_bytes() - counted_bytes)
                digest = found
            else:
                entry.forget_upload()
                self._job.insistence.progressed()
                return found
        raise Problem(f"{self._blob.title}: the server misses parts again and again")

    async def _all_sent(self, upload: PartedUpload, digest: Digest | None) -> Digest:
        """Send the missing parts by as many workers as may send at once; the digest runs along unless it is known."""
        whole = WholeDigest(self._job.disk, self._blob.bytes)
        ahead_bytes = (self._job.parallel + 1) * upload.part_size_bytes
        # A fresh upload goes at the pace of its hash, so that both read the same pages. One that is resumed does not
        # wait for what was sent long ago to be hashed again.
        paced = digest is None and not upload.known()
        numbers = deque(upload.missing())

        async def work() -> None:
            while numbers:
                number = numbers.popleft()
                if paced:
                    await whole.reached(upload.span(number).start - ahead_bytes)
                await self._job.insistence.until_done(
                    f"part {number} of {self._blob.title}", partial(self._sent, upload, number)
                )
                await whole.allow(upload.front() + ahead_bytes)

        async with together() as group:
            running = group.create_task(whole.run()) if digest is None else None
            await whole.allow(upload.front() + ahead_bytes)
            for _ in range(min(self._job.parallel, len(numbers))):
                group.create_task(work())
        return running.result() if running is not None else digest or Digest.of(b"")

    async def _sent(self, upload: PartedUpload, number: int) -> None:
        """Send one part, once."""
        span = upload.span(number)
        async with self._job.gate:
            body = Outgoing(self._job.disk, self._blob.bytes, span.start, span.length, self._job.progress.moved)
            arrived = False
            try:
                answer = await self._delivered(upload, number, body)
                self._check(answer, number)
                etag = answer.headers.get("ETag", "")
                if not etag:
                    raise Damaged("the server acknowledged without an ETag")  # H023
                if not upload.native and len(normal_etag(etag)) == 64 and normal_etag(etag) != body.sha256:
                    raise Damaged("other bytes arrived than were sent")
                upload.record(number, etag)
                arrived = True
            finally:
                if not arrived:
                    body.take_back()
        self._job.insistence.progressed()
        await self._job.journal.later()

    async def _delivered(self, upload: PartedUpload, number: int, body: Outgoing) -> Answer:
        """Send a part by its URL; where that cannot be, to the server itself (H048)."""
        if not self._direct:
            answer = await self._by_url(upload, number, body)
            if answer is not None:
                return answer
            self._direct = True
            self._job.progress.note(f"{self._blob.title}: the URLs of its parts do not work; sent to the server itself")
        answer = await self._calls.put_to_server(upload.upload_id, number, body)
        if answer.status in REFUSED_BY_SERVER:
            raise PartsRefused(answer.refusal("the server takes no parts from us").message)
        return answer

    async def _by_url(self, upload: PartedUpload, number: int, body: Outgoing) -> Answer | None:
        """The answer of a part's URL, which is fetched just before (H098); None when URLs lead nowhere."""
        for _ in range(2):  # a URL that is refused may have expired: there is another one
            try:
                where = await self._url(upload, number, body.length)
            except PartsRefused:
                return None
            try:
                answer = await self._calls.put_to_url(where, body)
            except LineBroken:
                if not self._calls.leads_elsewhere(where):
                    raise
                self._elsewhere_failures += 1
                if self._elsewhere_failures < ELSEWHERE_FAILURES:
                    raise
                return None
            self._elsewhere_failures = 0
            if answer.status not in (401, 403):
                return answer
        return None

    async def _url(self, upload: PartedUpload, number: int, length: int) -> PartUrl:
        announced = None
        if self._job.announce:
            announced = await sha256_of(self._job.disk, self._blob.bytes, upload.span(number).start, length)
        return await self._calls.part_url(upload.upload_id, upload.target, number, length, announced)

    def _check(self, answer: Answer, number: int) -> None:
        """200 and 201 are success (H023); SessionGone, Damaged, Refused otherwise."""
        if answer.status in GONE:
            raise SessionGone(answer.refusal("the upload is gone").message)
        if answer.status == 400 and answer.why().startswith(OTHER_BYTES):
            raise Damaged("other bytes arrived than were announced")
        if answer.status not in (200, 201):
            raise answer.refusal(f"part {number} of {self._blob.title}")
