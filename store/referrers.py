"""Referrers: the manifests of a repository that name another one as their subject (oci.md 1.1 end-12).

Every manifest's subject is recorded when it is put, also for clients that keep an index under a fallback tag
(`sha256-<hex>`, oci.md 1.3) because their registry knew no referrers. So what such an index rightly lists, manifests of
the repository that really carry the subject, is listed here without reading the index, once; what it lists wrongly is
not.
"""

from collections.abc import Sequence
from contextlib import closing

from model.digests import Digest
from store.catalog import Catalog
from store.transactions import Transaction
from store.values import ReferrersPage

_OF_SUBJECT = (
    "SELECT m.digest, m.referrer FROM repository r JOIN manifest m ON m.repository_id = r.id"
    " WHERE r.name = ? AND m.subject = ? AND m.digest > ?"
)


class Referrers:
    """Who refers to a manifest."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def page(
        self,
        repository: str,
        subject: Digest,
        artifact_types: Sequence[str] = (),
        *,
        last: str | None = None,
        limit_bytes: int,
    ) -> ReferrersPage:
        """Descriptors of the manifests whose subject is `subject`, of any of `artifact_types`, in order of digest.

        Those behind `last`, which need not exist any more; at least one, and as many more as fit into `limit_bytes`.
        Nothing behind the page is looked at. The subject need not exist, nor the repository: then there are none.
        """
        kinds = tuple(dict.fromkeys(artifact_types))
        return await self._catalog.read(_page, repository, subject, kinds, last or "", limit_bytes)


def _page(
    tx: Transaction, repository: str, subject: Digest, kinds: Sequence[str], last: str, limit_bytes: int
) -> ReferrersPage:
    of_kind = f" AND m.artifact_type IN ({', '.join('?' * len(kinds))})" if kinds else ""
    shown: list[bytes] = []
    size_bytes = 0
    sql = f"{_OF_SUBJECT}{of_kind} ORDER BY m.digest"
    with closing(tx.each(sql, (repository, str(subject), last, *kinds))) as found:
        for digest, text in found:
            descriptor = text.encode()
            size_bytes += len(descriptor) + 1
            if shown and size_bytes > limit_bytes:
                return ReferrersPage(shown, last)
            shown.append(descriptor)
            last = digest
    return ReferrersPage(shown, None)
