"""A part that was answered is there behind every kill, wherever it lies: in a file of its own, or in the store."""

import asyncio
import copy
import itertools
import logging
import shutil
from pathlib import Path

import pytest

from model.digests import Digest
from multipart.ledger import Ledger
from multipart.partfiles import PartFiles
from tests.unit.multipart.harness import HandClock
from tests.unit.multipart.parting import ALL, OTHER, PARTS, WHOLE, complete, held, listed, opened, send, send_missing
from tests.unit.multipart.storehouse import OWNER, DirectStore, storehouse

OF_THE_STORE = ("begin", "send_part")
OF_THE_LEDGER = ("add_part", "intend_object", "object_begun", "sent")
OF_FILES = ("sync", "remove")
ONCE = ("begin", "intend_object", "object_begun")
"""What happens once for each upload; the others happen for each part."""


class Killed:
    """The folder and the store as they are at one step; the process goes on, but nothing of that counts."""

    def __init__(self, monkeypatch, data: Path, store: DirectStore, step: str, when: str, passing: int) -> None:
        self.data, self.folder, self.alive = data, data.with_name("killed"), store
        self.store = DirectStore(HandClock())
        self.wanted, self.passed, self.passing = (step, when), 0, passing
        self.answered: list[int] = []
        self.answered_then: list[int] | None = None
        store.before = lambda verb, key: self._in_the_store(verb, "before")
        store.after = lambda verb, key: self._in_the_store(verb, "after")
        for name in OF_THE_LEDGER:
            monkeypatch.setattr(Ledger, name, self._awaited(name, getattr(Ledger, name)))
        for name in OF_FILES:
            monkeypatch.setattr(PartFiles, name, self._blocking(name, getattr(PartFiles, name)))

    def reaches(self, step: str, when: str) -> None:
        if self.wanted == (step, when):
            self.passed += 1
            if self.passed == self.passing:
                self.now()

    def now(self) -> None:
        self.answered_then = list(self.answered)
        shutil.copytree(self.data, self.folder)
        self.store.values, self.store.unfinished = copy.deepcopy((self.alive.values, self.alive.unfinished))

    async def _in_the_store(self, verb, when):
        self.reaches(verb, when)

    def _awaited(self, name, really):
        async def step(*arguments):
            self.reaches(name, "before")
            result = await really(*arguments)
            self.reaches(name, "after")
            return result

        return step

    def _blocking(self, name, really):
        def step(*arguments):
            self.reaches(name, "before")
            really(*arguments)
            self.reaches(name, "after")

        return step


def passings(step: str, life: str, declared: bool) -> int:
    """How often a step is passed in a life; without a declared size the last part is too small to be sent."""
    if step in ONCE:
        return 1 if life == "first" else 0
    if step in ("add_part", "sync"):
        return 3 if life == "first" else 1
    return 3 if declared else 2


def cases():
    for life, declared in itertools.product(("first", "second"), (True, False)):
        for step, when in itertools.product((*OF_THE_STORE, *OF_THE_LEDGER, *OF_FILES), ("before", "after")):
            for passing in range(1, passings(step, life, declared) + 1):
                name = f"{life} life, {'' if declared else 'un'}declared, {when} {step} {passing}"
                yield pytest.param(life, declared, step, when, passing, id=name)


def lost(caplog):
    """What the log said of parts that are not there."""
    return [record.getMessage() for record in caplog.records if "to be sent again" in record.getMessage()]


@pytest.mark.parametrize(("life", "declared", "step", "when", "passing"), [*cases()])
async def test_it_is_kept_whichever_step_the_server_dies_at(
    tmp_path, monkeypatch, caplog, life, declared, step, when, passing
):
    """T09: between its answer, its way into the store, its row, and the end of its file; also one life later."""
    data, store = tmp_path / "data", DirectStore(HandClock())
    data.mkdir()
    answered: list[int] = []
    if life == "second":  # nothing has been sent when it begins
        sending, over = asyncio.Event(), asyncio.Event()

        async def never_through(verb, key):
            if verb == "send_part":
                sending.set()
                await over.wait()

        store.before = never_through
        async with storehouse(data, store) as h:
            session = await opened(h, declared=declared)
            for number in (1, 2):
                await send(h, session, number, PARTS[number - 1])
                answered.append(number)
            await sending.wait()
    killed = Killed(monkeypatch, data, store, step, when, passing)
    killed.answered = answered
    async with storehouse(data, store) as h:
        session = (h.parted.all() or [await opened(h, declared=declared)])[0]
        await h.parted.verify_all()
        await h.seen()
        for number in sorted({*ALL} - {*answered}):
            await send(h, session, number, PARTS[number - 1])
            answered.append(number)
            await h.seen()
    assert killed.answered_then is not None, "that step was not reached"
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        async with storehouse(killed.folder, killed.store) as h:
            (found,) = h.parted.all()
            assert lost(caplog) == []
            await h.parted.verify_all()
            assert {*killed.answered_then} <= {*await held(h, found)}
            await send_missing(h, found)
            await complete(h, found)
            await h.keeps_only(WHOLE)
    assert lost(caplog) == []


class Slow:
    """A ledger's operation that ends only when it may."""

    def __init__(self, monkeypatch, ledger, name: str) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        really = getattr(ledger, name)

        async def slowly(*arguments):
            await really(*arguments)
            if not self.reached.is_set():
                self.reached.set()
                await self.go.wait()

        monkeypatch.setattr(ledger, name, slowly)


@pytest.mark.parametrize("content", [PARTS[0], OTHER[0]], ids=["the same", "another"])
async def test_a_part_that_comes_again_while_it_is_found_lost_in_the_store_is_kept(tmp_path, monkeypatch, content):
    """T09: the store dropped the upload; what it had is not told to be there, nor what comes then to be missing."""
    store, last = DirectStore(HandClock()), b"the fourth"
    parts = [content, PARTS[1], last]
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, declared=False, parts=(1, 2))
        await h.seen()
        store.unfinished.clear()
        dropping = Slow(monkeypatch, h.ledger, "remove_parts")
        await send(h, session, 3, last)
        await dropping.reached.wait()
        again = asyncio.create_task(send(h, session, 1, content))
        await asyncio.wait([again], timeout=0.05)
        dropping.go.set()
        await again
        await h.seen()
        assert await held(h, session) == {1: 10, 3: 10}
        await send(h, session, 2, PARTS[1])
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        assert await held(h, found) == {1: 10, 2: 10, 3: 10}
        whole = b"".join(parts)
        await h.parted.complete(found.id, OWNER, listed(parts), Digest.of(whole))
        await h.keeps_only(whole)


@pytest.mark.parametrize("had", ["nothing", "the part"])
async def test_a_part_that_comes_through_us_while_the_store_is_listed_is_kept(tmp_path, monkeypatch, had):
    """H048, H088: of a native upload; what the store listed before does not take its file away."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        if had == "the part":
            await send(h, session, 1, OTHER[0])
            await h.seen()
        h.store.client_puts(h.url(session, 1), b"a third one")
        recording = Slow(monkeypatch, h.ledger, "set_parts")
        looking = asyncio.create_task(h.parted.parts(session.id, OWNER))
        await recording.reached.wait()
        sending = asyncio.create_task(send(h, session, 1, PARTS[0]))
        await asyncio.wait([sending], timeout=0.05)
        recording.go.set()
        await looking
        await sending
        await send(h, session, 2, PARTS[1])
        await send(h, session, 3, PARTS[2])
        await complete(h, session)
        await h.keeps_only(WHOLE)
