"""At start: whether the bucket is the one that the catalog speaks of, and whether the catalog is the bucket's."""

import logging
from typing import Final

from backends.base import Backend, KeyMissing
from model.errors import StorageFailed
from store import blob_rows as rows
from store.bucket_copies import has_copies
from store.catalog import Catalog
from store.layout import BLOBS
from store.refusals import RESTORE_COMMAND, CannotStart
from store.streams import closing

_log: Final = logging.getLogger(__name__)


class WrongStore(CannotStart):
    """The catalog knows blobs, and the bucket has none at all."""

    def __init__(self) -> None:
        super().__init__(
            f"the catalog knows blobs, but there are none at all below {BLOBS} in the bucket",
            "set s3_bucket, s3_endpoint and s3_path_prefix right; if the blobs are lost for good, put any object there"
            " to go on",
        )


async def require_right_store(catalog: Catalog, backend: Backend) -> None:
    """Look at both, at most a few requests; a store that does not answer now is taken for the right one.

    An empty catalog beside a bucket with copies of one is no error, since somebody may want to begin anew there: one
    line in the log says which command brings the names back.

    Raises:
        WrongStore: the catalog knows blobs, and the bucket has none.
    """
    try:
        if await catalog.read(rows.has_blobs):
            if not await _has_any(backend, BLOBS) and not await _has_unsettled(catalog, backend):
                raise WrongStore
        elif not await catalog.read(rows.has_content) and await has_copies(backend):
            _log.warning(
                "there are no names here, but the bucket has copies of a catalog; to bring them back, stop the server"
                " and say: %s --list",
                RESTORE_COMMAND,
            )
    except StorageFailed as error:
        _log.warning("whether it is the right bucket is not known, since it cannot be asked now: %s", error)


async def _has_any(backend: Backend, prefix: str) -> bool:
    async with closing(backend.keys(prefix)) as keys:
        async for _ in keys:
            return True
    return False


async def _has_unsettled(catalog: Catalog, backend: Backend) -> bool:
    """Whether a blob that is not settled is where it should be; one is enough to know the bucket by."""
    for _, key in await catalog.read(rows.unsettled):
        try:
            await backend.size(key)
        except KeyMissing:
            continue
        return True
    return False
