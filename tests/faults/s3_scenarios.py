"""What a client was doing when the server died over S3: whole uploads, so that each call to the store can be the last.

The three questions are those of `scenarios.py`: what was answered is there, nothing is half there, and the client
comes to its end.
"""

import json
from typing import ClassVar

from tests.faults import part_scenarios as p
from tests.faults.client import digest
from tests.faults.hold import etag, etags
from tests.faults.s3 import MIB, eventually, in_the_end
from tests.faults.scenarios import Scenario
from tests.interop.native import store_put


class Sliced(Scenario):
    """A session that is filled by PATCHes and closed; it goes up in slices of 16 MiB meanwhile."""

    size_bytes = 34 * MIB
    piece_bytes: ClassVar[int] = 9 * MIB

    def prepare(self) -> None:
        self.location = self.client.open(self.repository)
        self.acknowledged = 0

    def act(self) -> None:
        while self.acknowledged < self.size_bytes:
            start = self.acknowledged
            piece = self.content[start : start + self.piece_bytes]
            self.location = self.client.patch(self.location, piece, start).expect(202).location
            self.acknowledged = start + len(piece)
        self.client.finish(self.location, digest(self.content)).expect(201)

    def check(self) -> None:
        self.check_upload(self.acknowledged, min(self.size_bytes, self.acknowledged + self.piece_bytes))

    def retry(self) -> None:
        if not self.client.has_whole(self.repository, self.content):
            status = self.client.request("GET", self.location).expect(204)
            self.location, self.acknowledged = status.location, status.received_bytes
            if self.acknowledged < self.size_bytes:
                rest = self.content[self.acknowledged :]
                answer = self.client.patch(self.location, rest, self.acknowledged).expect(202)
                self.location = answer.location
        in_the_end(lambda: self.client.finish(self.location, digest(self.content)), 201)
        assert self.client.has_whole(self.repository, self.content)


class InParts(p.InParts):
    """All parts and the completion, by the digest. The parts are large enough to go up as parts."""

    sent = ()
    part_bytes = 5 * MIB
    size_bytes = 2 * part_bytes + 77

    def prepare(self) -> None:
        sizes = {"size": self.size_bytes, "part_size": self.part_bytes} if self.declared else {}
        self.id = self.client.start(self.target, self.repository, **sizes)

    @property
    def target(self) -> str:
        return digest(self.content)

    def act(self) -> None:
        for number, part in self.parts.items():
            self.open_[number] = {None, etag(part)}
            self.client.send_all(self.id, {number: part})
            self.open_[number] = {etag(part)}
        self.client.complete(self.id, self.target, etags(self.parts)).expect(200)

    def finish(self) -> None:
        answer = in_the_end(lambda: self.client.complete(self.id, digest(self.content), etags(self.parts)), 200)
        assert answer.status == 200


class InPartsWithoutASize(InParts):
    """As before; nobody said how much it is going to be."""

    declared = False


class InSmallParts(InParts):
    """Parts that no store takes as such: together they go up in one piece."""

    part_bytes = 200_000
    size_bytes = 3 * part_bytes + 77


class Moved(InParts):
    """Completed under a temporary name, and moved."""

    @property
    def target(self) -> str:
        return self.temp

    def act(self) -> None:
        super().act()
        self.client.move(self.temp, digest(self.content)).expect(200)

    def check(self) -> None:
        there = self.client.has_whole(self.repository, self.content)
        listing = self.client.listing(self.id).expect(409 if there else 200)
        if listing.status == 200 and len(self.open_) == len(self.parts):
            assert self.client.stored(self.id) is not None

    def retry(self) -> None:
        if not self.client.has_whole(self.repository, self.content):
            stored = self.client.stored(self.id)
            missing = {number: part for number, part in self.parts.items() if stored.get(number) != etag(part)}
            self.client.send_all(self.id, missing)
            in_the_end(lambda: self.client.complete(self.id, self.temp, etags(self.parts)), 200)
        in_the_end(lambda: self.client.move(self.temp, digest(self.content)), 200)
        assert self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(409)


class GivenUp(InParts):
    """All parts, and then an abort."""

    def prepare(self) -> None:
        super().prepare()
        self.client.send_all(self.id, self.parts)

    def act(self) -> None:
        self.client.abort(self.id).expect(200)

    def check(self) -> None:
        if self.client.listing(self.id).expect(200, 410).status == 200:
            assert self.client.stored(self.id) == etags(self.parts)

    def retry(self) -> None:
        self.client.abort(self.id).expect(200, 410)
        self.client.listing(self.id).expect(410)
        assert not self.client.has_whole(self.repository, self.content)


class OtherBytes(InParts):
    """A part is sent again with other bytes before the completion: its number goes up a second time."""

    def act(self) -> None:
        parts = self.parts
        for number, part in {**parts, 2: self.other}.items():
            self.client.send_all(self.id, {number: part[: len(parts[number])]})
        self.open_ = {number: {etag(part)} for number, part in parts.items()}
        self.open_[2] = {None, etag(self.other[: len(parts[2])]), etag(parts[2])}
        self.client.send_all(self.id, {2: parts[2]})
        self.client.complete(self.id, self.target, etags(parts)).expect(200)

    def check_parts(self) -> None:
        if len(self.open_) == len(self.parts):
            super().check_parts()


class Natively(InParts):
    """Parts that the client put into the store itself; the request that dies is the completion."""

    def begin(self) -> None:
        """Start a session that is native, as soon as the registry has looked at its store."""
        eventually(self.may_be_native, "clients are sent to the store")
        sizes = {"size": self.size_bytes, "part_size": self.part_bytes}
        answer = self.client.post(
            "/start-multipart", digest=self.target, repository=self.repository, mode="native", **sizes
        )
        self.id = json.loads(answer.expect(200).body)["upload_id"]

    def may_be_native(self) -> bool:
        """Whether clients are sent to the store now."""
        said = self.client.request("GET", "/capabilities").expect(200).body
        return bool(json.loads(said)["multipart"] == "both")

    def prepare(self) -> None:
        self.begin()
        self.in_store = {
            number: store_put(self.client, self.id, number, part, False) for number, part in self.parts.items()
        }

    def act(self) -> None:
        self.client.complete(self.id, self.target, self.in_store).expect(200)

    def check_parts(self) -> None:
        assert self.client.stored(self.id) == self.in_store

    def retry(self) -> None:
        for _ in range(2):  # an answer may be lost, so it is given again
            in_the_end(lambda: self.client.complete(self.id, self.target, self.in_store), 200)
        assert self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(409)


class NativelyMoved(Natively):
    """The same, completed unseen under a temporary name, and moved, when it is proven."""

    @property
    def target(self) -> str:
        return self.temp

    def act(self) -> None:
        super().act()
        self.client.move(self.temp, digest(self.content)).expect(200)

    def check(self) -> None:
        there = self.client.has_whole(self.repository, self.content)
        self.client.listing(self.id).expect(409 if there else 200)

    def retry(self) -> None:
        if not self.client.has_whole(self.repository, self.content):
            in_the_end(lambda: self.client.complete(self.id, self.temp, self.in_store), 200)
        for _ in range(2):
            in_the_end(lambda: self.client.move(self.temp, digest(self.content)), 200)
        assert self.client.has_whole(self.repository, self.content)
