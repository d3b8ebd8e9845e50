"""Whether this server can do its work now: the catalog answers, the storage can be written and has room, and an object
store, where content is in one, answers as well.

Looking costs a read of the catalog and a small write, so what was found holds for a few seconds, and all who ask at
the same time share one look. A storage that hangs is told after a while and keeps one thread, not one per question.
"""

import asyncio
import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from model.errors import RegistryError
from model.units import KIB, MIB, human_bytes
from store.repositories import Repositories

STORE_AWAY: Final = "the object store does not answer, or does not take what the server asks; the log says more"
"""All that anybody is told who asks: the reason itself names addresses and keys."""
FRESH_S: Final = 3.0
"""How long a finding holds."""
PATIENCE_S: Final = 5.0
"""How long a look may take before the storage counts as not answering."""
NEEDED_BYTES: Final = 16 * MIB
"""With less free than this hardly any push can succeed."""


class _OfStore(str):
    """A reason that is about the object store."""

    __slots__ = ()


class Readiness:
    """The answer to "are you ready?", which is a reason why not, or nothing."""

    def __init__(
        self,
        repositories: Repositories,
        *folders: Path,
        store: Callable[[], str] = lambda: "",
        fresh_s: float = FRESH_S,
        patience_s: float = PATIENCE_S,
        needed_bytes: int = NEEDED_BYTES,
    ) -> None:
        self._repositories = repositories
        self._folders = folders
        self._store = store
        """What is wrong with the object store, as is known without asking it; empty when nothing is."""
        self._fresh_s, self._patience_s, self._needed_bytes = fresh_s, patience_s, needed_bytes
        self._look: asyncio.Task[str] | None = None
        self._began_s = self._ended_s = 0.0
        self._stopping = False

    def stop(self) -> None:
        """From now on the server is not ready, because it is about to stop."""
        self._stopping = True
        if self._look is not None:
            self._look.cancel()

    async def told(self) -> str:
        """As `reason`, for anybody: no address, no name of a key."""
        reason = await self.reason()
        return STORE_AWAY if reason and isinstance(reason, _OfStore) else reason

    async def reason(self) -> str:
        """Why the server is not ready, for the operator; empty when it is.

        Never raises, and takes no longer than the patience.
        """
        look = None if self._stopping else await self._recent_look()
        if look is None or look.cancelled():
            return "the server is stopping"
        return look.result() if look.done() else "the storage does not answer"

    async def _recent_look(self) -> asyncio.Task[str]:
        """A look that is recent, and over unless it takes longer than the patience."""
        look, now_s = self._look, asyncio.get_running_loop().time()
        if look is None or (look.done() and now_s - self._ended_s >= self._fresh_s):
            self._began_s = now_s
            look = self._look = asyncio.create_task(self._find_out())
        await asyncio.wait({look}, timeout=max(0.0, self._began_s + self._patience_s - now_s))
        return look

    async def _find_out(self) -> str:
        try:
            await self._repositories.page(1)
            return await asyncio.to_thread(self._storage) or _OfStore(self._store())
        except RegistryError as error:
            return f"the catalog cannot be read: {error}"
        finally:
            self._ended_s = asyncio.get_running_loop().time()

    def _storage(self) -> str:
        """What is wrong with the folders, if anything: the catalog may be on another disk than uploads and blobs."""
        return next((wrong for folder in self._folders if (wrong := self._wrong_with(folder))), "")

    def _wrong_with(self, folder: Path) -> str:
        try:
            free_bytes = shutil.disk_usage(folder).free
            if free_bytes < self._needed_bytes:
                return f"the storage is full: {human_bytes(free_bytes)} are free"
            with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
                probe.write(bytes(4 * KIB))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return "the storage is full"
            return f"the storage cannot be written: {error.strerror}"
        return ""
