"""Copies of the catalog: taken daily and before each change of its schema, seven kept, brought back by one command.

    DATA_DIR/
      catalog.sqlite3
      backups/
        catalog-20261120T160148123456Z.sqlite3     whole and synced, or not there under this name
        replaced-20261121T080000000000Z/           what a restore put aside, with its log

With content in an object store each daily copy goes to the bucket too (`store/bucket_copies.py`).

A copy is a plain SQLite file. Names live in the catalog alone, so a copy brings back every name it had, for all bytes
that are still in the store.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from model.clock import Clock
from model.errors import Unavailable
from model.units import DAY_S, HOUR_S, MINUTE_S
from store.opening import CATALOG_NAME, known_version, sync_folder, version_of
from store.refusals import CatalogError, CatalogTooNew

FOLDER_NAME: Final = "backups"
KEPT: Final = 7
_STAMP: Final = "%Y%m%dT%H%M%S%fZ"
_UNFINISHED: Final = ".unfinished"
_ONE_AT_A_TIME: Final = threading.Lock()
"""The daily copy and an operator's must not clear away each other's unfinished file."""
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")

_log = logging.getLogger("holdfast.catalog")


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy of the catalog."""

    path: Path
    taken_at_s: float
    size_bytes: int


def list_backups(data_dir: Path) -> list[Backup]:
    """The copies there are, the newest first."""
    found = []
    for path in (data_dir / FOLDER_NAME).glob("catalog-*.sqlite3"):
        taken = taken_at_s(path.name)
        if taken is not None:  # a file that somebody named otherwise is theirs
            found.append(Backup(path, taken, path.stat().st_size))
    return sorted(found, key=lambda copy: copy.path.name, reverse=True)


def taken_at_s(name: str) -> float | None:
    """When the copy of that file name was taken; None when it is not the name of a copy."""
    if not (name.startswith("catalog-") and name.endswith(".sqlite3")):
        return None
    with suppress(ValueError):
        stamp = name.removeprefix("catalog-").removesuffix(".sqlite3")
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    return None


def registry_in(catalog: Path) -> str:
    """The id of the registry whose catalog, or copy of one, it is; empty when it has none or is unreadable. Blocks."""
    row = _asked(catalog, "SELECT value FROM setting WHERE key = 'registry_id'")
    return str(row[0]) if row else ""


def is_empty(catalog: Path) -> bool:
    """Whether the catalog of a stopped server, or a copy, can be read and holds no names at all. Blocks."""
    return _asked(catalog, "SELECT NOT EXISTS (SELECT 1 FROM repository)") == (1,)


def _asked(catalog: Path, question: str) -> tuple[object, ...] | None:
    alone = "" if _beside(catalog, "-wal").exists() else "&immutable=1"  # else SQLite puts files beside it
    try:
        with closing(sqlite3.connect(f"{catalog.absolute().as_uri()}?mode=ro{alone}", uri=True)) as connection:
            answer: tuple[object, ...] | None = connection.execute(question).fetchone()
            return answer
    except sqlite3.Error:
        return None


def newest(data_dir: Path) -> Path | None:
    """The newest copy, if there is one."""
    return next((copy.path for copy in list_backups(data_dir)), None)


def had_catalog(data_dir: Path) -> bool:
    """Whether there ever was a catalog that somebody may miss: copies of it, one put aside, or half a restore."""
    folder = data_dir / FOLDER_NAME
    return (data_dir / (CATALOG_NAME + _UNFINISHED)).exists() or (folder.is_dir() and any(folder.iterdir()))


def backup(data_dir: Path, clock: Clock) -> Path:
    """Take a copy of the catalog, which may be in use, and let go of the oldest beyond seven. Blocks.

    The copy appears under its name only when it is whole and synced; a failure leaves the former copies alone.
    """
    with _ONE_AT_A_TIME:
        return _backup(data_dir, clock)


def _backup(data_dir: Path, clock: Clock) -> Path:
    folder = data_dir / FOLDER_NAME
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(f"*{_UNFINISHED}*"):
        leftover.unlink(missing_ok=True)
    target = _free_name(folder, clock)
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        _copy(data_dir / CATALOG_NAME, unfinished)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    sync_folder(data_dir)
    for old in list_backups(data_dir)[KEPT:]:
        old.path.unlink(missing_ok=True)
    return target


