"""Uploads in parts over an object store against the same model, with clients that put parts there themselves.

The store outlives every crash. A crash is a copy of the folder, as in the other model; the old process does not reach
the store from then on. Parts that clients put into the store are known by the store's ETags, and
whether they are right is known only once they are proven.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from model.digests import Digest
from model.errors import DigestMismatch, StorageFull
from multipart.refusals import PartsInvalid, UploadAborted
from tests.properties.knowing import Known, Undone, model_runs
from tests.properties.test_parts_model import LIMITS, OWNER, WHICH, Parts, small_slices
from tests.unit.multipart.storehouse import DirectStore, StoreHouse

__all__ = ["small_slices"]


class PartsInStore(Parts):
    """As `Parts`, over a store; some sessions are native."""

    house: StoreHouse  # type: ignore[assignment]

    def start(self, data: Path) -> None:
        if not hasattr(self, "store"):
            self.keep_bytes = self.random.choice([0, 60, 10_000])
            self.joins = self.keep_bytes == 10_000  # parts that the store would not take have to be here
            self.store = DirectStore(self.clock, smallest_part_bytes=30 if self.joins else LIMITS.min_part_bytes)
            self.native: set[str] = set()

        async def starting() -> None:
            self.store.dead = False
            self.house = StoreHouse(data, self.store, LIMITS, keep_bytes=self.keep_bytes)
            await self.house.start()

        self.run(starting())

    def opening(self) -> dict[str, Any]:
        return {"native": not self.joins and self.random.random() < 0.5}

    def crashed(self) -> None:
        """Nor does it reach the store any more."""
        self.store.dead = True

    def new(self) -> Known:
        known = super().new()
        if self.parted.find(known.id, OWNER).mode == "native":
            self.native.add(known.id)
        return known

    def everything_can_be_ended_and_nothing_stays(self) -> None:
        super().everything_can_be_ended_and_nothing_stays()
        self.run(self.house.discarder.done())
        assert self.store.unfinished == {}
        unsettled = set(self.house.blobs.places.unsettled.values())
        assert {key for key in self.store.values if key.startswith("holdfast/")} == unsettled
        assert all(session.held.beyond_bytes == 0 for session in self.parted.all())

    # -- clients that reach the store ---------------------------------------------------------------------------------

    @precondition(lambda self: any(each in self.native and not self.open[each].assembled for each in self.open))
    @rule(which=WHICH, part=WHICH, hashed=st.booleans(), right=st.booleans())
    def a_client_puts_a_part_into_the_store(self, which: int, part: int, hashed: bool, right: bool) -> None:
        """H017, H048, H068: in place of what came there either way."""
        mine = [known for known in self.open.values() if known.id in self.native and not known.assembled]
        known = mine[which % len(mine)]
        number = self.part_of(known, part)
        content = known.pieces[number - 1] if right else self.random.randbytes(len(known.pieces[number - 1]))
        sha256 = hashlib.sha256(content).hexdigest() if hashed else None
        url = self.parted.part_url(known.id, OWNER, number, sha256=sha256, lifetime_s=900)
        if url is None:
            return
        self.settled_down()
        known.held[number] = mine_now = bytes(bytearray(content))
        known.etags[number] = (mine_now, self.store.client_puts(url.url, content))

    def settled_down(self) -> None:
        """What we still send could come behind what the client puts there: both are right, but then we cannot tell."""

        async def waiting() -> None:
            for session in self.parted.all():
                if session.sending is not None and session.sending.upload is not None and not session.whole_afar:
                    await session.sending.upload.all_sent(patience_s=10)

        self.run(waiting())

    @rule(which=WHICH)
    def a_whole_goes_straight_to_the_store(self, which: int) -> None:
        """H031: one name, and what came last counts."""
        content = self.random.randbytes(self.random.randrange(1, 200))
        target = f"uploads/temp-{self.random.randrange(3)}"
        url = self.run(self.parted.whole_url("lab/tools", target, OWNER, None, 900))
        session = self.parted.assembled(OWNER, target)
        assert url is not None
        assert session is not None
        self.store.client_puts(url.url, content)
        digest = Digest.of(content if which % 3 else content + b"!")
        names = [known for known in self.open.values() if known.assembled and known.target == target]
        if which % 3:
            done = self.run(self.parted.publish(OWNER, target, digest))
            assert done.digest == str(digest)
            self.blobs.add(content)
        else:
            with pytest.raises(DigestMismatch):
                self.run(self.parted.publish(OWNER, target, digest))
        for known in names:
            self.ended(known, UploadAborted)

    @rule(which=WHICH)
    def a_part_that_the_list_leaves_out_is_told(self, which: int) -> None:
        """Some stores would refuse all for it."""
        known = self.one(which)
        if len(known.held) < 2:
            return
        with pytest.raises(PartsInvalid):
            self.run(self.parted.complete(known.id, OWNER, known.listed()[:-1], Digest.of(known.content)))

    # -- what is otherwise than over a folder -------------------------------------------------------------------------

    def check(self, known: Known) -> None:
        stored = self.run(self.parted.parts(known.id, OWNER))
        assert {part.number: part.size_bytes for part in stored} == {
            number: len(content) for number, content in known.held.items()
        }
        assert all(part.is_called(known.etag(part.number)) for part in stored)

    def is_told(self, told: str, digest: Digest) -> None:
        """What a client put there itself, or a restart made us forget, is known once it is proven."""
        assert told in ("", str(digest))

    def broken(self, when: str) -> Any:
        """The store refuses to make an object, of parts or of a file, or the catalog to show it."""
        house = self.house
        house.blobs.condition._fresh.clear()

        async def full(verb: str, key: str) -> None:
            if verb in ("put", "assemble"):
                raise StorageFull("no room")

        def full_now(*_: object) -> None:
            raise StorageFull("no room")

        patch = pytest.MonkeyPatch()
        if when == "catalog":
            patch.setattr("store.blob_rows.record", full_now)
            patch.setattr("store.blob_rows.record_at", full_now)
        else:
            patch.setattr(self.store, "before", full)
        return Undone(patch)

    @rule(which=WHICH, part=WHICH, how=st.sampled_from(["flipped", "short", "gone"]))
    def damage_while_nobody_looked_makes_parts_missing(self, which: int, part: int, how: str) -> None:
        """Unless the store has them."""
        spooled = {path.name for path in self.house.folder.spool.iterdir()}
        found = [
            (known, number)
            for known in self.open.values()
            for number in sorted(known.held)
            if f"{known.id}.part{number}" in spooled and not known.assembled
        ]
        if not found:
            return
        known, number = found[which % len(found)]
        self.crash(between=lambda spool: self.damage(spool, known, number, how))
        self.run(self.house.sessions.recover_all())
        session = self.parted.find(known.id, OWNER)
        if session.moved_away:
            self.run(self.parted.abort(known.id, OWNER))
            self.ended(known, UploadAborted)
            return
        there = {part.number: part for part in self.run(self.parted.parts(known.id, OWNER))}
        assert set(known.held) - set(there) <= {number}
        if number in there and not there[number].is_called(known.etag(number)):
            self.send(known, number, self.body(known.held[number], 1))  # the client sees an earlier one, and goes on
        elif number not in there:
            del known.held[number]

    def damage(self, spool: Path, known: Known, number: int, how: str) -> None:
        path = spool / f"{known.id}.part{number}"
        if not path.exists():
            return
        content = bytearray(path.read_bytes())
        if how == "gone":
            path.unlink()
        elif how == "short":
            path.write_bytes(content[: len(content) // 2])
        elif content:
            content[self.random.randrange(len(content))] ^= 1
            path.write_bytes(content)

    @rule()
    def the_store_dies_for_a_while(self) -> None:
        """G15: what is acknowledged meanwhile is there afterwards."""
        self.store.dead = True
        known = self.one(1)
        number = self.part_of(known, self.random.randrange(12))
        self.send(known, number, self.body(known.pieces[number - 1], 1))
        self.store.dead = False

    # -- what holds throughout ----------------------------------------------------------------------------------------

    @invariant()
    def what_is_listed_was_acknowledged_and_blobs_are_whole(self) -> None:
        if not hasattr(self, "house"):
            return
        for known in self.open.values():
            if not known.assembled:
                self.check(known)
        for key, value in self.store.values.items():
            if key.startswith("docker/"):
                _, _, algorithm, _, hexadecimal, _ = key.rsplit("/", 5)
                assert hashlib.new(algorithm, value).hexdigest() == hexadecimal
        assert all(self.run(self.house.stored(content)) for content in self.blobs)


TestPartsInStore = PartsInStore.TestCase
TestPartsInStore.settings = model_runs(40, steps=20)
