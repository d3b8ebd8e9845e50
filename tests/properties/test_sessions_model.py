"""Upload sessions against a model: random requests, crashes, power cuts and restarts, and what must hold throughout.

The model of a session is what its client knows: the bytes that were received, of which some are acknowledged and some
are proven to lie on the disk. A crash is a copy of the folder as the kernel has it; a power cut takes from the copy
what no sync has brought to the disk: ends of spool files are cut, zeroed or replaced by older bytes, marks are torn.
Every session may be asked and resumed at any time, and ends as the blob that its client meant.
"""

import asyncio
import hashlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from model.digests import Digest
from model.errors import DigestMismatch, OffsetMismatch, SizeInvalid, UploadUnknown
from model.ranges import Span
from multipart import spool
from multipart.bodies import EmptyBody, Ending
from multipart.interrupted import BodyVanished
from multipart.place import Place
from multipart.sessions import UploadLimits
from tests.properties.knowing import model_runs
from tests.unit.multipart.harness import REPOSITORY, HandClock, House, PlayedBody

MARK_BYTES = 64
"""Marks come this often here, so that small bodies have several."""

SIZES = st.integers(0, 300)
ONE = st.integers(0, 11)


@dataclass
class Known:
    """What the client of one session knows. Its blob is `content`; it has sent the first `sent` bytes of it."""

    id: str
    content: bytes
    locations: list[int] = field(default_factory=lambda: [0])
    """The offsets in the Locations that it was given; the last says where the session stands."""
    synced: int = 0
    """How much was on the disk at the last sync."""

    @property
    def stands(self) -> int:
        return self.locations[-1]

    def goes_on(self, stands: int) -> None:
        """It stands there now; Locations behind it are of no use any more."""
        self.locations = [*(at for at in self.locations if at < stands), stands]


