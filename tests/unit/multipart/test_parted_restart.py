"""What a new process finds of uploads in parts, and what it makes of damage and of commits that were cut short."""

import asyncio
import shutil

import pytest

from model.digests import Digest
from model.errors import StorageFailed, StorageFull, UploadUnknown
from multipart import filesystem, follower
from multipart.parts import ListedPart
from multipart.refusals import PartsInvalid
from tests.unit.multipart.harness import house
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
    damage,
    file_of,
    files,
    full_now,
    held,
    listed,
    opened,
    send,
    send_all,
)


async def catalog_fails(h, session, monkeypatch):
    """Complete, with a catalog that fails after the bytes were stored."""

    with monkeypatch.context() as broken, pytest.raises(StorageFull):
        broken.setattr("store.blob_rows.record", full_now)
        await complete(h, session)


@KINDS
async def test_sessions_and_parts_come_back(tmp_path, declared):
    """T09, H115: and go on where they were."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[3, 1])
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert found.row == session.row
        assert found.layout == session.layout
        assert await held(h, found) == {1: 10, 3: 4}
        await becomes_the_blob(h, found, 2)
        assert files(h) == []


@KINDS
async def test_a_bad_part_in_the_prefix_is_marked_missing(tmp_path, declared):
    """T09: parts of earlier processes are hashed again in the background."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        damage(h, session, 2)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        await h.sessions.recover_all()
        assert await held(h, found) == {1: 10, 3: 4}
        assert [part.proven for part in found.parts.values()] == [True, True]
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert await held(h, found) == {1: 10, 3: 4}
        await becomes_the_blob(h, found, 2)


@KINDS
async def test_a_bad_part_beyond_a_gap_is_marked_missing(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=[2, 3])
        damage(h, session, 3)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        await h.sessions.recover_all()
        assert await held(h, found) == {2: 10}


@KINDS
async def test_a_completion_waits_for_the_proof(tmp_path, declared):
    """A bad part is named; the others need not be sent again."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        damage(h, session, 2)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        with pytest.raises(PartsInvalid, match="part 2"):
            await complete(h, found)
        assert await held(h, found) == {1: 10, 3: 4}
        await becomes_the_blob(h, found, 2)


@KINDS
async def test_the_same_bytes_heal_a_part_that_is_not_proven(tmp_path, declared):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        damage(h, session, 2)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        await becomes_the_blob(h, found, 2)


@KINDS
async def test_the_same_bytes_leave_a_part_of_an_earlier_process_where_it_is(tmp_path, declared, monkeypatch):
    """Were it put in its place, a kill in between would lose a part that was acknowledged (T09, invariant 5)."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        monkeypatch.setattr(found.files, "put_in_place", full_now)
        monkeypatch.setattr("store.upload_parts.remove_parts", full_now)
        answered = await send(h, found, 2, PARTS[1])
        assert answered == session.parts[2].stored
        assert found.parts[2].proven
        await becomes_the_blob(h, found)


@KINDS
async def test_the_same_bytes_replace_a_part_that_cannot_be_read(tmp_path, declared, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        await opened(h, declared=declared, parts=ALL)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        with monkeypatch.context() as broken:
            broken.setattr("multipart.parted_session.read_into", full_now)
            await send(h, found, 2, PARTS[1])
        await becomes_the_blob(h, found)


async def test_a_short_file_marks_the_parts_behind_its_end_missing(tmp_path):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        path, _ = file_of(h, session, 1)
        path.write_bytes(path.read_bytes()[:15])
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert await held(h, found) == {1: 10}
        await becomes_the_blob(h, found, 2, 3)


async def test_a_part_file_that_is_gone_is_a_missing_part(tmp_path):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False, parts=ALL)
        file_of(h, session, 2)[0].unlink()
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert await held(h, found) == {1: 10, 3: 4}


