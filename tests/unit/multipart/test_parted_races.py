"""Uploads in parts when two things meet that seldom do: a file that goes while it is read, an end in the middle."""

import asyncio
import os
import threading
import time

import pytest

from model.errors import StorageFull
from multipart import follower
from multipart.partfiles import PartFiles
from multipart.parts import Layout, ListedPart, StoredPart, problems
from multipart.refusals import PartsInvalid
from multipart.returning import remains
from store.upload_parts import PartRow
from store.uploads import UploadRow
from tests.unit.multipart.harness import PlayedBody, house
from tests.unit.multipart.parting import (
    ALL,
    KINDS,
    OWNER,
    PARTS,
    SMALL,
    becomes_the_blob,
    complete,
    damage,
    files,
    full,
    held,
    opened,
    send,
)

FEW_S = 5.0
"""Much longer than anything here takes."""


def held_back(monkeypatch, target, name):
    """Let a function that runs in threads begin, and wait; returns when it began, and what lets it go on."""
    real, began, go = getattr(target, name), threading.Event(), threading.Event()

    def waiting(*args, **how):
        began.set()
        assert go.wait(FEW_S)
        return real(*args, **how)

    monkeypatch.setattr(target, name, waiting)
    return began, go


@KINDS
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_completion_that_finds_a_bad_part_costs_only_that_part(tmp_path, declared, number):
    """T09, H115: the others stay, and the upload is completed once it came again."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        damage(h, session, number)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        with pytest.raises(PartsInvalid, match=f"part {number} "):
            await complete(h, found)
        others = {at: len(content) for at, content in enumerate(PARTS, 1) if at != number}
        assert await held(h, found) == others
        await becomes_the_blob(h, found, number)


@KINDS
async def test_an_upload_that_is_aborted_while_it_is_hashed_holds_nothing_any_more(
    tmp_path, monkeypatch, declared, caplog
):
    """Its files go when nobody reads them, so that nothing is found to be lost and counted twice."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        began, go = held_back(monkeypatch, follower, "read_into")
        await send(h, session, 1, PARTS[0])
        await send(h, session, 2, PARTS[1])
        assert await asyncio.to_thread(began.wait, FEW_S)
        aborting = asyncio.create_task(h.sessions.parted.abort(session.id, OWNER))
        await asyncio.wait([aborting], timeout=0.1)
        go.set()
        await aborting
        await session.follower.to_the_end()
        assert files(h) == []
        assert session.held.size_bytes == 0
        assert h.sessions._accounts.spooled_bytes == 0
        assert "has to be sent again" not in caplog.text


@KINDS
@pytest.mark.parametrize("again", [False, True])
async def test_a_request_that_is_cancelled_while_its_file_is_opened_leaves_no_descriptor(
    tmp_path, monkeypatch, declared, again
):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        if again:
            await send(h, session, 2, PARTS[1])
        there, before = files(h), len(os.listdir("/proc/self/fd"))
        began, go = held_back(monkeypatch, PartFiles, "open_side" if again else "open_place")
        sending = asyncio.create_task(send(h, session, 2, b"other part"))
        assert await asyncio.to_thread(began.wait, FEW_S)
        sending.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not session.receiving
        assert len(os.listdir("/proc/self/fd")) == before
        assert files(h) == there


async def test_a_part_that_comes_while_a_bad_one_is_removed_keeps_its_file(tmp_path, monkeypatch):
    """A part beyond a gap is found bad, and sent again at this very moment."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False, parts=[1, 3])
        damage(h, session, 3)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        began, go = held_back(monkeypatch, PartFiles, "remove")
        verifying = asyncio.create_task(found.verify())
        assert await asyncio.to_thread(began.wait, FEW_S)
        sending = asyncio.create_task(send(h, found, 3, PlayedBody([PARTS[2]])))
        await asyncio.wait([sending], timeout=0.1)
        go.set()
        await verifying
        await sending
        await becomes_the_blob(h, found, 2)


async def test_a_bad_part_that_the_ledger_cannot_forget_spoils_no_digest(tmp_path, monkeypatch):
    """A part file became shorter, and the catalog has no room just now: only the part sent again counts."""
    async with house(tmp_path, **SMALL) as h:
        await opened(h, declared=False, parts=ALL)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        os.truncate(found.files.path_of(2), 5)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(found, "drop", full)
            await found.follower.to_the_end()
        await becomes_the_blob(h, found, 2)


async def test_a_descriptor_that_cannot_be_closed_well_locks_nobody_out(tmp_path, monkeypatch):
    """Some file systems say at close that the disk is full."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False)
        real = os.close
        failed: list[int] = []

        def close(fd):
            real(fd)
            if not failed:
                failed.append(fd)
                raise OSError(5, "no")

        with monkeypatch.context() as broken:
            broken.setattr("multipart.arrivals.os.close", close)
            with pytest.raises(OSError, match="no"):
                await send(h, session, 1, b"x", sha256="0" * 64)
        assert failed
        assert not session.receiving
        await asyncio.wait_for(h.sessions.parted.abort(session.id, OWNER), FEW_S)


async def test_an_upload_that_ends_while_a_bad_part_is_forgotten_is_counted_once(tmp_path, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False, parts=ALL)
        damage(h, session, 2)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        began, go = held_back(monkeypatch, PartFiles, "remove")
        following = asyncio.create_task(found.follower.to_the_end())
        assert await asyncio.to_thread(began.wait, FEW_S)
        aborting = asyncio.create_task(h.sessions.parted.abort(found.id, OWNER))
        await asyncio.wait([aborting], timeout=0.1)
        go.set()
        await asyncio.gather(following, aborting)
        assert h.sessions._accounts.spooled_bytes == 0
        assert files(h) == []


@KINDS
async def test_a_part_may_be_replaced_while_it_is_hashed(tmp_path, monkeypatch, declared, caplog):
    """H068: the old bytes can be read until nobody reads them, and are not taken for lost."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        began, go = held_back(monkeypatch, follower, "read_into")
        await send(h, session, 2, b"other part")
        assert await asyncio.to_thread(began.wait, FEW_S)
        sending = asyncio.create_task(send(h, session, 2, PARTS[1]))
        await asyncio.wait([sending], timeout=0.1)
        go.set()
        await sending
        await becomes_the_blob(h, session, 3)
        assert "has to be sent again" not in caplog.text


def test_ten_thousand_parts_are_compared_in_a_moment():
    """H097: a list as long as it may be holds nobody up; anything quadratic takes seconds here."""
    stored = {number: StoredPart(number, 1, "a" * 64) for number in range(1, 10_001)}
    listed = [ListedPart(number, "a" * 64) for number in stored]
    began_s = time.process_time()
    for layout in (None, Layout(10_000, 1)):
        assert problems(listed, stored, layout, min_part_bytes=1) == []
    assert problems(listed[:5_000], stored, None, min_part_bytes=1)[-1] == "part 10000 is stored, but not listed"
    assert time.process_time() - began_s < 1


def test_a_file_that_lost_most_of_ten_thousand_parts_is_sorted_out_in_a_moment():
    """T09: at start, for each session."""
    rows = [PartRow("id", number, 1, "a" * 64) for number in range(1, 10_001)]
    began_s = time.process_time()
    found = remains(UploadRow("id", "lab/tools", "sha256", 0, 0), Layout(10_000, 1), rows, {"id.data": 10})
    assert (len(found.kept), len(found.lost)) == (10, 9_990)
    assert time.process_time() - began_s < 1
