"""What we make in an object store: one row per object from before it is begun until nothing is left of it.

    making ──▶ whole ──(a blob lies there until it is settled)──▶ discard ──▶ no row
       └──────────────────────────────────────────────────────────────▲

The row is written before the store is asked for anything, so a crash at any step leaves nothing that nobody knows of.
A key that a blob's bytes lie under (`blob.storage_key`) is never to be discarded; each operation here sees to it. Run
by `Catalog.run` and `Catalog.read`; `store/discarding.py` does what the rows say.
"""

from dataclasses import astuple, dataclass
from typing import Final

from store.transactions import Transaction, frees

MAKING: Final = "making"
WHOLE: Final = "whole"
DISCARD: Final = "discard"

_COLUMNS: Final = "key, upload_id, owner, created_at_s, store_upload_id, state"
_NOT_A_BLOBS: Final = "NOT EXISTS (SELECT 1 FROM blob WHERE blob.storage_key = store_object.key)"


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object that we make, or made, under a key that is not yet, or no more, a blob's."""

    key: str
    upload_id: str
    """The session that it is made for."""
    owner: str
    created_at_s: float
    store_upload_id: str | None = None
    """The store's own id of the multipart upload; None until it is known, or where there is none."""
    state: str = MAKING


def any_rows(tx: Transaction) -> bool:
    """Whether anything is, or was, in the making."""
    return tx.one("SELECT 1 FROM store_object LIMIT 1") is not None


def intend(tx: Transaction, row: ObjectRow) -> None:
    """The store is about to be asked for this object; the same one begun anew replaces what was recorded of it."""
    tx.facts.has_objects = True
    tx.execute(
        f"INSERT INTO store_object ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants of ours
        " ON CONFLICT (key, upload_id) DO UPDATE SET owner = excluded.owner, created_at_s = excluded.created_at_s,"
        " store_upload_id = excluded.store_upload_id, state = excluded.state",
        astuple(row),
    )


def begun(tx: Transaction, key: str, upload_id: str, store_upload_id: str) -> bool:
    """The store has begun it under this id; False when the row is gone or to be discarded: then abort it there."""
    return (
        tx.execute(
            "UPDATE store_object SET store_upload_id = ? WHERE key = ? AND upload_id = ? AND state = 'making'",
            (store_upload_id, key, upload_id),
        )
        > 0
    )


def whole(tx: Transaction, key: str, upload_id: str) -> None:
    """It is an object now; one that is to be discarded stays so."""
    tx.execute(
        "UPDATE store_object SET state = 'whole' WHERE key = ? AND upload_id = ? AND state = 'making'",
        (key, upload_id),
    )


@frees
def discard(tx: Transaction, key: str, upload_id: str) -> None:
    """It is not needed any more, unless a blob lies there; unknown ones are fine."""
    tx.execute(
        f"UPDATE store_object SET state = 'discard' WHERE key = ? AND upload_id = ? AND {_NOT_A_BLOBS}",  # noqa: S608
        (key, upload_id),
    )


@frees
def discard_of_upload(tx: Transaction, upload_id: str) -> None:
    """The session has ended: what was made for it is not needed any more, but for what a blob lies in."""
    tx.execute(
        f"UPDATE store_object SET state = 'discard' WHERE upload_id = ? AND {_NOT_A_BLOBS}",  # noqa: S608 - constant
        (upload_id,),
    )


@frees
def discard_at(tx: Transaction, key: str) -> None:
    """No blob lies under this key any more, whichever session it was made for."""
    tx.execute(
        f"UPDATE store_object SET state = 'discard' WHERE key = ? AND {_NOT_A_BLOBS}",  # noqa: S608 - a constant
        (key,),
    )


@frees
def discard_orphans(tx: Transaction) -> int:
    """At start: objects without a session, in which no blob lies, are not needed any more; how many."""
    return tx.execute(
        f"UPDATE store_object SET state = 'discard' WHERE state <> 'discard' AND {_NOT_A_BLOBS}"  # noqa: S608
        " AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.id = store_object.upload_id)"
    )


def hold(tx: Transaction, key: str) -> bool:
    """A blob lies under the key from now on; False when it was never recorded, or is being discarded already."""
    return tx.execute("UPDATE store_object SET state = 'whole' WHERE key = ? AND state <> 'discard'", (key,)) > 0


@frees
def removed(tx: Transaction, key: str, upload_id: str) -> None:
    """Nothing is left of it in the store."""
    tx.execute(
        "DELETE FROM store_object WHERE key = ? AND upload_id = ? AND state = 'discard'",
        (key, upload_id),
    )


def all_rows(tx: Transaction) -> list[ObjectRow]:
    """Everything there is, the oldest first."""
    return _rows(tx, "ORDER BY created_at_s, key, upload_id")


def of_upload(tx: Transaction, upload_id: str) -> list[ObjectRow]:
    """What is made for a session, the oldest first."""
    return _rows(tx, "WHERE upload_id = ? ORDER BY created_at_s, key", (upload_id,))


def to_discard(tx: Transaction) -> list[ObjectRow]:
    """What is to be removed, the oldest first."""
    return _rows(tx, "WHERE state = 'discard' ORDER BY created_at_s, key, upload_id")


def making_at(tx: Transaction, key: str) -> list[ObjectRow]:
    """What is in the making under the key just now: under a digest's key, perhaps for several sessions."""
    return _rows(tx, "WHERE key = ? AND state = 'making' ORDER BY created_at_s, upload_id", (key,))


def _rows(tx: Transaction, behind: str, values: tuple[str, ...] = ()) -> list[ObjectRow]:
    found = tx.all(f"SELECT {_COLUMNS} FROM store_object {behind}", values)  # noqa: S608 - constants of ours
    return [ObjectRow(*row) for row in found]
