"""What the operator says about an object store: values made by the entry from the configuration."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sigv4.places import Place, Style, place

DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """One bucket of one store, how to reach it, and how clients reach it.

    `endpoint` is a base URL (scheme, host, perhaps a port); empty: AWS, by `region`. `prefix` has no slash at either
    end. Without any key and without a file of keys, the standard AWS files and services are asked.
    """

    bucket: str
    endpoint: str = ""
    region: str = DEFAULT_REGION
    prefix: str = ""
    external_endpoint: str = ""
    """The store's address in URLs that are handed to clients (M11, G07); empty: `endpoint`."""
    style: Style = Style.PATH
    create_bucket: bool = False
    """Make the bucket when it is missing (M15)."""
    key_id: str = ""
    secret: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    """Goes with the pair where that is one which ends by itself."""
    other_key_id: str = ""
    """A second pair, tried when the store refuses the first: so keys can be changed without a stop (G04)."""
    other_secret: str = field(default="", repr=False)
    credentials_file: Path | None = None
    """Lines such as AWS_ACCESS_KEY_ID=...; read again when it changes (M17)."""
    direct: bool = True
    """Whether clients may be given the store's own URLs at all (DISABLE_PRESIGNED_URLS)."""
    listens_beyond: bool = False
    """Whether we listen on more than this machine: then an `endpoint` on this machine is nothing for clients."""

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError("a store needs the name of a bucket")
        if self.prefix.startswith("/") or self.prefix.endswith("/"):
            raise ValueError("the prefix has no slash at its ends")
        _ = self.internal, self.external

    @property
    def base_url(self) -> str:
        """Where we reach the store."""
        return self.endpoint or f"https://s3.{self.region}.amazonaws.com"

    @property
    def internal(self) -> Place:
        """The bucket, as we name it ourselves. ValueError: the endpoint is no base URL."""
        return place(self.base_url, self.bucket, self.style)

    @property
    def external(self) -> Place:
        """The bucket, as clients name it. ValueError: the external endpoint is no base URL."""
        return place(self.external_endpoint or self.base_url, self.bucket, self.style)

    def full_key(self, key: str) -> str:
        """The name of the object that has our `key` (H077)."""
        return f"{self.prefix}/{key}" if self.prefix else key
