"""The single steps of the filesystem backend, taken down as they happen and broken on demand."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from backends.filecalls import FileCalls


class Steps(FileCalls):
    """Takes down every step; breaks the one of the given number, or calls `before` ahead of each."""

    def __init__(
        self, base: Path, *, break_at: int | None = None, code: int = errno.EIO, crosses: bool = False
    ) -> None:
        super().__init__()
        self.base = base
        self.break_at, self.code, self.crosses = break_at, code, crosses
        self.taken: list[str] = []
        self.before: Callable[[str], None] | None = None

    def _take(self, name: str, *paths: Path) -> None:
        step = " ".join([name, *(self._shown(path) for path in paths)])
        self.taken.append(step)
        if self.before is not None:
            self.before(step)
        if len(self.taken) == self.break_at:
            self._fail(step)

    def _fail(self, step: str) -> None:
        raise OSError(self.code, os.strerror(self.code), str(self.base / "a path of this machine"))

    def _shown(self, path: Path) -> str:
        return "UNFINISHED" if path.name.endswith(".unfinished") else path.relative_to(self.base).as_posix()

    def sync_file(self, path: Path) -> None:
        self._take("sync file", path)
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        self._take("sync folder", path)
        super().sync_folder(path)

    def make_folder(self, path: Path) -> None:
        self._take("make", path)
        super().make_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self._take("rename", source, target)
        if self.crosses and source.parent.name == "spool":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().rename(source, target)

    def link(self, target: Path, name: Path) -> None:
        self._take("link", target)
        super().link(target, name)

    def copy(self, source: Path, target: Path) -> None:
        self._take("copy", source)
        super().copy(source, target)

    def unlink(self, path: Path) -> None:
        self._take("unlink", path)
        super().unlink(path)
