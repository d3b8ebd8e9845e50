"""Copies of the catalog: whole or absent, seven of them, brought back also after a restore was broken off."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model.errors import ManifestUnknown
from model.units import DAY_S, HOUR_S
from store import backups, opening
from store.backups import FOLDER_NAME, KEPT, backup, is_due, list_backups, restore
from store.opening import CATALOG_NAME, version_of
from store.refusals import CatalogDamaged, CatalogError, CatalogTooNew
from tests.unit.store.shop import StillClock, shop


async def filled(folder: Path, *tags: str, clock: StillClock | None = None) -> None:
    """A catalog with an image under these tags, closed."""
    folder.mkdir(exist_ok=True)
    async with shop(folder, clock=clock) as store:
        await store.push_image("a", *tags)


async def tags_in(folder: Path) -> list[str]:
    """What the catalog there holds."""
    async with shop(folder) as store:
        return (await store.tags.page("a")).names


async def test_a_copy_of_a_running_catalog_holds_all_that_was_answered(tmp_path: Path) -> None:
    async with shop(tmp_path) as store:
        await store.push_image("a", "v1")
        copy = await store.catalog.backup()
        await store.push_image("a", "v2", mark="2")
    with sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True) as connection:
        assert connection.execute("SELECT name FROM tag").fetchall() == [("v1",)]
    connection.close()
    assert [path.name for path in (tmp_path / FOLDER_NAME).iterdir()] == [copy.name]
    assert copy.name == "catalog-20231114T221320000000Z.sqlite3"


async def test_copies_are_taken_beside_busy_writers(tmp_path: Path) -> None:
    async with shop(tmp_path) as store:
        await store.push_image("a", "v0")
        done = asyncio.Event()

        async def write() -> None:
            number = 0
            while not done.is_set():
                number += 1
                await store.tags.copy("a", "v0", f"v{number}")

        writers = [asyncio.create_task(write()) for _ in range(4)]
        for _ in range(3):
            backups.check(await store.catalog.backup())
        done.set()
        await asyncio.gather(*writers)


async def test_seven_copies_are_kept_the_newest_first(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    clock = StillClock()
    taken = []
    for _ in range(KEPT + 3):
        taken.append(backup(tmp_path, clock))
        clock.at_s += DAY_S
    assert [copy.path for copy in list_backups(tmp_path)] == taken[: -KEPT - 1 : -1]
    assert list_backups(tmp_path)[0].taken_at_s == clock.at_s - DAY_S


async def test_copies_of_one_moment_do_not_replace_each_other(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    clock = StillClock()
    assert len({backup(tmp_path, clock) for _ in range(3)}) == 3
    assert len(list_backups(tmp_path)) == 3


async def test_two_copies_at_once_are_taken_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would clear away what the first has not finished."""
    await filled(tmp_path, "v1")
    copying, second_waits = threading.Event(), threading.Event()
    really, turn = backups._copy, threading.Lock()

    class Turnstile:
        """The lock, which tells when somebody has to wait for it."""

        def __enter__(self) -> None:
            if not turn.acquire(blocking=False):
                second_waits.set()
                turn.acquire()

        def __exit__(self, *_: object) -> None:
            turn.release()

    def held(source: Path, target: Path) -> None:
        copying.set()
        assert second_waits.wait(10)
        really(source, target)

    monkeypatch.setattr(backups, "_ONE_AT_A_TIME", Turnstile())
    monkeypatch.setattr(backups, "_copy", held)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(backup, tmp_path, StillClock())
        assert copying.wait(10)
        second = threads.submit(backup, tmp_path, StillClock())
        taken = {first.result(20), second.result(20)}
    assert {copy.path for copy in list_backups(tmp_path)} == taken
    assert len(taken) == 2
    for copy in taken:
        backups.check(copy)


async def test_a_copy_that_fails_leaves_nothing_and_the_former_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path, "v1")
    first = backup(tmp_path, StillClock())

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_sync_file", fail)
        with pytest.raises(OSError, match="No space"):
            backup(tmp_path, StillClock())
    assert list((tmp_path / FOLDER_NAME).iterdir()) == [first]


