"""What the operator decides: every setting, where it may be said, and what was said.

    settings.py   the settings themselves: name, type, default, limits, help; one row each, and nowhere else
    object_store.py   those of an object store
    rows.py       what a setting is
    kinds.py      from what a person writes ("4MiB", "24h", "on") to values, and back
    sources.py    TOML file, environment and flags, put together; later ones win
    checks.py     what can only be known by looking at this machine
    reference.py  the settings written out: as a TOML file and as a page

A `Config` is frozen and complete. Whoever needs a part of it takes that part as its type (`Limits`, `Storage`);
nothing below the entry reads the environment or a file to find out how it should behave.
"""

from config.kinds import Address
from config.object_store import S3
from config.rows import ConfigError, Origin
from config.settings import Config, Hold, Limits, Log, Memory, Registry, Server, Storage, Uploads
from config.sources import load

__all__ = [
    "S3",
    "Address",
    "Config",
    "ConfigError",
    "Hold",
    "Limits",
    "Log",
    "Memory",
    "Origin",
    "Registry",
    "Server",
    "Storage",
    "Uploads",
    "load",
]
