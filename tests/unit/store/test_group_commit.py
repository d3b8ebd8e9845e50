"""Many writers, few commits: who shares one, who is answered when, and who fails with whom."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.errors import NameUnknown, Stopping, StorageFailed, StorageFull
from store import opening, uploads
from store.catalog import READERS, Catalog
from store.hot import Key, Kind
from store.transactions import Transaction
from store.uploads import UploadRow
from store.writer import BATCH_LIMIT, Writer
from tests.unit.store.shop import StillClock


class Opened:
    """A catalog with a memory of what was dropped, and a gate before each commit."""

    def __init__(self, catalog: Catalog, dropped: list[Key]) -> None:
        self.catalog, self.dropped = catalog, dropped


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    """An empty catalog."""
    dropped: list[Key] = []
    catalog = Catalog(tmp_path, StillClock(), durable=False, drop=dropped.extend)
    catalog.open()
    yield Opened(catalog, dropped)
    catalog.close()


class Gate:
    """Holds the writer before a COMMIT until it is told to go on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self._open = threading.Semaphore(0)

    def wait(self) -> None:
        """In the writer's thread."""
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._open.acquire(timeout=10)

    def let_one_pass(self) -> None:
        """Let one commit happen."""
        self._open.release()


@contextmanager
def before_commit(monkeypatch: pytest.MonkeyPatch, *acts: object) -> Iterator[None]:
    """Call the acts, one before each COMMIT, in turn; None is no act, an exception is raised, the rest commit."""
    really, left = Writer._commit, list(acts)

    def commit(writer: Writer, connection: sqlite3.Connection) -> None:
        act = left.pop(0) if left else None
        if isinstance(act, Exception):
            raise act
        if isinstance(act, Gate):
            act.wait()
        really(writer, connection)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "_commit", commit)
        yield


