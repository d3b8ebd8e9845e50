"""`restore`: which copy is meant, where it comes from, and what it refuses; the store is one in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import cli
from admin import copies, restoring
from admin.commands import COMMANDS
from backends.memory_parts import MemoryStore
from config import Config
from model.clock import Clock
from store import backups
from store.bucket_copies import BucketCopies, has_copies
from store.layout import REGISTRY, catalog_copy_key
from store.opening import CATALOG_NAME
from tests.support.storehooks import failing, no_hook
from tests.unit.store.bucket import bucket
from tests.unit.store.shop import StillClock, shop

S3 = {
    "HOLDFAST_STORAGE_DRIVER": "s3",
    "HOLDFAST_S3_BUCKET": "images",
    "HOLDFAST_S3_ENDPOINT": "http://127.0.0.1:1",
    "HOLDFAST_CONFIG": "/dev/null",
}
FOLDER = {"HOLDFAST_CONFIG": "/dev/null"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The bucket that every command finds."""
    store = MemoryStore(smallest_part_bytes=1)

    @asynccontextmanager
    async def opened(config: Config, clock: Clock, *, look: bool = True) -> AsyncIterator[MemoryStore]:
        assert not look, "who only reads copies must not write probes into the bucket"
        yield store

    monkeypatch.setattr(restoring, "open_backend", opened)
    return store


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `restore` on the folder `here`; code, what it said, and what it complained about."""

    def run(*argv: str, environ: dict[str, str] = S3) -> tuple[int, str, str]:
        words = ["restore", *argv, "--data", str(tmp_path / "here")]
        code = cli.run(words, serve=lambda config: 0, more=COMMANDS, environ=environ)
        return code, *capsys.readouterr()

    return run


def a_machine_is_lost(tmp_path: Path, objects: MemoryStore) -> list[str]:
    """Copies in the bucket, of one tag, of two and so on; their names, the newest first."""

    async def live() -> list[str]:
        (tmp_path / "lost").mkdir()
        clock = StillClock()
        async with bucket(tmp_path / "lost", objects, clock=clock) as shelf:
            kept = BucketCopies(shelf.store.catalog, objects)
            for tag in ("v1", "v2"):
                clock.at_s += 60
                await shelf.store.push_image("a", tag)
                await shelf.store.catalog.backup()
                await kept.keep_up()
        return [copy["path"] for copy in (await copies.listed(tmp_path / "never", objects, clock.at_s))["copies"]]

    return asyncio.run(live())


def tags_in(folder: Path) -> list[str]:
    """What the catalog there has."""

    async def look() -> list[str]:
        async with shop(folder) as store:
            return (await store.tags.page("a")).names

    return asyncio.run(look())


def test_a_machine_with_nothing_but_settings_gets_the_newest_copy_by_one_command(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    newest, *_ = a_machine_is_lost(tmp_path, objects)
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out == f"{newest} is the catalog now.\n"
    assert tags_in(tmp_path / "here") == ["v1", "v2"]


@pytest.mark.parametrize("spelled", ["{path}", "{name}"])
def test_an_older_copy_is_taken_by_its_name(tmp_path: Path, objects: MemoryStore, run: Run, spelled: str) -> None:
    *_, oldest = a_machine_is_lost(tmp_path, objects)
    name = oldest.removeprefix("bucket:")
    code, _, err = run(spelled.format(path=oldest, name=name))
    assert (code, err) == (0, "")
    assert tags_in(tmp_path / "here") == ["v1"]


def test_the_list_shows_copies_here_and_in_the_bucket_the_newest_first(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    newest, *others = a_machine_is_lost(tmp_path, objects)
    code, out, _ = run("--list")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [newest, *others]
    assert not (tmp_path / "here").exists(), "looking makes nothing"
    run(newest)
    code, out, _ = run("--list", "--json")
    here = str(tmp_path / "here" / "backups" / newest.removeprefix("bucket:"))
    assert sorted(copy["path"] for copy in json.loads(out)["copies"]) == sorted([here, newest, *others])


def test_a_catalog_that_is_there_gives_way_only_to_a_copy_that_is_named(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    newest, *_, oldest = a_machine_is_lost(tmp_path, objects)
    assert run(oldest)[0] == 0
    code, _, err = run()
    assert code == 2
    assert "--list" in err
    assert tags_in(tmp_path / "here") == ["v1"]
    code, out, _ = run(newest)
    assert code == 0
    assert "What it replaced is kept" in out
    assert tags_in(tmp_path / "here") == ["v1", "v2"]


def test_copies_of_another_registry_are_not_taken_unasked(tmp_path: Path, objects: MemoryStore, run: Run) -> None:
    """Two catalogs were copied to one bucket: the newest of the one that the bucket belongs to is meant."""
    newest, *_ = a_machine_is_lost(tmp_path, objects)
    whose = next(key for key in objects.values if newest.removeprefix("bucket:") in key).split("/")[2]
    others = "catalog-20990101T000000000000Z.sqlite3"
    objects.values[catalog_copy_key(others, "abcdef")] = b"nearly empty"
    objects.values[REGISTRY] = json.dumps({"id": whose}).encode()
    listed = run("--list")[1]
    assert [line.split()[-2:] for line in listed.splitlines()[1:3]] == [["abcdef", f"bucket:{others}"], [whose, newest]]
    assert f"The bucket belongs to registry {whose}." in listed
    assert run()[1] == f"{newest} is the catalog now.\n"


def test_where_the_buckets_registry_has_no_copy_nothing_is_guessed(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    newest, *_ = a_machine_is_lost(tmp_path, objects)
    objects.values[REGISTRY] = b'{"id": "somebody"}'
    code, _, err = run()
    assert code == 1
    assert "registry somebody" in err and "--list" in err
    assert run(newest)[0] == 0


def test_a_catalog_without_any_name_gives_way_unasked(tmp_path: Path, objects: MemoryStore, run: Run) -> None:
    """What a start leaves that was refused since the bucket is another registry's."""
    newest, *_ = a_machine_is_lost(tmp_path, objects)

    async def start() -> None:
        (tmp_path / "here").mkdir()
        async with shop(tmp_path / "here"):
            pass

    asyncio.run(start())
    code, out, err = run()
    assert (code, err) == (0, "")
    assert f"{newest} is the catalog now." in out
    assert tags_in(tmp_path / "here") == ["v1", "v2"]


