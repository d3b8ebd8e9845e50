"""From parts to a blob: the list is checked, the whole is hashed, made one file, and stored - or kept unseen.

    OPEN ─ list right? ─ nobody writes any more ─ digest of the whole ─ one file ─┬─ commit: a blob
                                                                                 └─ ASSEMBLED, until /move says a digest

Where content lies in an object store, `multipart/assembling.py` does the same there, and only what the store would not
take in parts is joined here. Until the commit nothing is changed that could not be undone: a list that is wrong or a
disk that is full leaves the session as it was. Bytes with another digest end it (T10).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from model.digests import Digest
from model.errors import DigestMismatch, RegistryError, StorageFailed, UploadUnknown
from multipart.assembling import Assembling
from multipart.endings import DONE, REFUSED, Endings
from multipart.follower import SLICE_BYTES, read_into
from multipart.hashing import ALWAYS, RunningDigests
from multipart.ledger import Ledger
from multipart.native import Native
from multipart.objectstore import ObjectStore
from multipart.parted_session import Completed, PartedSession
from multipart.parts import ListedPart, StoredPart, problems
from multipart.proving import Prover
from multipart.refusals import PartsInvalid
from multipart.states import Event
from store.blobs import Blobs
from store.upload_parts import EndedRow

log = logging.getLogger("holdfast.uploads")


class Completing:
    """Completes and publishes sessions; whoever calls holds the session's turn."""

    def __init__(
        self,
        blobs: Blobs,
        ledger: Ledger,
        endings: Endings,
        forget: Callable[[PartedSession], None],
        min_part_bytes: int,
        native: Native,
        objects: ObjectStore | None,
        prover: Prover | None,
    ) -> None:
        self._blobs, self._ledger, self._endings, self._forget = blobs, ledger, endings, forget
        self._min_part_bytes = min_part_bytes
        self._assembling: Assembling | None = None
        if objects is not None and prover is not None:
            self._assembling = Assembling(
                blobs,
                ledger,
                endings,
                native,
                objects,
                prover,
                done=self._done,
                refuse=self._refuse,
                min_part_bytes=min_part_bytes,
            )

    async def complete(self, session: PartedSession, listed: Sequence[ListedPart], digest: Digest | None) -> Completed:
        """Make the listed parts a blob, or with no digest keep the whole unseen; the state is OPEN before.

        Raises:
            PartsInvalid, StorageFull, StorageFailed: the session is as it was.
            DigestMismatch: the session has ended.
        """
        if self._assembling is not None and session.sending is not None:
            result = await self._assembling.complete(session, session.sending, listed, digest)
            if result is not None:
                return result
        return await self._join(session, listed, digest)

    async def _join(self, session: PartedSession, listed: Sequence[ListedPart], digest: Digest | None) -> Completed:
        """Of parts that lie in the spool."""
        self._require(session, listed)
        session.move(Event.FINISH)
        back, committing = False, False
        try:
            await session.quiet()
            if session.sending is not None:
                await session.sending.give_up()
            self._require(session, listed)
            parts = list(session.listing.values())
            if session.moved_away and (digest is None or session.stored != digest):
                await self._bring_back(session, parts, digest or session.stored)
                back = True
            actual = await self._digest_of_whole(session, parts, digest, back=back)
            result = Completed(session.id, session.row.repository, str(actual), session.stored_bytes, len(parts))
            if digest is None or actual == digest:
                if not session.moved_away:
                    await session.call(session.files.join, parts)
                committing = digest is not None
                await (self._assemble(session, result) if digest is None else self._commit(session, digest, result))
        except BaseException:
            await self._as_it_was(session, digest if committing else None, back=back)
            session.move(Event.FAILED)
            if session.sending is not None and not session.moved_away:
                session.sending.go_on()
            raise
        if digest is not None and actual != digest:
            await self._refuse(session)
            raise DigestMismatch(expected=str(digest), actual=str(actual))
        await session.remove_part_files(part.number for part in parts)
        return result

    async def publish(self, session: PartedSession, digest: Digest) -> Completed:
        """Make an assembled session the blob `digest`, if it is that; the state is ASSEMBLED before.

        Raises:
            StorageFull, StorageFailed: it is as it was.
            DigestMismatch, UploadUnknown: the session has ended; its bytes are others, or were lost.
        """
        if self._assembling is not None and session.sending is not None and session.whole_afar:
            return await self._assembling.publish(session, session.sending, digest)
        session.move(Event.PUBLISH)
        try:
            actual = await self._digest_of_assembled(session, digest)
            if actual == digest and session.assembled is not None:
                result = replace(session.assembled, digest=str(digest))
                await self._commit(session, digest, result)
                return result
        except BaseException:
            if session.whole_proven and not await session.call(session.files.data_path.exists):
                session.stored = digest
            session.move(Event.FAILED)
            raise
        await self._refuse(session)
        if actual is None:
            raise UploadUnknown("the bytes of this upload were lost; send them again")
        raise DigestMismatch(expected=str(digest), actual=str(actual))

    def _require(self, session: PartedSession, listed: Sequence[ListedPart]) -> None:
        """See that the list is exactly what is stored; PartsInvalid names everything that is not."""
        wrong = problems(listed, session.listing, session.layout, min_part_bytes=self._min_part_bytes)
        if wrong:
            raise PartsInvalid(wrong)

    async def _digest_of_whole(
        self, session: PartedSession, parts: Sequence[StoredPart], digest: Digest | None, *, back: bool
    ) -> Digest:
        """What the parts hash to together; parts of earlier processes are proven by it.

        Raises:
            PartsInvalid: some are not what they were; they are missing from now on.
        """
        if session.moved_away and digest is not None and session.stored == digest:
            return digest
        algorithm, files = digest.algorithm if digest is not None else ALWAYS, session.files
        if back:
            whole = [(files.data_path, 0, session.stored_bytes)]
            return (await _hashed(session, whole, algorithm)).digest(algorithm)
        follower = session.follower
        await follower.to_the_end()
        lost = [part.number for part in parts if part.number not in session.parts]
        if lost:
            raise PartsInvalid([f"part {number} was damaged on the disk: send it again" for number in lost])
        if algorithm in follower.digests.algorithms:
            return follower.digests.digest(algorithm)
        stretches = [(files.path_of(part.number), files.offset_of(part.number), part.size_bytes) for part in parts]
        return (await _hashed(session, stretches, algorithm)).digest(algorithm)

    async def _bring_back(self, session: PartedSession, parts: Sequence[StoredPart], digest: Digest | None) -> None:
        """A commit that was cut short took the bytes away: copy them back, and prove each part by the ledger.

        Raises:
            PartsInvalid: they are not there; all parts are missing from now on.
        """
        files = session.files
        if digest is not None and await self._blobs.copy_out(digest, session.stored_bytes, files.data_path):
            offset, right = 0, True
            for part in parts:
                found = await _hashed(session, [(files.data_path, offset, part.size_bytes)], ALWAYS)
                right = right and found.digest(ALWAYS).hex == part.sha256
                offset += part.size_bytes
            if right:
                return
            await session.call(files.remove, [files.data_path])
        await session.give_up_moved()
        raise PartsInvalid([f"part {part.number} was lost: send it again" for part in parts])

    async def _digest_of_assembled(self, session: PartedSession, digest: Digest) -> Digest | None:
        """What the assembled whole hashes to; None when its bytes were lost."""
        files, assembled = session.files, session.assembled
        if assembled is None or session.stored == digest:
            return digest
        if not assembled.digest:  # it was in a store, which has lost it, and never hashed here
            return None
        known = Digest.parse(assembled.digest)
        if not await session.call(files.data_path.exists):
            session.whole_proven = False
            for each in (digest, known):
                if await self._blobs.copy_out(each, assembled.size_bytes, files.data_path):
                    break
            else:
                return None
        if session.whole_proven and digest.algorithm == ALWAYS:
            return known
        try:
            found = await _hashed(session, [(files.data_path, 0, assembled.size_bytes)], digest.algorithm)
        except _Short:
            return None
        if found.digest(ALWAYS) != known:
            return None
        session.whole_proven = True
        return found.digest(digest.algorithm)

    async def _assemble(self, session: PartedSession, result: Completed) -> None:
        """Keep the whole, durably and unseen."""
        await session.call(session.files.sync_whole)
        await self._ledger.assemble(session.id, result.digest, result.size_bytes)
        session.row = replace(
            session.row, state="assembled", assembled_digest=result.digest, assembled_bytes=result.size_bytes
        )
        session.assembled = result
        session.move(Event.ASSEMBLE)

    async def _commit(self, session: PartedSession, digest: Digest, result: Completed) -> None:
        """Store the whole as a blob of the repository; how the session ended is part of the same transaction."""
        ended = self._endings.row(session, DONE, str(digest))
        repository, path = session.row.repository, session.files.data_path
        await self._blobs.commit(repository, digest, path, result.size_bytes, ended)
        self._done(session, ended)

    def _done(self, session: PartedSession, ended: EndedRow) -> None:
        """It is a blob."""
        session.move(Event.STORED)
        self._endings.note(ended)
        self._forget(session)
        if session.sending is not None:
            session.sending.done()

    async def _refuse(self, session: PartedSession) -> None:
        """The digest does not match: the client is told that, even if the ledger cannot be told now."""
        ended = self._endings.row(session, REFUSED)
        session.move(Event.REFUSED)
        self._endings.note(ended)
        self._forget(session)
        try:
            await self._ledger.end(ended)  # before the files: a crash in between must not leave a session without them
        except RegistryError as error:
            log.warning("upload %s ended, but is still in the ledger: %s", session.id, error)
        await session.remove_files()
        if session.sending is not None:
            await session.sending.end()

    async def _as_it_was(self, session: PartedSession, committed: Digest | None, *, back: bool) -> None:
        """Completing failed: undo it, or know that the bytes are stored already and only the catalog's part is left.

        `committed` is the digest of a commit that was tried: nothing else takes the bytes away.
        """
        files, parts = session.files, list(session.listing.values())
        if back:
            await session.call(files.remove, [files.data_path])
            return
        if session.moved_away or not parts:
            return
        try:
            await session.call(files.take_apart, parts[0].size_bytes)
        except RegistryError as error:
            log.warning("upload %s: %s", session.id, error)
        if committed is not None and not await session.call(files.first_path.exists):
            session.moved_away, session.stored = True, committed


class _Short(StorageFailed):
    """The file ends before it should."""


async def _hashed(session: PartedSession, stretches: Sequence[tuple[Path, int, int]], algorithm: str) -> RunningDigests:
    """Read stretches of files, a slice at a time, and hash them; _Short when bytes are not there."""
    digests = RunningDigests((algorithm,))
    for path, start, length_bytes in stretches:
        for at in range(0, length_bytes, SLICE_BYTES):
            length = min(SLICE_BYTES, length_bytes - at)
            if not await session.call(read_into, path, start + at, length, digests.update):
                raise _Short("the file of the upload is shorter than what was received")
    return digests
