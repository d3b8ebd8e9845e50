"""The durable ledger of upload sessions: its rows and the operations on them, run by `Catalog.run` and `Catalog.read`.

What a session means is decided in `multipart/`; here it is a row. A blob's commit removes the row in the same
transaction that makes the blob visible (`store/blobs.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from store.transactions import Transaction, frees


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One session as it is kept on disk."""

    id: str
    repository: str
    """By name: a session does not make a repository."""
    algorithm: str
    created_at_s: float
    touched_at_s: float
    owner: str = ""
    declared_size_bytes: int | None = None
    part_size_bytes: int | None = None
    state: str = "open"


_COLUMNS = "id, repository, algorithm, created_at_s, touched_at_s, owner, declared_size_bytes, part_size_bytes, state"


def insert(tx: Transaction, row: UploadRow) -> None:
    """Record a new session."""
    tx.execute(
        f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant of ours
        (
            row.id,
            row.repository,
            row.algorithm,
            row.created_at_s,
            row.touched_at_s,
            row.owner,
            row.declared_size_bytes,
            row.part_size_bytes,
            row.state,
        ),
    )


@frees
def remove(tx: Transaction, upload_id: str) -> bool:
    """Forget a session; False when there was none."""
    return tx.execute("DELETE FROM upload WHERE id = ?", (upload_id,)) > 0


def touch(tx: Transaction, touched: Iterable[tuple[str, float]]) -> None:
    """Record the last write of many sessions, each as (id, seconds since the epoch); unknown ids are passed over."""
    for upload_id, touched_at_s in touched:
        tx.execute("UPDATE upload SET touched_at_s = ? WHERE id = ?", (touched_at_s, upload_id))


def all_rows(tx: Transaction) -> list[UploadRow]:
    """Every session, the oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM upload ORDER BY created_at_s, id")  # noqa: S608 - a constant of ours
    return [UploadRow(*row) for row in rows]
