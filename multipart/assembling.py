"""From parts in an object store to a blob: the store assembles them, what nobody saw is proven, then it is shown.

    list right? ─ nobody writes ─ digest of the whole ─ the store has all ─ assembled ─┬─ known: commit
                                   known and wrong: end                                ├─ proven, then commit
                                                                                       └─ ASSEMBLED, until /move

The digest is known when every byte came through us and was hashed on the way. Otherwise - native sessions, and buffered
ones that were trimmed before a restart - the object is proven before anybody can see it (C07, T01, T10): by the hashes
that its URLs were signed with, by the store's own hash of a copy, or by reading it again.

Each step can be asked for again, by this process or the next: what is assembled is found assembled.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from backends.base import KeyMissing
from model.digests import Digest
from model.errors import DigestMismatch, StorageFailed, UploadUnknown
from multipart.endings import DONE, Endings
from multipart.hashing import ALWAYS
from multipart.kept import Completed
from multipart.ledger import Ledger
from multipart.native import Native
from multipart.objectstore import LARGEST_COPY_BYTES, ObjectStore
from multipart.part_sending import PartSending
from multipart.parted_session import PartedSession
from multipart.parts import ListedPart, problems
from multipart.proving import Proof, Prover
from multipart.refusals import PartsInvalid
from multipart.states import Event
from store.blobs import Blobs
from store.upload_parts import EndedRow

log = logging.getLogger("holdfast.uploads")


@dataclass(frozen=True, slots=True)
class _Whole:
    """An object that the store has assembled."""

    key: str
    size_bytes: int
    parts: int


class Assembling:
    """Completes and publishes sessions whose parts the store has; whoever calls holds the session's turn."""

    def __init__(
        self,
        blobs: Blobs,
        ledger: Ledger,
        endings: Endings,
        native: Native,
        objects: ObjectStore,
        prover: Prover,
        *,
        done: Callable[[PartedSession, EndedRow], None],
        refuse: Callable[[PartedSession], Awaitable[None]],
        min_part_bytes: int,
    ) -> None:
        """`done` and `refuse` end a session, as a blob or without one."""
        self._blobs, self._ledger, self._endings, self._native = blobs, ledger, endings, native
        self._objects, self._prover, self._done, self._refuse = objects, prover, done, refuse
        self._min_part_bytes = min_part_bytes

    async def complete(
        self, session: PartedSession, sending: PartSending, listed: Sequence[ListedPart], digest: Digest | None
    ) -> Completed | None:
        """See `Completing.complete`. None: the parts have to be one file first; the session is as it was.

        Raises:
            Those of `Completing.complete`; StoreUnavailable, if the store does not answer; what `Waits.stop` was given.
        """
        await session.waits.run(self._looked(session))
        self._require(session, listed)
        session.move(Event.FINISH)
        try:
            joined = not await self._is_by_parts(session, sending, listed)
            result, actual = None, digest
            if not joined:
                result, actual = await self._complete(session, sending, digest)
        except BaseException:
            session.move(Event.FAILED)
            raise
        if joined:
            session.move(Event.FAILED)  # to OPEN, from where whoever joins the parts begins
            return None
        if digest is not None and actual != digest:
            await self._refuse(session)
            raise DigestMismatch(expected=str(digest), actual=str(actual))
        await session.remove_part_files(session.parts)
        return result

    async def publish(self, session: PartedSession, sending: PartSending, digest: Digest) -> Completed:
        """See `Completing.publish`."""
        session.move(Event.PUBLISH)
        assembled, actual = session.assembled, None
        try:
            if assembled is not None and sending.upload is not None:
                whole = _Whole(sending.upload.key, assembled.size_bytes, assembled.parts)
                known = Digest.parse(assembled.digest) if assembled.digest else None
                actual = await self._show(session, whole, known, digest)
        except KeyMissing:
            actual = None
        except BaseException:
            session.move(Event.FAILED)
            raise
        if actual == digest and assembled is not None:
            await session.remove_files()
            return replace(assembled, digest=str(digest))
        await self._refuse(session)
        if actual is None:
            raise UploadUnknown("the bytes of this upload were lost; send them again")
        raise DigestMismatch(expected=str(digest), actual=str(actual))

    async def _looked(self, session: PartedSession) -> None:
        if session.is_native:
            await self._native.look(session)

    def _require(self, session: PartedSession, listed: Sequence[ListedPart]) -> None:
        """See that the list is exactly what is stored, and that the store can assemble it; PartsInvalid otherwise."""
        smallest_bytes = self._min_part_bytes
        if session.is_native or any(kept.trimmed for kept in session.parts.values()):
            smallest_bytes = max(smallest_bytes, self._objects.backend.smallest_part_bytes)
        wrong = problems(listed, session.listing, session.layout, min_part_bytes=smallest_bytes)
        wrong += self._too_large(session)
        if wrong:
            raise PartsInvalid(wrong)
        if session.is_native:
            session.held.require_fits(session.stored_bytes)  # nobody counted what clients sent there

    def _too_large(self, session: PartedSession) -> list[str]:
        """Parts that the store does not take, when they cannot be joined here any more."""
        most_bytes = self._objects.backend.largest_part_bytes
        if not session.is_native and not any(kept.trimmed for kept in session.parts.values()):
            return []
        return [
            f"part {number} has {part.size_bytes} bytes; the store takes {most_bytes} at most: cut it smaller"
            for number, part in session.listing.items()
            if part.size_bytes > most_bytes
        ]

    async def _is_by_parts(self, session: PartedSession, sending: PartSending, listed: Sequence[ListedPart]) -> bool:
        """When nobody writes any more: whether the parts become an object as they are."""
        await session.quiet()
        if not session.whole_afar:
            await session.waits.run(self._sent(session, sending))
        self._require(session, listed)
        return session.whole_afar or sending.by_parts()

    async def _sent(self, session: PartedSession, sending: PartSending) -> None:
        """A native session has to have all of its own parts there before the store is asked what it has."""
        if session.is_native:
            await sending.all_there()
            await self._native.look(session)

    async def _complete(
        self, session: PartedSession, sending: PartSending, digest: Digest | None
    ) -> tuple[Completed, Digest | None]:
        """What came of it, and the digest that the whole has; only a right one is shown."""
        known = await self._known(session, digest)
        size_bytes, parts = session.stored_bytes, len(session.parts)
        result = Completed(session.id, session.row.repository, str(known or ""), size_bytes, parts)
        if digest is not None and known is not None and known != digest:
            return result, known
        whole = await session.waits.run(self._assembled(session, sending))
        found = sending.upload is not None and sending.upload.was_found
        if digest is None:
            result = replace(result, digest="") if found else result
            await self._keep(session, result)
            return result, None
        try:
            actual = await self._show(session, whole, None if found else known, digest)
        except KeyMissing:
            if sending.upload is not None:
                await sending.upload.begin_again()  # which tells what is missing now
            raise
        if actual != digest and known == digest and sending.upload is not None:
            await sending.upload.begin_again()
            raise StorageFailed("the object in the store is of other parts, and is made again: complete it again")
        return replace(result, digest=str(actual)), actual

    async def _known(self, session: PartedSession, digest: Digest | None) -> Digest | None:
        """What the whole hashes to, when all of it was hashed on its way through us.

        Raises:
            PartsInvalid: some parts are not what they were; they are missing from now on.
        """
        before, follower = set(session.parts), session.follower
        await session.waits.run(follower.to_the_end())
        await session.verify_parts()
        lost = sorted(before - session.parts.keys())
        if lost:
            raise PartsInvalid([f"part {number} was damaged on the disk: send it again" for number in lost])
        algorithm = digest.algorithm if digest is not None else ALWAYS
        passed = follower.number > max(session.parts) and algorithm in follower.digests.algorithms
        ours = not session.is_native or all(session.handed.none(number) for number in session.parts)
        return follower.digests.digest(algorithm) if passed and ours else None

    async def _assembled(self, session: PartedSession, sending: PartSending) -> _Whole:
        await sending.all_there()
        upload = await sending.assemble()
        return _Whole(upload.key, session.stored_bytes, len(session.parts))

    async def _keep(self, session: PartedSession, result: Completed) -> None:
        """Keep the whole, unseen, under its temporary key."""
        await self._ledger.assemble(session.id, result.digest, result.size_bytes)
        session.row = replace(
            session.row, state="assembled", assembled_digest=result.digest, assembled_bytes=result.size_bytes
        )
        session.assembled = result
        session.move(Event.ASSEMBLE)

    async def _show(self, session: PartedSession, whole: _Whole, known: Digest | None, digest: Digest) -> Digest:
        """Make the object the blob `digest` if it is that; returns what it is. The session is DONE only then."""
        ended = self._endings.row(session, DONE, str(digest))
        if known is not None and known.algorithm != digest.algorithm:
            known = None
        if known is None and self._native.is_proven(session, digest):
            known = digest
        if known is None and self._may_be_copied(whole, digest):
            try:
                if await self._blobs.commit_by_copy(session.row.repository, digest, whole.key, whole.size_bytes, ended):
                    self._done(session, ended)
                    return digest
            except DigestMismatch as error:
                return Digest.parse(str(error.detail["actual"]))
        actual = known
        if actual is None:
            actual = await session.waits.run(self._read(session, whole, digest.algorithm))
        if actual == digest:
            await self._blobs.commit_object(session.row.repository, digest, whole.key, whole.size_bytes, ended)
            self._done(session, ended)
        return actual

    def _may_be_copied(self, whole: _Whole, digest: Digest) -> bool:
        """Whether the store says the hash of a copy, and it is that of the whole (s3-sigv4 4, option d)."""
        return digest.algorithm == ALWAYS and whole.size_bytes <= LARGEST_COPY_BYTES and self._objects.copies_prove()

    async def _read(self, session: PartedSession, whole: _Whole, algorithm: str) -> Digest:
        """Read the object again; one that broke off goes on where it was."""
        proof = session.proof
        if proof is None or not proof.fits(whole.key, algorithm):
            proof = session.proof = Proof(whole.key, whole.size_bytes, algorithm)
            log.info("upload %s: %d bytes are read again to be proven", session.id, whole.size_bytes)
        return await self._prover.digest_of(proof)
