"""THE settings: one row each, grouped as in the TOML file; flags, help, pages and checks are made from these rows.

A row is a dataclass field: its name is the attribute that the code reads, its annotation the type that mypy checks,
its text the default. To add a setting, add a row; `make docs` then writes it into docs/settings.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from config.kinds import (
    Address,
    Network,
    address,
    choice,
    count,
    duration,
    folder,
    folder_or_none,
    networks,
    public_url,
    size,
    switch,
    token,
)
from config.object_store import S3
from config.rows import DEFAULT, PREFIX, ConfigError, Origin, Setting, setting
from model.units import DAY_S, GIB, KIB, MIB

__all__ = ["BY_NAME", "DEFAULT", "PREFIX", "SECTIONS", "SETTINGS", "Config", "ConfigError", "Origin", "Setting"]

OTHER_DRIVERS: Final = {
    "inmemory": "it is called memory here",
    "s3aws": "it is called s3 here",
}
"""What other registries call theirs."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where it listens and how it runs."""

    listen: Address = setting(
        "127.0.0.1:5000", address(), "Where to listen; port 0 takes a free one and says which.", bare=True
    )
    public_url: str = setting(
        "",
        public_url(),
        "How clients reach this registry, for the URLs it hands out; empty: as each did. Say it behind a proxy.",
        bare=True,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "",
        networks(),
        "The proxies whose word counts about who asks (X-Forwarded-For, -Proto, -Host, Forwarded); nobody else's does.",
        bare=True,
    )
    grace_s: float = setting(
        "30s", duration(0, 3600), "How long running transfers may go on after SIGTERM; uploads stay resumable after it."
    )
    uvloop: str = setting(
        "auto", choice("auto", "on", "off"), "The faster event loop: auto takes it when it is installed, on insists."
    )
    metrics: bool = setting("on", switch(), "Whether /metrics answers (Prometheus text format).")

    @property
    def listen_host(self) -> str:
        """The host of `listen`, IPv6 without brackets."""
        return self.listen.host

    @property
    def listen_port(self) -> int:
        """The port of `listen`; 0 when the kernel shall choose."""
        return self.listen.port


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where everything is kept."""

    data_dir: Path = setting(
        "./data",
        folder(),
        "The folder of this registry: catalog, unfinished uploads and content. Made when missing.",
        bare=True,
        flag="--data",
    )
    storage_driver: str = setting(
        "filesystem",
        choice("filesystem", "s3", "memory", refused=OTHER_DRIVERS),
        "Where content is kept: filesystem, s3 (a bucket of an object store), or memory (gone at the end).",
        bare=True,
    )
    storage_root_dir: Path | None = setting(
        "",
        folder_or_none(),
        "Where content and unfinished uploads are kept, when not in the data folder; one filesystem, please."
        " With s3, unfinished uploads only.",
        bare=True,
    )
    durability: str = setting(
        "full",
        choice("full", "none"),
        "full: what was answered with success survives a power cut. none: faster, survives a crash of the program.",
        bare=True,
    )
    uncached_writes: bool = setting(
        "on",
        switch(),
        "Write uploads above 32 MiB past the page cache, where kernel (6.16) and file system can do that.",
    )

    @property
    def storage_root(self) -> Path:
        """The folder that holds `docker/` and the spool."""
        return self.storage_root_dir or self.data_dir


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """How long unfinished uploads are kept, and how many."""

    upload_expiry_s: float = setting(
        "24h",
        duration(1, 3650 * DAY_S),
        "An unfinished upload is dropped when nothing was written to it for so long.",
        bare=True,
    )
    max_uploads: int = setting("10000", count(1, 10_000_000), "How many uploads may be open in all.")
    max_uploads_per_repository: int = setting(
        "1000", count(1, 10_000_000), "How many uploads may be open in one repository."
    )
    max_uploads_per_caller: int = setting(
        "1000", count(0, 10_000_000), "How many uploads in parts one caller may have open; 0: any number."
    )
    min_part_bytes: int = setting(
        "5MiB", size(0, 5 * GIB), "The smallest part of an upload in parts, but for its last one; 0: any size."
    )
    max_upload_bytes: int = setting("0", size(0, 1 << 60), "The largest upload in parts; 0: any size.")
    max_spooled_bytes: int = setting(
        "0", size(0, 1 << 60), "How much all unfinished uploads in parts may hold on the disk; 0: what fits there."
    )
    max_spooled_bytes_per_caller: int = setting(
        "0", size(0, 1 << 60), "How much those of one caller may hold; 0: as much as all."
    )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a single client may ask of the server."""

    max_manifest_bytes: int = setting("4MiB", size(64 * KIB, 64 * MIB), "The largest manifest that is accepted.")
    max_header_bytes: int = setting(
        "16KiB",
        size(4 * KIB, MIB),
        "The longest head of a request: its line, at most 8 KiB of it, and all its headers.",
    )
    stall_timeout_s: float = setting(
        "120s", duration(1, DAY_S), "A connection that makes no progress for so long, either way, is closed."
    )
    max_connections: int = setting(
        "4096", count(0, 1_000_000), "How many connections are served at once; 0: any number."
    )
    max_connections_per_address: int = setting(
        "1024", count(0, 1_000_000), "How many connections one client address may have at once; 0: any number."
    )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How much memory is taken for what; nothing here grows with the size of what is stored."""

    buffer_count: int = setting(
        "48", count(2, 4096), "Receive buffers of 1 MiB each, shared by all uploads that have bytes under way."
    )
    cache_bytes: int = setting("64MiB", size(0, 64 * GIB), "Manifests, names and small blobs kept at hand.")
    small_blob_bytes: int = setting("64KiB", size(0, 4 * MIB), "Blobs up to this size may be kept at hand as well.")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """What clients may do."""

    sparse_indexes: bool = setting(
        "off", switch(), "Accept an image index, or an image, although some of what it lists is not here."
    )
    delete_enabled: bool = setting("on", switch(), "Whether clients may delete tags, manifests and blobs.")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Uploads in parts and signed URLs: the hold API."""

    multipart: bool = setting("on", switch(), "Whether uploads in parts may be begun through the hold API.", bare=True)
    hold_token: str = setting(
        "",
        token(),
        "What callers of the hold API prove (Authorization: Bearer); empty: only this machine may write through it.",
        bare=True,
    )
    disable_presigned_urls: bool = setting(
        "off",
        switch(),
        "Hand out no signed URLs: whoever sends a part proves that he may.",
        bare=True,
    )
    signed_url_minutes: int = setting(
        "15", count(1, 7 * 24 * 60), "How many minutes a signed URL for an upload, or a part of one, lives."
    )
    download_url_hours: int = setting(
        "24", count(1, 7 * 24), "How many hours a signed URL for a download lives; ranges are asked for as long."
    )


