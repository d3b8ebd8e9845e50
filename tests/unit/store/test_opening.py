"""Opening the catalog: new, known, too new, damaged, gone; and its schema brought up to date a step at a time."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from store import backups, opening
from store.catalog import Catalog
from store.opening import CATALOG_NAME, known_version, migrations, statements_of, version_of
from store.refusals import RESTORE_COMMAND, CatalogDamaged, CatalogError, CatalogTooNew
from store.transactions import Transaction
from tests.unit.store.shop import StillClock, shop

LATER = "CREATE TABLE later (x text NOT NULL);\nINSERT INTO later (x) VALUES ('a;b');\n"


def opened(folder: Path) -> Catalog:
    """A catalog, opened."""
    catalog = Catalog(folder, StillClock(), durable=False)
    catalog.open()
    return catalog


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file with its hash; SQLite's shared memory is no content."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def with_a_later_schema(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """Let the program know more migrations than it really does."""
    known = migrations()
    more = [(known[-1][0] + number, script) for number, script in enumerate(scripts, 1)]
    monkeypatch.setattr(opening, "migrations", lambda: known + more)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, known_version() + 1))


def test_the_schema_keeps_to_what_other_databases_share() -> None:
    for _, script in migrations():
        words = script.upper()
        assert not any(word in words for word in ("WITHOUT ROWID", "AUTOINCREMENT", "ROWID", "PRAGMA", "GLOB"))


def test_a_new_catalog_has_the_newest_schema_and_is_private_to_nobody_else(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert version_of(tmp_path / CATALOG_NAME) == known_version()
    assert [path.name for path in tmp_path.iterdir()] == [CATALOG_NAME]


def test_the_name_of_a_new_catalog_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[Path, bool]] = []
    monkeypatch.setattr("store.catalog.sync_folder", lambda at: synced.append((at, (at / CATALOG_NAME).exists())))
    opened(tmp_path).close()
    assert synced == [(tmp_path, True)]


@pytest.mark.parametrize(("durable", "expected"), [(True, 2), (False, 1)])
async def test_durability_is_full_unless_it_is_relaxed(tmp_path: Path, durable: bool, expected: int) -> None:
    catalog = Catalog(tmp_path, StillClock(), durable=durable)
    catalog.open()

    def settings(tx: Transaction) -> list[object]:
        return [tx.all(f"PRAGMA {name}")[0][0] for name in ("synchronous", "journal_mode", "foreign_keys")]

    assert await catalog.run(settings) == [expected, "wal", 1]
    catalog.close()


def test_a_catalog_of_a_later_version_is_refused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        with_a_later_schema(later, LATER)
        opened(tmp_path).close()
    before = fingerprints(tmp_path)
    with pytest.raises(CatalogTooNew) as refused:
        opened(tmp_path)
    assert fingerprints(tmp_path) == before
    assert (refused.value.version, refused.value.known) == (known_version() + 1, known_version())
    assert "later version" in refused.value.message


def test_a_later_version_whose_news_are_only_in_the_log_is_refused_untouched(tmp_path: Path) -> None:
    """As a kill -9 right after its migration leaves it."""
    script = f"""if True:
        import os, sqlite3
        c = sqlite3.connect({str(tmp_path / "source")!r}, isolation_level=None)
        c.execute("PRAGMA journal_mode = WAL")
        c.execute("CREATE TABLE x (y)")
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        c.execute("PRAGMA user_version = 9999")
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    folder = tmp_path / "data"
    folder.mkdir()
    for side in ("", "-wal"):
        shutil.copyfile(tmp_path / f"source{side}", folder / f"{CATALOG_NAME}{side}")
    before = fingerprints(folder)
    with pytest.raises(CatalogTooNew):
        opened(folder)
    assert fingerprints(folder) == before


async def test_a_known_catalog_is_brought_up_to_date_after_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as store:
        await store.push_image("a", "v1")
    assert backups.list_backups(tmp_path) == []
    with_a_later_schema(monkeypatch, LATER, "CREATE TABLE latest (x text NOT NULL);")
    async with shop(tmp_path) as store:
        assert (await store.tags.page("a")).names == ["v1"]
        assert await store.catalog.read(lambda tx: tx.one("SELECT x FROM later")) == ("a;b",)
    copies = backups.list_backups(tmp_path)
    assert [version_of(copy.path) for copy in copies] == [known_version() - 2]
    opened(tmp_path).close()
    assert backups.list_backups(tmp_path) == copies


