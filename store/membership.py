"""The statements that several domains share: repositories by name, and who may see which blob."""

from store.hot import Key, Kind
from store.transactions import Transaction

_AT_ONCE = 16
"""Digests per question. Shorter lists are filled up with their last one, so that there is one statement to prepare."""

_MARKS = ", ".join("?" * _AT_ONCE)
_BLOBS_AMONG = f"SELECT digest FROM repository_blob WHERE repository_id = ? AND digest IN ({_MARKS})"  # noqa: S608
_MANIFESTS_AMONG = f"SELECT digest FROM manifest WHERE repository_id = ? AND digest IN ({_MARKS})"  # noqa: S608


def repository_id(tx: Transaction, name: str) -> int | None:
    """The repository of that name, if it holds anything."""
    row = tx.one("SELECT id FROM repository WHERE name = ?", (name,))
    return None if row is None else int(row[0])


def made_repository(tx: Transaction, name: str, now_s: float) -> int:
    """The repository of that name, which begins with what is about to be put in it."""
    found = repository_id(tx, name)
    if found is not None:
        return found
    [(new,)] = tx.all("SELECT COALESCE(MAX(id), 0) + 1 FROM repository")
    tx.execute("INSERT INTO repository (id, name, created_at_s) VALUES (?, ?, ?)", (new, name, now_s))
    return int(new)


def end_if_empty(tx: Transaction, repository: int) -> None:
    """Forget the repository when it holds nothing any more."""
    tx.execute(
        "DELETE FROM repository WHERE id = ?"
        " AND NOT EXISTS (SELECT 1 FROM manifest WHERE repository_id = repository.id)"
        " AND NOT EXISTS (SELECT 1 FROM repository_blob WHERE repository_id = repository.id)",
        (repository,),
    )


def add_blob(tx: Transaction, repository: str, digest: str, now_s: float) -> None:
    """Let the repository see the blob, which is recorded already.

    Memory need not be told: it holds only what is there, and a digest has one size for ever.
    """
    tx.execute(
        "INSERT INTO repository_blob (repository_id, digest, added_at_s) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (made_repository(tx, repository, now_s), digest, now_s),
    )


def blobs_among(tx: Transaction, repository: int, digests: list[str]) -> set[str]:
    """Those of `digests` that are blobs of the repository."""
    return _among(tx, _BLOBS_AMONG, repository, digests)


def manifests_among(tx: Transaction, repository: int, digests: list[str]) -> set[str]:
    """Those of `digests` that are manifests of the repository."""
    return _among(tx, _MANIFESTS_AMONG, repository, digests)


def _among(tx: Transaction, sql: str, repository: int, digests: list[str]) -> set[str]:
    found: set[str] = set()
    for at in range(0, len(digests), _AT_ONCE):
        some = digests[at : at + _AT_ONCE]
        filled = some + some[-1:] * (_AT_ONCE - len(some))
        found.update(row[0] for row in tx.all(sql, (repository, *filled)))
    return found


def blob_key(repository: str, digest: str) -> Key:
    """Where memory holds that the repository has the blob."""
    return (Kind.BLOB, repository, digest)


def manifest_key(repository: str, digest: str) -> Key:
    """Where memory holds that the repository has the manifest."""
    return (Kind.MANIFEST, repository, digest)


def tag_key(repository: str, tag: str) -> Key:
    """Where memory holds what the tag points at."""
    return (Kind.TAG, repository, tag)
