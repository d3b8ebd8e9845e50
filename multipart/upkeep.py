"""What sessions need beside requests: their bytes brought to the disk, their use recorded, strays removed.

Called from the background and at start. Nothing here ends a session; a disk that fails is logged and tried again.
"""

import asyncio
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, Protocol

from model.errors import RegistryError
from multipart.ledger import Ledger
from multipart.partfiles import PART
from multipart.session import Session

_OURS: Final = re.compile(rf".*\.(data|marks)|[0-9a-f-]{{36}}{re.escape(PART)}[0-9]+(\.[0-9a-f]+)?")

log = logging.getLogger("holdfast.uploads")


class Used(Protocol):
    """A session of either kind, as far as its use is concerned."""

    touched_at_s: float
    ledger_touched_at_s: float

    @property
    def id(self) -> str:
        """Its id in the ledger."""
        ...


async def sync(sessions: Iterable[Session]) -> None:
    """Bring what sessions in sequence hold to the disk; parts are synced as they come."""
    for session in sessions:
        if session.spool.dirty:
            try:
                await session.call(session.spool.sync)
            except RegistryError as error:
                log.warning("upload %s: %s", session.id, error)


async def record_use(ledger: Ledger, sessions: Sequence[Used]) -> None:
    """Tell the ledger when sessions were last used."""
    used = [session for session in sessions if session.touched_at_s != session.ledger_touched_at_s]
    touched = {session.id: session.touched_at_s for session in used}
    if not touched:
        return
    try:
        await ledger.touch(touched)
    except RegistryError as error:
        log.warning("the last use of %d uploads is not recorded yet: %s", len(touched), error)
        return
    for session in used:
        session.ledger_touched_at_s = touched[session.id]


async def recover(sessions: Iterable[Session]) -> None:
    """Prove the prefixes of sessions in sequence, one after the other."""
    for session in sessions:
        try:
            await session.recover()
        except RegistryError as error:
            log.warning("upload %s cannot be read again: %s", session.id, error)


async def spooled(workers: Executor, folder: Path) -> Mapping[str, int]:
    """The spool's files of our own naming, with their sizes; at start."""
    return await asyncio.get_running_loop().run_in_executor(workers, _spooled, folder)


async def remove_strays(workers: Executor, folder: Path, names: Iterable[str]) -> int:
    """Remove these files; returns how many they were."""
    return await asyncio.get_running_loop().run_in_executor(workers, _remove, folder, list(names))


def _spooled(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if _is_ours(entry.name)}


def _is_ours(name: str) -> bool:
    return _OURS.fullmatch(name) is not None


def _remove(folder: Path, names: list[str]) -> int:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return len(names)
