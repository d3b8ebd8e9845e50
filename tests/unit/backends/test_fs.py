"""What the filesystem backend does on the disk, step by step, and what is left when a step fails."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.base import KeyMissing, LocalFile
from backends.fs import FsBackend
from model.errors import StorageFailed, StorageFull
from tests.unit.backends.steps import Steps

KEY = "docker/ab/abcd/data"
OLD, NEW = b"the old value", b"the new value, longer"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A root and a spool beside it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "spool").mkdir()
    return tmp_path


def spooled(base: Path, content: bytes = NEW) -> Path:
    """A finished upload."""
    source = base / "spool" / "upload"
    source.write_bytes(content)
    return source


def backend(base: Path, steps: Steps | None = None) -> FsBackend:
    """A backend on the base's root."""
    return FsBackend(base / "root", calls=steps)


async def value(base: Path) -> bytes | None:
    """What a fresh backend finds under the key."""
    try:
        return b"".join([piece async for piece in backend(base).get(KEY)])
    except KeyMissing:
        return None


def everything_below(folder: Path) -> list[str]:
    """All files, unfinished work included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_offers_local_files(base: Path) -> None:
    assert isinstance(backend(base), LocalFile)


async def test_a_first_put_syncs_every_name_it_makes_into_its_folder(base: Path) -> None:
    steps = Steps(base)
    await backend(base, steps).put(KEY, spooled(base))
    assert steps.taken == [
        "sync file spool/upload",
        "make root/docker",
        "sync folder root",
        "make root/docker/ab",
        "sync folder root/docker",
        "make root/docker/ab/abcd",
        "sync folder root/docker/ab",
        "link root/docker/ab/abcd/data",
        "rename spool/upload root/docker/ab/abcd/data",
        "sync folder root/docker/ab/abcd",
    ]


async def test_a_put_beside_another_syncs_only_what_is_new(base: Path) -> None:
    steps = Steps(base)
    files = backend(base, steps)
    await files.put(KEY, spooled(base))
    steps.taken.clear()
    await files.put("docker/ab/abff/data", spooled(base))
    assert steps.taken == [
        "sync file spool/upload",
        "make root/docker/ab/abff",
        "sync folder root/docker/ab",
        "link root/docker/ab/abff/data",
        "rename spool/upload root/docker/ab/abff/data",
        "sync folder root/docker/ab/abff",
    ]


async def test_what_it_remembers_of_folders_does_not_grow_with_what_is_stored(base: Path) -> None:
    files = backend(base)
    for number in range(20):
        await files.put(f"docker/ab/{number}/data", spooled(base))
    assert files._settled == {base / "root", base / "root" / "docker", base / "root" / "docker" / "ab"}


async def test_a_put_from_another_file_system_syncs_the_copy_before_it_gets_its_name(base: Path) -> None:
    steps = Steps(base, crosses=True)
    await backend(base, steps).put(KEY, spooled(base))
    assert steps.taken[-7:] == [
        "rename spool/upload root/docker/ab/abcd/data",
        "copy spool/upload",
        "sync file UNFINISHED",
        "link root/docker/ab/abcd/data",
        "rename UNFINISHED root/docker/ab/abcd/data",
        "sync folder root/docker/ab/abcd",
        "unlink spool/upload",
    ]
    assert everything_below(base) == ["root/docker/ab/abcd/data"]


async def test_without_durability_nothing_is_synced(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(fd: int) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr(os, "fsync", never)
    monkeypatch.setattr(os, "fdatasync", never)
    files = FsBackend(base / "root", durable=False)
    await files.put(KEY, spooled(base))
    await files.delete(KEY)
    assert await value(base) is None


async def test_nothing_is_visible_before_the_rename(base: Path) -> None:
    steps = Steps(base)
    seen: list[tuple[str, list[str]]] = []
    other = backend(base)

    def look(step: str) -> None:
        seen.append((step, list(other._walk(base / "root", "", ""))))  # as another process would list it

    steps.before = look
    await backend(base, steps).put(KEY, spooled(base))
    assert [keys for step, keys in seen if not step.startswith("sync folder root/docker/ab/abcd")] == [[]] * 9
    assert seen[-1] == ("sync folder root/docker/ab/abcd", [KEY])


def cases() -> Iterator[tuple[bool, bool, int, int]]:
    """Every step of every kind of put, with two kinds of trouble: (replaces, crosses, step, errno)."""
    for replaces in (False, True):
        for crosses in (False, True):
            for step in range(1, 15 if crosses else 11):
                for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EACCES):
                    yield replaces, crosses, step, code


@pytest.mark.parametrize(("replaces", "crosses", "step", "code"), list(cases()))
async def test_a_put_that_fails_at_any_step_leaves_everything_as_it_was(
    base: Path, replaces: bool, crosses: bool, step: int, code: int
) -> None:
    if replaces:
        await backend(base).put(KEY, spooled(base, OLD))
    source = spooled(base)
    steps = Steps(base, break_at=step, code=code, crosses=crosses)
    files = backend(base, steps)
    full = code in {errno.ENOSPC, errno.EDQUOT}
    with pytest.raises(StorageFull if full else StorageFailed) as raised:
        await files.put(KEY, source)
    assert KEY in str(raised.value)
    assert str(base) not in str(raised.value)
    assert source.read_bytes() == NEW
    assert await value(base) == (OLD if replaces else None)
    assert everything_below(base / "root") == ([KEY] if replaces else [])
    await files.put(KEY, source)
    assert await value(base) == NEW
    assert everything_below(base) == [f"root/{KEY}"]


async def test_a_source_that_cannot_be_removed_after_the_copy_is_stored_all_the_same(base: Path) -> None:
    steps = Steps(base, break_at=15, crosses=True)
    await backend(base, steps).put(KEY, spooled(base))
    assert steps.taken[14] == "unlink spool/upload"
    assert await value(base) == NEW


async def test_what_another_put_stored_meanwhile_is_not_taken_back(base: Path) -> None:
    steps = Steps(base, break_at=10)

    def another_put(step: str) -> None:
        if len(steps.taken) == 10:
            other = base / "spool" / "other"
            other.write_bytes(b"of another put")
            other.replace(base / "root" / KEY)

    steps.before = another_put
    with pytest.raises(StorageFailed):
        await backend(base, steps).put(KEY, spooled(base))
    assert await value(base) == b"of another put"


async def test_a_folder_taken_away_before_the_rename_is_made_again(base: Path) -> None:
    steps = Steps(base)

    def take_away(step: str) -> None:
        if step.startswith("rename") and len(steps.taken) < 12:
            (base / "root" / KEY).parent.rmdir()

    steps.before = take_away
    await backend(base, steps).put(KEY, spooled(base))
    assert await value(base) == NEW


async def test_folders_that_somebody_removed_are_made_again(base: Path) -> None:
    files = backend(base)
    await files.put(KEY, spooled(base))
    (base / "root" / "docker").rename(base / "elsewhere")
    await files.put(KEY, spooled(base))
    assert await value(base) == NEW


async def test_a_root_that_is_gone_is_not_made_again(base: Path) -> None:
    """It may be a mount point, and what is below it the wrong disk."""
    (base / "root").rmdir()
    source = spooled(base)
    with pytest.raises(StorageFailed):
        await backend(base).put(KEY, source)
    assert not (base / "root").exists()
    assert source.read_bytes() == NEW


async def test_a_file_in_the_place_of_a_folder_is_trouble_and_not_absence(base: Path) -> None:
    (base / "root" / "docker").write_bytes(b"a file")
    source = spooled(base)
    files = backend(base)
    for verb in (files.put(KEY, source), files.size(KEY), anext(files.get(KEY)), files.delete(KEY)):
        with pytest.raises(StorageFailed) as raised:
            await verb
        assert not isinstance(raised.value, KeyMissing)
        assert str(base) not in str(raised.value)
    assert source.read_bytes() == NEW


async def test_a_file_system_without_second_names_can_still_be_written(base: Path) -> None:
    class NoLinks(Steps):
        def link(self, target: Path, name: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    files = backend(base, NoLinks(base))
    await files.put(KEY, spooled(base, OLD))
    await files.put(KEY, spooled(base))
    assert await value(base) == NEW


async def test_unfinished_and_foreign_files_are_not_listed(base: Path) -> None:
    """M19, G11: the folder is a plain tree, for people too."""
    files = backend(base)
    await files.put(KEY, spooled(base))
    folder = (base / "root" / KEY).parent
    (folder / "data.0123.unfinished").write_bytes(b"x")
    (folder / "with space").write_bytes(b"x")
    (base / "root" / "docker" / "ünter").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "dangling").symlink_to("nowhere")
    assert [key async for key in files.keys("")] == [KEY]


async def test_a_folder_that_is_a_link_is_followed(base: Path) -> None:
    (base / "other disk").mkdir()
    (base / "root" / "docker").symlink_to(base / "other disk")
    files = backend(base)
    await files.put(KEY, spooled(base))
    assert [key async for key in files.keys("docker/")] == [KEY]


async def test_a_folder_that_cannot_be_listed_is_an_error(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = backend(base)
    await files.put(KEY, spooled(base))
    really = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "ab":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageFailed) as raised:
        assert [key async for key in files.keys("docker/")]
    assert str(base) not in str(raised.value)


async def test_a_long_listing_is_handed_over_in_portions(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.fs._LISTED_AT_ONCE", 3)
    files = backend(base)
    keys = [f"a/{number:02}" for number in range(10)]
    for key in keys:
        await files.put(key, spooled(base))
    assert [key async for key in files.keys("a/")] == keys


async def test_a_delete_takes_the_empty_folder_along_and_syncs(base: Path) -> None:
    steps = Steps(base)
    files = backend(base, steps)
    await files.put(KEY, spooled(base))
    steps.taken.clear()
    await files.delete(KEY)
    assert not (base / "root" / KEY).parent.exists()
    assert steps.taken[0] == "unlink root/docker/ab/abcd/data"
    assert steps.taken[-1] == "sync folder root/docker/ab"


@pytest.mark.parametrize("leave_early", [True, False])
async def test_a_read_gives_its_descriptor_back(base: Path, leave_early: bool) -> None:
    files = backend(base)
    await files.put(KEY, spooled(base, b"x" * (3 << 20)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    pieces = files.get(KEY)
    await anext(pieces)
    if not leave_early:
        assert len([piece async for piece in pieces]) == 2
    await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator, and a handler may close it
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_put_cancelled_in_its_middle_is_carried_through(base: Path) -> None:
    steps = Steps(base)
    reached, may_go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(step: str) -> None:
        if step.startswith("rename"):
            loop.call_soon_threadsafe(reached.set)
            assert may_go_on.wait(10)

    steps.before = hold
    task = asyncio.create_task(backend(base, steps).put(KEY, spooled(base)))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await value(base) == NEW
    assert everything_below(base / "spool") == []
