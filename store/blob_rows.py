"""Blobs in the catalog: the operations that `store/blobs.py` runs."""

from model.digests import Digest
from model.errors import BlobUnknown, StorageFailed
from store import store_objects, upload_parts, uploads
from store.membership import add_blob, blob_key, end_if_empty, repository_id
from store.transactions import Transaction, frees
from store.upload_parts import EndedRow


def has_blobs(tx: Transaction) -> bool:
    """Whether any blob is recorded."""
    return tx.one("SELECT 1 FROM blob LIMIT 1") is not None


def has_content(tx: Transaction) -> bool:
    """Whether any repository holds anything."""
    return tx.one("SELECT 1 FROM repository LIMIT 1") is not None


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
    """The bytes are stored where the row says, or else under the digest's key: show them, and end their upload."""
    tx.execute(
        "INSERT INTO blob (digest, size_bytes, stored_at_s) VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET size_bytes = excluded.size_bytes, stored_at_s = excluded.stored_at_s",
        (str(digest), size_bytes, now_s),
    )
    add_blob(tx, repository, str(digest), now_s)
    _end(tx, upload)


def record_at(
    tx: Transaction,
    repository: str,
    digest: Digest,
    size_bytes: int,
    storage_key: str | None,
    upload: str | EndedRow | None,
    now_s: float,
) -> None:
    """As `record`, for bytes that lie under that temporary key; None: under the digest's, and any pointer is cleared.

    An object that the row pointed at before is to be discarded.

    Raises:
        StorageFailed: the object was never recorded, or is being discarded already.
    """
    former = tx.one("SELECT storage_key FROM blob WHERE digest = ?", (str(digest),))
    if storage_key is not None and not store_objects.hold(tx, storage_key):
        raise StorageFailed("what the upload made in the store is not kept any more")
    tx.execute(
        "INSERT INTO blob (digest, size_bytes, stored_at_s, storage_key) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET size_bytes = excluded.size_bytes, stored_at_s = excluded.stored_at_s,"
        " storage_key = excluded.storage_key",
        (str(digest), size_bytes, now_s, storage_key),
    )
    if former is not None and former[0] is not None:
        store_objects.discard_at(tx, former[0])
    add_blob(tx, repository, str(digest), now_s)
    _end(tx, upload)


def _end(tx: Transaction, upload: str | EndedRow | None) -> None:
    """The upload has become a blob."""
    if isinstance(upload, EndedRow):
        upload_parts.end(tx, upload)
    elif upload is not None:
        uploads.remove(tx, upload)


def unsettled(tx: Transaction) -> list[tuple[Digest, str]]:
    """The blobs whose bytes lie under a temporary key, and that key; the oldest first."""
    rows = tx.all("SELECT digest, storage_key FROM blob WHERE storage_key IS NOT NULL ORDER BY stored_at_s, digest")
    return [(Digest.parse(digest), key) for digest, key in rows]


def bytes_of(tx: Transaction, digest: Digest) -> int | None:
    """The size of the blob, whoever may see it."""
    row = tx.one("SELECT size_bytes FROM blob WHERE digest = ?", (str(digest),))
    return None if row is None else int(row[0])


@frees
def settled(tx: Transaction, digest: Digest, storage_key: str) -> bool:
    """The bytes lie under the digest's key, so the object can go; False when the row points elsewhere by now."""
    moved = tx.execute(
        "UPDATE blob SET storage_key = NULL WHERE digest = ? AND storage_key = ?", (str(digest), storage_key)
    )
    store_objects.discard_at(tx, storage_key)
    return moved > 0


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
