"""Failing system calls and a failing catalog under uploads in parts: nothing acknowledged is lost or half kept."""

import ctypes
import errno
import os
import time

import pytest

from model.digests import Digest
from model.errors import DigestMismatch, StorageFailed, StorageFull
from multipart import arrivals, filesystem, partfiles
from tests.unit.multipart.harness import PlayedBody, house
from tests.unit.multipart.parting import (
    ALL,
    DIGEST,
    KINDS,
    OWNER,
    PARTS,
    SMALL,
    TEMP,
    WHOLE,
    becomes_the_blob,
    complete,
    files,
    full,
    full_now,
    held,
    opened,
    send,
    send_all,
    send_missing,
)

OTHER = b"other ones"


def failing(code: int, *, after: int = 0, real=None):
    """A system call that fails with `code`, after so many that go well."""
    left = [after]

    def call(*args):
        if left[0] and real is not None:
            left[0] -= 1
            return real(*args)
        raise OSError(code, os.strerror(code))

    return call


async def goes_on(h, session):
    """Whatever happened: sending what is missing completes the upload."""
    await send_missing(h, session)
    await becomes_the_blob(h, session)
    assert files(h) == []
    assert h.sessions._accounts.spooled_bytes == 0


@KINDS
@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed)])
@pytest.mark.parametrize("again", [False, True])
async def test_a_disk_that_fails_in_a_write_leaves_the_part_as_it_was(
    tmp_path, monkeypatch, declared, code, error, again
):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        number = 1 if again else 2
        await send(h, session, 1, PARTS[0])
        with monkeypatch.context() as broken, pytest.raises(error):
            broken.setattr(os, "pwrite", failing(code, after=1, real=os.pwrite))
            await send(h, session, number, PlayedBody([OTHER[:5], OTHER[5:]]))
        assert await held(h, session) == {1: 10}
        await goes_on(h, session)


@KINDS
@pytest.mark.parametrize("again", [False, True])
async def test_a_sync_that_fails_acknowledges_nothing(tmp_path, monkeypatch, declared, again):
    """H022: an ETag says that the part is on the disk."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        await session.follower.to_the_end()
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(os, "fdatasync", failing(errno.ENOSPC))
            await send(h, session, 1 if again else 2, OTHER)
        assert await held(h, session) == ({} if again and declared else {1: 10})
        await goes_on(h, session)


async def test_a_copy_that_fails_leaves_the_part_missing(tmp_path, monkeypatch):
    """Half of it may lie in its place: no row of the ledger says otherwise."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        with monkeypatch.context() as broken, pytest.raises(StorageFailed):
            broken.setattr(os, "copy_file_range", failing(errno.EIO))
            await send(h, session, 2, OTHER)
        assert await held(h, session) == {1: 10, 3: 4}
        assert files(h) == ["data"]
        await goes_on(h, session)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_full_disk_while_joining_leaves_the_session_as_it_was(tmp_path, monkeypatch, after):
    """H112."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False, parts=ALL)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(os, "copy_file_range", failing(errno.ENOSPC, after=after, real=os.copy_file_range))
            await complete(h, session)
        assert files(h) == ["part1", "part2", "part3"]
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        await goes_on(h, session)


@KINDS
async def test_a_file_system_that_cannot_copy_inside_is_copied_by_hand(tmp_path, monkeypatch, declared):
    """T07: and where it can share blocks, copy_file_range does."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared)
        monkeypatch.setattr(os, "copy_file_range", failing(errno.EXDEV))
        await send_all(h, session, [PARTS[0], OTHER, PARTS[2]])
        await send(h, session, 2, PARTS[1])
        await goes_on(h, session)


@pytest.mark.parametrize("unsupported", [errno.EOPNOTSUPP, errno.ENOSYS])
async def test_a_file_system_that_cannot_reserve_gets_a_file_of_the_length(tmp_path, monkeypatch, unsupported):
    class Libc:
        @staticmethod
        def fallocate(*_):
            ctypes.set_errno(unsupported)
            return -1

    async with house(tmp_path, **SMALL) as h:
        monkeypatch.setattr(filesystem, "_LIBC", Libc)
        session = await opened(h, parts=[1])
        assert (h.folder.spool / f"{session.id}.data").stat().st_size == len(WHOLE)
        await goes_on(h, session)


@KINDS
@pytest.mark.parametrize("what", ["add_part", "remove_parts"])
async def test_a_catalog_that_fails_acknowledges_no_part(tmp_path, monkeypatch, declared, what):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[1])
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(h.sessions.parted._ledger, what, full)
            await send(h, session, 1, OTHER)
        assert await held(h, session) == ({} if what == "add_part" else {1: 10})
        await goes_on(h, session)


