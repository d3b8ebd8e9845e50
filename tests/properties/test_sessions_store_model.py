"""The model of upload sessions (`test_sessions_model.py`) over an object store: slices, letting go, a store that fails.

Everything that holds in a folder holds here, but that a client cannot go back to what was let go, except to nothing.
Beside it: what was acknowledged is there, whatever the store does; under the key of a digest lies nothing else; and
when everything has ended and the rest is discarded, nothing is left in the store.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from model.errors import OffsetMismatch, StorageFailed, UploadUnknown
from multipart import spool
from multipart.bodies import EmptyBody
from multipart.place import Place
from multipart.sessions import UploadLimits
from multipart.slices import Slicing
from tests.properties.knowing import model_runs
from tests.properties.test_sessions_model import ONE, Known, Uploads
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.slicehouse import SliceHouse, Store

SLICING = Slicing(first_bytes=48, keep_bytes=48, unsent_bytes=1 << 20, patience_s=0.3)
VERBS = st.sampled_from(
    ["begin", "send_part", "list_parts", "assemble", "abort", "put", "size", "copy", "delete", "get"]
)


class StoreUploads(Uploads):
    """One process after the other, over a store that outlives them."""

    house: SliceHouse  # type: ignore[assignment]  # what the rules ask of a house, both have

    def start(self, data: Any) -> None:
        if not hasattr(self, "store"):
            self.store = Store()

        async def starting() -> None:
            self.store.dead = False
            self.house = SliceHouse(data, self.store, self.clock, SLICING, UploadLimits())
            await self.house.start()

        self.run(starting())

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.works()
            for known in list(self.open.values()):
                self.run(self.house.sessions.cancel(REPOSITORY, known.id))
            assert self.run(self.house.nothing_left())
            assert len(self.store.values) == len(self.blobs)
        super().teardown()

    def works(self) -> None:
        self.store.dead = False
        self.store.failing.clear()
        self.store.losing.clear()

    # -- what is different --------------------------------------------------------------------------------------------

    def append(self, known: Known, body: PlayedBody, place: Place) -> int:
        """Going back to what was let go is refused, and nothing else. Mostly, the store has time to take what came."""
        at = place.location_offset
        try:
            stands = super().append(known, body, place)
        except OffsetMismatch as error:
            if at is None or not 0 < at < self.floor(known):
                raise
            assert error.offset_bytes == known.stands
            raise LetGo from error
        if not self.store.dead and self.random.random() < 0.7:
            self.run(self.house.sent(known.id))
        return stands

    def floor(self, known: Known) -> int:
        return self.house.spool(known.id).floor_bytes

    @rule(which=ONE, back=st.integers(0, 9), size=st.integers(1, 300), cuts=st.integers(0, 3))
    def a_chunk_to_an_earlier_location_goes_back(self, which: int, back: int, size: int, cuts: int) -> None:
        try:
            super().a_chunk_to_an_earlier_location_goes_back(which, back, size, cuts)
        except LetGo:
            self.check_all_stand()

    def finish(self, known: Known, body: Any, place: Place, content: bytes) -> None:
        """A store that fails leaves the session as it is; the same may be asked again, without the body."""
        try:
            super().finish(known, body, place, content)
        except StorageFailed:
            at = (place.location_offset or 0) + sum(map(len, getattr(body, "pieces", [])))
            with suppress(UploadUnknown):  # when it was finished before, and this is the repetition
                assert self.run(self.house.sessions.offset(REPOSITORY, known.id)) == at
            self.works()
            super().finish(known, EmptyBody(), Place(location_offset=at), content)

    # -- what happens to the store ------------------------------------------------------------------------------------

    @rule(verb=VERBS, times=st.integers(1, 3), lost=st.booleans())
    def the_store_fails_for_a_while(self, verb: str, times: int, lost: bool) -> None:
        (self.store.losing if lost else self.store.failing)[verb] = times

    @rule(dead=st.booleans())
    def the_store_is_dead_or_back(self, dead: bool) -> None:
        self.store.dead = dead

    @rule(which=ONE)
    def time_passes_and_slices_are_sent(self, which: int) -> None:
        known = self.one(which)
        self.works()
        self.run(self.house.sessions.offset(REPOSITORY, known.id))
        self.run(self.house.sent(known.id))

    @rule()
    def the_store_drops_what_is_unfinished(self) -> None:
        """Sessions go on with what is still here; those whose beginning was let go end."""
        self.works()
        for known in self.open.values():
            self.run(self.house.sessions.offset(REPOSITORY, known.id))
            self.run(self.house.sent(known.id))  # what is being let go just now would be lost as well
        ending = [known for known in self.open.values() if self.floor(known) and not self.assembled(known)]
        self.store.drop_uploads()
        for known in ending:
            rest = known.content[known.stands :]
            with pytest.raises(UploadUnknown):
                body = PlayedBody([rest]) if rest else EmptyBody()
                self.finish(known, body, Place(location_offset=known.stands), known.content)
            self.ended(known)

    def assembled(self, known: Known) -> bool:
        remote = self.house.remotes.of(known.id)
        return remote is not None and remote.key in self.store.values

    # -- what happens to the server -----------------------------------------------------------------------------------

    async def dies(self) -> None:
        await self.house.freeze()

    # -- what holds throughout ----------------------------------------------------------------------------------------

    def under_digests(self) -> Iterator[tuple[str, bytes]]:
        for key, value in self.store.values.items():
            if key.startswith("docker/"):
                yield key.split("/")[-2], value

    @rule()
    def every_blob_can_be_read(self) -> None:
        self.works()
        super().every_blob_can_be_read()


class LetGo(Exception):
    """The client went back to what was let go, and was refused."""


@pytest.fixture(autouse=True)
def marks_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MARK_BYTES", 16)


TestStoreUploads = StoreUploads.TestCase
TestStoreUploads.settings = model_runs(60)
