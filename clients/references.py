"""Where something is pushed to or pulled from: `[scheme://]host[:port]/repository[:tag][@digest]`, read once."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from clients.problems import Problem
from model import names
from model.digests import Digest
from model.errors import RegistryError

DEFAULT_TAG: Final = "latest"
DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io"})
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


class NotAReference(Problem):
    """The text does not say where; the message says what it should look like."""


@dataclass(frozen=True)
class Reference:
    """A place in a registry."""

    scheme: str
    netloc: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def base(self) -> str:
        """`https://host:port`. Docker's own registry answers under another name than it is called by."""
        return f"{self.scheme}://{'registry-1.docker.io' if self.netloc in DOCKER_HUB else self.netloc}"

    @property
    def name(self) -> str:
        """`host:port/repository`."""
        return f"{self.netloc}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What a manifest is asked by: the digest, else the tag, else `latest`."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    def shown(self, digest: str, tag: str | None) -> str:
        """The line a push or pull ends with: `host/repository:tag@sha256:...`."""
        return f"{self.name}{':' + tag if tag else ''}@{digest}"


def parse(text: str, *, plain_http: bool = False) -> Reference:
    """The place that `text` names.

    Without a scheme it is https, but http for this machine (localhost and loopback addresses), or wherever
    `plain_http` says so.

    Raises:
        NotAReference: outside the grammar.
    """
    scheme, separator, rest = text.rpartition("://")
    netloc, slash, path = rest.partition("/")
    host = _HOST.fullmatch(netloc)
    if separator and scheme not in ("http", "https"):
        raise NotAReference(f"{text!r}: write it without {scheme}://, or with http:// or https://")
    if not slash or host is None or int(host[2] or 0) > 65535:
        raise NotAReference(f"{text!r} names no repository; write [http://]HOST[:PORT]/REPOSITORY[:TAG]")
    path, at, digest = path.partition("@")
    repository, colon, tag = path.partition(":")
    try:
        return Reference(
            scheme="http" if plain_http else scheme or ("http" if is_loopback(host[1]) else "https"),
            netloc=netloc.lower(),
            repository=names.repository(repository),
            tag=names.tag(tag) if colon else None,
            digest=Digest.parse(digest) if at else None,
        )
    except RegistryError as error:
        raise NotAReference(f"{text!r}: {error.message}") from error


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