@KINDS
@pytest.mark.parametrize("unseen", [False, True])
async def test_storing_that_fails_leaves_the_session_as_it_was(tmp_path, monkeypatch, declared, unseen):
    """T10: what is right is kept for another try."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            if unseen:
                broken.setattr(h.sessions.parted._ledger, "assemble", full)
            else:
                broken.setattr(h.backend, "put", full)
            await complete(h, session, None if unseen else DIGEST)
        assert files(h) == (["data"] if declared else ["part1", "part2", "part3"])
        await send(h, session, 2, OTHER)
        await send(h, session, 2, PARTS[1])
        await goes_on(h, session)


@pytest.mark.parametrize("when", ["put", "catalog"])
async def test_a_move_that_fails_can_be_repeated(tmp_path, monkeypatch, when):
    """H030."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            if when == "put":
                broken.setattr(h.backend, "put", full)
            else:
                broken.setattr("store.blob_rows.record", full_now)
            await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
        await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
        assert await h.stored(WHOLE)


async def test_a_session_that_the_ledger_does_not_take_was_never_opened(tmp_path, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        with monkeypatch.context() as broken, pytest.raises(StorageFull):
            broken.setattr(h.sessions.parted._ledger, "add", full)
            await opened(h)
        assert h.sessions.parted.all() == []
        accounts = h.sessions._accounts
        assert (accounts.spooled_bytes, accounts.pledged_bytes, accounts.in_repository("lab/tools")) == (0, 0, 0)


async def test_an_end_that_the_ledger_does_not_take_changes_nothing(tmp_path, monkeypatch):
    """H065: and the background tries again."""
    async with house(tmp_path, expiry_s=10, **SMALL) as h:
        session = await opened(h, parts=[1])
        with monkeypatch.context() as broken:
            broken.setattr(h.sessions.parted._ledger, "end", full)
            with pytest.raises(StorageFull):
                await h.sessions.parted.abort(session.id, OWNER)
            h.clock.time_s += 100
            assert await h.sessions.expire() == 0
        await send(h, session, 2, PARTS[1])
        h.clock.time_s += 100
        assert await h.sessions.expire() == 1
        assert files(h) == []


async def test_without_durability_nothing_is_synced(tmp_path, monkeypatch):
    async with house(tmp_path, durable=False, **SMALL) as h:
        monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
        monkeypatch.setattr(os, "fsync", failing(errno.EIO))
        for declared in (True, False):
            session = await opened(h, declared=declared, parts=ALL)
            await send(h, session, 2, OTHER)
            await send(h, session, 2, PARTS[1])
            await complete(h, session, None)


async def test_a_digest_that_ended_with_a_wrong_whole_is_told_even_if_the_ledger_fails(tmp_path, monkeypatch):
    """T10: the ledger is told before the files go, so that a crash never leaves a session whose bytes are not there."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        there = []

        async def full(*_):
            there.extend(files(h))
            raise StorageFull("no room")

        with monkeypatch.context() as broken, pytest.raises(DigestMismatch):
            broken.setattr(h.sessions.parted._ledger, "end", full)
            await complete(h, session, Digest.of(b"something else"))
        assert there == ["data"]
        assert files(h) == []


async def test_a_large_upload_leaves_the_page_cache_and_waits_for_its_digest(tmp_path, monkeypatch):
    """And is byte-exact all the same: what was let go is read from the disk when a part is replaced."""
    monkeypatch.setattr(partfiles, "UNCACHED_FROM_BYTES", 1)
    monkeypatch.setattr(arrivals, "AHEAD_BYTES", 5)
    let_go: list[tuple[int, int]] = []
    pauses: list[float] = []
    monkeypatch.setattr(filesystem, "let_go", lambda _, start, length: let_go.append((start, length)))
    monkeypatch.setattr(time, "sleep", pauses.append)
    async with house(tmp_path, uncached=True, **SMALL) as h:
        session = await opened(h, parts=[1])
        body = PlayedBody([PARTS[1][:2], PARTS[1][2:9], PARTS[1][9:]])
        async with session.follower._lock:  # it can not go on
            await send(h, session, 2, body)
        assert 0 < len(pauses) <= 3 * arrivals.PAUSES
        await send(h, session, 3, PARTS[2])
        await session.follower.to_the_end()
        assert let_go[-1] == (0, len(WHOLE))
        await send(h, session, 2, OTHER)
        await send(h, session, 2, PARTS[1])
        await goes_on(h, session)
