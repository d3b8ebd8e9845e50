"""One blob on its way into a file: in ranges and in parallel, resumable, whole and verified before it has its name.

Beside FILE lie FILE.partial, as large as the blob from the beginning, and FILE.partial.json, which says what of it
arrived. Both go when the blob is there.
"""

import asyncio
import contextlib
import fcntl
import json
import os
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from clients.answers import Answer
from clients.job import Job
from clients.journal import sync_folder, write_durably
from clients.plans import short
from clients.problems import LineBroken, Problem
from clients.reading import Slice
from clients.together import together
from clients.whole import WholeDigest
from model.descriptors import Descriptor
from model.digests import Digest
from model.units import MIB

RANGE_BYTES: Final = 16 * MIB
"""One request; it is the most that a broken line costs."""


class _TakesNoRanges(Problem):
    """The registry sends the whole whatever it is asked for."""


class Download:
    """Brings one blob into `path`; `run` does it all."""

    def __init__(self, job: Job, blob: Descriptor, path: Path) -> None:
        self._job, self._blob, self._path = job, blob, path
        self._range_bytes = RANGE_BYTES
        self._partial = path.with_name(path.name + ".partial")
        self._sidecar = path.with_name(path.name + ".partial.json")
        self._count = -(-blob.size_bytes // RANGE_BYTES)
        self._done: set[int] = set()
        self._front = 0
        """So many ranges from the beginning are there."""
        self._file = -1
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Bring it, unless it is there already.

        Raises:
            Problem: it cannot be had, or not now, or is not what its digest says; only a whole and right one has
                the name `path`.
        """
        if await self.is_there():
            self._job.progress.found(self._blob.size_bytes)
            return
        with self._opened():
            resumed = self._recall()
            found = await self._all_received()
            if found != self._blob.digest and resumed:
                # What an earlier run left may be at fault: once more, without it.
                self._job.progress.note(f"{short(self._blob.digest)}: what was there was wrong; begun anew")
                self._forget()
                found = await self._all_received()
            if found != self._blob.digest:
                self._forget()
                self._partial.unlink(missing_ok=True)
                raise Problem(
                    f"the registry sent other bytes than {self._blob.digest}", "try again; then ask its owner"
                )
            await asyncio.to_thread(self._finish)

    async def is_there(self) -> bool:
        """Whether the file is there and is right."""
        if not self._path.is_file() or self._path.stat().st_size != self._blob.size_bytes:
            return False
        return await self._hashed(self._path) == self._blob.digest

    async def _hashed(self, path: Path) -> Digest:
        whole = WholeDigest(self._job.disk, Slice(path, 0, self._blob.size_bytes), self._blob.digest.algorithm)
        await whole.allow(self._blob.size_bytes)
        return await whole.run()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """The partial file, as large as the blob, and ours alone."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(self._file, self._partial):
                raise BlockingIOError  # it got its name just now: it is whole, and not ours to write to
            if self._blob.size_bytes:
                os.posix_fallocate(self._file, 0, self._blob.size_bytes)
            os.ftruncate(self._file, self._blob.size_bytes)
            yield
        except BlockingIOError as error:
            raise Problem(f"{self._path} is being pulled by somebody else", "wait for it, or stop it") from error
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            os.close(self._file)

    def _recall(self) -> bool:
        """Take over what an earlier run received; whether there is any."""
        try:
            known = json.loads(self._sidecar.read_bytes())
            if (known["digest"], known["range_bytes"]) == (str(self._blob.digest), self._range_bytes):
                self._done = {int(number) for number in known["done"] if 0 <= int(number) < self._count}
        except (OSError, ValueError, KeyError, TypeError):
            self._done = set()
        received = sum(self._length(number) for number in self._done)
        self._job.progress.found(received)
        if self._done:
            told = f"{len(self._done)} of {self._count} ranges are there already"
            self._job.progress.note(f"{short(self._blob.digest)}: {told}")
        return bool(self._done)

    def _forget(self) -> None:
        self._job.progress.found(-sum(self._length(number) for number in self._done))
        self._done, self._front = set(), 0
        self._sidecar.unlink(missing_ok=True)

    def _length(self, number: int) -> int:
        return min(self._range_bytes, self._blob.size_bytes - number * self._range_bytes)

    async def _all_received(self) -> Digest:
        """Receive what is missing; the digest of the whole follows what has arrived without a gap."""
        where = Slice(self._partial, 0, self._blob.size_bytes)
        whole = WholeDigest(self._job.disk, where, self._blob.digest.algorithm)
        numbers = deque(number for number in range(self._count) if number not in self._done)
        try:
            async with together() as group:
                running = group.create_task(whole.run())
                await whole.allow(self._without_gap())
                for _ in range(min(self._job.parallel, len(numbers))):
                    group.create_task(self._work(numbers, whole))
        except _TakesNoRanges:
            self._forget()
            await self._job.insistence.until_done(f"pulling {short(self._blob.digest)}", self._in_one)
            return await self._hashed(self._partial)
        return running.result()

    async def _work(self, numbers: deque[int], whole: WholeDigest) -> None:
        while numbers:
            number = numbers.popleft()
            await self._job.insistence.until_done(f"pulling {short(self._blob.digest)}", partial(self._range, number))
            await whole.allow(self._without_gap())

    def _without_gap(self) -> int:
        """How many bytes are there from the beginning."""
        while self._front in self._done:
            self._front += 1
        return min(self._front * self._range_bytes, self._blob.size_bytes)

    async def _range(self, number: int) -> None:
        """Receive one range, once."""
        start = number * self._range_bytes
        stop = start + self._length(number)
        headers = {"Range": f"bytes={start}-{stop - 1}"} if self._count > 1 else {}
        async with self._job.gate:
            await self._received(start, stop, headers)
        async with self._turn:
            await asyncio.to_thread(self._remember, number)
        self._job.insistence.progressed()

    async def _in_one(self) -> None:
        """Receive the whole in one answer, from its beginning."""
        async with self._job.gate:
            await self._received(0, self._blob.size_bytes, {})
        self._job.insistence.progressed()

    async def _received(self, start: int, stop: int, headers: dict[str, str]) -> None:
        """One GET into the file; what a broken one brought does not count."""
        at = start

        async def write(answer: Answer, piece: bytes) -> None:
            nonlocal at
            if headers and (answer.status != 206 or _begins(answer) != start):
                raise _TakesNoRanges(f"{answer.host} sends no ranges")
            if at + len(piece) > stop:
                raise Problem(f"{answer.host} sends more than the {self._blob.size_bytes} bytes that were announced")
            await asyncio.to_thread(self._write, piece, at)
            at += len(piece)
            self._job.progress.moved(len(piece))

        try:
            path = f"/v2/{self._job.repository}/blobs/{self._blob.digest}"
            answer = await self._job.peer.call("GET", path, headers=headers, sink=write)
            if answer.status not in (200, 206):
                raise answer.refusal(f"cannot pull {self._blob.digest}")
            if at != stop:
                raise LineBroken(f"{answer.host} stopped in the middle")
        except BaseException:
            self._job.progress.moved(start - at)
            raise

    def _write(self, piece: bytes, at: int) -> None:
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self._file, left, at)
                left, at = left[written:], at + written
        except OSError as error:  # told as what it is, not as a connection that broke
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> Problem:
        return Problem(f"{self._partial} cannot be written: {error.strerror}")

    def _remember(self, number: int) -> None:
        """The range is on the disk before anybody says so."""
        os.fdatasync(self._file)
        self._done.add(number)
        if self._count > 1:
            told = {"digest": str(self._blob.digest), "range_bytes": self._range_bytes, "done": sorted(self._done)}
            write_durably(self._sidecar, json.dumps(told).encode())

    def _finish(self) -> None:
        os.fsync(self._file)
        os.rename(self._partial, self._path)
        sync_folder(self._path.parent)
        self._sidecar.unlink(missing_ok=True)


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _begins(answer: Answer) -> int | None:
    """Where the bytes of a 206 begin."""
    first = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None
