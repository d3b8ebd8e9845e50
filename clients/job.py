"""What every step of one push or pull works with."""

import asyncio
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from clients.journal import Entry, Journal
from clients.peer import Peer
from clients.plans import Blob
from clients.progress import Progress
from clients.reading import Disk
from clients.retrying import Insistence
from clients.ways import StoreTrust
from model.units import MIB

IN_ONE_BYTES: Final = 32 * MIB
"""Some registries lose what a broken request brought, so it is the most that is sent twice."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One push or pull: the registry, how patient we are with it, and who is told."""

    peer: Peer
    repository: str
    insistence: Insistence
    progress: Progress
    disk: Disk
    parallel: int = 4
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """Held while a body is under way: `parallel` of them, whatever they belong to."""


@dataclass(frozen=True, kw_only=True)
class PushJob(Job):
    """A push, and what is known of it from before."""

    journal: Journal
    part_size_bytes: int | None = None
    """What the person wants parts to have; None: what the server suggests."""
    in_one_bytes: int = IN_ONE_BYTES
    """Blobs up to this go up in one request, and larger ones by plain OCI in requests of this size."""
    store: StoreTrust = field(default_factory=StoreTrust)
    """What we know of the object store that URLs of parts may lead to."""
    announce: bool = False
    """Whether the hash of a part is told before its URL is made, so that the URL is good for those bytes only (M09)."""

    @classmethod
    def of(cls, job: Job, **more: Any) -> Self:
        """The push that `job` becomes with what is known of it."""
        return cls(**{each.name: getattr(job, each.name) for each in fields(Job)}, **more)

    def entry(self, blob: Blob) -> Entry:
        """What the journal knows about a blob, if its file is what it was; nothing otherwise."""
        identity = blob.bytes.identity()
        known = self.journal.entries.get(blob.bytes.key)
        if known is None or known.identity != identity:
            known = self.journal.entries[blob.bytes.key] = Entry(identity)
        return known
