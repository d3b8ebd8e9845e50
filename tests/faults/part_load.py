"""Clients that send the same parts with different bytes of the same length, and a record of what may be there.

Each attempt at a part is written down with when it began and when it was answered. What is stored must be the bytes of
one attempt, and no attempt that was answered may lie wholly behind it: the last whole one wins. Nothing is stored only
if nothing was ever answered, or an attempt was under way when the server died.
"""

import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tests.faults.client import LOST, digest, noise
from tests.faults.hold import KIB, Hold, etag, listed

REPOSITORY: Final = "crash/parts"
PARTS: Final = 5
SAID_NO: Final = (400, 404, 409, 410)
"""Another client took the part, changed it, or ended the session."""


@dataclass
class Attempt:
    """One PUT of a part."""

    content: bytes
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    """When it was answered with success."""
    lost: bool = False
    """The server died under it."""


@dataclass
class Contested:
    """A session that several clients fill."""

    id: str
    part_bytes: int
    attempts: dict[int, list[Attempt]] = field(default_factory=lambda: {number: [] for number in range(1, PARTS + 1)})
    lost_ending: bytes | None = None
    """What it would become by a completion that was not answered."""
    over: bool = False

    def possible(self, number: int) -> set[bytes | None]:
        """What may be stored as this part."""
        attempts = self.attempts[number]
        answered = [each for each in attempts if each.ended_s is not None]
        latest_s = max((each.began_s for each in answered), default=0.0)
        found: set[bytes | None] = {each.content for each in answered if (each.ended_s or 0.0) >= latest_s}
        lost = [each for each in attempts if each.lost]
        found |= {each.content for each in lost}
        return found | {None} if lost or not answered else found

    def found(self, number: int, content: bytes | None) -> None:
        """From here on that is what is stored."""
        self.attempts[number] = [] if content is None else [Attempt(content, 0.0, 0.0)]

    def content_of(self, number: int, part_etag: str) -> bytes | None:
        """The bytes that were sent as this part and have that ETag."""
        return next((each.content for each in self.attempts[number] if etag(each.content) == part_etag), None)

    def whole(self, stored: dict[int, str]) -> bytes | None:
        """What these parts are together; None while some are missing."""
        pieces = [self.content_of(number, stored.get(number, "")) for number in self.attempts]
        found = [piece for piece in pieces if piece is not None]
        return b"".join(found) if len(found) == PARTS else None


