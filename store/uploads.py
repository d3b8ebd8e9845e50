"""The durable ledger of upload sessions: its rows and the operations on them, run by `Catalog.run` and `Catalog.read`.

What a session means is decided in `multipart/`; here it is a row. A blob's commit removes the row in the same
transaction that makes the blob visible (`store/blobs.py`). Parts and ended sessions are in `store/upload_parts.py`.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final

from store.store_objects import discard_of_upload
from store.transactions import Transaction, frees

TRIMMED: Final = "trimmed"
"""The state of a session in sequence whose first bytes may be in the object store only."""


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
    """Or `trimmed`: of one in sequence, whose first bytes may be in the object store only; or `assembled`: in parts."""
    kind: str = "sequence"
    """Or `parts`."""
    target: str = ""
    """Of a session in parts: the digest or temporary name that was said at its start."""
    assembled_digest: str | None = None
    """Of one that is complete under a temporary name: the digest of the whole, and its size."""
    assembled_bytes: int | None = None
    mode: str = "buffered"
    """Or `native`: clients put the parts straight into the store."""


_COLUMNS = (
    "id, repository, algorithm, created_at_s, touched_at_s, owner, declared_size_bytes, part_size_bytes, state,"
    " kind, target, assembled_digest, assembled_bytes, mode"
)


def insert(tx: Transaction, row: UploadRow) -> None:
    """Record a new session."""
    tx.execute(
        f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - ours
        astuple(row),
    )


@frees
def remove(tx: Transaction, upload_id: str) -> bool:
    """Forget a session and its parts; False when there was none.

    Every end of a session comes by here: what it made in an object store is to be discarded, but for what a blob lies
    in by now (`store/store_objects.py`).
    """
    if tx.facts.has_objects:
        discard_of_upload(tx, upload_id)
    tx.execute("DELETE FROM upload_part WHERE upload_id = ?", (upload_id,))
    return tx.execute("DELETE FROM upload WHERE id = ?", (upload_id,)) > 0


def trimmed(tx: Transaction, upload_id: str) -> None:
    """The first bytes of this session in sequence may be in the object store only."""
    tx.execute("UPDATE upload SET state = ? WHERE id = ?", (TRIMMED, upload_id))


def touch(tx: Transaction, touched: Iterable[tuple[str, float]]) -> None:
    """Record the last write of many sessions, each as (id, seconds since the epoch); unknown ids are passed over."""
    for upload_id, touched_at_s in touched:
        tx.execute("UPDATE upload SET touched_at_s = ? WHERE id = ?", (touched_at_s, upload_id))


def all_rows(tx: Transaction) -> list[UploadRow]:
    """Every session, the oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM upload ORDER BY created_at_s, id")  # noqa: S608 - a constant of ours
    return [UploadRow(*row) for row in rows]
