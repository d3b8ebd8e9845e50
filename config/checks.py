"""What can only be known by looking at this machine: whether the folders that were named can be used.

Looking changes nothing: a folder that does not exist yet is fine when its nearest parent that does can be written.
"""

import os
from pathlib import Path

from config.settings import Config, ConfigError


def check_folders(config: Config) -> None:
    """See that the data folder and the storage folder can be used by this process.

    Raises:
        ConfigError: one of them is no folder, or cannot be written.
    """
    _check(config, "data_dir", config.data_dir)
    if config.storage_root_dir is not None:
        _check(config, "storage_root_dir", config.storage_root_dir)


def _check(config: Config, name: str, folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ConfigError(f"{config.said(name)}: {nearest} is not a folder; name another")
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"{config.said(name)}: user {os.geteuid()} may not write in {nearest}; "
            "change its owner, run as somebody else, or name another folder"
        )
