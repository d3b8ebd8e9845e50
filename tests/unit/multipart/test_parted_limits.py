"""How much may be under way in parts: sessions, bytes of one upload, of one caller and in all, and room on the disk."""

import asyncio
from typing import Any

import pytest

from model.errors import StorageFull, TooMany
from model.units import MIB
from multipart import filesystem, opening
from multipart.refusals import PartSizeInvalid, UploadTooLarge
from tests.unit.multipart.harness import REPOSITORY, PlayedBody, house
from tests.unit.multipart.parting import OWNER, PARTS, SMALL, TEMP, complete, files, held, opened, send, send_all


async def test_a_caller_has_so_many_open_uploads(tmp_path):
    """H103: others are not locked out by it."""
    async with house(tmp_path, max_uploads_per_caller=2, **SMALL) as h:
        first, _ = await opened(h), await opened(h)
        with pytest.raises(TooMany, match="max_uploads_per_caller"):
            await opened(h)
        await h.sessions.parted.open(REPOSITORY, owner="berta", target=TEMP)
        await h.sessions.parted.abort(first.id, OWNER)
        await opened(h)


async def test_both_kinds_count_for_the_limits_on_all(tmp_path):
    async with house(tmp_path, in_all=2, **SMALL) as h:
        await h.sessions.open(REPOSITORY)
        session = await opened(h)
        with pytest.raises(TooMany):
            await opened(h)
        with pytest.raises(TooMany):
            await h.sessions.open(REPOSITORY)
        await send_all(h, session)
        await complete(h, session)
        await h.sessions.open(REPOSITORY)


async def test_a_declared_size_above_the_limit_is_refused_at_the_start(tmp_path):
    async with house(tmp_path, max_upload_bytes=20, **SMALL) as h:
        with pytest.raises(UploadTooLarge, match="max_upload_bytes"):
            await opened(h)
        assert h.sessions.parted.all() == []


@pytest.mark.parametrize("counted", [True, False])
async def test_an_undeclared_upload_is_counted_as_it_comes(tmp_path, counted):
    """Before the body when its length is known; a part sent again counts once."""
    async with house(tmp_path, max_upload_bytes=20, **SMALL) as h:
        session = await opened(h, declared=False, parts=[1, 2])
        with pytest.raises(UploadTooLarge):
            await send(h, session, 3, PlayedBody([PARTS[2]], counted=counted))
        await send(h, session, 2, PlayedBody([PARTS[0]], counted=counted))
        with pytest.raises(UploadTooLarge):
            await send(h, session, 2, PlayedBody([bytes(11)], counted=counted))
        assert await held(h, session) == {1: 10, 2: 10}
        assert session.held.size_bytes == 20
        await send(h, session, 2, PlayedBody([bytes(5)], counted=counted))
        assert session.held.size_bytes == 15


@pytest.mark.parametrize("setting", ["max_spooled_bytes", "max_spooled_bytes_per_caller"])
async def test_what_uploads_hold_together_is_limited(tmp_path, setting):
    """H103: said with when to try again; an end gives it back."""
    limits: dict[str, Any] = {setting: 50}
    async with house(tmp_path, **limits, **SMALL) as h:
        first, second = await opened(h), await opened(h, declared=False)
        with pytest.raises(TooMany, match=setting):
            await send(h, second, 1, bytes(27))
        with pytest.raises(TooMany, match=setting):
            await opened(h, size_bytes=27, part_size_bytes=10)
        await send_all(h, first)
        await complete(h, first)
        await send(h, second, 1, bytes(27))


async def test_a_disk_without_room_for_a_declared_size_says_so_at_the_start(tmp_path, monkeypatch):
    """What is promised to others counts, until it is taken."""
    async with house(tmp_path, **SMALL) as h:
        monkeypatch.setattr(filesystem, "free_bytes", lambda _: 40)
        monkeypatch.setattr(opening, "RESERVED_BYTES", 20)
        session = await opened(h)
        with pytest.raises(StorageFull):
            await opened(h)
        assert [each.id for each in h.sessions.parted.all()] == [session.id]
        await send(h, session, 1, PARTS[0])
        await opened(h)


async def test_a_disk_without_room_when_the_first_part_begins_says_so(tmp_path, monkeypatch):
    """And nothing half-made stays."""

    def full(fd, length_bytes):
        raise OSError(28, "No space left on device")

    async with house(tmp_path, **SMALL) as h:
        session = await opened(h)
        with monkeypatch.context() as broken:
            broken.setattr(filesystem, "allocate", full)
            results = await asyncio.gather(
                *(send(h, session, number, PARTS[number - 1]) for number in (1, 2)), return_exceptions=True
            )
        assert [type(result) for result in results] == [StorageFull, StorageFull]
        assert files(h) == []
        await send_all(h, session)
        await complete(h, session)


async def test_a_disk_without_room_for_an_announced_part_says_so_before_it_is_read(tmp_path, monkeypatch):
    async with house(tmp_path, **SMALL) as h:
        session = await opened(h, declared=False)
        body = PlayedBody([b"x"], pause_before=0)
        body.length_bytes = 1 << 60
        with pytest.raises(StorageFull):
            await send(h, session, 1, body)
        assert not body.paused.is_set()
        assert files(h) == []
        assert session.held.size_bytes == 0


async def test_a_part_size_that_is_not_said_fits(tmp_path):
    """H100, M05."""
    async with house(tmp_path, max_upload_bytes=0) as h:
        session = await h.sessions.parted.open(REPOSITORY, owner=OWNER, target=TEMP, size_bytes=100 * MIB)
        assert session.layout is not None
        assert (session.layout.part_size_bytes, session.layout.count) == (32 * MIB, 4)


@pytest.mark.parametrize(
    "sizes",
    [
        {"size_bytes": 100 * MIB, "part_size_bytes": 5 * MIB - 1},
        {"size_bytes": 10_001 * 5 * MIB, "part_size_bytes": 5 * MIB},
        {"part_size_bytes": 5 * MIB},
        {"size_bytes": -1},
    ],
)
async def test_sizes_that_do_not_go_together_are_refused(tmp_path, sizes):
    """H095, H101: parts below the minimum, too many of them, or a part size without a size."""
    async with house(tmp_path) as h:
        with pytest.raises(PartSizeInvalid):
            await h.sessions.parted.open(REPOSITORY, owner=OWNER, target=TEMP, **sizes)
        assert h.sessions.parted.all() == []


async def test_a_session_of_one_part_may_be_smaller_than_a_part(tmp_path):
    """H096."""
    async with house(tmp_path) as h:
        await h.sessions.parted.open(REPOSITORY, owner=OWNER, target=TEMP, size_bytes=100, part_size_bytes=100)


async def test_after_a_restart_everything_counts_as_before(tmp_path):
    """T09: what was accepted stays accepted, also above a limit that is lower now."""
    async with house(tmp_path, **SMALL) as h:
        await send(h, await opened(h), 1, PARTS[0])
        await send(h, await opened(h, declared=False), 1, PARTS[0])
        await opened(h)
    async with house(tmp_path, max_spooled_bytes=30, max_uploads_per_caller=3, **SMALL) as h:
        accounts = h.sessions._accounts
        assert (accounts.spooled_bytes, accounts.pledged_bytes) == (24 + 10 + 24, 24)
        with pytest.raises(TooMany):
            await opened(h)
        for session in h.sessions.parted.all():
            await h.sessions.parted.abort(session.id, OWNER)
        assert (accounts.spooled_bytes, accounts.pledged_bytes) == (0, 0)
