"""What a client of the hold API was doing when the server died; the same three questions as in scenarios.py.

Before `act` every part that was answered is in `answered`. `act` may leave a part in one of the states of `open_`: what
it was, what it was to become, or missing; never anything else. Whatever was answered is listed and right.
"""

from pathlib import Path
from typing import ClassVar

from tests.faults.client import digest, noise
from tests.faults.hold import KIB, Hold, cut, etag, etags, spool_of
from tests.faults.scenarios import Scenario


class InParts(Scenario):
    """A session in four parts, the last of them short, with a declared size: one file, each part at its offset."""

    part_bytes: ClassVar[int] = 70 * KIB + 5
    size_bytes: ClassVar[int] = 3 * part_bytes + 77
    declared: ClassVar[bool] = True
    sent: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)
    """Which parts are there before the request that dies."""
    same_completion: ClassVar[bool] = False
    """The request that dies is behind the last part: nothing has to be sent again."""

    client: Hold

    def __init__(self, client: Hold, name: str) -> None:
        super().__init__(client, name)
        self.client = client
        self.parts = cut(self.content, self.part_bytes)
        self.answered = etags({number: self.parts[number] for number in self.sent})
        self.open_: dict[int, set[str | None]] = {}
        self.temp = f"uploads/temp-{name}"
        self.id = ""
        self.other = noise("other", self.part_bytes)
        """Bytes of somebody else for a part."""

    def prepare(self) -> None:
        sizes = {"size": self.size_bytes, "part_size": self.part_bytes} if self.declared else {}
        self.id = self.client.start(self.temp, self.repository, **sizes)
        self.client.send_all(self.id, {number: self.parts[number] for number in self.sent})

    def check(self) -> None:
        """Either the session with its parts, or the blob; never both and never neither."""
        there = self.client.has_whole(self.repository, self.content)
        if there:
            self.client.listing(self.id).expect(409)
            return
        self.check_parts()

    def check_parts(self) -> None:
        stored = self.client.stored(self.id)
        for number in self.parts:
            allowed = self.open_.get(number, {self.answered.get(number)})
            assert stored.pop(number, None) in allowed, f"part {number} is not what was sent"
        assert not stored

    def retry(self) -> None:
        """What is missing or other than it should be is sent again, then the completion."""
        if not self.same_completion and not self.client.has_whole(self.repository, self.content):
            stored = self.client.stored(self.id)
            wrong = {number: part for number, part in self.parts.items() if stored.get(number) != etag(part)}
            self.client.send_all(self.id, wrong)
        for _ in range(2):  # an answer may be lost, so it is given again
            self.finish()
        assert self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(409)

    def finish(self) -> None:
        self.client.complete(self.id, digest(self.content), etags(self.parts)).expect(200)

    def left(self, data: Path) -> list[Path]:
        """What the session has in the spool."""
        return list(spool_of(data, self.id))


class FirstPart(InParts):
    """The first part of all: room is made for the file."""

    sent = ()

    def act(self) -> None:
        self.open_[3] = {None, etag(self.parts[3])}
        self.client.send(self.id, 3, self.parts[3])


class MiddlePart(InParts):
    """A part between two that are there, to its place."""

    sent = (1, 3)

    def act(self) -> None:
        self.open_[2] = {None, etag(self.parts[2])}
        self.client.send(self.id, 2, self.parts[2])


class OtherBytes(InParts):
    """A part is replaced by other bytes: what is there afterwards is the one, the other, or nothing."""

    def prepare(self) -> None:
        super().prepare()
        self.client.send_all(self.id, {2: self.other})

    def act(self) -> None:
        self.open_[2] = {None, etag(self.other), etag(self.parts[2])}
        self.client.send(self.id, 2, self.parts[2])


class SameBytes(InParts):
    """A part is sent again as it is: it never goes."""

    same_completion = True

    def act(self) -> None:
        self.client.send(self.id, 2, self.parts[2])


class Completing(InParts):
    """The completion; the very same is asked again, and nothing is sent again."""

    same_completion = True

    def act(self) -> None:
        self.client.complete(self.id, digest(self.content), etags(self.parts))


class CompletingKnownBytes(Completing):
    """As before, with bytes that another repository has already."""

    def prepare(self) -> None:
        self.client.push("faults/first-owner", self.content)
        super().prepare()


class CompletingUnseen(InParts):
    """The completion under the temporary name; nobody sees anything until the move (H110)."""

    same_completion = True

    def act(self) -> None:
        self.client.complete(self.id, self.temp, etags(self.parts))

    def check(self) -> None:
        assert not self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(200)

    def finish(self) -> None:
        if not self.client.has_whole(self.repository, self.content):
            self.client.complete(self.id, self.temp, etags(self.parts)).expect(200)
        self.client.move(self.temp, digest(self.content)).expect(200)


class Moving(CompletingUnseen):
    """The move of what was completed."""

    def prepare(self) -> None:
        super().prepare()
        self.client.complete(self.id, self.temp, etags(self.parts)).expect(200)

    def act(self) -> None:
        self.client.move(self.temp, digest(self.content))

    def check(self) -> None:
        there = self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(409 if there else 200)

    def finish(self) -> None:
        self.client.move(self.temp, digest(self.content)).expect(200)


class WrongDigest(InParts):
    """A completion with a digest that is wrong: the session ends with all it holds, or it is as it was (T10)."""

    def act(self) -> None:
        self.client.complete(self.id, digest(b"other"), etags(self.parts))

    def check(self) -> None:
        if self.client.listing(self.id).expect(200, 410).status == 200:
            self.check_parts()

    def retry(self) -> None:
        self.client.complete(self.id, digest(b"other"), etags(self.parts)).expect(400, 410)
        self.client.listing(self.id).expect(410)
        assert not self.client.has_whole(self.repository, self.content)


class Aborting(InParts):
    """A session is given up: it is there with all its parts, or gone with them."""

    def act(self) -> None:
        self.client.abort(self.id)

    def check(self) -> None:
        if self.client.listing(self.id).expect(200, 410).status == 200:
            self.check_parts()

    def retry(self) -> None:
        self.client.abort(self.id).expect(200, 410)
        self.client.listing(self.id).expect(410)


def without_a_size(kind: type[InParts]) -> type[InParts]:
    """The same in a session whose size nobody declared: a file for each part, joined at the end."""
    return type(f"{kind.__name__}WithoutASize", (kind,), {"declared": False, "__doc__": kind.__doc__})