@KINDS
async def test_a_commit_cut_between_rename_and_catalog_is_completed_by_the_next_process(
    tmp_path, declared, monkeypatch
):
    """T09: the bytes are brought back from their digest and proven part by part."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await catalog_fails(h, session, monkeypatch)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        await h.sessions.recover_all()
        assert await held(h, found) == {1: 10, 2: 10, 3: 4}
        await becomes_the_blob(h, found)
        assert files(h) == []


@KINDS
async def test_bytes_that_cannot_be_brought_back_make_all_parts_missing(tmp_path, declared, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await catalog_fails(h, session, monkeypatch)
    shutil.rmtree(tmp_path / "docker")
    (tmp_path / "docker/registry/v2/blobs").mkdir(parents=True)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        with pytest.raises(PartsInvalid):
            await complete(h, found)
        assert await held(h, found) == {}
        await send_all(h, found)
        await becomes_the_blob(h, found)
        assert files(h) == []


@KINDS
async def test_when_only_the_catalog_failed_completing_again_is_enough(tmp_path, declared, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await catalog_fails(h, session, monkeypatch)
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        await becomes_the_blob(h, session)
        assert files(h) == []


async def test_a_crash_while_joining_is_taken_apart_again(tmp_path, monkeypatch):
    """Nothing is lost by it, and nothing is half."""
    copied = tmp_path / "crashed"
    real = filesystem.copy_range

    def crash(*args):
        if not copied.exists():
            shutil.copytree(tmp_path / "data", copied)
        return real(*args)

    (tmp_path / "data").mkdir()
    async with house(tmp_path / "data", **SMALL) as h:
        session = await opened(h, declared=False, parts=ALL)
        monkeypatch.setattr(filesystem, "copy_range", crash)
        await complete(h, session)
    async with house(copied, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert files(h) == ["part1", "part2", "part3"]
        await h.sessions.recover_all()
        assert await held(h, found) == {1: 10, 2: 10, 3: 4}
        await becomes_the_blob(h, found)


async def test_a_crash_while_a_part_is_replaced_leaves_it_missing(tmp_path, monkeypatch):
    """A row of the ledger never stands for other bytes."""
    copied = tmp_path / "crashed"
    real = filesystem.copy_range

    def crash(*args):
        done = real(*args)
        shutil.copytree(tmp_path / "data", copied)
        return done

    (tmp_path / "data").mkdir()
    async with house(tmp_path / "data", **SMALL) as h:
        session = await opened(h, parts=ALL)
        monkeypatch.setattr(filesystem, "copy_range", crash)
        await send(h, session, 2, b"other ones")
    async with house(copied, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert await held(h, found) == {1: 10, 3: 4}
        assert files(h) == ["data"]


@KINDS
@pytest.mark.parametrize("when", ["before", "cut"])
async def test_an_assembled_upload_comes_back_and_is_moved(tmp_path, declared, when, monkeypatch):
    """H110, T09: also when the crash came between the rename and the catalog of the move."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=declared, parts=ALL)
        await complete(h, session, None)
        if when == "cut":
            with monkeypatch.context() as broken, pytest.raises(StorageFull):
                broken.setattr("store.blob_rows.record", full_now)
                await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
    async with house(tmp_path, **SMALL) as h:
        (found,) = h.sessions.parted.all()
        assert found.assembled == session.assembled
        await h.sessions.recover_all()
        assert found.whole_proven == (when == "before")
        await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
        assert await h.stored(WHOLE)
        assert files(h) == []


@pytest.mark.parametrize("how", ["flipped", "gone"])
async def test_an_assembled_upload_that_was_damaged_never_becomes_a_blob(tmp_path, how):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        await complete(h, session, None)
        if how == "flipped":
            damage(h, session, 2)
        else:
            file_of(h, session, 1)[0].unlink()
    async with house(tmp_path, **SMALL) as h:
        await h.sessions.recover_all()
        with pytest.raises(UploadUnknown):
            await h.sessions.parted.publish(OWNER, TEMP, DIGEST)
        assert h.sessions.parted.all() == []
        assert files(h) == []


