"""Referrers: the manifests of a repository that name another one as their subject (oci.md 1.1 end-12).

Every manifest's subject is recorded when it is put, also for clients that keep an index under a fallback tag
(`sha256-<hex>`, oci.md 1.3) because their registry knew no referrers. So what such an index rightly lists, manifests of
the repository that really carry the subject, is listed here without reading the index, once; what it lists wrongly is
not.
"""

import json
from collections.abc import Sequence
from typing import Any

from model.digests import Digest
from store.catalog import Catalog
from store.transactions import Transaction


class Referrers:
    """Who refers to a manifest."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def of(self, repository: str, subject: Digest, artifact_types: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `subject`, of any of `artifact_types`, in order of digest.

        The subject need not exist, nor the repository: then there are none.
        """
        found = await self._catalog.read(_referrers, repository, subject)
        descriptors: list[dict[str, Any]] = [json.loads(text) for text in found]
        if not artifact_types:
            return descriptors
        return [one for one in descriptors if one.get("artifactType") in artifact_types]


def _referrers(tx: Transaction, repository: str, subject: Digest) -> list[str]:
    rows = tx.all(
        "SELECT m.referrer FROM repository r JOIN manifest m ON m.repository_id = r.id"
        " WHERE r.name = ? AND m.subject = ? ORDER BY m.digest",
        (repository, str(subject)),
    )
    return [row[0] for row in rows]
