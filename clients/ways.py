"""Which way a part takes: to the URL that the server gives, and where that fails, through the server itself (H048).

way      the part goes                                      and when that does not work
GIVEN    to the URL that the server prefers                 the host of an object store: THROUGH, else PLAIN
THROUGH  to a URL of the server's own, asked for as that    PLAIN
PLAIN    to /multipart-parts/ID/NUMBER, with our proof      PartsRefused: no parts, then

The session stays the same whichever way its parts take.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from clients.answers import Answer
from clients.hold import HoldCalls, PartUrl
from clients.parted import PartedUpload
from clients.peer import Body
from clients.problems import Busy, Damaged, PartsRefused, Passing, Problem, Refused, Unreachable, Untrusted
from clients.progress import Progress

FAILING_PARTS: Final = 2
"""So many parts in a row that the object store did not take, and all others go through the server."""

BUSY_TRIES: Final = 4
TRIES: Final = 2
"""How often one part is tried at the store. A store that is busy gets more time; a URL may just have expired."""

OTHER_BYTES: Final = ("XAmzContentSHA256Mismatch", "PartMismatch", "BadDigest")
"""What servers call it when a part does not hash to what was announced (M09)."""

REFUSED_BY_SERVER: Final = frozenset({403, 405, 409, 501})
"""Answers of the server's own part endpoint that mean: not this way (H019)."""


class Way(Enum):
    """See above."""

    GIVEN = auto()
    THROUGH = auto()
    PLAIN = auto()


@dataclass(frozen=True)
class Receipt:
    """The answer to a part that was sent, and whether it is the server's own or that of an object store."""

    answer: Answer
    from_store: bool


class StoreTrust:
    """How it goes with the object store that part URLs lead to, over all blobs of one push."""

    def __init__(self) -> None:
        self.given_up = False
        self._took_one = False
        self._failing = 0

    def took(self) -> None:
        """It took a part."""
        self._took_one, self._failing = True, 0

    def tries(self, trouble: Problem) -> int:
        """How often one part may be tried there before it goes through the server.

        Once, where nobody was ever met: from here, that address leads nowhere.
        """
        if isinstance(trouble, (Unreachable, Untrusted)) and not self._took_one:
            return 1
        return BUSY_TRIES if isinstance(trouble, Busy) else TRIES

    def failed(self) -> bool:
        """It did not take a part, for all tries; whether that was one part too many."""
        self._failing += 1
        self.given_up = self._failing >= FAILING_PARTS
        return self.given_up


class Ways:
    """The ways to one upload's place. `announced` tells what the hash of a part is, where it is to be announced."""

    def __init__(
        self,
        calls: HoldCalls,
        trust: StoreTrust,
        progress: Progress,
        title: str,
        announced: Callable[[PartedUpload, int], Awaitable[str | None]],
    ) -> None:
        self._calls, self._trust, self._progress, self._title = calls, trust, progress, title
        self._announced = announced
        self._way = Way.GIVEN
        self._tried: Counter[tuple[str, int]] = Counter()

    async def sent(self, upload: PartedUpload, number: int, body: Body) -> Receipt:
        """Send a part by the best way that is left.

        Raises:
            Passing: not now; ask again, and the way may be another.
            PartsRefused: the server takes no parts from us, on no way.
            Problem: as `HoldCalls.part_url` and `Peer.call`.
        """
        if self._way is Way.GIVEN:
            receipt = await self._as_given(upload, number, body)
            if receipt is not None:
                return receipt
        return Receipt(await self._to_server(upload, number, body), from_store=False)

    async def _as_given(self, upload: PartedUpload, number: int, body: Body) -> Receipt | None:
        """By the URL that the server prefers, fetched just before (H098); None: this part needs another way."""
        refused = False
        while not self._trust.given_up:
            try:
                where = await self._url(upload, number, body, through=False)
            except PartsRefused:
                self._way = Way.PLAIN
                return None
            if not self._calls.leads_elsewhere(where):
                answer = await self._calls.put_to_url(where, body)
                if answer.status not in (401, 403):
                    return Receipt(answer, from_store=False)
                if refused:
                    self._plain_from_now_on()
                    return None
                refused = True  # it may have expired: there is another one
                continue
            try:
                answer = await self._to_store(where, body, number)
            except (Passing, Refused, Untrusted) as trouble:
                if not self._another_way(upload, number, trouble):
                    if isinstance(trouble, Passing):
                        raise
                    continue
                return None
            self._trust.took()
            return Receipt(answer, from_store=True)
        return None

    async def _to_store(self, where: PartUrl, body: Body, number: int) -> Answer:
        """Send a part to an object store. Damaged, Refused: it did not take it, whatever it may mean by that."""
        answer = await self._calls.put_to_url(where, body)
        if answer.status == 400 and answer.why().startswith(OTHER_BYTES):
            raise Damaged("other bytes arrived than were announced")
        if answer.status not in (200, 201):
            raise answer.refusal(f"part {number} of {self._title}")
        if not answer.headers.get("ETag"):
            raise Damaged("the object store acknowledged without an ETag")  # H023
        return answer

    def _another_way(self, upload: PartedUpload, number: int, trouble: Problem) -> bool:
        """Whether a part that the store did not take goes through the server now."""
        if self._trust.given_up:
            return True
        self._tried[upload.upload_id, number] += 1
        if self._tried[upload.upload_id, number] < self._trust.tries(trouble):
            return False
        if self._trust.failed():
            self._progress.note(f"{trouble.message}; parts go through the registry from now on")
        else:
            self._progress.note(f"{trouble.message}; part {number} of {self._title} goes through the registry")
        return True

    async def _to_server(self, upload: PartedUpload, number: int, body: Body) -> Answer:
        """Send a part to the server itself: by a URL of its own if it makes one, else with our proof."""
        if self._way is not Way.PLAIN:
            for _ in range(2):  # a URL that is refused may have expired
                try:
                    where = await self._url(upload, number, body, through=True)
                except PartsRefused:
                    break
                answer = await self._calls.put_to_url(where, body)
                if answer.status not in (401, 403):
                    return answer
            self._way = Way.PLAIN
        answer = await self._calls.put_to_server(upload.upload_id, number, body)
        if answer.status in REFUSED_BY_SERVER:
            raise PartsRefused(answer.refusal("the server takes no parts from us").message)
        return answer

    def _plain_from_now_on(self) -> None:
        self._way = Way.PLAIN
        self._progress.note(f"{self._title}: the URLs of its parts do not work; sent to the server itself")

    async def _url(self, upload: PartedUpload, number: int, body: Body, *, through: bool) -> PartUrl:
        announced = await self._announced(upload, number)
        return await self._calls.part_url(
            upload.upload_id, upload.target, number, body.length, announced, through_server=through
        )
