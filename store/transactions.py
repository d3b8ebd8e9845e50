"""What an operation sees of the catalog while it runs: statements, and the memory entries it makes untrue."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from store.hot import Key

Row = tuple[Any, ...]
Values = Sequence[str | bytes | int | float | None]


Operation = TypeVar("Operation", bound=Callable[..., Any])

FREEING: Final[set[Callable[..., Any]]] = set()
"""The operations that make room, and therefore work on a full disk as well."""


def frees(operation: Operation) -> Operation:
    """Mark an operation as one that makes room."""
    FREEING.add(operation)
    return operation


@dataclass(slots=True)
class Facts:
    """What the writer remembers of the catalog from one operation to the next; it never asks twice."""

    has_objects: bool = False
    """Something is, or was since the start, in the making in an object store; where bytes lie in a folder, never."""


class Transaction:
    """One operation's hold on the catalog. It ends with the operation; commit and rollback are the catalog's."""

    def __init__(self, connection: sqlite3.Connection, facts: Facts) -> None:
        self._connection = connection
        self.facts = facts
        self.stale: list[Key] = []

    def one(self, sql: str, values: Values = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows."""
        return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str, values: Values = ()) -> Generator[Row, None, None]:
        """The rows one by one, for whoever may stop before the last; close it then."""
        with closing(self._connection.execute(sql, values)) as cursor:
            yield from cursor

    def execute(self, sql: str, values: Values = ()) -> int:
        """Change something; how many rows it touched."""
        return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, rows: Iterable[Values]) -> None:
        """The same statement for each of `rows`."""
        self._connection.executemany(sql, rows)

    def invalidate(self, key: Key) -> None:
        """Drop `key` from memory once this is committed, before anybody learns that it is."""
        self.stale.append(key)