def _free_name(folder: Path, clock: Clock) -> Path:
    moment = datetime.fromtimestamp(clock.now_s(), UTC)
    while (path := folder / f"catalog-{moment.strftime(_STAMP)}.sqlite3").exists():
        moment += timedelta(microseconds=1)
    return path


def _copy(source: Path, target: Path) -> None:
    """One snapshot of `source`, however much is written to it meanwhile: a copy in steps would start over each time."""
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        writing.execute("PRAGMA synchronous = OFF")  # synced once, below
        reading.backup(writing, pages=-1)
    _sync_file(target)


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_due(data_dir: Path, clock: Clock) -> bool:
    """Whether the newest copy is a day old, or there is none."""
    copies = list_backups(data_dir)
    return not copies or clock.now_s() - copies[0].taken_at_s >= DAY_S


async def keep_daily(data_dir: Path, clock: Clock, elsewhere: Callable[[], Awaitable[None]] | None = None) -> None:
    """Take a copy whenever one is due, until cancelled; what fails is logged and tried again in an hour.

    `elsewhere` sees that the newest is kept in another place as well (`store/bucket_copies.py`); that is tried again
    every minute, since a store is often back soon.
    """
    failing = False
    while True:
        if is_due(data_dir, clock):
            try:
                await asyncio.to_thread(backup, data_dir, clock)
            except (OSError, sqlite3.Error) as error:
                _log.error("the daily copy of the catalog failed: %s", error)
        if elsewhere is not None:
            try:
                await elsewhere()
            except (OSError, sqlite3.Error, Unavailable) as error:
                if not failing:
                    _log.error("the catalog cannot be copied to the bucket now, it is tried every minute: %s", error)
                failing = True
            else:
                if failing:
                    _log.info("the catalog's newest copy is in the bucket")
                failing = False
        await asyncio.sleep(MINUTE_S if failing else HOUR_S)


def restore(data_dir: Path, copy: Path, clock: Clock) -> Path | None:
    """Put `copy` in the catalog's place and the present catalog aside; returns the folder it went to, if there was one.

    For a stopped server: the caller holds the folder's lock. Whatever moment this is interrupted at, repeating it
    completes it, and no server starts on half of it.

    Raises:
        CatalogError: the copy is damaged, no catalog, or of a later version; nothing was changed.
    """
    check(copy)
    catalog = data_dir / CATALOG_NAME
    incoming = catalog.with_name(CATALOG_NAME + _UNFINISHED)
    shutil.copyfile(copy, incoming)
    _sync_file(incoming)
    aside = _put_aside(catalog, clock)
    incoming.replace(catalog)
    sync_folder(data_dir)
    return aside


def check(copy: Path) -> None:
    """Prove that `copy` is a whole catalog that this program can use; CatalogError says why not."""
    remedy = "choose another copy"
    if not copy.is_file():
        raise CatalogError(f"there is no file {copy}", remedy)
    try:
        version = version_of(copy)
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise CatalogError(f"{copy} is not a whole catalog: {error}", remedy) from error
    if version > known_version():
        raise CatalogTooNew(copy, version, known_version())
    if version == 0 or verdict != "ok":
        raise CatalogError(f"{copy} is not a whole catalog: {verdict if verdict != 'ok' else 'no schema'}", remedy)


def _put_aside(catalog: Path, clock: Clock) -> Path | None:
    """Move the catalog and its side files away, the file itself first.

    A log without its file is refused at start; a file without its log would silently be an older one.
    """
    present = [path for path in (catalog, *(_beside(catalog, side) for side in _SIDE_FILES)) if path.exists()]
    if not present:
        return None
    moment = datetime.fromtimestamp(clock.now_s(), UTC).strftime(_STAMP)
    aside = catalog.parent / FOLDER_NAME / f"replaced-{moment}"
    aside.mkdir(parents=True, exist_ok=True)
    for path in present:
        path.replace(aside / path.name)
    sync_folder(aside)
    sync_folder(aside.parent)
    return aside


def _beside(path: Path, side: str) -> Path:
    return path.with_name(path.name + side)
