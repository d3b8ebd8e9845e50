"""A whole push: every blob by the best way there is, then the manifests, then the line that says what is where now."""

import asyncio
from functools import partial

from clients.hold import Capabilities, HoldCalls
from clients.job import PushJob
from clients.parts import PartsPush
from clients.plans import Blob, OutgoingManifest, Plan
from clients.problems import PartsRefused, Problem
from clients.reading import Outgoing, Slice, sha256_of
from clients.sequence import SequencePush
from clients.together import together
from model.digests import Digest

FIRST_CONTACT_S = 15.0
"""How long the first answer may be missing: who has just mistyped a name does not want to wait for ten minutes."""


async def push(job: PushJob, plan: Plan) -> list[tuple[str, str | None]]:
    """Push everything; digest and tag of what was asked for (not of its relatives).

    Raises:
        Problem: not everything is there; what is, stays, and the same push goes on from it.
    """
    calls = HoldCalls(job.peer, job.repository)
    for blob in plan.blobs:
        job.progress.expect(blob.bytes.size_bytes)
    able = await job.insistence.until_done(
        "asking what the registry can do", calls.capabilities, at_most_s=FIRST_CONTACT_S
    )
    digests: dict[str, Digest] = {}
    turns = asyncio.Semaphore(job.parallel)

    async def one(blob: Blob) -> None:
        async with turns:
            digests[blob.bytes.key] = await _pushed(job, calls, able, blob)

    async with together() as group:
        for blob in plan.blobs:
            group.create_task(one(blob))
    found: list[tuple[str, str | None]] = []
    for manifest in plan.manifests(digests):
        digest = await _manifest_pushed(job, manifest)
        found += [(digest, tag) for tag in manifest.tags]
    job.journal.forget()
    return found


async def _pushed(job: PushJob, calls: HoldCalls, able: Capabilities, blob: Blob) -> Digest:
    """Push one blob, unless it is there; its digest."""
    await _forget_what_changed(job, calls, blob)
    digest = await _known_digest(job, blob)
    if digest is not None and await _is_there(job, blob, digest):
        job.progress.found(blob.bytes.size_bytes)
        job.insistence.progressed()
        return digest
    if able.parts and blob.bytes.size_bytes > (job.part_size_bytes or job.in_one_bytes):
        try:
            return await PartsPush(job, calls, blob).push(digest)
        except PartsRefused as refused:
            job.progress.note(f"{blob.title}: {refused.message}; pushed without parts")
    return await SequencePush(job, blob).push(digest)


async def _forget_what_changed(job: PushJob, calls: HoldCalls, blob: Blob) -> None:
    """An upload of a file that is another one now leads nowhere: it is aborted (H115)."""
    known = job.journal.entries.get(blob.bytes.key)
    if known is None or known.identity == blob.bytes.identity():
        return
    job.progress.note(f"{blob.title} was written to since the push that was interrupted; begun anew")
    if known.upload_id:
        await calls.abort(known.upload_id)
    del job.journal.entries[blob.bytes.key]


async def _known_digest(job: PushJob, blob: Blob) -> Digest | None:
    """The digest, if somebody told it, an earlier push found it, or it costs next to nothing to compute."""
    if blob.digest is not None:
        return blob.digest
    if blob.bytes.size_bytes <= job.in_one_bytes:
        return Digest("sha256", await sha256_of(job.disk, blob.bytes, 0, blob.bytes.size_bytes))
    known = job.journal.entries.get(blob.bytes.key)
    return Digest.parse(known.digest) if known is not None and known.digest else None


async def _is_there(job: PushJob, blob: Blob, digest: Digest) -> bool:
    """Whether the repository has the blob."""
    path = f"/v2/{job.repository}/blobs/{digest}"
    what = f"looking for {blob.title}"
    answer = await job.insistence.until_done(what, lambda: job.peer.call("HEAD", path))
    if answer.status in (401, 403):
        raise answer.refusal(f"cannot push to {job.repository}")
    return answer.status == 200 and answer.headers.get("Content-Length", "") == str(blob.bytes.size_bytes)


async def _manifest_pushed(job: PushJob, manifest: OutgoingManifest) -> str:
    """Put a manifest under each of its tags, or under its digest; what it hashes to.

    Raises:
        Refused: the registry does not take it.
        Problem: it took it for something else.
    """
    digest = str(manifest.digest)
    for reference in manifest.tags or (digest,):
        what = f"pushing the manifest {reference}"
        await job.insistence.until_done(what, partial(_manifest_put, job, manifest, reference, digest))
    return digest


async def _manifest_put(job: PushJob, manifest: OutgoingManifest, reference: str, digest: str) -> None:
    path = f"/v2/{job.repository}/manifests/{reference}"
    body = Outgoing(job.disk, Slice.of(manifest.content), 0, len(manifest.content), lambda count_bytes: None)
    answer = await job.peer.call("PUT", path, headers={"Content-Type": manifest.media_type}, body=body)
    if answer.status not in (200, 201, 202):
        raise answer.refusal(f"the manifest {reference} is not taken")
    said = answer.headers.get("Docker-Content-Digest", digest)
    if said.startswith("sha256:") and said != digest:
        raise Problem(f"the registry made {said} of {digest}")