def set_to(tx: Transaction, key: str, value: str) -> str:
    """The simplest write there is."""
    tx.execute(
        "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
    tx.invalidate((Kind.TAG, key, value))
    return value


def value_of(tx: Transaction, key: str) -> str | None:
    """The simplest read there is."""
    row = tx.one("SELECT value FROM setting WHERE key = ?", (key,))
    return None if row is None else str(row[0])


def fail_after_writing(tx: Transaction, key: str) -> None:
    """Write, then refuse."""
    set_to(tx, key, "never")
    raise NameUnknown("refused on purpose")


async def test_an_operation_returns_its_result_and_is_there(opened: Opened) -> None:
    assert await opened.catalog.run(set_to, "a", "1") == "1"
    assert await opened.catalog.read(value_of, "a") == "1"


async def test_what_waits_during_a_commit_shares_the_next_one(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with before_commit(monkeypatch, gate):
        first = asyncio.create_task(opened.catalog.run(set_to, "first", "1"))
        await gate.reached.wait()
        rest = [asyncio.create_task(opened.catalog.run(set_to, f"key-{number}", "1")) for number in range(100)]
        await asyncio.sleep(0)
        gate.let_one_pass()
        await asyncio.gather(first, *rest)
    assert opened.catalog.commits == 2


async def test_a_commit_holds_no_more_than_its_limit(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with before_commit(monkeypatch, gate):
        first = asyncio.create_task(opened.catalog.run(set_to, "first", "1"))
        await gate.reached.wait()
        rest = [
            asyncio.create_task(opened.catalog.run(set_to, f"key-{number}", "1")) for number in range(BATCH_LIMIT + 1)
        ]
        await asyncio.sleep(0)
        gate.let_one_pass()
        await asyncio.gather(first, *rest)
    assert opened.catalog.commits == 3


async def test_nobody_is_answered_before_the_commit(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with before_commit(monkeypatch, gate):
        task = asyncio.create_task(opened.catalog.run(set_to, "a", "1"))
        await gate.reached.wait()
        assert not task.done()
        assert opened.dropped == []
        assert await opened.catalog.read(value_of, "a") is None
        assert not task.done()
        gate.let_one_pass()
        await task
    assert await opened.catalog.read(value_of, "a") == "1"


async def test_memory_is_set_right_before_anybody_is_answered(tmp_path: Path) -> None:
    events: list[str] = []
    catalog = Catalog(tmp_path, StillClock(), durable=False, drop=lambda keys: events.extend("drop" for _ in keys))
    catalog.open()

    async def write(key: str) -> None:
        await catalog.run(set_to, key, "1")
        events.append("answer")

    await asyncio.gather(*(write(key) for key in "abcd"))
    catalog.close()
    for number, event in enumerate(events):
        if event == "answer":
            assert events[:number].count("answer") < events[:number].count("drop")


async def test_a_failing_operation_fails_alone(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with before_commit(monkeypatch, gate):
        first = asyncio.create_task(opened.catalog.run(set_to, "first", "1"))
        await gate.reached.wait()
        tasks = [
            asyncio.create_task(opened.catalog.run(set_to, "before", "1")),
            asyncio.create_task(opened.catalog.run(fail_after_writing, "bad")),
            asyncio.create_task(opened.catalog.run(set_to, "behind", "1")),
        ]
        await asyncio.sleep(0)
        gate.let_one_pass()
        results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(result) for result in results] == [str, str, NameUnknown, str]
    found = [await opened.catalog.read(value_of, key) for key in ("before", "bad", "behind")]
    assert found == ["1", None, "1"]
    assert (Kind.TAG, "bad", "never") not in opened.dropped
    assert opened.catalog.commits == 2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_IOERR, StorageFailed),
        (sqlite3.SQLITE_CORRUPT, StorageFailed),
    ],
)
async def test_a_failing_commit_fails_all_and_the_catalog_goes_on(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception]
) -> None:
    kind = sqlite3.DatabaseError if code == sqlite3.SQLITE_CORRUPT else sqlite3.OperationalError
    trouble = kind("trouble")
    trouble.sqlite_errorcode, trouble.sqlite_errorname = code, "SQLITE_TROUBLE"
    gate = Gate()
    with before_commit(monkeypatch, gate, trouble):
        first = asyncio.create_task(opened.catalog.run(set_to, "first", "1"))
        await gate.reached.wait()
        tasks = [asyncio.create_task(opened.catalog.run(set_to, key, "1")) for key in "abc"]
        await asyncio.sleep(0)
        gate.let_one_pass()
        await first
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [expected] * 3
    assert len({id(result) for result in results}) == 3
    assert [key for _, key, _ in opened.dropped] == ["first"]
    assert [await opened.catalog.read(value_of, key) for key in "abc"] == [None] * 3
    assert await opened.catalog.run(set_to, "a", "2") == "2"
    assert await opened.catalog.read(value_of, "a") == "2"


async def test_when_sqlite_gives_up_the_transaction_below_an_operation_nothing_of_it_is_acknowledged(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_everything(tx: Transaction) -> None:
        tx.execute("ROLLBACK")  # as SQLite does by itself on some errors
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise full

    gate = Gate()
    with before_commit(monkeypatch, gate):
        first = asyncio.create_task(opened.catalog.run(set_to, "first", "1"))
        await gate.reached.wait()
        tasks = [
            asyncio.create_task(opened.catalog.run(set_to, "before", "1")),
            asyncio.create_task(opened.catalog.run(lose_everything)),
            asyncio.create_task(opened.catalog.run(set_to, "behind", "1")),
        ]
        await asyncio.sleep(0)
        gate.let_one_pass()
        results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(result) for result in results] == [str, StorageFull, StorageFull, StorageFull]
    assert [await opened.catalog.read(value_of, key) for key in ("first", "before", "behind")] == ["1", None, None]
    assert await opened.catalog.run(set_to, "before", "2") == "2"


