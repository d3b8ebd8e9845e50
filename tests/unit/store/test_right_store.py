"""Whose bucket it is: one registry's; another one neither starts there nor does anything behind its back."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from backends.memory_parts import MemoryStore
from store import store_objects
from store.bucket_copies import registry_id
from store.discarding import Discarder
from store.layout import REGISTRY, blob_key, catalog_copy_key
from store.right_store import UNKNOWN, OtherRegistry, Owner, Ownership, WrongStore, owner_of, require_right_store
from store.settling import Settler
from tests.support.storehooks import failing, no_hook
from tests.unit.store.bucket import LARGE, bucket
from tests.unit.store.shop import StillClock

ROUNDS = 6
THEIRS = b'{"id": "theirs", "since": "2026-01-01T00:00:00Z"}'


async def test_the_first_start_writes_whose_it_is_and_later_ones_find_it(tmp_path: Path) -> None:
    objects, own_id = MemoryStore(), ""
    for _ in range(2):
        async with bucket(tmp_path, objects) as shelf:
            ownership = await require_right_store(shelf.store.catalog, objects)
            own_id = await registry_id(shelf.store.catalog)
            assert ownership.is_proven() and ownership.trouble == ""
    assert json.loads(objects.values[REGISTRY])["id"] == own_id
    assert [verb for verb, key in objects.asked if key == REGISTRY].count("put") == 1
    assert await owner_of(objects) == Owner(own_id, json.loads(objects.values[REGISTRY])["since"])
    assert not list(tmp_path.glob("registry*"))


@pytest.mark.parametrize("pushed", [False, True])
async def test_a_bucket_of_another_registry_is_refused_with_every_remedy_in_one_line(
    tmp_path: Path, pushed: bool
) -> None:
    async with bucket(tmp_path) as shelf:
        if pushed:
            await shelf.store.push_blob("a", LARGE)
        shelf.objects.values[REGISTRY] = THEIRS
        before = dict(shelf.objects.values)
        with pytest.raises(OtherRegistry) as refused:
            await require_right_store(shelf.store.catalog, shelf.objects)
        assert shelf.objects.values == before
    line = str(refused.value)
    assert "\n" not in line
    for word in ("theirs", "2026-01-01", "registry.py restore", "s3_path_prefix", "registry.py storage take-over"):
        assert word in line


@pytest.mark.parametrize("content", [b"", b"notes", b"[]", b'{"name": 1}', b"\xff", b"x" * 100_000])
async def test_what_nobody_of_us_wrote_there_is_somebody_elses(tmp_path: Path, content: bytes) -> None:
    async with bucket(tmp_path) as shelf:
        shelf.objects.values[REGISTRY] = content
        assert await owner_of(shelf.objects) == UNKNOWN
        with pytest.raises(OtherRegistry):
            await require_right_store(shelf.store.catalog, shelf.objects)


async def test_copies_of_a_catalog_beside_one_that_holds_nothing_are_anothers(tmp_path: Path) -> None:
    """A machine is lost, and its bucket is from before there were ids: pushes must not go there unasked."""
    async with bucket(tmp_path) as shelf:
        shelf.objects.values[catalog_copy_key("catalog-20200101T000000000000Z.sqlite3")] = b"a catalog"
        with pytest.raises(OtherRegistry, match=r"registry\.py restore"):
            await require_right_store(shelf.store.catalog, shelf.objects)
        assert REGISTRY not in shelf.objects.values
        await shelf.store.push_image("a", "v1")
        assert (await require_right_store(shelf.store.catalog, shelf.objects)).is_proven()


async def test_two_that_start_on_an_empty_bucket_at_one_moment_are_not_both_its_owners(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:

        async def other_is_quicker(verb: str, key: str) -> None:
            if (verb, key) == ("put", REGISTRY):
                shelf.objects.values[REGISTRY] = THEIRS

        shelf.objects.after = other_is_quicker
        with pytest.raises(OtherRegistry, match="theirs"):
            await require_right_store(shelf.store.catalog, shelf.objects)


async def nothing() -> None:
    """What is done by somebody who does nothing."""


async def passing(
    monkeypatch: pytest.MonkeyPatch,
    ownership: Ownership,
    then: list[str],
    meanwhile: Callable[[], Awaitable[object]] = nothing,
) -> None:
    """Let `proven_later` look a few times; `meanwhile` is done before the last one."""
    really, rounds = asyncio.sleep, 0

    async def pass_time(delay_s: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == ROUNDS:
            await meanwhile()
        elif rounds > ROUNDS:
            raise asyncio.CancelledError
        await really(0)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", pass_time)
        try:
            await ownership.proven_later(lambda: then.append("woken"))
        except asyncio.CancelledError:
            return


async def test_a_store_that_was_away_at_the_start_is_asked_once_it_is_back_and_work_begins_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    async with bucket(tmp_path) as shelf:
        shelf.objects.before = failing(("keys", ""), ("get", ""), ("put", ""))
        ownership = await require_right_store(shelf.store.catalog, shelf.objects)
        assert not ownership.is_proven()
        assert "the store is dead" in ownership.trouble
        await passing(monkeypatch, ownership, woken)
        assert (ownership.is_proven(), woken) == (False, [])
        shelf.objects.before = no_hook
        await passing(monkeypatch, ownership, woken)
        assert (ownership.is_proven(), ownership.trouble, woken) == (True, "", ["woken"])


@pytest.mark.parametrize("wrong", [OtherRegistry, WrongStore])
async def test_a_store_that_is_back_and_is_not_ours_is_an_error_and_not_ready(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: type[OtherRegistry] | type[WrongStore],
) -> None:
    woken: list[str] = []
    async with bucket(tmp_path) as shelf:
        await shelf.store.push_blob("a", LARGE)
        shelf.objects.before = failing(("keys", ""), ("get", ""), ("put", ""))
        ownership = await require_right_store(shelf.store.catalog, shelf.objects)
        shelf.objects.before = no_hook
        if wrong is OtherRegistry:
            shelf.objects.values[REGISTRY] = THEIRS
        else:
            shelf.objects.values.clear()
        before = dict(shelf.objects.values)
        with caplog.at_level(logging.ERROR):
            await passing(monkeypatch, ownership, woken)
        assert (ownership.is_proven(), woken, shelf.objects.values) == (False, [], before)
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1, "once, not each minute"
        assert ownership.trouble in caplog.text
        await passing(monkeypatch, ownership, woken, ownership.take_over)
        assert (ownership.trouble, woken) == ("", ["woken"]), "what somebody put right needs no restart"


async def test_nothing_is_discarded_or_settled_before_the_bucket_is_proven_to_be_ours(tmp_path: Path) -> None:
    async with bucket(tmp_path) as shelf:
        digest = await shelf.committed(LARGE)
        left = await shelf.uploaded(b"left", "upload-2")
        await shelf.store.catalog.run(store_objects.discard_of_upload, "upload-2")
        ownership = Ownership(shelf.store.catalog, shelf.objects)
        discarder = Discarder(shelf.store.catalog, shelf.objects, ownership.is_proven)
        settler = Settler(shelf.store.catalog, shelf.objects, shelf.store.blobs, ownership.is_proven)
        tasks = [asyncio.create_task(discarder.run()), asyncio.create_task(settler.run())]
        try:
            discarder.wake()
            settler.wake()
            await settler.settled()
            for _ in range(10):
                await asyncio.sleep(0)
            assert left in shelf.objects.values and blob_key(digest) not in shelf.objects.values
            await ownership.prove()
            discarder.wake()
            settler.wake()
            await settler.settled()
            await discarder.done()
            assert left not in shelf.objects.values and blob_key(digest) in shelf.objects.values
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_takes_over_says_whose_it_was_and_removes_nothing(tmp_path: Path) -> None:
    async with bucket(tmp_path, clock=StillClock()) as shelf:
        ownership = Ownership(shelf.store.catalog, shelf.objects)
        shelf.objects.values |= {REGISTRY: THEIRS, blob_key(await shelf.committed(LARGE)): LARGE}
        before = set(shelf.objects.values)
        assert await ownership.take_over() == Owner("theirs", "2026-01-01T00:00:00Z")
        assert await ownership.take_over() is None, "it is ours already"
        assert set(shelf.objects.values) == before
        assert (await require_right_store(shelf.store.catalog, shelf.objects)).is_proven()