async def test_what_a_killed_copy_left_behind_is_cleared_and_never_listed(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    (tmp_path / FOLDER_NAME).mkdir()
    (tmp_path / FOLDER_NAME / "catalog-20231114T000000000000Z.sqlite3.unfinished").write_bytes(b"half")
    (tmp_path / FOLDER_NAME / "catalog-mine.sqlite3").write_bytes(b"somebody's")
    assert list_backups(tmp_path) == []
    copy = backup(tmp_path, StillClock())
    assert {path.name for path in (tmp_path / FOLDER_NAME).iterdir()} == {copy.name, "catalog-mine.sqlite3"}


async def test_a_copy_is_due_when_the_newest_is_a_day_old(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    clock = StillClock()
    assert is_due(tmp_path, clock)
    backup(tmp_path, clock)
    assert not is_due(tmp_path, clock)
    clock.at_s += DAY_S - 1
    assert not is_due(tmp_path, clock)
    clock.at_s += 1
    assert is_due(tmp_path, clock)


async def test_copies_are_taken_daily_and_after_a_failure_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path, "v1")
    clock, rounds = StillClock(), 0
    catalog, aside = tmp_path / CATALOG_NAME, tmp_path / "aside"

    async def pass_time(delay_s: float) -> None:
        nonlocal rounds
        assert delay_s == HOUR_S
        rounds += 1
        clock.at_s += delay_s
        if rounds == 30:
            catalog.rename(aside)
            catalog.mkdir()
        elif rounds == 60:
            catalog.rmdir()
            aside.rename(catalog)
        elif rounds == 100:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    with pytest.raises(asyncio.CancelledError):
        await backups.keep_daily(tmp_path, clock)
    hours = [round((copy.taken_at_s - 1_700_000_000) / HOUR_S) for copy in list_backups(tmp_path)]
    assert hours == [84, 60, 24, 0]
    assert "daily copy" in caplog.text


async def test_a_restored_copy_is_the_catalog_and_the_former_one_is_aside(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    copy = backup(tmp_path, StillClock())
    async with shop(tmp_path) as store:
        await store.push_image("a", "v2", mark="2")
    aside = restore(tmp_path, copy, StillClock())
    assert aside is not None
    assert await tags_in(tmp_path) == ["v1"]
    async with shop(tmp_path) as store:
        with pytest.raises(ManifestUnknown):
            await store.manifests.get("a", "v2")
    restore(tmp_path, aside / CATALOG_NAME, StillClock(1_800_000_000))
    assert await tags_in(tmp_path) == ["v1", "v2"]


async def test_a_damaged_catalog_is_restored_with_its_log_put_aside(tmp_path: Path) -> None:
    await filled(tmp_path, "v1")
    copy = backup(tmp_path, StillClock())
    (tmp_path / CATALOG_NAME).write_bytes(b"rubbish")
    (tmp_path / f"{CATALOG_NAME}-wal").write_bytes(b"rubbish as well")
    aside = restore(tmp_path, copy, StillClock())
    assert aside is not None
    assert {path.name for path in aside.iterdir()} == {CATALOG_NAME, f"{CATALOG_NAME}-wal"}
    assert await tags_in(tmp_path) == ["v1"]


async def test_a_copy_from_elsewhere_is_restored_into_an_empty_folder(tmp_path: Path) -> None:
    await filled(tmp_path / "there", "v1")
    copy = backup(tmp_path / "there", StillClock())
    here = tmp_path / "here"
    here.mkdir()
    assert restore(here, copy, StillClock()) is None
    assert await tags_in(here) == ["v1"]
    assert copy.exists()


@pytest.mark.parametrize("step", range(1, 4))
async def test_a_restore_broken_off_is_refused_at_start_or_not_begun_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    await filled(tmp_path / "there", "v1")
    copy = backup(tmp_path / "there", StillClock())
    here = tmp_path / "here"
    await filled(here, "v9")
    (here / f"{CATALOG_NAME}-wal").write_bytes(b"")
    really, renamed = Path.replace, 0

    def break_off(path: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed == step:
            raise KeyboardInterrupt
        return really(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", break_off)
        with pytest.raises(KeyboardInterrupt):
            restore(here, copy, StillClock())
    if step == 1:
        assert (here / CATALOG_NAME).exists()
    else:
        with pytest.raises(CatalogDamaged):
            await tags_in(here)
    restore(here, copy, StillClock(1_800_000_000))
    assert await tags_in(here) == ["v1"]


async def test_a_file_that_is_no_whole_catalog_is_not_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path, "v1")
    whole = backup(tmp_path, StillClock()).read_bytes()
    before = (tmp_path / CATALOG_NAME).read_bytes()
    bad = tmp_path / "bad.sqlite3"
    for content in (b"rubbish" * 1000, b"", whole[: len(whole) // 2], whole[:8192] + bytes(8192) + whole[16384:]):
        bad.write_bytes(content)
        with pytest.raises(CatalogError):
            restore(tmp_path, bad, StillClock())
    with pytest.raises(CatalogError, match="no file"):
        restore(tmp_path, tmp_path / "never", StillClock())
    bad.write_bytes(whole)
    with monkeypatch.context() as patched:
        patched.setattr(backups, "known_version", lambda: opening.known_version() - 1)
        with pytest.raises(CatalogTooNew):
            restore(tmp_path, bad, StillClock())
    assert (tmp_path / CATALOG_NAME).read_bytes() == before
    assert version_of(bad) == opening.known_version()
