"""Uploads larger than memory should ever notice: made piece by piece, sent by many clients, read back whole."""

import hashlib
import http.client
import os
import random
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.client import LOST, TIMEOUT_S, noise
from tests.faults.hold import Hold
from tests.support import needs
from tests.support.faulty import MIB
from tests.support.memory import forget_peak, memory_bytes
from tests.support.server import Server

BLOCK: Final = noise("block", MIB + 13)
PIECE_BYTES: Final = MIB
ROOM: Final = 2.2
"""So many times an upload's size has to be free: the upload, what the journal takes, and some air."""


GROWTH_BYTES: Final = 64 * MIB
"""How much the server's peak RSS may grow by a transfer, whatever its size."""
REPOSITORY: Final = "large/parts"
FLAGS: Final = ("--min-part-bytes", "1MiB")


def size_from(variable: str, default: int) -> int:
    """A number that a small machine's owner can set lower."""
    return int(os.environ.get(variable, default))


PARTS_BYTES: Final = size_from("PARTS_MIB", 1024) * MIB


def require_disk(folder: Path, size_bytes: int, variable: str) -> None:
    """See that the disk has the room, before anything is written; skipped (in CI: failed) with the reason otherwise."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < ROOM * size_bytes:
        needs.missing(
            f"needs {ROOM * size_bytes / 1024**3:.1f} GiB free in {folder}, where {free_bytes / 1024**3:.1f} GiB are; "
            f"{variable} makes it smaller"
        )


@dataclass(frozen=True)
class Large:
    """Content in parts that exists nowhere as a whole; each byte depends on where it stands."""

    size_bytes: int
    part_bytes: int

    @property
    def numbers(self) -> range:
        """The parts."""
        return range(1, -(-self.size_bytes // self.part_bytes) + 1)

    def length_of(self, number: int) -> int:
        """How long a part is."""
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)

    def pieces_of(self, number: int) -> Iterator[bytes]:
        """A part's bytes."""
        left = self.length_of(number)
        at = (number * 7919) % len(BLOCK)
        while left:
            piece = b"%16d" % (number << 32 | left) + BLOCK[at:] + BLOCK[:at]
            piece = piece[: min(left, PIECE_BYTES)]
            yield piece
            left -= len(piece)

    def etags(self) -> tuple[str, dict[int, str]]:
        """The digest of the whole and the ETag of each part."""
        whole, found = hashlib.sha256(), {}
        for number in self.numbers:
            part = hashlib.sha256()
            for piece in self.pieces_of(number):
                whole.update(piece)
                part.update(piece)
            found[number] = part.hexdigest()
        return f"sha256:{whole.hexdigest()}", found


def send_part(client: Hold, upload_id: str, large: Large, number: int) -> str:
    """Send one part, counted, without ever holding it; the ETag. Raises LOST when the server dies."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=TIMEOUT_S)
    target = client.url(upload_id, number)
    try:
        connection.putrequest("PUT", target)
        connection.putheader("Content-Length", str(large.length_of(number)))
        connection.endheaders()
        for piece in large.pieces_of(number):
            connection.send(piece)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return str(response.headers["ETag"]).strip('"')
    finally:
        connection.close()


def send_parts(client: Hold, upload_id: str, large: Large, numbers: Iterable[int], *, clients: int) -> dict[int, str]:
    """Send parts, so many at a time, in random order; what was answered. Ends early when the server dies."""
    mixed = list(numbers)
    random.Random(len(mixed)).shuffle(mixed)
    answered: dict[int, str] = {}
    lost = threading.Event()

    def send(number: int) -> None:
        if lost.is_set():
            return
        try:
            answered[number] = send_part(client, upload_id, large, number)
        except LOST:
            lost.set()

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(send, mixed))
    return answered


def digest_of_blob(client: Hold, repository: str, digest: str) -> str:
    """What a client that pulls the blob computes."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/v2/{repository}/blobs/{digest}")
        response = connection.getresponse()
        assert response.status == 200
        found = hashlib.sha256()
        while piece := response.read(PIECE_BYTES):
            found.update(piece)
        return f"sha256:{found.hexdigest()}"
    finally:
        connection.close()


def pushed_without_memory(server: Server, large: Large, *, clients: int, declared: bool = True) -> None:
    """Push and pull it; the server's memory stays where it was."""
    client = Hold(server.port)
    small = Large(2 * MIB, MIB)
    pushed(client, small, clients=1, declared=declared)  # so that what is loaded at the first use is loaded
    before = memory_bytes(server.pid, "VmRSS")
    forget_peak(server.pid)
    digest, wanted = pushed(client, large, clients=clients, declared=declared)
    growth_bytes = memory_bytes(server.pid, "VmHWM") - before
    print(f"{len(wanted)} parts: peak RSS grew by {growth_bytes / MIB:.1f} MiB")
    assert growth_bytes < GROWTH_BYTES
    assert digest_of_blob(client, REPOSITORY, digest) == digest
    assert list((server.data / "spool").iterdir()) == []


def pushed(client: Hold, large: Large, *, clients: int, declared: bool) -> tuple[str, dict[int, str]]:
    """Push it in parts; the digest of the whole, and the ETags of the parts."""
    sizes = {"size": large.size_bytes, "part_size": large.part_bytes} if declared else {}
    upload_id = client.start("uploads/temp-large", REPOSITORY, **sizes)
    digest, wanted = large.etags()
    assert send_parts(client, upload_id, large, large.numbers, clients=clients) == wanted
    assert client.stored(upload_id) == wanted
    client.complete(upload_id, digest, wanted).expect(200)
    return digest, wanted
