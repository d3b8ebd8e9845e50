"""Everything in one request, put into the object store by the client itself, unseen under a temporary name (H031).

To the store it is a multipart upload of one part, so a URL that is still good cannot change what was assembled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakValueDictionary

from model.digests import Digest
from multipart.kept import Completed
from multipart.native import Native
from multipart.parted_session import PartedSession
from multipart.parts import ListedPart
from multipart.shelf import Shelf
from multipart.states import State
from sigv4.presigning import Presigned


class Wholes:
    """The sessions of that kind, one for each caller and name."""

    def __init__(
        self,
        shelf: Shelf,
        native: Native,
        open_session: Callable[..., Awaitable[PartedSession]],
        complete: Callable[[PartedSession, Sequence[ListedPart], Digest | None], Awaitable[Completed]],
        give_up: Callable[[PartedSession], Awaitable[None]],
    ) -> None:
        self._shelf, self._native = shelf, native
        self._open, self._complete, self._give_up = open_session, complete, give_up
        self._opening: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def url(
        self, repository: str, target: str, owner: str, sha256: str | None, lifetime_s: int
    ) -> Presigned | None:
        """See `PartedSessions.whole_url`."""
        if self._native.why_not():
            return None
        opening = self._opening.setdefault((owner, target), asyncio.Lock())
        async with opening:  # who asks again before the first is answered must not get another session
            return await self._url(repository, target, owner, sha256, lifetime_s)

    async def _url(
        self, repository: str, target: str, owner: str, sha256: str | None, lifetime_s: int
    ) -> Presigned | None:
        for older in (self._shelf.whole(owner, target), self._shelf.assembled(owner, target)):
            if older is not None and older.row.repository != repository:
                await self._give_up(older)
        session = self._shelf.whole(owner, target)
        if session is None:
            session = await self._open(repository, owner=owner, target=target, native=True, in_one_request=True)
        self._shelf.touch(session)
        url = None
        if session.state is State.OPEN and not session.ending and not session.whole_afar:
            url = self._native.part_url(session, 1, sha256=sha256, lifetime_s=lifetime_s)
        if url is None:
            await self._give_up(session)
        return url

    async def take(self, owner: str, target: str) -> None:
        """When a client has put a whole into the store by itself, keep it under its name."""
        session = self._shelf.whole(owner, target)
        if session is None:
            return
        async with session.turn:
            if session.state is not State.OPEN or not self._shelf.has(session):
                return
            await self._native.look(session)
            if session.parts:
                listed = [ListedPart(number, part.etag) for number, part in session.listing.items()]
                await self._complete(session, listed, None)
