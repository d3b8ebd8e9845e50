"""Where a URL points: scheme, host, and the bucket with the style in which it is named (s3-sigv4 1.3).

Signing needs no connection, so the same credentials sign for the address that we use and for the one that clients
use: two places, one key (M11).
"""

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from sigv4.canonical import encoded_path

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""HTTP clients leave these out of Host, so a signature must as well."""


class Style(Enum):
    """How a bucket is named."""

    PATH = "path"
    """`https://host/bucket/key`: what self-hosted stores understand (M12)."""
    VIRTUAL = "virtual"
    """`https://bucket.host/key`: needs the names in DNS, and a certificate for them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A scheme, a host as a URL spells it (lower case, IPv6 in brackets), a port, and a bucket where there is one.

    `authority` is the value of Host there; `prefix` is the canonical URI of the bucket.
    """

    scheme: str
    host: str
    port: int | None = None
    bucket: str = ""
    style: Style = Style.PATH
    authority: str = field(init=False)
    prefix: str = field(init=False)
    root: str = field(init=False)

    def __post_init__(self) -> None:
        if self.scheme not in DEFAULT_PORTS:
            raise ValueError(f"{self.scheme!r} is neither http nor https")
        if not self.host or not self.host.isascii() or self.host != self.host.lower():
            raise ValueError("a host is written in lower-case ASCII")
        virtual = self.bucket != "" and self.style is Style.VIRTUAL
        if virtual and self.host.startswith("["):
            raise ValueError("an address has no virtual hosts")
        named = f"{self.bucket}.{self.host}" if virtual else self.host
        port = "" if self.port in (None, DEFAULT_PORTS[self.scheme]) else f":{self.port}"
        object.__setattr__(self, "authority", f"{named}{port}")
        object.__setattr__(self, "prefix", f"/{encoded_path(self.bucket)}" if self.bucket and not virtual else "")
        object.__setattr__(self, "root", f"{self.scheme}://{self.authority}")


@lru_cache(maxsize=256)
def place(base_url: str, bucket: str = "", style: Style = Style.PATH) -> Place:
    """The place at a base URL such as `https://registry.example.org:5000` or `http://[::1]:9000/`.

    Raises:
        ValueError: more or less than scheme, host and port.
    """
    parts = urlsplit(base_url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
        raise ValueError("a base URL is a scheme, a host and perhaps a port, and nothing else")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Place(parts.scheme, host, parts.port, bucket, style)