def test_a_migration_that_fails_leaves_the_steps_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).close()
    was = known_version()
    with monkeypatch.context() as patched:
        with_a_later_schema(patched, LATER, "CREATE TABLE more (x text);\nINSERT INTO nowhere VALUES (1);")
        with pytest.raises(CatalogError, match="nowhere"):
            opened(tmp_path)
    path = tmp_path / CATALOG_NAME
    assert version_of(path) == was + 1
    names = [row[0] for row in sqlite3.connect(path).execute("SELECT name FROM sqlite_master")]
    assert "later" in names
    assert "more" not in names


@pytest.mark.parametrize("content", [b"not a catalog at all, but long enough to be read as a header" * 40, b"short"])
def test_a_file_that_is_no_catalog_is_refused_with_the_command_that_helps(tmp_path: Path, content: bytes) -> None:
    opened(tmp_path).close()
    older = backups.backup(tmp_path, StillClock(1_700_000_000))
    newest = backups.backup(tmp_path, StillClock(1_700_100_000))
    (tmp_path / CATALOG_NAME).write_bytes(content)
    with pytest.raises(CatalogDamaged) as refused:
        opened(tmp_path)
    assert RESTORE_COMMAND in refused.value.remedy
    assert refused.value.remedy.endswith(f" {newest}")
    assert older.name not in refused.value.remedy
    assert (tmp_path / CATALOG_NAME).read_bytes() == content


def test_a_catalog_that_another_program_holds_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).close()
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.0)
    with closing(sqlite3.connect(tmp_path / CATALOG_NAME, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CatalogError, match="locked") as refused:
            opened(tmp_path)
    assert not isinstance(refused.value, CatalogDamaged)
    opened(tmp_path).close()


def test_without_a_copy_a_damaged_catalog_is_refused_all_the_same(tmp_path: Path) -> None:
    (tmp_path / CATALOG_NAME).write_bytes(b"x" * 5000)
    with pytest.raises(CatalogDamaged, match="no copy"):
        opened(tmp_path)


@pytest.mark.parametrize("empty", [True, False])
def test_a_catalog_that_is_gone_is_not_begun_anew_while_copies_say_there_was_one(tmp_path: Path, empty: bool) -> None:
    opened(tmp_path).close()
    backups.backup(tmp_path, StillClock())
    (tmp_path / CATALOG_NAME).unlink()
    if empty:
        (tmp_path / CATALOG_NAME).touch()
    with pytest.raises(CatalogDamaged, match="missing or empty"):
        opened(tmp_path)


def test_an_empty_file_as_a_crash_at_the_first_start_leaves_it_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / CATALOG_NAME).touch()
    opened(tmp_path).close()
    assert version_of(tmp_path / CATALOG_NAME) == known_version()


def test_statements_are_told_apart_as_sqlite_does() -> None:
    script = "-- a; comment\nCREATE TABLE a (x text);\nINSERT INTO a\nVALUES ('one;\ntwo');\n"
    assert len(statements_of(script)) == 2
    with pytest.raises(ValueError, match="in the middle"):
        statements_of("SELECT 1")


async def test_opening_a_hundred_thousand_tags_takes_no_time(tmp_path: Path) -> None:
    def many(tx: Transaction) -> None:
        tx.execute("INSERT INTO repository (id, name, created_at_s) VALUES (1, 'a', 0)")
        tx.execute("INSERT INTO manifest_body (digest, content) VALUES ('sha256:0', x'00')")
        tx.execute("INSERT INTO manifest VALUES (1, 'sha256:0', 'x', 1, NULL, NULL, NULL, 0)")
        tx.execute_many("INSERT INTO tag VALUES (1, ?, 'sha256:0', 0)", [(f"tag-{n:06}",) for n in range(100_000)])

    catalog = opened(tmp_path)
    await catalog.run(many)
    catalog.close()
    began = time.perf_counter()
    async with shop(tmp_path) as store:
        page = await store.tags.page("a", 10, "tag-050000")
        took_s = time.perf_counter() - began
    assert page.names[0] == "tag-050001"
    assert took_s < 0.5
