"""Uploads in parts against a model: random requests, failures, crashes and restarts, and what must hold throughout.

The model of a session is what its client knows: which parts were acknowledged, and with which bytes. A crash is a copy
of the folder as the kernel has it, taken between requests, in the middle of a part, or in the middle of a completion.
Whatever happens, the parts that are listed are those that were acknowledged; what is completed is byte-exact; and what
ended leaves no file behind.
"""

import asyncio
import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model.digests import Digest
from model.errors import DigestMismatch, StorageFull, UploadUnknown
from multipart import follower
from multipart.bodies import Ending
from multipart.interrupted import BodyVanished, TakenOver
from multipart.limits import UploadLimits
from multipart.parted import PartedSessions
from multipart.parts import ListedPart
from multipart.refusals import (
    PartLengthInvalid,
    PartMismatch,
    PartsInvalid,
    UploadAborted,
    UploadExpired,
    UploadFinished,
    UploadForeign,
)
from tests.properties.knowing import Known, Undone, model_runs
from tests.unit.multipart.harness import REPOSITORY, HandClock, House, PlayedBody

LIMITS = UploadLimits(min_part_bytes=8, expiry_s=1000)
OWNER = "anna"
WHICH = st.integers(0, 11)
CUTS = st.integers(0, 3)


class Parts(RuleBasedStateMachine):
    """One process after the other on the folder, and the clients that outlive them."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.runner = asyncio.Runner()
        self.place = Path(tempfile.mkdtemp(prefix="parts-"))
        self.lives = self.clients = 0
        self.clock = HandClock()
        self.open: dict[str, Known] = {}
        self.blobs: set[bytes] = set()
        self.start(self.place / "data")

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.everything_can_be_ended_and_nothing_stays()
            self.run(self.house.stop())
            self.runner.close()
            shutil.rmtree(self.place)

    def everything_can_be_ended_and_nothing_stays(self) -> None:
        for known in self.open.values():
            self.run(self.parted.abort(known.id, OWNER))
        assert list(self.house.folder.spool.iterdir()) == []
        assert self.house.sessions._accounts.spooled_bytes == 0
        assert self.house.sessions._accounts.pledged_bytes == 0

    def run(self, doing: Any) -> Any:
        return self.runner.run(doing)

    @property
    def parted(self) -> PartedSessions:
        return self.house.sessions.parted

    def start(self, data: Path) -> None:
        async def starting() -> None:
            self.house = House(data, self.clock, LIMITS)
            self.house.start()
            await self.house.sessions.settle()

        self.run(starting())

    def opening(self) -> dict[str, Any]:
        """What a session is opened with besides."""
        return {}

    # -- what clients do ----------------------------------------------------------------------------------------------

    def one(self, which: int) -> Known:
        """One of the open sessions that take parts, or a new one."""
        takes = [known for known in self.open.values() if not known.assembled]
        if not takes or (which % 4 == 0 and len(takes) < 3):
            return self.new()
        return takes[which % len(takes)]

    def new(self) -> Known:
        self.clients += 1
        declared, count = self.random.random() < 0.5, self.random.randrange(1, 6)
        size = self.random.randrange(8, 80)
        sizes = [size if declared else self.random.randrange(8, 80) for _ in range(count - 1)]
        last = self.random.randrange(1, size + 1) if count > 1 or self.random.random() < 0.9 else 0
        pieces = [self.random.randbytes(each) for each in [*sizes, last]]
        content = b"".join(pieces)
        how: dict[str, Any] = {"size_bytes": len(content), "part_size_bytes": size} if declared else {}
        target = f"uploads/temp-{self.random.randrange(3)}"
        session = self.run(self.parted.open(REPOSITORY, owner=OWNER, target=target, **how, **self.opening()))
        self.open[session.id] = known = Known(session.id, target, pieces, declared)
        return known

    def body(self, content: bytes, cuts: int, **how: Any) -> PlayedBody:
        """The content in pieces."""
        at = sorted({0, len(content), *(self.random.randrange(len(content) + 1) for _ in range(cuts))})
        return PlayedBody([content[a:b] for a, b in pairwise(at)] or [b""], **how)

    def part_of(self, known: Known, which: int) -> int:
        return which % len(known.pieces) + 1

    def send(self, known: Known, number: int, body: PlayedBody, **how: Any) -> None:
        stored = self.run(self.parted.receive(known.id, OWNER, number, body, **how))
        content = b"".join(body.pieces)
        assert (stored.number, stored.size_bytes) == (number, len(content))
        assert stored.etag == f'"{hashlib.sha256(content).hexdigest()}"'
        known.held[number] = content
        known.etags.pop(number, None)

    @rule(which=WHICH, part=WHICH, cuts=CUTS, counted=st.booleans(), announced=st.booleans())
    def a_part_is_taken(self, which: int, part: int, cuts: int, counted: bool, announced: bool) -> None:
        known = self.one(which)
        number = self.part_of(known, part)
        content = known.pieces[number - 1]
        sha256 = hashlib.sha256(content).hexdigest() if announced else None
        self.send(known, number, self.body(content, cuts, counted=counted), sha256=sha256)

    @rule(which=WHICH)
    def the_missing_parts_arrive_at_once_in_any_order(self, which: int) -> None:
        known = self.one(which)
        missing = [
            number for number in range(1, len(known.pieces) + 1) if known.held.get(number) != known.pieces[number - 1]
        ]
        self.random.shuffle(missing)

        async def all_at_once() -> None:
            sending = (
                self.parted.receive(known.id, OWNER, number, self.body(known.pieces[number - 1], 3))
                for number in missing
            )
            await asyncio.gather(*sending)

        self.run(all_at_once())
        known.held.update({number: known.pieces[number - 1] for number in missing})

    @rule(which=WHICH, part=WHICH, cuts=CUTS, counted=st.booleans())
    def another_content_of_the_same_part_replaces_it(self, which: int, part: int, cuts: int, counted: bool) -> None:
        known = self.one(which)
        number = self.part_of(known, part)
        length = len(known.pieces[number - 1])
        if not known.declared:
            length = self.random.randrange(0, 90)
        self.send(known, number, self.body(self.random.randbytes(length), cuts, counted=counted))

    @rule(which=WHICH, part=WHICH, kept=st.integers(0, 60), cuts=CUTS, counted=st.booleans())
    def a_part_whose_client_vanished_is_as_it_was(
        self, which: int, part: int, kept: int, cuts: int, counted: bool
    ) -> None:
        known = self.one(which)
        number = self.part_of(known, part)
        content = self.random.randbytes(len(known.pieces[number - 1]))
        body = self.body(content[:kept], cuts, ending=Ending.VANISHED, counted=counted)
        body.length_bytes = len(content) if counted else None
        with pytest.raises(BodyVanished):
            self.run(self.parted.receive(known.id, OWNER, number, body))

    @rule(which=WHICH, part=WHICH)
    def a_part_that_is_not_what_was_announced_is_as_it_was(self, which: int, part: int) -> None:
        known = self.one(which)
        number = self.part_of(known, part)
        content = known.pieces[number - 1]
        with pytest.raises(PartMismatch):
            self.run(self.parted.receive(known.id, OWNER, number, self.body(content, 2), sha256="0" * 64))

    @rule(which=WHICH, part=WHICH, more=st.integers(-5, 5), counted=st.booleans())
    def a_part_of_another_length_is_refused(self, which: int, part: int, more: int, counted: bool) -> None:
        known = self.one(which)
        number = self.part_of(known, part)
        length = len(known.pieces[number - 1]) + more
        if not known.declared or more == 0 or length < 0:
            return
        with pytest.raises(PartLengthInvalid):
            self.run(self.parted.receive(known.id, OWNER, number, self.body(bytes(length), 2, counted=counted)))

    @rule(which=WHICH, part=WHICH, first_ends=st.booleans(), clients=st.integers(2, 4))
    def of_several_on_one_part_the_last_whole_one_wins(
        self, which: int, part: int, first_ends: bool, clients: int
    ) -> None:
        """The first may be asked to leave by a later one that is whole; bytes of two never mix."""
        known = self.one(which)
        number = self.part_of(known, part)
        length = len(known.pieces[number - 1])
        contents = [self.random.randbytes(length) for _ in range(clients)]
        bodies = [PlayedBody([content[: length // 2], content[length // 2 :]], pause_before=1) for content in contents]
        order = list(range(clients))
        if not first_ends:
            self.random.shuffle(order)

        async def racing() -> list[int]:
            tasks = [asyncio.create_task(self.parted.receive(known.id, OWNER, number, body)) for body in bodies]
            for body in bodies:
                await body.paused.wait()
            whole = []
            for index in order:
                bodies[index].go.set()
                try:
                    await tasks[index]
                    whole.append(index)
                except TakenOver:
                    assert index == 0
            return whole

        whole = self.run(racing())
        known.held[number] = contents[whole[-1]]
        known.etags.pop(number, None)

    @rule(which=WHICH)
    def a_stranger_gets_nothing(self, which: int) -> None:
        known = self.one(which)
        for ask in (
            self.parted.parts(known.id, "mallory"),
            self.parted.abort(known.id, "mallory"),
            self.parted.complete(known.id, "mallory", known.listed(), Digest.of(known.content)),
        ):
            with pytest.raises(UploadForeign):
                self.run(ask)

    # -- the end of it ------------------------------------------------------------------------------------------------

    def finishable(self, which: int) -> Known:
        """A session whose parts may be completed by the rules of the list."""
        known = self.one(which)
        for number in range(1, len(known.pieces) + 1):
            if known.held.get(number) != known.pieces[number - 1]:
                self.send(known, number, self.body(known.pieces[number - 1], 1))
        return known

    @rule(which=WHICH, twice=st.booleans(), algorithm=st.sampled_from(["sha256", "sha512"]))
    def the_right_list_and_digest_make_the_blob(self, which: int, twice: bool, algorithm: str) -> None:
        known = self.finishable(which)
        digest = Digest.of(known.content, algorithm)
        for _ in range(1 + twice):
            done = self.run(self.parted.complete(known.id, OWNER, known.listed(), digest))
            assert (done.digest, done.size_bytes, done.parts) == (str(digest), len(known.content), len(known.pieces))
        self.has_become(known, algorithm)

    def has_become(self, known: Known, algorithm: str = "sha256") -> None:
        self.ended(known, UploadFinished)
        digest = Digest.of(known.content, algorithm)
        assert self.run(self.house.blobs.size(REPOSITORY, digest)) == len(known.content)
        if algorithm == "sha256":
            self.blobs.add(known.content)

    @rule(which=WHICH, wrong=st.sampled_from(["none", "less", "more", "etag", "order", "twice"]))
    def a_wrong_list_changes_nothing(self, which: int, wrong: str) -> None:
        known = self.one(which)
        listed = known.listed()
        if wrong == "none":
            listed = []
        elif wrong == "less":
            listed = listed[:-1]
        elif wrong == "more":
            listed.append(ListedPart(len(known.pieces) + 1, "0" * 64))
        elif wrong == "etag" and listed:
            listed[0] = ListedPart(listed[0].number, "0" * 64)
        elif wrong == "order" and len(listed) > 1:
            listed.reverse()
        elif listed:
            listed.append(listed[-1])
        with pytest.raises(PartsInvalid):
            self.run(self.parted.complete(known.id, OWNER, listed, Digest.of(known.content)))

    @rule(which=WHICH)
    def a_list_with_parts_missing_changes_nothing(self, which: int) -> None:
        known = self.one(which)
        if len(known.held) == len(known.pieces):
            return
        listed = [ListedPart(number, hashlib.sha256(piece).hexdigest()) for number, piece in enumerate(known.pieces, 1)]
        with pytest.raises(PartsInvalid):
            self.run(self.parted.complete(known.id, OWNER, listed, Digest.of(known.content)))

    @rule(which=WHICH)
    def a_wrong_digest_ends_the_session_and_makes_nothing(self, which: int) -> None:
        """T10, H080."""
        known = self.finishable(which)
        with pytest.raises(DigestMismatch):
            self.run(self.parted.complete(known.id, OWNER, known.listed(), Digest.of(known.content + b"!")))
        self.ended(known, UploadAborted)

    @rule(which=WHICH, twice=st.booleans())
    def completing_under_the_temporary_name_keeps_it_unseen(self, which: int, twice: bool) -> None:
        """H110."""
        known = self.finishable(which)
        for _ in range(1 + twice):
            done = self.run(self.parted.complete(known.id, OWNER, known.listed(), None))
            self.is_told(done.digest, Digest.of(known.content))
        self.names(known)

    def is_told(self, told: str, digest: Digest) -> None:
        """Everything came through us, so the digest is known."""
        assert told == str(digest)

    def names(self, known: Known) -> None:
        """It has its temporary name now; who had it before is gone."""
        for other in list(self.open.values()):
            if other.assembled and other.target == known.target:
                self.ended(other, UploadAborted)
        known.assembled = True

    @rule(cuts=CUTS, counted=st.booleans())
    def a_whole_in_one_body_is_kept_unseen(self, cuts: int, counted: bool) -> None:
        """H031."""
        content = self.random.randbytes(self.random.randrange(0, 200))
        target = f"uploads/temp-{self.random.randrange(3)}"
        body = self.body(content, cuts, counted=counted)
        stored = self.run(self.parted.receive_whole(REPOSITORY, target, body, owner=OWNER))
        assert stored.size_bytes == len(content)
        session = self.parted.assembled(OWNER, target)
        assert session is not None
        known = Known(session.id, target, [content], counted, {1: content})
        self.names(known)
        self.open[known.id] = known

    @rule(vanishes_after=st.integers(0, 50))
    def a_whole_whose_client_vanished_leaves_nothing(self, vanishes_after: int) -> None:
        body = PlayedBody([bytes(vanishes_after)], ending=Ending.VANISHED)
        body.length_bytes = 51
        with pytest.raises(BodyVanished):
            self.run(self.parted.receive_whole(REPOSITORY, "uploads/temp-0", body, owner=OWNER))

    @precondition(lambda self: any(known.assembled for known in self.open.values()))
    @rule(which=WHICH, twice=st.booleans(), algorithm=st.sampled_from(["sha256", "sha512"]), by_id=st.booleans())
    def moving_the_temporary_name_makes_the_blob(self, which: int, twice: bool, algorithm: str, by_id: bool) -> None:
        assembled = [known for known in self.open.values() if known.assembled]
        known = assembled[which % len(assembled)]
        digest = Digest.of(known.content, algorithm)
        for _ in range(1 + twice):
            if by_id:
                done = self.run(self.parted.complete(known.id, OWNER, known.listed(), digest))
            else:
                done = self.run(self.parted.publish(OWNER, known.target, digest))
            assert (done.upload_id, done.digest) == (known.id, str(digest))
        self.has_become(known, algorithm)

    @rule()
    def moving_what_nobody_completed_is_refused(self) -> None:
        with pytest.raises(UploadUnknown):
            self.run(self.parted.publish(OWNER, "uploads/temp-99", Digest.of(b"")))

    @rule(which=WHICH)
    def an_aborted_session_is_gone(self, which: int) -> None:
        known = self.one(which)
        self.run(self.parted.abort(known.id, OWNER))
        self.ended(known, UploadAborted)

    @rule(after_s=st.sampled_from([10, 600, 1200]))
    def idle_sessions_expire(self, after_s: int) -> None:
        """H064, H065: an upload that is used stays."""
        used = next(iter(self.open.values()), None)
        self.clock.time_s += after_s / 2
        if used is not None:
            self.parted.find(used.id, OWNER)
        self.clock.time_s += after_s / 2
        idle = {s.id for s in self.parted.all() if self.clock.time_s - s.touched_at_s > LIMITS.expiry_s}
        assert self.run(self.house.sessions.expire()) == len(idle)
        self.run(self.house.sessions.flush())  # as the background does every few seconds
        for upload_id in idle:
            self.ended(self.open[upload_id], UploadExpired)
        assert used is None or used.id not in idle or after_s > 2 * LIMITS.expiry_s

    def ended(self, known: Known, how: type[Exception]) -> None:
        self.open.pop(known.id, None)
        with pytest.raises(how):
            self.parted.find(known.id, OWNER)

    # -- failures and restarts ----------------------------------------------------------------------------------------

    @rule(which=WHICH, when=st.sampled_from(["put", "catalog", "join"]), restart=st.booleans())
    def a_completion_that_fails_can_be_repeated(self, which: int, when: str, restart: bool) -> None:
        """Before the bytes are stored, or between that and the catalog; also by the next process (T09)."""
        known = self.finishable(which)
        digest = Digest.of(known.content)
        with pytest.raises(StorageFull), self.broken(when):
            self.run(self.parted.complete(known.id, OWNER, known.listed(), digest))
        if restart:
            self.crash()
        self.check(known)
        self.run(self.parted.complete(known.id, OWNER, known.listed(), digest))
        self.has_become(known)

    @rule(which=WHICH, part=WHICH, when=st.sampled_from(["put", "catalog"]))
    def after_a_completion_that_failed_parts_can_be_replaced(self, which: int, part: int, when: str) -> None:
        """When the bytes were moved away already, none is taken, so that none is lost; the completion then succeeds."""
        known = self.finishable(which)
        with pytest.raises(StorageFull), self.broken(when):
            self.run(self.parted.complete(known.id, OWNER, known.listed(), Digest.of(known.content)))
        number = self.part_of(known, part)
        body = self.body(known.pieces[number - 1], 1)
        if when == "put":
            self.send(known, number, body)
            return
        with pytest.raises(UploadFinished):
            self.run(self.parted.receive(known.id, OWNER, number, body))
        self.run(self.parted.complete(known.id, OWNER, known.listed(), Digest.of(known.content)))
        self.has_become(known)

    def broken(self, when: str) -> Any:
        patch = pytest.MonkeyPatch()

        async def full(*_: object, **__: object) -> None:
            raise StorageFull("no room")

        def full_now(*_: object) -> None:
            raise StorageFull("no room")

        self.house.blobs.condition._fresh.clear()  # what was stored a moment ago would not be put again
        if when == "put":
            patch.setattr(self.house.backend, "put", full)
        elif when == "join":
            patch.setattr("multipart.partfiles.PartFiles.join", full_now)
        else:
            patch.setattr("store.blob_rows.record", full_now)
        return Undone(patch)

    @rule()
    def a_polite_restart_loses_nothing(self) -> None:
        """T09."""
        data = self.house.folder.data_dir
        self.run(self.house.stop())
        self.start(data)

    @rule(verified=st.booleans())
    def a_crash_loses_nothing(self, verified: bool) -> None:
        """T09."""
        self.crash()
        if verified:
            self.run(self.house.sessions.recover_all())

    @rule(which=WHICH, part=WHICH, cuts=st.integers(1, 3))
    def a_crash_in_the_middle_of_a_part_costs_only_that(self, which: int, part: int, cuts: int) -> None:
        """T09."""
        known = self.one(which)
        number = self.part_of(known, part)
        content = self.random.randbytes(len(known.pieces[number - 1]))
        body = PlayedBody([content[: len(content) // 2], content[len(content) // 2 :]], pause_before=1)
        self.crash(self.parted.receive(known.id, OWNER, number, body), body)

    @precondition(lambda self: any(known.held and not known.assembled for known in self.open.values()))
    @rule(which=WHICH, part=WHICH, how=st.sampled_from(["flipped", "short", "gone"]))
    def damage_while_nobody_looked_makes_parts_missing(self, which: int, part: int, how: str) -> None:
        holding = [known for known in self.open.values() if known.held and not known.assembled]
        known = holding[which % len(holding)]
        number = sorted(known.held)[part % len(known.held)]
        self.crash(between=lambda spool: self.damage(spool, known, number, how))
        self.run(self.house.sessions.recover_all())
        listed = {part.number for part in self.run(self.parted.parts(known.id, OWNER))}
        if known.held[number] and how == "flipped":
            assert number not in listed
        moved = self.parted.find(known.id, OWNER).moved_away
        missing = [at for at in range(1, len(known.pieces) + 1) if at not in known.held]
        if moved and missing:  # nobody has completed it, so it goes on: that shows what was lost
            self.run(self.parted.receive(known.id, OWNER, missing[0], PlayedBody([known.pieces[missing[0] - 1]])))
            known.held[missing[0]] = known.pieces[missing[0] - 1]
            listed = {part.number for part in self.run(self.parted.parts(known.id, OWNER))}
        elif moved:  # as after a commit that was cut short; the bytes may lie under the digest since an earlier one was
            try:
                self.run(self.parted.complete(known.id, OWNER, known.listed(), Digest.of(known.content)))
            except PartsInvalid:
                listed = {part.number for part in self.run(self.parted.parts(known.id, OWNER))}
            else:
                self.has_become(known)
        known.held = {number: content for number, content in known.held.items() if number in listed}

    def damage(self, spool: Path, known: Known, number: int, how: str) -> None:
        size = max(map(len, known.pieces[:-1]), default=0)
        path = spool / (f"{known.id}.data" if known.declared else f"{known.id}.part{number}")
        start = (number - 1) * size if known.declared else 0
        if how == "gone":
            path.unlink()
            return
        content = bytearray(path.read_bytes())
        if how == "short":
            path.write_bytes(content[: start + len(known.held[number]) // 2])
        elif known.held[number]:
            content[start + self.random.randrange(len(known.held[number]))] ^= 1
            path.write_bytes(content)

    def crash(
        self, doing: Any = None, body: PlayedBody | None = None, between: Callable[[Path], None] | None = None
    ) -> None:
        """Go on from a copy of the folder, taken in the middle of receiving `body` if there is one."""
        self.lives += 1
        after = self.place / f"data{self.lives}"

        async def crashing() -> None:
            task = asyncio.create_task(doing) if doing is not None else None
            if body is not None:
                await body.paused.wait()
            shutil.copytree(self.house.folder.data_dir, after)
            self.crashed()
            if body is not None and task is not None:
                body.go.set()
                await task
            await self.house.stop()

        self.run(crashing())
        shutil.rmtree(self.house.folder.data_dir)
        if between is not None:
            between(after / "spool")
        self.start(after)

    def crashed(self) -> None:
        """What the old process still does counts for nothing: it goes on in the folder that is not copied."""

    # -- what holds throughout ----------------------------------------------------------------------------------------

    def check(self, known: Known) -> None:
        stored = self.run(self.parted.parts(known.id, OWNER))
        assert {part.number: part.sha256 for part in stored} == {
            number: hashlib.sha256(content).hexdigest() for number, content in known.held.items()
        }

    @invariant()
    def what_is_listed_was_acknowledged_and_blobs_are_whole(self) -> None:
        if not hasattr(self, "house"):
            return
        for known in self.open.values():
            session = next(session for session in self.parted.all() if session.id == known.id)
            held = {number: hashlib.sha256(content).hexdigest() for number, content in known.held.items()}
            assert {number: part.sha256 for number, part in session.listing.items()} == held
        for path in self.house.folder.docker.rglob("data"):
            algorithm = path.parent.parent.parent.name
            assert hashlib.new(algorithm, path.read_bytes()).hexdigest() == path.parent.name
        assert all(self.run(self.house.stored(content)) for content in self.blobs)

    @invariant()
    def the_spool_holds_open_sessions_only(self) -> None:
        if not hasattr(self, "house"):
            return
        assert {session.id for session in self.parted.all()} == self.open.keys()
        for path in self.house.folder.spool.iterdir():
            upload_id, _, rest = path.name.partition(".")
            assert upload_id in self.open
            assert rest.count(".") == 0, "a side file stayed"


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of the whole is read in slices of a part, and only few beginnings are remembered."""
    monkeypatch.setattr(follower, "SLICE_BYTES", 32)
    monkeypatch.setattr(follower, "CHECKPOINTS", 3)


TestParts = Parts.TestCase
TestParts.settings = model_runs(60)