@dataclass(frozen=True, kw_only=True)
class Log:
    """What is written about what happens; secrets never are."""

    log_format: str = setting("text", choice("text", "json"), "Lines for people, or one JSON object per line.")
    log_level: str = setting(
        "info", choice("debug", "info", "warning", "error"), "The least important messages that are written."
    )
    access_log: bool = setting("on", switch(), "One line per request.")


SECTIONS: Final[tuple[type, ...]] = (Server, Storage, S3, Uploads, Limits, Memory, Registry, Hold, Log)


@dataclass(frozen=True, kw_only=True)
class Config(Server, Storage, S3, Uploads, Limits, Memory, Registry, Hold, Log):
    """Every setting, decided; the sections above are its parts, `origins` knows who decided each (by setting name)."""

    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)

    def origin(self, name: str) -> Origin:
        """Who decided the setting `name`."""
        return self.origins.get(name, DEFAULT)

    def said(self, name: str) -> str:
        """`name = value (origin)`: how a message about a setting begins."""
        row = BY_NAME[name]
        return f"{name} = {row.kind.show(getattr(self, row.attribute))} ({self.origin(name)})"


def _rows() -> tuple[Setting, ...]:
    """The rows of all sections, in the order in which they stand above."""
    return tuple(
        Setting(attribute=each.name, group=section.__name__.lower(), **each.metadata)
        for section in SECTIONS
        for each in fields(section)
    )


SETTINGS: Final = _rows()
BY_NAME: Final[Mapping[str, Setting]] = {row.name: row for row in SETTINGS}
