"""The ledger of uploads in parts: which parts are stored, what is complete under a temporary name, how sessions ended.

The operations are run by `Catalog.run` and `Catalog.read`. The row that tells of a session's end is written in the same
transaction that ends it, so there is never one without the other.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from store import uploads
from store.transactions import Transaction, frees


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part that arrived whole and was synced."""

    upload_id: str
    number: int
    size_bytes: int
    sha256: str
    store_etag: str | None = None
    """What the object store answered for it, once it has it."""


@dataclass(frozen=True, slots=True)
class EndedRow:
    """How a session in parts ended."""

    id: str
    repository: str
    owner: str
    target: str
    how: str
    """`done`, `aborted`, `expired` or `refused`."""
    digest: str
    """Of the whole; empty unless done."""
    size_bytes: int
    parts: int
    ended_at_s: float


_PART = "upload_id, number, size_bytes, sha256, store_etag"
_ENDED = "id, repository, owner, target, how, digest, size_bytes, parts, ended_at_s"


def add_part(tx: Transaction, row: PartRow) -> None:
    """Record a part, in place of what was recorded of that number."""
    tx.execute(
        f"INSERT INTO upload_part ({_PART}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - a constant of ours
        " ON CONFLICT (upload_id, number) DO UPDATE SET size_bytes = excluded.size_bytes, sha256 = excluded.sha256,"
        " store_etag = excluded.store_etag",
        astuple(row),
    )


def sent(tx: Transaction, upload_id: str, number: int, sha256: str, store_etag: str) -> None:
    """The object store has the part with these bytes; nothing happens when another was recorded since, or none."""
    tx.execute(
        "UPDATE upload_part SET store_etag = ? WHERE upload_id = ? AND number = ? AND sha256 = ?",
        (store_etag, upload_id, number, sha256),
    )


def unsent(tx: Transaction, upload_id: str) -> None:
    """The object store has no part of the session any more."""
    tx.execute("UPDATE upload_part SET store_etag = NULL WHERE upload_id = ?", (upload_id,))


def set_parts(tx: Transaction, upload_id: str, rows: Iterable[PartRow], gone: Iterable[int]) -> None:
    """Record parts that clients put into the object store themselves; those of `gone` are not there."""
    remove_parts(tx, upload_id, gone)
    for row in rows:
        add_part(tx, row)


@frees
def remove_parts(tx: Transaction, upload_id: str, numbers: Iterable[int]) -> None:
    """These parts are not stored any more; unknown ones are fine."""
    tx.execute_many(
        "DELETE FROM upload_part WHERE upload_id = ? AND number = ?", [(upload_id, number) for number in numbers]
    )


@frees
def start_over(tx: Transaction, upload_id: str) -> None:
    """A session in sequence stands at nothing: it has no parts, and nothing is cut off its spool file's front."""
    tx.execute("DELETE FROM upload_part WHERE upload_id = ?", (upload_id,))
    tx.execute("UPDATE upload SET state = 'open' WHERE id = ?", (upload_id,))


def all_parts(tx: Transaction) -> list[PartRow]:
    """The parts of all sessions, by number."""
    rows = tx.all(f"SELECT {_PART} FROM upload_part ORDER BY upload_id, number")  # noqa: S608 - a constant of ours
    return [PartRow(*row) for row in rows]


def assemble(tx: Transaction, upload_id: str, digest: str, size_bytes: int) -> None:
    """The session is complete under its temporary name."""
    tx.execute(
        "UPDATE upload SET state = 'assembled', assembled_digest = ?, assembled_bytes = ? WHERE id = ?",
        (digest, size_bytes, upload_id),
    )


@frees
def end(tx: Transaction, row: EndedRow) -> None:
    """The session has ended: its row and its parts go, how it ended stays."""
    uploads.remove(tx, row.id)
    tx.execute("DELETE FROM upload_ended WHERE id = ?", (row.id,))
    tx.execute(
        f"INSERT INTO upload_ended ({_ENDED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant of ours
        astuple(row),
    )


def all_ended(tx: Transaction, since_s: float, most: int) -> list[EndedRow]:
    """How sessions ended since then, at most so many, the latest first."""
    rows = tx.all(
        f"SELECT {_ENDED} FROM upload_ended WHERE ended_at_s >= ? ORDER BY ended_at_s DESC LIMIT ?",  # noqa: S608
        (since_s, most),
    )
    return [EndedRow(*row) for row in rows]


@frees
def forget_ended(tx: Transaction, before_s: float) -> int:
    """Forget how sessions ended that ended before then; how many."""
    return tx.execute("DELETE FROM upload_ended WHERE ended_at_s < ?", (before_s,))
