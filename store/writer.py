"""The one thread that writes the catalog: everything that waits goes into one commit.

    take all that waits (at most 512)
      BEGIN ── SAVEPOINT, operation, RELEASE ── SAVEPOINT, operation, RELEASE ── ... ── COMMIT
      then, on the event loop, in one call: drop what became untrue from memory, answer everybody

No timer and nothing to tune: while one commit waits for the disk, the next ones gather (docs/performance.md).

On a full disk operations that free something get a second try with the room that is kept back (`store/reserve.py`).
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from model.errors import StorageFull
from store.hot import Key
from store.opening import is_damage, translated
from store.reserve import Reserve
from store.transactions import Facts, Transaction

BATCH_LIMIT: Final = 512
"""More would make the slowest answer wait noticeably (p99 about 10 ms here) and gain nothing."""

_log = logging.getLogger("holdfast.catalog")


@dataclass(slots=True)
class Job:
    """An operation on its way: what to run, who waits, and what came of it."""

    call: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    frees: bool = False
    """It makes room: on a full disk it is tried again with the reserve."""
    result: Any = None
    error: Exception | None = None
    stale: list[Key] = field(default_factory=list)


class TransactionLost(sqlite3.OperationalError):
    """SQLite rolled the whole transaction back by itself, below an operation."""


class Writer:
    """Runs operations in shared transactions, in the order they came, and answers after the commit.

    An operation that fails, fails alone. A commit that fails, fails for all that were in it, and the next begins on a
    connection that is known to be good.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        drop: Callable[[Iterable[Key]], None],
        reserve: Reserve,
        *,
        batch_limit: int = BATCH_LIMIT,
    ) -> None:
        self.commits = 0
        self.facts = Facts()
        self._reserve = reserve
        self._connect = connect
        self._drop = drop
        self._batch_limit = batch_limit
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._work, name="catalog-writer", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take an operation; all of a writer's come from one event loop."""
        self._waiting.put(job)

    def close(self) -> None:
        """Finish all that was submitted, then end; blocks until then."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            if batch:
                self._together(batch)
        self._disconnect()

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, at least one, up to the limit; and whether nothing comes after it."""
        batch: list[Job] = []
        job = self._waiting.get()
        try:
            while job is not None:
                batch.append(job)
                if len(batch) == self._batch_limit:
                    return batch, False
                job = self._waiting.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _together(self, batch: list[Job]) -> None:
        """Run them all, and answer."""
        self._reserve.hold()
        self._try(batch)
        stuck = [job for job in batch if job.frees and isinstance(job.error, StorageFull)]
        if stuck:
            self._try_with_reserve(stuck)
        self._answer(batch)

    def _try_with_reserve(self, stuck: list[Job]) -> None:
        """The disk is full: what makes room has the room that is kept back.

        First the log is emptied into the file, which may have to grow for it; then the log has room for what is new.
        """
        self._reserve.release()
        with suppress(sqlite3.Error):  # a log that cannot be emptied may still have room
            _empty_log(self._connected())
        for job in stuck:
            job.error = None
        self._try(stuck)
        self._reserve.hold()

    def _try(self, batch: list[Job]) -> None:
        """One transaction for all of them."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._attempt(connection, job)
            self._commit(connection)
        except Exception as error:  # noqa: BLE001 - whatever it was, everybody in the batch has to be told
            self._give_up(batch, error)

    def _attempt(self, connection: sqlite3.Connection, job: Job) -> None:
        """Run one operation so that its failure leaves no trace; TransactionLost when that is not possible."""
        transaction = Transaction(connection, self.facts)
        connection.execute("SAVEPOINT operation")
        try:
            job.result = job.call(transaction)
            job.stale = transaction.stale
        except Exception as error:  # whatever it was, it belongs to whoever asked for the operation
            if not connection.in_transaction:
                raise TransactionLost(str(error)) from error
            connection.execute("ROLLBACK TO operation")
            self._note_damage(error)
            job.error = translated(error)
        connection.execute("RELEASE operation")

    def _commit(self, connection: sqlite3.Connection) -> None:
        """Make the batch durable; the step that tests hold, count and break."""
        connection.execute("COMMIT")
        self.commits += 1

    def _give_up(self, batch: list[Job], error: Exception) -> None:
        """Nothing of the batch happened; say so to all, and start afresh."""
        lost_to = error.__cause__ if isinstance(error, TransactionLost) else None
        cause = lost_to if isinstance(lost_to, Exception) else error
        self._note_damage(cause)
        _log.error("the catalog could not commit %d operations: %s", len(batch), cause)
        for job in batch:
            job.result, job.stale, job.error = None, [], translated(cause)
        self._disconnect()

    def _note_damage(self, error: BaseException) -> None:
        if is_damage(error):
            _log.critical("the catalog is damaged (%s): stop the server and restore a copy of it", error)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        """Close; an open transaction is rolled back by that."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # it is given up in any case
                self._connection.close()
            self._connection = None

    def _answer(self, batch: list[Job]) -> None:
        # A loop that is closed has nobody waiting; what was committed is committed.
        with suppress(RuntimeError):
            batch[0].future.get_loop().call_soon_threadsafe(partial(self._settle, batch))

    def _settle(self, batch: list[Job]) -> None:
        """On the loop: memory first, so that whoever is answered never reads what was before. Cancelled ones count."""
        self._drop([key for job in batch for key in job.stale])
        for job in batch:
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move the log into the catalog's file, as far as those who read just now allow; they are not waited for."""
    [(patience_ms,)] = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
