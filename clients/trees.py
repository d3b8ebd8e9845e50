"""Files by name, in a folder or in a tar archive that is never unpacked: its members are slices of it."""

import os
import posixpath
import tarfile
import zlib
from pathlib import Path
from typing import Final, Protocol

from clients.plans import NotPushable
from clients.reading import Slice

_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"\xfd7zXZ": "unxz", b"BZh": "bunzip2"}
_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
MAX_LINKS: Final = 8


class Tree(Protocol):
    """Files by their path below something, with `/` between."""

    def find(self, name: str) -> Slice | None:
        """A regular file; None: there is none."""
        ...


class Folder:
    """A folder of the file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, name: str) -> Slice | None:
        """A regular file below the folder."""
        path = self._root / name
        return Slice(path, 0, path.stat().st_size) if path.is_file() else None


class Archive:
    """A tar archive.

    Raises:
        NotPushable: it is broken, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        size = path.stat().st_size
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isreg() and member.offset_data + member.size > size:
                        raise NotPushable(f"{path} ends in the middle of {member.name}; it was not written whole")
                    self._members[posixpath.normpath(member.name)] = member
        except tarfile.TarError as error:
            raise NotPushable(f"{path} is a broken tar archive: {error}") from error

    def find(self, name: str) -> Slice | None:
        """A regular file of the archive, also through links (`docker save` shares layers so)."""
        for _ in range(MAX_LINKS):
            member = self._members.get(posixpath.normpath(name))
            if member is None or member.issparse():
                return None
            if member.isreg():
                return Slice(self._path, member.offset_data, member.size)
            if not member.issym() and not member.islnk():
                return None
            folder = posixpath.dirname(member.name) if member.issym() else ""
            name = posixpath.join(folder, member.linkname)
        return None


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar archive does."""
    try:
        with tarfile.open(path, "r:") as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError):
        return False


def refuse_compressed_archive(path: Path) -> None:
    """Say how to go on when `path` is a compressed archive: its blobs cannot be found without unpacking it.

    Raises:
        NotPushable: it is one.
    """
    with path.open("rb") as file:
        head = os.pread(file.fileno(), 4096, 0)
    program = next((program for magic, program in _COMPRESSED.items() if head.startswith(magic)), None)
    if program is None or not (path.name.endswith(_ARCHIVES) or _holds_tar(head)):
        return
    raise NotPushable(
        f"{path} is a compressed archive, in which no image can be found without unpacking it",
        f"unpack it first ({program} -k {path.name}), or push it as it is with --type application/gzip",
    )


def _holds_tar(head: bytes) -> bool:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 512)[257:262] == b"ustar"
    except zlib.error:
        return False
