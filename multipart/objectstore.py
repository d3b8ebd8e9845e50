"""What sessions in parts know of an object store, where content lies in one; without it nothing of that runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backends.base import Direct
from model.units import GIB, MIB
from multipart.remote import PartStore, RemoteUploads
from store.bucket_copies import always

KEEP_BYTES: Final = 256 * MIB
"""So much of a session stays in the spool although the store has it: a restart need not read that from there again."""
AHEAD_BYTES: Final = GIB
"""A client that is further ahead of the store waits before its next part."""
PATIENCE_S: Final = 300.0
"""How long a completion waits for the store to take the last parts; asked again, it goes on from there."""
LARGEST_COPY_BYTES: Final = 5 * GIB
"""Larger ones are copied in pieces, and the store's hash of those is not that of the whole (s3-sigv4 4, option d)."""


def _no() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """An object store, and how sessions in parts use it."""

    backend: PartStore
    remote: RemoteUploads
    keep_bytes: int = KEEP_BYTES
    ahead_bytes: int = AHEAD_BYTES
    patience_s: float = PATIENCE_S
    copies_prove: Callable[[], bool] = _no
    """Whether the store says the SHA-256 of what it copies."""
    is_ours: Callable[[], bool] = always
    """Whether the bucket is proven to be this registry's, so that clients may be sent there."""
    is_away: Callable[[], bool] = _no
    """Whether nobody can be sent there for now, for a reason that may end by itself."""

    @property
    def direct(self) -> Direct | None:
        """By which clients reach the store themselves, if it is of that kind."""
        return self.backend if isinstance(self.backend, Direct) else None
