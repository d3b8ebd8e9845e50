"""The end of a session in sequence: sealed, checked against its digest, stored, forgotten; or kept for another try.

    in a folder         spool file ── digest right? ── Blobs.commit: a rename ── row gone, visible
    in an object store  the same, while it is below one slice; else
                        digest right? ── last slice sent ── assembled ── Blobs.commit_object ── row gone, visible

The digest is compared before anything is assembled. Where it is not known any more (the server was restarted, and some
of the bytes were in the store only), the object is assembled under a temporary key and read again, before it is shown.
"""

import logging
from collections.abc import Callable

from backends.base import KeyMissing
from model.digests import Digest
from model.errors import DigestMismatch, RegistryError, StorageFailed
from multipart.ledger import Ledger
from multipart.proving import Proof, Prover
from multipart.sending import Sending
from multipart.session import Session
from multipart.states import Event
from store.blobs import Blobs
from store.layout import blob_key

log = logging.getLogger("holdfast.uploads")


class Finishing:
    """How sessions in sequence end."""

    def __init__(
        self,
        blobs: Blobs,
        ledger: Ledger,
        prover: Prover | None,
        forget: Callable[[Session], None],
    ) -> None:
        """`prover` reads what lies in an object store; None where content lies in a folder."""
        self._blobs, self._ledger, self._prover, self._forget = blobs, ledger, prover, forget

    async def seal(self, session: Session, digest: Digest) -> None:
        """The bytes are complete: check, store, forget the session. Raises: as `Sessions.finish`."""
        session.move(Event.FINISH)
        spool, actual = session.spool, ""
        try:
            actual = session.stored.hex if session.stored else await session.call(spool.seal, digest.algorithm)
            if session.sending is not None and session.sending.has_begun:
                actual = await self._store_object(session, session.sending, digest, actual)
            elif actual == digest.hex:
                await self._blobs.commit(session.row.repository, digest, spool.path, session.offset_bytes, session.id)
        except BaseException:
            session.move(Event.FAILED)
            await self._keep(session, digest if actual == digest.hex else None)
            raise
        if actual != digest.hex:
            await self._refuse(session)
            raise DigestMismatch(expected=str(digest), actual=f"{digest.algorithm}:{actual}")
        session.move(Event.STORED)
        self._forget(session)
        if spool.is_marked:
            await session.call(spool.remove)

    async def discard(self, session: Session, event: Event) -> None:
        """Forget a session and its files. The ledger goes first: when it fails, nothing has changed."""
        if session.sending is not None:
            await session.sending.leave()
        await self._ledger.remove(session.id)
        await self.drop(session, event)

    async def drop(self, session: Session, event: Event) -> None:
        """Forget a session and its files, but not its row: that alone is an empty session at the next start."""
        session.move(event)
        if session.sending is not None:
            await session.sending.abort()
        self._forget(session)
        await session.call(session.spool.remove)

    async def _store_object(self, session: Session, sending: Sending, digest: Digest, actual: str) -> str:
        """Have the store make the object, and show it; returns what the bytes hash to, and shows nothing else."""
        if actual and actual != digest.hex:
            return actual
        if not actual:
            await session.call(session.spool.sync)  # once assembled, the store takes no part of it a second time
        await sending.complete(blob_key(digest))
        try:
            proven = await self._show(session, sending, digest, actual)
        except KeyMissing:
            await sending.begin_again()  # which tells what is not here any more either
            raise
        if actual == digest.hex and proven != actual:
            await sending.begin_again()
            raise StorageFailed("the object in the store is of other bytes, and is made again: finish it again")
        return proven

    async def _show(self, session: Session, sending: Sending, digest: Digest, known: str) -> str:
        """Show the assembled object, if it is what it should be; returns what its bytes hash to."""
        row, size_bytes, actual = session.row, session.offset_bytes, known
        if sending.was_found or not known:
            actual = await self._proven(sending, digest.algorithm, size_bytes)
        if actual == digest.hex:
            await self._blobs.commit_object(row.repository, digest, sending.key, size_bytes, row.id)
        return actual

    async def _proven(self, sending: Sending, algorithm: str, size_bytes: int) -> str:
        """What the assembled object hashes to, read again; a try that was broken off is gone on with."""
        if self._prover is None:
            raise StorageFailed("there is no store to read from")
        if sending.proof is None or not sending.proof.fits(sending.key, algorithm):
            sending.proof = Proof(sending.key, size_bytes, algorithm)
        return (await self._prover.digest_of(sending.proof)).hex

    async def _refuse(self, session: Session) -> None:
        """The digest does not match: the client is told that, even if the ledger cannot be told now."""
        await self.drop(session, Event.REFUSED)
        try:
            await self._ledger.remove(session.id)
        except RegistryError as error:
            log.warning("upload %s ended, but is still in the ledger: %s", session.id, error)

    async def _keep(self, session: Session, verified: Digest | None) -> None:
        """Sealing or storing failed: what the session holds stays good for another try, here or after a crash."""
        if session.sending is not None and session.sending.lost:
            return
        if verified is not None and not await session.call(session.spool.path.exists):
            session.stored = verified
            return
        try:
            await session.call(session.spool.keep)
        except RegistryError as error:
            log.warning("upload %s would not survive a crash of the server: %s", session.id, error)
