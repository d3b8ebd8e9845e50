"""Blobs in the catalog: the operations that `store/blobs.py` runs."""

from model.digests import Digest
from model.errors import BlobUnknown
from store import upload_parts, uploads
from store.membership import add_blob, blob_key, end_if_empty, repository_id
from store.transactions import Transaction, frees
from store.upload_parts import EndedRow


def has_blobs(tx: Transaction) -> bool:
    """Whether any blob is recorded."""
    return tx.one("SELECT 1 FROM blob LIMIT 1") is not None


def size_in(tx: Transaction, repository: str, digest: Digest) -> int | None:
    """The size of the blob, if the repository has it."""
    row = tx.one(
        "SELECT b.size_bytes FROM repository r JOIN repository_blob m ON m.repository_id = r.id"
        " JOIN blob b ON b.digest = m.digest WHERE r.name = ? AND m.digest = ?",
        (repository, str(digest)),
    )
    return None if row is None else int(row[0])


def record(
    tx: Transaction,
    repository: str,
    digest: Digest,
    size_bytes: int,
    upload: str | EndedRow | None,
    now_s: float,
) -> None:
    """The bytes are stored: show them in the repository, and end the upload that brought them."""
    tx.execute(
        "INSERT INTO blob (digest, size_bytes, stored_at_s) VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET size_bytes = excluded.size_bytes, stored_at_s = excluded.stored_at_s",
        (str(digest), size_bytes, now_s),
    )
    add_blob(tx, repository, str(digest), now_s)
    if isinstance(upload, EndedRow):
        upload_parts.end(tx, upload)
    elif upload is not None:
        uploads.remove(tx, upload)


def mount(tx: Transaction, repository: str, digest: Digest, source: str, now_s: float) -> bool:
    """Show a blob of `source` in the repository as well; False when `source` has it not."""
    if size_in(tx, source, digest) is None:
        return False
    add_blob(tx, repository, str(digest), now_s)
    return True


def holders(tx: Transaction, digest: Digest) -> list[str]:
    """The names of the repositories that have the blob, in byte order."""
    rows = tx.all(
        "SELECT r.name FROM repository_blob m JOIN repository r ON r.id = m.repository_id"
        " WHERE m.digest = ? ORDER BY r.name",
        (str(digest),),
    )
    return [row[0] for row in rows]


@frees
def delete(tx: Transaction, repository: str, digest: Digest) -> None:
    """Take the blob out of the repository; BlobUnknown when it is not in it."""
    owner = repository_id(tx, repository)
    gone = owner is not None and tx.execute(
        "DELETE FROM repository_blob WHERE repository_id = ? AND digest = ?", (owner, str(digest))
    )
    if owner is None or not gone:
        raise BlobUnknown("the repository has no such blob", digest=str(digest))
    tx.invalidate(blob_key(repository, str(digest)))
    end_if_empty(tx, owner)
