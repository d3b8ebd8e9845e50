"""What the store hands out: pages, stored manifests, and the three shapes in which a blob is ready to be sent."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType

from model.digests import Digest


@dataclass(frozen=True, slots=True)
class Page:
    """Some names in byte order, and whether more follow behind the last of them."""

    names: list[str]
    more: bool


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed: the exact bytes, the type they were pushed with, the digest they were pushed by."""

    digest: Digest
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class RepositorySize:
    """What one repository holds. Bytes are those of blobs and manifests, each digest counted once."""

    name: str
    manifests: int
    tags: int
    unique_bytes: int
    """Held by no other repository: what deleting this one would free in the end."""
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is in all; a manifest counts once for each repository that has it."""

    repositories: int
    manifests: int
    tags: int


@dataclass(frozen=True, slots=True)
class SmallBlob:
    """A blob whose bytes are in memory."""

    content: bytes

    @property
    def size_bytes(self) -> int:
        """How many bytes."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Descriptors as JSON, and the digest behind which more follow; None when there are no more."""

    descriptors: list[bytes]
    more_behind: str | None


@dataclass(slots=True)
class LocalBlob:
    """A blob as an open file, fit for sendfile. Whoever holds it closes it, once; a `with` block does."""

    fd: int
    size_bytes: int
    _closed: bool = field(default=False, repr=False)

    def close(self) -> None:
        """Give the descriptor back; closing again does nothing."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)

    def __enter__(self) -> "LocalBlob":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class StreamedBlob:
    """A blob that the backend can only stream; nothing was asked of the store so far.

    `read(start, length)` yields exactly those bytes, or raises: before the first piece BlobUnknown when what is stored
    is missing or of another length; later ShortRead, never ending early in silence; StorageFailed when the store cannot
    be read now. Close it when it is not read to its end.
    """

    size_bytes: int
    read: Callable[[int, int], AsyncIterator[bytes]]
