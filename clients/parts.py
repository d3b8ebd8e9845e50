"""Pushing one blob in parts: parallel, resumed, retried, each part on the way that works (H048, H209)."""

import secrets
from collections import deque
from functools import partial

from clients.hold import GONE, HoldCalls, normal_etag
from clients.job import PushJob
from clients.journal import Entry
from clients.parted import PartedUpload
from clients.plans import Blob
from clients.problems import Damaged, PartsMissing, PartsRefused, Problem, Refused, SessionGone, SourceChanged
from clients.reading import Outgoing, sha256_of
from clients.together import together
from clients.ways import OTHER_BYTES, Receipt, Ways
from clients.whole import WholeDigest
from model.digests import Digest

NEW_SESSIONS = 5
"""How often an upload may vanish from the server before we stop believing in it."""

SHA256_HEX = 64
"""Digits of an ETag that may be a hash."""

LOGIN_HELPS = frozenset({401, 403})


class PartsPush:
    """Pushes one blob in parts; `push` does it all.

    When it fails for good the upload is aborted at the server (H111). When only the line, the time or a login ran out,
    it stays open there and in the journal, and the next push goes on with it.
    """

    def __init__(self, job: PushJob, calls: HoldCalls, blob: Blob) -> None:
        self._job, self._calls, self._blob = job, calls, blob
        self._size_bytes = blob.bytes.size_bytes
        self._digest: Digest | None = None
        self._ways = Ways(calls, job.store, job.progress, blob.title, self._announced)

    async def push(self, digest: Digest | None) -> Digest:
        """Push it, and return its digest, which is computed on the way unless it is known.

        Raises:
            PartsRefused: this server takes no parts from us; nothing is left behind.
            Problem: it cannot be done, or not now.
        """
        entry = self._job.entry(self._blob)
        self._digest = digest
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
            if number not in kept and number <= upload.count and len(etag) == SHA256_HEX:
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
            arrived = by_store = False
            try:
                receipt = await self._ways.sent(upload, number, body)
                upload.record(number, self._etag(receipt, number, body, native=upload.native))
                arrived, by_store = True, receipt.from_store
            finally:
                if not arrived:
                    body.take_back()
        self._job.insistence.progressed()
        await self._job.journal.later(soon=by_store)  # a store's ETag cannot be recognised by the bytes

    async def _announced(self, upload: PartedUpload, number: int) -> str | None:
        """The hash of a part, if the store is to hold us to it: when told to, or when it costs nothing (M09)."""
        if upload.count == 1 and self._digest is not None and self._digest.algorithm == "sha256":
            return self._digest.hex
        if not self._job.announce:
            return None
        span = upload.span(number)
        return await sha256_of(self._job.disk, self._blob.bytes, span.start, span.length)

    def _etag(self, receipt: Receipt, number: int, body: Outgoing, *, native: bool) -> str:
        """What the part is called at completion; 200 and 201 are success (H023). An object store's says nothing (T08).

        Raises:
            SessionGone, Damaged, Refused.
        """
        answer = receipt.answer
        if answer.status in GONE:
            raise SessionGone(answer.refusal("the upload is gone").message)
        if answer.status == 400 and answer.why().startswith(OTHER_BYTES):
            raise Damaged("other bytes arrived than were announced")
        if answer.status not in (200, 201):
            raise answer.refusal(f"part {number} of {self._blob.title}")
        etag = answer.headers.get("ETag", "")
        if not etag:
            raise Damaged("the server acknowledged without an ETag")
        hashed = len(normal_etag(etag)) == SHA256_HEX and not (native and receipt.from_store)
        if hashed and normal_etag(etag) != body.sha256:
            raise Damaged("other bytes arrived than were sent")
        return etag
