"""What the handlers call: everything below them, put together once in `registry.py`."""

from dataclasses import dataclass

from auth.policy import Policy
from model.clock import Clock
from multipart.sessions import Sessions
from store.blobs import Blobs
from store.manifests import Manifests
from store.referrers import Referrers
from store.repositories import Repositories
from store.tags import Tags


@dataclass(frozen=True, slots=True)
class Services:
    """The rooms behind the handlers, and the few settings that handlers need themselves."""

    repositories: Repositories
    blobs: Blobs
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    sessions: Sessions
    policy: Policy
    clock: Clock
    max_manifest_bytes: int
    delete_enabled: bool
