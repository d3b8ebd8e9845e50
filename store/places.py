"""Where the bytes of a digest lie: under the digest's own key, or under a temporary one until they are settled.

    commit     the blob's row points at the temporary key          reads go there
    settling   the store copies the object to the digest's key     reads still go there
    settled    the row points nowhere                              reads go to the digest's key, also in their middle

A pointer may be out of date: a catalog that was restored from a copy points at objects that have been settled since. So
where nothing is under a temporary key, the digest's own key has the last word. The pointers are in memory whole; with
content in a folder there never is one.
"""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from backends.base import Backend, KeyMissing, ShortRead
from model.digests import Digest
from model.errors import StorageFailed
from store import blob_rows as rows
from store.catalog import Catalog
from store.layout import blob_key
from store.streams import closing

_log: Final = logging.getLogger("holdfast.store")


class Places:
    """The pointers to what is not settled, and reading by digest whichever way they point."""

    def __init__(self, catalog: Catalog, backend: Backend) -> None:
        self._catalog = catalog
        self._backend = backend
        self._unsettled: dict[Digest, str] = {}

    @property
    def unsettled(self) -> Mapping[Digest, str]:
        """The temporary keys of what is not settled, the oldest first."""
        return MappingProxyType(self._unsettled)

    async def load(self) -> None:
        """Learn what an earlier process left unsettled; before anything is read."""
        self._unsettled = dict(await self._catalog.read(rows.unsettled))
        if self._unsettled:
            _log.info("%d blobs are not settled yet", len(self._unsettled))

    def key_of(self, digest: Digest) -> str:
        """Where the bytes are, or would be."""
        return self._unsettled.get(digest) or blob_key(digest)

    def point(self, digest: Digest, key: str | None) -> str | None:
        """The bytes lie under that temporary key from now on, or under the digest's own; returns the former pointer."""
        former = self._unsettled.get(digest)
        if key is None:
            self._unsettled.pop(digest, None)
        else:
            self._unsettled[digest] = key
        return former

    async def stored_bytes(self, digest: Digest) -> int | None:
        """The length by the backend; None when nothing is there. A backend that fails raises StorageFailed."""
        tried: list[str] = []
        key: str | None = self.key_of(digest)
        while key is not None:
            tried.append(key)
            try:
                return await self._backend.size(key)
            except KeyMissing:
                key = self._elsewhere(digest, tried, missing=True)
        return None

    async def read(self, digest: Digest, size_bytes: int, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Exactly those bytes of a blob of `size_bytes`; goes on where they are moved to, or stored anew, meanwhile.

        Nobody need have asked for the size before: of bytes that reach to the end, the last piece is handed out only
        if the end is where it should be.

        Raises:
            KeyMissing: before the first piece. ShortRead: the stored bytes are not as long as the blob.
            StorageFailed: they cannot be read now.
        """
        at, stop = start, start + length
        key, tried = self.key_of(digest), list[str]()
        while at < stop:
            tried.append(key)
            before = at
            try:
                async with closing(self._from(key, at, stop, size_bytes)) as pieces:
                    async for piece in pieces:
                        at += len(piece)
                        yield piece
            except StorageFailed as error:
                moved = self._elsewhere(digest, tried, missing=isinstance(error, KeyMissing))
                if moved is None and at > before and isinstance(error, ShortRead):
                    continue  # the same content may have been stored once more meanwhile
                if moved is None:
                    raise (error if at == start else _in_the_middle(error, at)) from error
                key = moved

    def _elsewhere(self, digest: Digest, tried: Sequence[str], *, missing: bool) -> str | None:
        """Where else the bytes may be: where they were moved to, and when nothing is there, under the digest's key."""
        moved = self.key_of(digest)
        if moved in tried and missing:
            moved = blob_key(digest)
        return None if moved in tried else moved

    async def _from(self, key: str, at: int, stop: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `at` to `stop` under one key; to the end means that there is nothing behind it."""
        to_end = stop == size_bytes
        held = b""
        async with closing(self._backend.get(key, at, None if to_end else stop - at)) as pieces:
            async for piece in pieces:
                if held:
                    yield held
                at, held = at + len(piece), piece
                if at > stop:
                    break
        if at != stop:
            raise ShortRead(f"what is stored is not {size_bytes} bytes long")
        yield held


def _in_the_middle(error: StorageFailed, at: int) -> StorageFailed:
    """What went wrong behind the first piece, where a missing key is an early end."""
    return ShortRead(f"{error} any more, behind byte {at}") if isinstance(error, KeyMissing) else error
