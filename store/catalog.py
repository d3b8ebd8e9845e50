"""The catalog: names, membership, manifests and the ledger in one SQLite file, reached through operations.

An operation is a plain function `(tx, *args) -> T`. Writing ones share commits and are answered after theirs
(`store/writer.py`); reading ones run in a snapshot of their own. Names live here alone, so copies are kept
(`store/backups.py`).
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from model.clock import Clock
from model.errors import Stopping
from store import backups
from store.hot import Key
from store.opening import (
    CATALOG_NAME,
    connect_reader,
    connect_writer,
    known_version,
    look,
    migrate,
    refusal,
    sync_folder,
    translated,
)
from store.reserve import Reserve
from store.store_objects import any_rows
from store.transactions import FREEING, Transaction
from store.writer import BATCH_LIMIT, Job, Writer

READERS: Final = 2
"""Cold reads only: what is asked often is answered from memory."""

P = ParamSpec("P")
T = TypeVar("T")


def _nothing_to_drop(_: Iterable[Key]) -> None:
    """For a catalog without a memory in front of it."""


class Catalog:
    """One catalog file, used by one event loop. `open` before the first operation, `close` after the last."""

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        *,
        durable: bool = True,
        drop: Callable[[Iterable[Key]], None] = _nothing_to_drop,
        batch_limit: int = BATCH_LIMIT,
    ) -> None:
        """`drop` is told on the event loop which memory entries a commit made untrue (`Hot.drop`)."""
        self.data_dir = data_dir
        self.path = data_dir / CATALOG_NAME
        self.clock = clock
        self._durable = durable
        connect = partial(connect_writer, self.path, durable=durable)
        self._writer = Writer(connect, drop, Reserve(data_dir), batch_limit=batch_limit)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="catalog-reader")
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="catalog-surveyor")
        self._of_thread = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._is_open = False

    @property
    def commits(self) -> int:
        """How many commits there were since the start."""
        return self._writer.commits

    def open(self) -> None:
        """Make or open the file, bring its schema up to date (after a copy), and start. Blocks.

        Takes no longer for a large catalog than for a small one, unless the schema changes.

        Raises:
            CatalogTooNew, CatalogDamaged: nothing was changed.
            CatalogError: it cannot be opened, or a change of its schema failed; whole changes before that one stay.
        """
        newest = backups.newest(self.data_dir)
        version = look(self.path, newest, expected=backups.had_catalog(self.data_dir))
        try:
            if 0 < version < known_version():
                backups.backup(self.data_dir, self.clock)
            connection = connect_writer(self.path, durable=self._durable)
            try:
                migrate(connection)
                # Changes nothing, but a catalog that can only be read says so now, and not at each push.
                connection.execute("DELETE FROM setting WHERE 0")
                facts = self._writer.facts
                facts.has_objects = any_rows(Transaction(connection, facts))
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise refusal(self.path, error, newest) from error
        sync_folder(self.data_dir)
        self._writer.start()
        self._is_open = True

    def close(self) -> None:
        """Finish what was asked for, then close the file. Blocks; afterwards operations raise Stopping."""
        if not self._is_open:
            return
        self._is_open = False
        self._readers.shutdown()
        self._surveyor.shutdown()
        for connection in self._reading:
            connection.close()
        self._writer.close()

    async def run(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing operation; returns when the commit that holds it is durable.

        A cancelled caller is not told, but the operation runs all the same, and memory is set right after it.

        Raises:
            StorageFull, StorageFailed: nothing of the operation happened.
            What the operation raises: nothing of it happened either.
        """
        self._check_open()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(lambda tx: operation(tx, *args, **kwargs), future, frees=operation in FREEING))
        answer: T = await future
        return answer

    async def read(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading operation in a snapshot that holds everything answered before. Raises as `run` does."""
        self._check_open()
        call = partial(self._read, lambda tx: operation(tx, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def survey(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, for what looks at everything and takes long: one at a time, and no request waits behind it."""
        self._check_open()
        call = partial(self._read, lambda tx: operation(tx, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._surveyor, call)

    async def backup(self) -> Path:
        """Take a consistent copy beside the running catalog; writers go on meanwhile. Returns where it is."""
        return await asyncio.to_thread(backups.backup, self.data_dir, self.clock)

    def _check_open(self) -> None:
        if not self._is_open:
            raise Stopping("the server is about to stop")

    def _read(self, call: Callable[[Transaction], T]) -> T:
        try:
            connection = self._reader()
            connection.execute("BEGIN")
            try:
                return call(Transaction(connection, self._writer.facts))
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translated(error) from error

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection."""
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._of_thread.connection = connect_reader(self.path)
            self._reading.append(connection)
        return connection