async def test_files_of_no_session_go_at_start_and_side_files_always(tmp_path):
    """Files with other names are not ours."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False, parts=[1])
    spool = tmp_path / "spool"
    strange = session.id.translate(str.maketrans("0123456789", "1234567890"))
    for name in (
        f"{strange}.data",
        f"{strange}.part1",
        f"{strange}.part12.0a1b2c3d4e5f",
        f"{session.id}.part2",
        f"{session.id}.part1.0a1b2c3d4e5f",
        f"{session.id}.data",
        f"{session.id}.back.data",
    ):
        (spool / name).write_bytes(b"left over")
    (spool / "thesis.partial").touch()
    async with house(tmp_path, **SMALL) as h:
        assert sorted(path.name for path in spool.iterdir()) == sorted([f"{session.id}.part1", "thesis.partial"])
        assert await held(h, h.sessions.parted.all()[0]) == {1: 10}


async def test_a_thousand_sessions_come_back(tmp_path):
    """T09."""
    async with house(tmp_path, **SMALL) as h:
        sessions = await asyncio.gather(*(opened(h) for _ in range(1000)))
        await asyncio.gather(*(send(h, session, 2, PARTS[1]) for session in sessions[::10]))
    async with house(tmp_path, **SMALL) as h:
        assert len(h.sessions.parted.all()) == 1000
        assert sum(len(session.parts) for session in h.sessions.parted.all()) == 100
        await h.sessions.recover_all()
        assert all(part.proven for session in h.sessions.parted.all() for part in session.parts.values())


async def test_the_last_use_is_recorded_in_the_background(tmp_path):
    """H064."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h)
        h.clock.time_s += 500
        await send(h, session, 1, PARTS[0])
        await h.sessions.flush()
        clock = h.clock
    async with house(tmp_path, clock, expiry_s=400, **SMALL) as h:
        assert [found.id for found in h.sessions.parted.all()] == [session.id]


async def test_the_digest_follows_over_many_parts_and_remembers_few_beginnings(tmp_path, monkeypatch):
    """Nothing grows with the number of parts but a small record each; any part can still be replaced."""
    monkeypatch.setattr(follower, "CHECKPOINTS", 5)
    monkeypatch.setattr(follower, "SLICE_PARTS", 7)
    parts = [bytes([number]) * 10 for number in range(100)]
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, size_bytes=1000)
        for number, content in enumerate(parts, 1):
            await send(h, session, number, content)
        await session.follower.to_the_end()
        assert len(session.follower._places) <= 5
        for number in (50, 3, 99):
            parts[number - 1] = b"new ones.."
            await send(h, session, number, parts[number - 1])
        await h.sessions.parted.complete(session.id, OWNER, listed(parts), Digest.of(b"".join(parts)))
        assert await h.stored(b"".join(parts))


async def test_a_disk_that_fails_while_the_digest_follows_does_not_stop_it_for_ever(tmp_path, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h)

        def broken_disk(*_, **__):
            raise StorageFailed("the disk failed")

        with monkeypatch.context() as broken:
            broken.setattr(follower, "read_into", broken_disk)
            await send_all(h, session)
            with pytest.raises(StorageFailed):
                await complete(h, session)
        assert await held(h, session) == {1: 10, 2: 10, 3: 4}
        await becomes_the_blob(h, session)


async def test_a_file_that_somebody_touched_is_not_taken_for_the_blob(tmp_path):
    async with house(tmp_path, **SMALL) as h:
        for declared in (True, False):
            session = await opened(h, declared=declared, parts=ALL)
            await session.follower.to_the_end()
            path, _ = file_of(h, session, 1)
            path.write_bytes(path.read_bytes()[:4])
            with pytest.raises(StorageFailed):
                await complete(h, session)


async def test_lists_are_what_the_ledger_has(tmp_path):
    """Nothing is read to list the parts, so a client need not wait for the proof."""
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, parts=ALL)
        answered = await h.sessions.parted.parts(session.id, OWNER)
    async with house(tmp_path, **SMALL) as h:
        assert await h.sessions.parted.parts(session.id, None) == answered
        assert [ListedPart(part.number, part.etag.strip('"')) for part in answered] == listed()