async def test_a_cancelled_writer_still_sets_memory_right(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    with before_commit(monkeypatch, gate):
        task = asyncio.create_task(opened.catalog.run(set_to, "a", "1"))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.let_one_pass()
        await opened.catalog.run(set_to, "b", "1")
    assert opened.dropped == [(Kind.TAG, "a", "1"), (Kind.TAG, "b", "1")]
    assert await opened.catalog.read(value_of, "a") == "1"


async def test_a_reader_cannot_write(opened: Opened) -> None:
    with pytest.raises(StorageFailed):
        await opened.catalog.read(set_to, "a", "1")
    assert await opened.catalog.read(value_of, "a") is None


async def test_a_reader_sees_one_moment(opened: Opened) -> None:
    await opened.catalog.run(set_to, "a", "old")
    between, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def read_twice(tx: Transaction) -> tuple[str | None, str | None]:
        first = value_of(tx, "a")
        loop.call_soon_threadsafe(between.set)
        assert go_on.wait(10)
        return first, value_of(tx, "a")

    reading = asyncio.create_task(opened.catalog.read(read_twice))
    await between.wait()
    await opened.catalog.run(set_to, "a", "new")
    go_on.set()
    assert await reading == ("old", "old")
    assert await opened.catalog.read(value_of, "a") == "new"


async def test_what_looks_at_everything_lets_the_others_read(opened: Opened) -> None:
    looking, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look_long(tx: Transaction) -> None:
        loop.call_soon_threadsafe(looking.set)
        assert go_on.wait(20)

    surveys = [asyncio.create_task(opened.catalog.survey(look_long)) for _ in range(READERS + 1)]
    try:
        await looking.wait()
        async with asyncio.timeout(10):
            assert await opened.catalog.read(value_of, "a") is None
    finally:
        go_on.set()
        await asyncio.gather(*surveys)


async def test_making_room_on_a_full_disk_waits_for_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 60.0)
    catalog = Catalog(tmp_path, StillClock(), durable=False)
    catalog.open()
    looking, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look_long(tx: Transaction) -> None:
        value_of(tx, "a")
        loop.call_soon_threadsafe(looking.set)
        assert go_on.wait(20)

    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    await catalog.run(uploads.insert, UploadRow("id-1", "a", "sha256", 1.0, 2.0))
    reading = asyncio.create_task(catalog.survey(look_long))
    try:
        await looking.wait()
        await catalog.run(set_to, "a", "1")  # now the log holds what the reader does not see
        with before_commit(monkeypatch, full):
            async with asyncio.timeout(10):
                assert await catalog.run(uploads.remove, "id-1")
    finally:
        go_on.set()
        await reading

    def patience_ms(tx: Transaction) -> int:
        return int(tx.all("PRAGMA busy_timeout")[0][0])

    assert await catalog.run(patience_ms) == 60_000
    catalog.close()


async def test_closing_finishes_what_was_asked_for_and_refuses_the_rest(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, StillClock(), durable=False)
    catalog.open()
    tasks = [asyncio.create_task(catalog.run(set_to, f"key-{number}", "1")) for number in range(50)]
    await asyncio.sleep(0)
    catalog.close()
    assert await asyncio.gather(*tasks) == ["1"] * 50
    with pytest.raises(Stopping):
        await catalog.run(set_to, "a", "1")
    with pytest.raises(Stopping):
        await catalog.read(value_of, "a")
    catalog.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.reserve", "catalog.sqlite3"]


async def test_a_mistake_in_an_operation_reaches_whoever_made_it(opened: Opened) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await opened.catalog.run(lambda tx: tx.execute("INSERT INTO setting (key, value) VALUES ('a', NULL)"))
    with pytest.raises(ZeroDivisionError):
        await opened.catalog.run(lambda tx: 1 // 0)
    assert await opened.catalog.run(set_to, "a", "1") == "1"
