"""What the process asks of the machine: descriptors enough for its connections, and to be who owns the folder."""

import logging
import os
import resource
from pathlib import Path
from typing import Final

RESERVED: Final = 128
"""Descriptors for ourselves: catalog, log, threads' files, listening."""
PER_CONNECTION: Final = 3
"""The connection, and what it works on: a pull has a second descriptor of the socket and the file, a push two files."""

log = logging.getLogger("holdfast")


def connections_allowed(wanted: int) -> int:
    """How many connections there can be: `wanted` (0: as many as possible), or fewer if descriptors do not suffice.

    Raises the soft limit on descriptors to the hard one, as far as that goes; shells and service managers leave the
    soft one at 1024, with which clients would be refused without a word long before any cap of ours.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    possible = max(1, (hard - RESERVED) // PER_CONNECTION) if hard != resource.RLIM_INFINITY else 1_000_000
    if wanted > possible:
        log.warning("only %d connections instead of %d: this process may have %d open files", possible, wanted, hard)
    return min(wanted, possible) if wanted else possible


def act_as_owner_of(folder: Path) -> None:
    """As root, go on as the user who owns `folder`, so that what a command writes there stays the server's.

    Does nothing for other users, and where there is no folder yet.
    """
    if os.geteuid() != 0 or not folder.exists():
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
