"""What the handlers call: everything below them, put together once in `registry.py`."""

from dataclasses import dataclass, field

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
    storage: str = "filesystem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """How the outside sees us, and we it."""

    public_url: str = ""
    """scheme://host[:port] that clients use; empty: whatever each of them used."""
    proxies: Proxies = field(default_factory=Proxies)


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