def test_a_dead_store_leaves_everything_as_it_was_and_what_is_here_can_be_restored(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    newest, *_ = a_machine_is_lost(tmp_path, objects)
    objects.before = failing(("keys", ""), ("get", ""), ("size", ""))
    for words in ((), (newest,)):
        code, _, err = run(*words)
        assert code == 1
        assert "the store is dead" in err
        assert not (tmp_path / "here" / CATALOG_NAME).exists()
    code, out, _ = run("--list")
    assert code == 0
    assert "The bucket could not be asked: the store is dead." in out
    copy = backups.newest(tmp_path / "lost")
    assert run(str(copy))[0] == 0
    objects.before = no_hook
    assert tags_in(tmp_path / "here") == ["v1", "v2"]


def test_what_is_no_copy_is_refused_and_nothing_takes_the_place_of_the_catalog(
    tmp_path: Path, objects: MemoryStore, run: Run
) -> None:
    rubbish = "catalog-20200101T000000000000Z.sqlite3"
    objects.values[catalog_copy_key(rubbish)] = b"rubbish" * 1000
    for words, code in (
        ((f"bucket:{rubbish}",), 2),
        (("bucket:catalog-20200102T000000000000Z.sqlite3",), 1),
        (("no",), 2),
    ):
        ended = run(*words)
        assert ended[0] == code
        assert ended[2].count("\n") == 1
        assert not (tmp_path / "here" / CATALOG_NAME).exists()


def test_where_there_is_no_copy_at_all_that_is_said(tmp_path: Path, objects: MemoryStore, run: Run) -> None:
    code, _, err = run()
    assert code == 1
    assert "there is no copy of a catalog" in err
    assert run("--list")[1] == "No copies of the catalog yet.\n"


def test_a_copy_is_said_to_be_in_the_bucket_only_when_it_is(tmp_path: Path, objects: MemoryStore) -> None:
    """A catalog without any name is not sent there."""

    async def told(*tags: str) -> copies.Answer:
        async with bucket(tmp_path, objects) as shelf:
            for tag in tags:
                await shelf.store.push_image("a", tag)
            await shelf.store.catalog.backup()
            return await copies.sent(shelf.store.catalog, objects, lambda: True)

    for tags, there in (((), False), (("v1",), True)):
        assert asyncio.run(told(*tags)) == {"bucket": there}
        assert asyncio.run(has_copies(objects)) is there


def test_content_in_a_folder_needs_no_store_to_be_restored(tmp_path: Path, run: Run) -> None:
    async def live() -> None:
        (tmp_path / "here").mkdir()
        async with shop(tmp_path / "here") as store:
            await store.push_image("a", "v1")
            await store.catalog.backup()

    asyncio.run(live())
    (tmp_path / "here" / CATALOG_NAME).unlink()
    assert "bucket" not in run("--list", environ=FOLDER)[1]
    code, _, err = run("catalog-20200101T000000000000Z.sqlite3", environ=FOLDER)
    assert code == 1
    assert "--list" in err
    assert run(environ=FOLDER)[0] == 0
    assert tags_in(tmp_path / "here") == ["v1"]
