"""Repositories: which there are, what they hold, and how one goes away with all its names.

A repository begins with its first content and ends with its last; nobody makes one by itself.
"""

from typing import Final

from model.errors import NameUnknown
from store.catalog import Catalog
from store.hot import Hot, Kind
from store.membership import repository_id
from store.transactions import Transaction, frees
from store.values import Counts, Page, RepositorySize

_SIZES: Final = """
    WITH content AS (
        SELECT b.repository_id, b.digest, blob.size_bytes
        FROM repository_blob b JOIN blob ON blob.digest = b.digest
        UNION
        SELECT repository_id, digest, size_bytes FROM manifest
    ), holders AS (
        SELECT digest, COUNT(*) AS holders FROM content GROUP BY digest
    )
    SELECT
        r.name,
        (SELECT COUNT(*) FROM manifest m WHERE m.repository_id = r.id),
        (SELECT COUNT(*) FROM tag t WHERE t.repository_id = r.id),
        COALESCE(SUM(CASE WHEN h.holders = 1 THEN c.size_bytes END), 0),
        COALESCE(SUM(CASE WHEN h.holders > 1 THEN c.size_bytes END), 0)
    FROM repository r
    LEFT JOIN content c ON c.repository_id = r.id
    LEFT JOIN holders h ON h.digest = c.digest
    GROUP BY r.id, r.name
    ORDER BY r.name
"""


class Repositories:
    """The names of repositories."""

    def __init__(self, catalog: Catalog, hot: Hot) -> None:
        self._catalog = catalog
        self._hot = hot

    async def page(self, limit: int, last: str | None = None) -> Page:
        """Up to `limit` repositories that have a manifest, in byte order, behind `last` (which need not exist)."""
        if limit <= 0:
            return Page([], more=False)
        names = await self._catalog.read(_names, limit + 1, last or "")
        return Page(names[:limit], more=len(names) > limit)

    async def delete(self, name: str) -> None:
        """Remove all tags, manifests and memberships of the repository, in one transaction.

        Bytes that nobody refers to any more are left to the sweep; open uploads go on and may begin it anew.

        Raises:
            NameUnknown: there is no such repository.
        """
        await self._catalog.run(_delete, name)

    async def list_sizes(self) -> list[RepositorySize]:
        """Every repository with what it holds, in byte order of names."""
        return await self._catalog.survey(_sizes)

    async def count(self) -> Counts:
        """How many repositories, manifests and tags there are."""
        return await self._catalog.survey(_counts)


def _names(tx: Transaction, limit: int, last: str) -> list[str]:
    rows = tx.all(
        "SELECT name FROM repository WHERE name > ?"
        " AND EXISTS (SELECT 1 FROM manifest WHERE repository_id = repository.id) ORDER BY name LIMIT ?",
        (last, limit),
    )
    return [row[0] for row in rows]


def _sizes(tx: Transaction) -> list[RepositorySize]:
    return [RepositorySize(*row) for row in tx.all(_SIZES)]


def _counts(tx: Transaction) -> Counts:
    numbers = [tx.one(f"SELECT COUNT(*) FROM {table}") for table in ("repository", "manifest", "tag")]  # noqa: S608
    return Counts(*(int(row[0]) for row in numbers if row is not None))


@frees
def _delete(tx: Transaction, name: str) -> None:
    found = repository_id(tx, name)
    if found is None:
        raise NameUnknown("there is no such repository", name=name)
    digests = [row[0] for row in tx.all("SELECT digest FROM manifest WHERE repository_id = ?", (found,))]
    for table in ("tag", "manifest", "repository_blob"):
        tx.execute(f"DELETE FROM {table} WHERE repository_id = ?", (found,))  # noqa: S608 - names of ours
    for digest in digests:
        forget_body(tx, digest)
    tx.execute("DELETE FROM repository WHERE id = ?", (found,))
    tx.invalidate((Kind.EVERYTHING, name, ""))


def forget_body(tx: Transaction, digest: str) -> None:
    """Let go of a manifest's bytes when no repository has it any more."""
    if tx.one("SELECT 1 FROM manifest WHERE digest = ?", (digest,)) is None:
        tx.execute("DELETE FROM manifest_reference WHERE manifest = ?", (digest,))
        tx.execute("DELETE FROM manifest_body WHERE digest = ?", (digest,))