class Uploads(RuleBasedStateMachine):
    """One process after the other on the folder, and the clients that outlive them."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.runner = asyncio.Runner()
        self.place = Path(tempfile.mkdtemp(prefix="sessions-"))
        self.lives = 0
        self.clock = HandClock()
        self.open: dict[str, Known] = {}
        self.blobs: set[bytes] = set()
        self.clients = 0
        self.start(self.place / "data")

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.run(self.house.stop())
            self.runner.close()
            shutil.rmtree(self.place)

    def run(self, doing: Any) -> Any:
        return self.runner.run(doing)

    def start(self, data: Path) -> None:
        async def starting() -> None:
            self.house = House(data, self.clock, UploadLimits())
            self.house.start()
            await self.house.sessions.settle()

        self.run(starting())

    # -- what clients do ----------------------------------------------------------------------------------------------

    def one(self, which: int) -> Known:
        """One of the open sessions, or a new one."""
        if not self.open or (which % 4 == 0 and len(self.open) < 4):
            self.clients += 1
            content = random.Random(self.clients).randbytes(self.random.randrange(1, 900))
            session = self.run(self.house.sessions.open(REPOSITORY))
            self.open[session.id] = Known(session.id, content)
        return list(self.open.values())[which % len(self.open)]

    def body(self, content: bytes, cuts: int, **how: Any) -> PlayedBody:
        """The content in pieces."""
        at = sorted({0, len(content), *(self.random.randrange(len(content) + 1) for _ in range(cuts))})
        return PlayedBody([content[a:b] for a, b in pairwise(at)], **how)

    def floor(self, known: Known) -> int:
        """How much of its beginning does not lie in the spool any more."""
        return 0

    def append(self, known: Known, body: PlayedBody, place: Place) -> int:
        stands: int = self.run(self.house.sessions.append(REPOSITORY, known.id, body, place))
        return stands

    @rule(which=ONE, size=SIZES, cuts=st.integers(0, 3), counted=st.booleans(), ranged=st.booleans())
    def a_chunk_that_continues_is_taken(self, which: int, size: int, cuts: int, counted: bool, ranged: bool) -> None:
        known = self.one(which)
        piece = known.content[known.stands : known.stands + size]
        ranged = ranged and bool(piece)
        span = Span(known.stands, known.stands + len(piece)) if ranged else None
        place = Place(span=span, location_offset=None if ranged else known.stands)
        assert self.append(known, self.body(piece, cuts, counted=counted), place) == known.stands + len(piece)
        known.goes_on(known.stands + len(piece))

    @rule(which=ONE, size=SIZES, cuts=st.integers(0, 3), counted=st.booleans())
    def what_a_client_sent_before_it_vanished_is_kept(self, which: int, size: int, cuts: int, counted: bool) -> None:
        known = self.one(which)
        piece = known.content[known.stands : known.stands + size]
        if not piece:
            return
        body = self.body(piece, cuts, counted=counted, ending=Ending.VANISHED)
        with pytest.raises(BodyVanished):
            self.append(known, body, Place(location_offset=known.stands))
        known.goes_on(known.stands + len(piece))

    @rule(which=ONE, ahead=st.integers(1, 50), size=st.integers(1, 50))
    def a_chunk_from_ahead_is_refused_and_changes_nothing(self, which: int, ahead: int, size: int) -> None:
        known = self.one(which)
        for place in (
            Place(span=Span(known.stands + ahead, known.stands + ahead + size)),
            Place(location_offset=known.stands + ahead),
        ):
            with pytest.raises(OffsetMismatch) as refused:
                self.append(known, PlayedBody([b"x" * size]), place)
            assert refused.value.offset_bytes == known.stands

    @rule(which=ONE, back=st.integers(0, 9), size=st.integers(1, 300), cuts=st.integers(0, 3))
    def a_chunk_to_an_earlier_location_goes_back(self, which: int, back: int, size: int, cuts: int) -> None:
        """Our answer was lost: the client sends the same bytes again, perhaps cut otherwise."""
        known = self.one(which)
        at = known.locations[-1 - back % len(known.locations)]
        piece = known.content[at : at + size]
        if not piece:
            return
        assert self.append(known, self.body(piece, cuts), Place(location_offset=at)) == at + len(piece)
        known.locations = [each for each in known.locations if each <= at]
        known.goes_on(at + len(piece))
        known.synced = min(known.synced, at)

    @rule(which=ONE, back=st.integers(1, 400))
    def a_range_that_starts_earlier_is_refused(self, which: int, back: int) -> None:
        known = self.one(which)
        if known.stands:
            at = max(0, known.stands - back)
            with pytest.raises(OffsetMismatch):
                self.append(known, PlayedBody([b"other"]), Place(span=Span(at, at + 5)))

    @rule(which=ONE, back=st.integers(0, 400))
    def an_empty_body_never_goes_back(self, which: int, back: int) -> None:
        known = self.one(which)
        at = max(0, known.stands - back)
        assert self.append(known, PlayedBody([], counted=False), Place(location_offset=at)) == known.stands
        assert self.append(known, PlayedBody([b""]), Place(location_offset=at)) == known.stands

    @rule(which=ONE, size=st.integers(1, 100), more=st.integers(1, 50))
    def a_chunked_body_longer_than_its_range_keeps_what_belongs(self, which: int, size: int, more: int) -> None:
        known = self.one(which)
        piece = known.content[known.stands : known.stands + size]
        if not piece:
            return
        body = PlayedBody([piece + b"x" * more], counted=False)
        with pytest.raises(SizeInvalid):
            self.append(known, body, Place(span=Span(known.stands, known.stands + len(piece))))
        known.goes_on(known.stands + len(piece))

    @rule(which=ONE)
    def a_session_says_where_it_stands(self, which: int) -> None:
        known = self.one(which)
        assert self.run(self.house.sessions.offset(REPOSITORY, known.id)) == known.stands

    @rule(which=ONE)
    def another_repository_does_not_see_it(self, which: int) -> None:
        known = self.one(which)
        with pytest.raises(UploadUnknown):
            self.run(self.house.sessions.offset("lab/other", known.id))

    @rule(which=ONE, whole=st.booleans(), twice=st.booleans())
    def the_right_digest_makes_the_blob(self, which: int, whole: bool, twice: bool) -> None:
        """With the rest as its body, or everything again to the first Location, as containerd repeats a PUT."""
        known = self.one(which)
        at = 0 if whole else known.stands
        for _ in range(1 + twice):
            body = self.body(known.content[at:], 2) if known.content[at:] else EmptyBody()
            self.finish(known, body, Place(location_offset=at), known.content)
        self.ended(known)
        self.blobs.add(known.content)

    @rule(which=ONE, bit=st.integers(0, 7))
    def a_wrong_digest_ends_the_session_and_makes_nothing(self, which: int, bit: int) -> None:
        known = self.one(which)
        other = bytes([known.content[0] ^ (1 << bit)]) + known.content[1:]
        with pytest.raises(DigestMismatch):
            self.finish(known, PlayedBody([known.content]), Place(location_offset=0), other)
        self.ended(known)

    @rule(which=ONE)
    def a_cancelled_session_is_gone(self, which: int) -> None:
        known = self.one(which)
        self.run(self.house.sessions.cancel(REPOSITORY, known.id))
        self.ended(known)
        with pytest.raises(UploadUnknown):
            self.run(self.house.sessions.cancel(REPOSITORY, known.id))

    @rule(which=ONE)
    def closing_early_is_refused_by_the_digest_and_never_short(self, which: int) -> None:
        """A PUT without a body closes what is there; only when that is everything it is the blob."""
        known = self.one(which)
        if known.stands == len(known.content):
            return
        with pytest.raises(DigestMismatch):
            self.finish(known, EmptyBody(), Place(location_offset=known.stands), known.content)
        self.ended(known)

    def finish(self, known: Known, body: Any, place: Place, content: bytes) -> None:
        self.run(self.house.sessions.finish(REPOSITORY, known.id, body, place, Digest.of(content)))

    def ended(self, known: Known) -> None:
        del self.open[known.id]
        with pytest.raises(UploadUnknown):
            self.run(self.house.sessions.offset(REPOSITORY, known.id))

    # -- what happens to the server -----------------------------------------------------------------------------------

    @rule()
    def the_background_brings_everything_to_the_disk(self) -> None:
        self.run(self.house.sessions.flush())
        for known in self.open.values():
            known.synced = known.stands

    @rule()
    def a_polite_restart_loses_nothing(self) -> None:
        data = self.house.folder.data_dir
        self.run(self.house.stop())
        self.start(data)
        self.check_all_stand()

    @rule()
    def a_crash_between_requests_loses_nothing(self) -> None:
        self.crash()
        self.check_all_stand()

    @rule(which=ONE, size=st.integers(1, 300), cuts=st.integers(1, 3), counted=st.booleans())
    def a_crash_in_the_middle_of_a_body_loses_nothing_acknowledged(
        self, which: int, size: int, cuts: int, counted: bool
    ) -> None:
        known = self.one(which)
        piece = known.content[known.stands : known.stands + size]
        if not piece:
            return
        self.crash(known, self.body(piece, cuts, counted=counted))
        stands = self.run(self.house.sessions.offset(REPOSITORY, known.id))
        assert known.stands <= stands <= known.stands + len(piece)
        known.goes_on(stands)

    @precondition(lambda self: self.open)
    @rule(how=st.sampled_from(["cut", "zeroed", "stale", "marks torn", "marks gone", "data gone", "nothing"]))
    def after_a_power_cut_only_proven_bytes_are_offered(self, how: str) -> None:
        self.crash(power=how)
        for known in self.open.values():
            stands = self.run(self.house.sessions.offset(REPOSITORY, known.id))
            assert stands <= known.stands
            assert stands >= known.synced or how in ("marks torn", "marks gone", "data gone")
            floor = self.floor(known)
            held = (self.house.folder.spool / f"{known.id}.data").read_bytes()[floor:stands] if stands else b""
            assert held == known.content[floor:stands]
            known.goes_on(stands)
            known.synced = stands

    def check_all_stand(self) -> None:
        for known in self.open.values():
            assert self.run(self.house.sessions.offset(REPOSITORY, known.id)) == known.stands

    async def dies(self) -> None:
        """Nothing that the process of the crash still does reaches anything but its folder, which is copied then."""

    def crash(self, known: Known | None = None, body: PlayedBody | None = None, power: str = "") -> None:
        """Go on from a copy of the folder, taken in the middle of receiving `body` if there is one."""
        self.lives += 1
        after = self.place / f"data{self.lives}"

        async def crashing() -> None:
            receiving = None
            if known is not None and body is not None:
                body.pause_before = len(body.pieces) - 1
                place = Place(location_offset=known.stands)
                receiving = asyncio.create_task(self.house.sessions.append(REPOSITORY, known.id, body, place))
                await body.paused.wait()
            await self.dies()
            shutil.copytree(self.house.folder.data_dir, after)
            if receiving is not None and body is not None:
                body.go.set()
                await receiving
            await self.house.stop()

        self.run(crashing())
        shutil.rmtree(self.house.folder.data_dir)
        for each in self.open.values():
            self.lose(after / "spool", each, power)
        self.start(after)

    def lose(self, folder: Path, known: Known, power: str) -> None:
        """What a power cut may do to the files of a session behind what was synced."""
        data, marks = folder / f"{known.id}.data", folder / f"{known.id}.marks"
        if not power or not data.exists():
            return
        content, at = data.read_bytes(), known.synced
        if power == "cut":
            data.write_bytes(content[: self.random.randint(at, len(content))])
        elif power == "zeroed":
            data.write_bytes(content[:at] + bytes(len(content) - at))
        elif power == "stale":
            data.write_bytes(content[:at] + self.random.randbytes(len(content) - at))
        elif power == "data gone" and not known.synced:
            data.unlink()
        with suppress(FileNotFoundError):
            if power == "marks torn":
                marks.write_bytes(marks.read_bytes()[: -self.random.randint(1, 39)])
            elif power == "marks gone":
                marks.unlink()

    # -- what holds throughout ----------------------------------------------------------------------------------------

    def under_digests(self) -> Iterator[tuple[str, bytes]]:
        """What lies under digests, which are in hexadecimal here."""
        for path in self.house.folder.docker.rglob("data"):
            yield path.parent.name, path.read_bytes()

    @invariant()
    def blobs_are_whole_and_the_spool_holds_open_sessions_only(self) -> None:
        if not hasattr(self, "house"):
            return
        for hexadecimal, content in self.under_digests():
            assert hashlib.sha256(content).hexdigest() == hexadecimal
        assert {session.id for session in self.house.sessions.all()} == self.open.keys()
        assert {path.stem for path in self.house.folder.spool.iterdir()} <= self.open.keys()

    @invariant()
    def every_blob_can_be_read(self) -> None:
        if hasattr(self, "house"):
            assert all(self.run(self.house.stored(content)) for content in self.blobs)


@pytest.fixture(autouse=True)
def marks_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MARK_BYTES", MARK_BYTES)


TestUploads = Uploads.TestCase
TestUploads.settings = model_runs(150)
