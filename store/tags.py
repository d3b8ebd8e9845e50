"""Tags: listing, looking up, copying. A tag remembers the digest, algorithm included, that it was pushed by."""

from model.clock import Clock
from model.digests import Digest
from model.errors import ManifestUnknown, NameUnknown
from store import manifest_rows as rows
from store.catalog import Catalog
from store.hot import Hot, Kind, Shelf
from store.membership import repository_id
from store.transactions import Transaction
from store.values import Page


class Tags:
    """The tags of repositories."""

    def __init__(self, catalog: Catalog, hot: Hot, clock: Clock) -> None:
        self._catalog = catalog
        self._hot = hot
        self._clock = clock
        self._known: Shelf[Digest] = Shelf(hot, Kind.TAG)

    async def page(self, repository: str, limit: int | None = None, last: str | None = None) -> Page:
        """Up to `limit` (None: all) tags in byte order, behind `last` (which need not exist) (oci.md 1.1 end-8).

        Raises:
            NameUnknown: there is no such repository; one with content but without tags has an empty page.
        """
        return await self._catalog.read(_page, repository, limit, last or "")

    async def resolve(self, repository: str, tag: str) -> Digest:
        """The digest the tag points at; from memory, without awaiting anything, when it is known there.

        Raises:
            ManifestUnknown: there is no such tag, or no such repository.
        """
        known = self._known.get(repository, tag)
        if known is not None:
            return known
        generation = self._hot.generation(repository)
        text = await self._catalog.read(rows.pointed_at, repository, tag)
        if text is None:
            raise ManifestUnknown("the repository has no such tag", reference=tag)
        digest = Digest.parse(text)
        self._known.keep(repository, tag, digest, generation)
        return digest

    async def copy(self, repository: str, source: str, target: str) -> None:
        """Point `target` at what `source` points at, whatever it pointed at before.

        Raises:
            ManifestUnknown: there is no `source`.
        """
        await self._catalog.run(rows.copy_tag, repository, source, target, self._clock.now_s())


def _page(tx: Transaction, repository: str, limit: int | None, last: str) -> Page:
    owner = repository_id(tx, repository)
    if owner is None:
        raise NameUnknown("there is no such repository", name=repository)
    sql = "SELECT name FROM tag WHERE repository_id = ? AND name > ? ORDER BY name"
    if limit is None:
        return Page([row[0] for row in tx.all(sql, (owner, last))], more=False)
    if limit <= 0:
        return Page([], more=False)
    names = [row[0] for row in tx.all(sql + " LIMIT ?", (owner, last, limit + 1))]
    return Page(names[:limit], more=len(names) > limit)
