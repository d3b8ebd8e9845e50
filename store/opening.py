"""Opening the catalog's file: looking at it without touching it, connecting, and bringing its schema up to date."""

import os
import re
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final

from model.errors import StorageFailed, StorageFull
from store.refusals import CatalogDamaged, CatalogError, CatalogTooNew

CATALOG_NAME: Final = "catalog.sqlite3"
BUSY_TIMEOUT_S: Final = 5.0
"""Only a command looking at a running server's file ever makes another connection wait."""

_WRITER_CACHE_KIB: Final = 8 * 1024
_READER_CACHE_KIB: Final = 4 * 1024
_WAL_KEPT_BYTES: Final = 64 * 1024 * 1024
"""A burst may make the log longer; it is cut back to this."""

_MIGRATION: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql", re.ASCII)
_UNUSABLE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def migrations() -> list[tuple[int, str]]:
    """The numbered schema files, in order, as (number, SQL)."""
    found = []
    for entry in resources.files("store").joinpath("schema").iterdir():
        match = _MIGRATION.fullmatch(entry.name)
        if match:
            found.append((int(match.group(1)), entry.read_text("utf-8")))
    return sorted(found)


def known_version() -> int:
    """The newest schema this program knows."""
    return migrations()[-1][0]


def look(path: Path, newest_copy: Path | None, *, expected: bool) -> int:
    """The schema version of the file at `path`, which is not changed in any way; 0 when there is none yet.

    Raises:
        CatalogTooNew: a later program wrote it.
        CatalogDamaged: it is not a catalog, or it is missing or empty although there was one (`expected`).
        CatalogError: it cannot be opened.
    """
    empty = not path.exists() or path.stat().st_size == 0
    if empty and (expected or (_log_of(path) and not path.exists())):
        raise CatalogDamaged(path, "the file is missing or empty", newest_copy)
    if empty and not _log_of(path):
        return 0
    try:
        version = version_of(path)
    except sqlite3.Error as error:
        raise refusal(path, error, newest_copy) from error
    if version > known_version():
        raise CatalogTooNew(path, version, known_version())
    return version


def version_of(path: Path) -> int:
    """The schema version of an existing file, read without touching it; sqlite3.Error when it cannot be read."""
    # With an empty log the file itself is the whole truth, and `immutable` keeps SQLite from making side files.
    mode = "mode=ro" if _log_of(path) else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def _log_of(path: Path) -> bool:
    """Whether the file has a write-ahead log with something in it."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def connect_writer(path: Path, *, durable: bool) -> sqlite3.Connection:
    """The one connection that writes. Not durable means: a power cut may cost the last seconds, never the file."""
    connection = _connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, each numbered file in a transaction of its own; a crash leaves whole steps."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number, script in migrations():
        if number > version:
            _apply(connection, number, script)


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements_of(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements_of(script: str) -> list[str]:
    """The statements of a script, one by one; `executescript` would commit on its own."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    if current.strip():
        raise ValueError("the script ends in the middle of a statement")
    return statements


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is broken."""
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNUSABLE


def refusal(path: Path, error: sqlite3.Error, newest_copy: Path | None) -> CatalogError:
    """Why the catalog cannot be opened: a broken file calls for a copy, anything else for a look at the machine."""
    if is_damage(error):
        return CatalogDamaged(path, str(error), newest_copy)
    remedy = "see that there is room on the disk, that this user may write the file, and that no other program holds it"
    return CatalogError(f"the catalog {path} cannot be opened: {error}", remedy)


def translated(error: Exception) -> Exception:
    """What SQLite's error is to a caller: storage trouble, or a mistake of ours that stays as it is."""
    if isinstance(error, sqlite3.OperationalError) or is_damage(error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StorageFull("the disk is full: the catalog cannot grow")
        name = getattr(error, "sqlite_errorname", "unknown error")
        return StorageFailed(f"the catalog answered with an error ({name})")
    return error