class Crowd:
    """Several clients on a few sessions."""

    def __init__(self, client: Hold, chance: random.Random, sessions: int) -> None:
        self.client = client
        self.chance = chance
        self.lock = threading.Lock()
        self.blobs: list[bytes] = []
        """What was completed, with an answer that said so."""
        self.acknowledged = self.lost = self.refused = self.cut = 0
        self.sessions = [self.open() for _ in range(sessions)]

    def open(self) -> Contested:
        """A new session, with or without a declared size."""
        part_bytes = self.chance.randrange(8, 200) * KIB + self.chance.randrange(1000)
        sizes = {"size": part_bytes * PARTS, "part_size": part_bytes} if self.chance.random() < 0.5 else {}
        return Contested(self.client.start("uploads/temp-contested", REPOSITORY, **sizes), part_bytes)

    def run(self, chance: random.Random, until: threading.Event) -> None:
        """One client: parts, now and then half a part or a completion, until the server is gone."""
        while not until.is_set():
            at = chance.randrange(len(self.sessions))
            session = self.sessions[at]
            doing = chance.random()
            try:
                if session.over:
                    self._renew(at, session)
                elif doing < 0.12:
                    self._complete(session)
                elif doing < 0.25:
                    self._vanish(session, chance)
                else:
                    self._send(session, chance)
            except LOST:
                with self.lock:
                    self.lost += 1
                return

    def _renew(self, at: int, session: Contested) -> None:
        with self.lock:
            if self.sessions[at] is session:
                self.sessions[at] = self.open()

    def _begin(self, session: Contested, chance: random.Random) -> tuple[int, Attempt]:
        number = chance.randrange(1, PARTS + 1)
        content = noise(chance.random(), session.part_bytes)
        return number, Attempt(content)

    def _url(self, session: Contested, number: int) -> str | None:
        """Where to send the part; None when another client has completed the session meanwhile."""
        answer = self.client.ask_url(session.id, number).expect(200, 409)
        return self.client.target(answer) if answer.status == 200 else None

    def _send(self, session: Contested, chance: random.Random) -> None:
        number, attempt = self._begin(session, chance)
        target = self._url(session, number)
        if target is None:
            return
        attempt.began_s = time.monotonic()
        with self.lock:
            session.attempts[number].append(attempt)
        try:
            answer = self.client.put(target, attempt.content).expect(200, *SAID_NO)
        except LOST:
            attempt.lost = True
            raise
        with self.lock:
            if answer.status == 200:
                assert answer.headers["ETag"].strip('"') == etag(attempt.content)
                attempt.ended_s = time.monotonic()
                self.acknowledged += 1
            else:
                session.attempts[number].remove(attempt)
                self.refused += 1

    def _vanish(self, session: Contested, chance: random.Random) -> None:
        """Send a part without its end, and go: it must leave no trace."""
        number, attempt = self._begin(session, chance)
        sent = attempt.content[: chance.randrange(len(attempt.content))]
        target = self._url(session, number)
        if target is None:
            return
        self.client.begin_body("PUT", target, len(attempt.content), sent).close()
        with self.lock:
            self.cut += 1

    def _complete(self, session: Contested) -> None:
        """Complete with what is listed, while others may go on changing it."""
        answer = self.client.listing(session.id).expect(200, 409)
        if answer.status == 409:
            return
        stored = listed(answer)
        with self.lock:
            whole = session.whole(stored)
            if whole is None or session.over or session.lost_ending is not None:
                return
            session.lost_ending = whole
        answer = self.client.complete(session.id, digest(whole), stored).expect(200, *SAID_NO)
        with self.lock:
            session.lost_ending = None
            if answer.status == 200:
                self.blobs.append(whole)
                session.over = True
                self.acknowledged += 1

    # -- what it finds after a crash -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything is as it may be; from here on it is known."""
        for at, session in enumerate(self.sessions):
            answer = self.client.listing(session.id).expect(200, 409)
            if answer.status == 409:
                assert session.over or session.lost_ending is not None, "nobody completed this upload"
                if session.lost_ending is not None:
                    self.blobs.append(session.lost_ending)
                self.sessions[at] = self.open()
            else:
                assert not session.over, "a completed upload is open again"
                session.lost_ending = None
                self._check_parts(session)
        for content in self.blobs:
            assert self.client.has_whole(REPOSITORY, content)
        del self.blobs[:-4]

    def _check_parts(self, session: Contested) -> None:
        stored = self.client.stored(session.id)
        assert set(stored) <= set(session.attempts)
        for number in session.attempts:
            said = stored.get(number)
            content = session.content_of(number, said) if said is not None else None
            assert said is None or content is not None, f"part {number} is nothing that anybody sent"
            assert content in session.possible(number), f"part {number} is not the last that was answered"
            session.found(number, content)

    def finish_all(self, sessions: Iterable[Contested]) -> None:
        """Every open session can be completed; what comes out is whole parts that were answered last."""
        for session in sessions:
            stored = self.client.stored(session.id)
            for number in set(session.attempts) - set(stored):
                content = noise(("missing", session.id, number), session.part_bytes)
                self.client.send(session.id, number, content).expect(200)
                session.found(number, content)
                stored[number] = etag(content)
            whole = session.whole(stored)
            assert whole is not None
            self.client.complete(session.id, digest(whole), stored).expect(200)
            assert self.client.has_whole(REPOSITORY, whole)
            session.over = True
