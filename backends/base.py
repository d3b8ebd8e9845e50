"""The port: what a place for bytes must promise, in five verbs, and the abilities some have beside them.

A backend knows keys and bytes. It does not know digests, repositories, retries or leases; rename and append are left
out on purpose, since an object store has neither. Keys follow `backends/keys.py`. One suite of promises
(`tests/contract/`) runs against every backend.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from model.errors import StorageFailed
from sigv4.presigning import Presigned

T = TypeVar("T")


class KeyMissing(StorageFailed):
    """Nothing is stored under the key. Raised before the first byte of a `get`, never in its middle."""

    def __init__(self, inner: str) -> None:
        super().__init__("the content is not where it should be", inner=inner)


class ShortRead(StorageFailed):
    """The stored bytes end before their size; what was sent so far must not pass for the whole."""

    def __init__(self, inner: str) -> None:
        super().__init__("the stored content is not whole", inner=inner)


class MultipartGone(StorageFailed):
    """The store knows no such multipart upload: it was completed, aborted, or dropped by the store itself."""

    def __init__(self, inner: str) -> None:
        super().__init__("the store does not know the upload any more", inner=inner)


class StoreUnavailable(StorageFailed):
    """The store does not answer, or not in time; nothing was lost, and we notice by ourselves when it is back.

    `retry_after_s`: when trying again makes sense.
    """

    def __init__(self, inner: str, *, retry_after_s: int = 5) -> None:
        super().__init__("the object store does not answer", inner=inner)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes of a file of this machine: `length_bytes` from `start` on; never held whole in memory."""

    path: Path
    start: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class RemotePart:
    """A part as the store has it; `etag` as the store says it, without quotes."""

    number: int
    size_bytes: int
    etag: str


class Backend(Protocol):
    """A place for bytes."""

    async def put(self, key: str, source: Path) -> None:
        """Store the finished spool file `source` under `key`, replacing what is there; all or nothing.

        Durable on return (as far as the durability setting says), invisible before. On success `source` is gone: it has
        been moved, or copied and removed. On failure `source` is untouched, and what was under `key` before still is.
        A cancellation is raised when the work is done or has failed, never in its middle.

        Raises:
            StorageFull: no room; StorageFailed: any other trouble.
        """
        ...

    def get(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Exactly the bytes `start` up to `start + length` (None: to the end), in pieces.

        Raises:
            KeyMissing: before the first piece.
            ShortRead: the content ends before the range does; never a silent end. When that is known at the
                beginning, it is raised before the first piece.
        """
        ...

    async def size(self, key: str) -> int:
        """How many bytes are stored under `key`; KeyMissing if none are."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key`; a missing one is fine. Durable on return."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in byte order; never unfinished work.

        Raises:
            StorageFailed: a part of them cannot be read. Nothing is passed over in silence.
        """
        ...


@runtime_checkable
class LocalFile(Protocol):
    """Ability: the bytes are a file of this machine, fit for sendfile."""

    def open_local(self, key: str) -> tuple[int, int]:
        """A descriptor open for reading, and the file's size in bytes. Blocks: call it in a thread; the caller closes.

        Raises:
            KeyMissing: nothing is there.
        """
        ...


@runtime_checkable
class Multipart(Protocol):
    """Ability: an object is built from parts that come in any order; invisible until it is assembled."""

    smallest_part_bytes: int
    """Of every part but the last."""
    largest_part_bytes: int
    most_parts: int

    async def begin(self, key: str) -> str:
        """Begin an object under `key`; returns the store's id of it. What is under `key` stays until `assemble`."""
        ...

    async def send_part(
        self, key: str, store_upload_id: str, number: int, source: FileSlice, sha256: str | None = None
    ) -> RemotePart:
        """Store one part, replacing an earlier one of that number; the store checks `sha256` (hex) if it is given.

        Raises:
            MultipartGone; StorageFull, StorageFailed: the part is as it was, or as it should be; send it again.
        """
        ...

    async def list_parts(self, key: str, store_upload_id: str) -> list[RemotePart]:
        """The parts that the store has, by number. Raises: MultipartGone, StorageFailed."""
        ...

    async def assemble(self, key: str, store_upload_id: str, parts: Sequence[RemotePart]) -> None:
        """Make `parts`, in order of their numbers, the object under `key`; durable and whole on return.

        Asked again after it succeeded, it succeeds again when the object has the right size.

        Raises:
            MultipartGone: and there is no such object; StorageFailed.
        """
        ...

    async def abort(self, key: str, store_upload_id: str | None) -> None:
        """Remove an unfinished object and all its parts; returns when the store says that nothing is left.

        None: every unfinished object under exactly this key. An unknown one is fine. What is whole stays.
        """
        ...

    async def list_unfinished(self, key: str) -> list[str]:
        """The store's ids of all unfinished objects under exactly this key. StorageFailed: also when it lists none."""
        ...


@runtime_checkable
class Copies(Protocol):
    """Ability: the store copies by itself, without the bytes passing through here."""

    async def copy(self, source: str, target: str, size_bytes: int, *, sha256: bool = False) -> str | None:
        """Copy an object of any size; durable on return.

        With `sha256`: the SHA-256 of the whole (hex) as the store computed it while copying, or None where the store
        does not do that.

        Raises:
            KeyMissing: there is no `source`; StorageFull, StorageFailed.
        """
        ...


@runtime_checkable
class Direct(Protocol):
    """Ability: clients reach the store themselves, by URLs that are signed for the address that they know it by."""

    @property
    def native(self) -> bool:
        """Whether clients may be sent to the store with parts now; changes as the store is looked at again."""
        ...

    @property
    def why_not_native(self) -> str:
        """Why not, for the log and for `storage check`; empty when they may."""
        ...

    @property
    def checks_hashes(self) -> bool:
        """Whether the store itself refuses a body that does not hash to what its URL was signed for."""
        ...

    def part_url(
        self, key: str, store_upload_id: str, number: int, *, sha256: str | None, lifetime_s: int
    ) -> Presigned:
        """A URL for PUT of one part; `sha256` when the client announced that it sends that hash as a header."""
        ...

    def link(
        self, method: str, key: str, *, lifetime_s: int, answer_headers: Mapping[str, str] | None = None
    ) -> Presigned:
        """A URL for GET or HEAD of an object; `answer_headers` (Content-Type ...) are what the store then answers."""
        ...


async def in_thread(pool: Executor | None, job: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """What `job`, which blocks, returns or raises, from a thread of `pool`; carried to its end even when cancelled.

    A thread cannot be cancelled. Were the caller let go at once, a file would still be moved, or a descriptor still
    be read, behind its back. So a cancellation waits for the job, gives its result to `undo` (to close what was
    opened), and is raised then.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, job)
    try:
        return await to_its_end(future)
    except asyncio.CancelledError:
        if not future.cancelled() and future.exception() is None and undo is not None:
            undo(future.result())
        raise


async def to_its_end(running: asyncio.Future[T]) -> T:
    """What `running` returns or raises; a cancellation, however often it comes, is raised only when that has ended."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await ended(running)
        raise


async def ended(running: asyncio.Future[T]) -> None:
    """Return when `running` has ended, whatever it came to; a cancellation is raised, but not before."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if not running.cancelled():
        running.exception()  # whoever wants it asks for it; nobody need be told that it was not asked for
    if cancelled is not None:
        raise cancelled
