"""What this process knows of the condition of stored bytes: which it stored just now, and which it found damaged.

Neither outlives the process. Bytes of neither kind are taken for what their length says, until somebody reads them.
"""

from collections import OrderedDict
from typing import Final

from model.clock import Clock
from model.digests import Digest
from model.errors import BlobUnknown

FRESH_S: Final = 600.0
FRESH_AT_MOST: Final = 1024
"""How long, and of how many blobs, it is remembered that they were just stored."""


class Condition:
    """The condition of blobs, by digest. Only the event loop touches it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fresh: OrderedDict[Digest, float] = OrderedDict()
        self._damaged: set[Digest] = set()

    def is_fresh(self, digest: Digest) -> bool:
        """Whether this process stored proven bytes lately: only they need not be stored again when they come again."""
        return self._clock.monotonic_s() - self._fresh.get(digest, -FRESH_S) < FRESH_S

    def is_damaged(self, digest: Digest) -> bool:
        """Whether the bytes were found damaged, and nothing has replaced them since."""
        return digest in self._damaged

    def note_fresh(self, digest: Digest) -> None:
        """The bytes were checked and stored just now."""
        self._damaged.discard(digest)
        self._fresh[digest] = self._clock.monotonic_s()
        self._fresh.move_to_end(digest)
        while len(self._fresh) > FRESH_AT_MOST:
            self._fresh.popitem(last=False)

    def note_damaged(self, digest: Digest) -> None:
        """The bytes ended early, could not be read, or hash to something else."""
        self._damaged.add(digest)

    def note_sound(self, digest: Digest) -> None:
        """The bytes were read whole, and hash to their digest."""
        self._damaged.discard(digest)


def not_whole(digest: Digest) -> BlobUnknown:
    """What a blob is to clients while its bytes are missing or damaged: unknown, so that they push it again."""
    return BlobUnknown("the stored blob is not whole; push it again", digest=str(digest))
