"""What the handlers call: everything below them, put together once in `registry.py`."""

from dataclasses import dataclass, field
from typing import Protocol

from auth.policy import Policy
from auth.principals import Recognise
from auth.signed_urls import UrlSigner
from handlers.forwarded import Proxies
from model.clock import Clock
from multipart.sessions import Sessions
from store.blobs import Blobs
from store.manifests import Manifests
from store.referrers import Referrers
from store.repositories import Repositories
from store.tags import Tags


class Direct(Protocol):
    """What is asked of a store that clients may be sent to."""

    @property
    def native(self) -> bool:
        """Whether they may now."""
        ...

    @property
    def why_not_native(self) -> str:
        """Why not; empty when they may."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSettings:
    """What the operator decided about the hold API."""

    multipart: bool = True
    presigned: bool = True
    """Whether URLs are signed; without, a part takes the authority of whoever sends it (H044)."""
    part_url_s: int = 900
    """How long URLs for uploads live, in seconds."""
    download_url_s: int = 86400
    """How long URLs for downloads live, in seconds."""
    min_part_bytes: int = 0
    """The least that any part but the last must have."""
    max_part_bytes: int = 0
    """The most that a part can have; 0: any size."""
    max_upload_bytes: int = 0
    """The most that an upload in parts may have; 0: any size."""
    storage: str = "filesystem"
    direct: Direct | None = None
    """The store that clients could be sent to themselves; None where there is none."""

    @property
    def native(self) -> bool:
        """Whether new uploads in parts go straight to the store; may change at any time (H041-H047)."""
        return self.presigned and self.direct is not None and self.direct.native

    @property
    def modes(self) -> str:
        """What /capabilities says (H033)."""
        if not self.multipart:
            return "none"
        return "both" if self.native else "buffered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """How the outside sees us, and we it."""

    public_url: str = ""
    """scheme://host[:port] that clients use; empty: whatever each of them used."""
    proxies: Proxies = field(default_factory=Proxies)
    redirect_s: int = 0
    """How long the store's own URLs live to which clients are sent for large blobs; 0: they are not sent there."""


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
    recognise: Recognise
    signer: UrlSigner
    border: Border
    hold: HoldSettings
    clock: Clock
    max_manifest_bytes: int
    delete_enabled: bool
