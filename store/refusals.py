"""Why a server does not start on its data: each with a message for a person and what to do about it.

    CannotStart
    ├── FolderError            a folder that cannot be made, written or renamed into
    │   └── AlreadyRunning     another process holds it
    └── CatalogError
        ├── CatalogTooNew      written by a later version; untouched
        └── CatalogDamaged     unreadable, or gone while copies of it exist

These never reach a client: they end the start, or a command, with one line.
"""

from pathlib import Path
from typing import Final

RESTORE_COMMAND: Final = "registry.py restore"
"""The one command that brings a copy of the catalog back; it takes the copy's path."""
TAKE_OVER_COMMAND: Final = "registry.py storage take-over"
"""The one command that makes another registry's bucket this one's."""


class CannotStart(Exception):
    """The root: what is wrong, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy


class FolderError(CannotStart):
    """A folder that cannot be used."""


class AlreadyRunning(FolderError):
    """Another process works on the folder; `pid` is None when it did not say who it is."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{who} is already running on {folder}", "stop it first, or choose another folder")
        self.pid = pid


class CatalogError(CannotStart):
    """A catalog that cannot be used."""


class CatalogTooNew(CatalogError):
    """The catalog has a schema that this version does not know. Nothing was changed."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(
            f"{path} has schema {version} of a later version, this one knows up to {known}",
            "start the version that wrote it, or a later one",
        )
        self.version = version
        self.known = known


class CatalogDamaged(CatalogError):
    """The catalog cannot be read, or is gone while copies of it are there."""

    def __init__(self, path: Path, reason: str, newest_copy: Path | None) -> None:
        remedy = (
            f"bring back the newest copy with: {RESTORE_COMMAND} --data {path.parent} {newest_copy}"
            if newest_copy
            else "there is no copy of it in the backups folder; restore the file from a backup of your own"
        )
        super().__init__(f"the catalog {path} cannot be used: {reason}", remedy)
        self.newest_copy = newest_copy
