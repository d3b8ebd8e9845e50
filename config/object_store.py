"""The settings of an object store: where it is, who we are to it, and how clients reach it."""

from dataclasses import dataclass
from pathlib import Path

from config.kinds import choice, switch
from config.rows import setting
from config.store_kinds import bucket, file_or_none, key_id, path_prefix, region, secret, store_address
from model.hosts import host_of


@dataclass(frozen=True, kw_only=True)
class S3:
    """The object store, where storage_driver is s3."""

    s3_bucket: str = setting("", bucket(), "The bucket that content is kept in.", bare=True)
    s3_endpoint: str = setting(
        "",
        store_address(),
        "Where the store is; empty: AWS, in the region.",
        bare=True,
    )
    s3_region: str = setting(
        "us-east-1", region(), "The region requests are signed for; most stores of one's own take us-east-1.", bare=True
    )
    s3_path_prefix: str = setting(
        "", path_prefix(), "What all keys begin with, so that the bucket can hold other things as well.", bare=True
    )
    aws_access_key_id: str = setting(
        "",
        key_id(),
        "The id of the key to the store; empty: from s3_credentials_file, or as AWS's own tools find theirs.",
        bare=True,
    )
    aws_secret_access_key: str = setting("", secret(), "The secret of that key.", bare=True)
    aws_session_token: str = setting(
        "", secret(), "The token that belongs to that key, where it is one that ends by itself.", bare=True
    )
    s3_other_access_key_id: str = setting(
        "", key_id(), "While keys are changed: the other one's id, taken when the store refuses the first.", bare=True
    )
    s3_other_secret_access_key: str = setting("", secret(), "The secret of the other key.", bare=True)
    s3_credentials_file: Path | None = setting(
        "",
        file_or_none("/etc/holdfast/store.keys"),
        "Lines such as AWS_ACCESS_KEY_ID=..., read again whenever the file changes; instead of the five above.",
        bare=True,
    )
    s3_external_endpoint: str = setting(
        "",
        store_address(),
        "How clients reach the store, for the URLs they are given; empty: as we do. No connection is made to it but"
        " to try whether it works.",
        bare=True,
    )
    s3_addressing_style: str = setting(
        "path",
        choice("path", "virtual"),
        "Where the bucket's name stands: in the path, or before the store's host name.",
        bare=True,
    )
    s3_tls: bool = setting(
        "on",
        switch(),
        "Whether endpoints written without http:// or https:// are spoken to by TLS.",
        bare=True,
    )
    s3_ca_file: Path | None = setting(
        "",
        file_or_none("/etc/holdfast/store-ca.pem"),
        "Certificates (PEM) that the store's is signed by, beside those of the machine.",
        bare=True,
    )
    s3_create_bucket: bool = setting("off", switch(), "Make the bucket at the start when it is missing.", bare=True)
    s3_redirect: bool = setting(
        "off",
        switch(),
        "Send clients to the store for large blobs (307) instead of passing the bytes through; they must reach it.",
        bare=True,
    )

    @property
    def s3_url(self) -> str:
        """scheme://host[:port] of the store; "" for AWS."""
        return self._url(self.s3_endpoint)

    @property
    def s3_external_url(self) -> str:
        """scheme://host[:port] at which clients reach the store; "" where they do as we."""
        return self._url(self.s3_external_endpoint)

    def _url(self, said: str) -> str:
        if not said or "://" in said:
            return said
        scheme = "https" if self.s3_tls else "http"
        return f"{scheme}://{host_of(said, scheme)}"
