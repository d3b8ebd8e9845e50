"""The script of a load run: which connection asks for what, in the words that `load.c` reads.

Pure: it makes lines and knows of no process. The grammar stands at the head of `load.c`.
"""

from collections.abc import Sequence
from typing import Literal

from bench.content import KIB, MANIFEST_TYPE, MIB, Blob

How = Literal["put", "patch", "one patch", "chunked"]
CHUNK_BYTES: dict[How, int] = {"put": 0, "patch": 5 * MIB, "chunked": 32 * KIB}


class Plan:
    """A plan that grows; every request belongs to the connection that was begun last."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def connection(self) -> "Plan":
        return self._add("conn")

    def push(self, how: How, repository: str, blob: Blob) -> "Plan":
        """A POST and then the blob: in one PUT, in PATCHes of 5 MiB or in one, or in one of 32 KiB transfer chunks."""
        chunk_bytes = blob.size_bytes if how == "one patch" else CHUNK_BYTES[how]
        word = how.removeprefix("one ")
        return self._add(f"push {word} {chunk_bytes} {repository} {blob.size_bytes} {blob.digest} {blob.tail}")

    def get(self, path: str, *, length_bytes: int = -1, bytes_per_s: int = 0) -> "Plan":
        return self._add(f"get {path} {length_bytes} {bytes_per_s}")

    def store(self, path: str, blob: Blob, *, hashed: bool = False) -> "Plan":
        """The blob in one PUT to this path, as a signed URL has it; `hashed`: with its SHA-256 in a header."""
        return self._add(f"store {path} {blob.size_bytes} {blob.tail}{f' {blob.sha256}' if hashed else ''}")

    def fetch(self, path: str, *, length_bytes: int = -1) -> "Plan":
        """A GET that has to be answered with 307, and another one where that leads to."""
        return self._add(f"fetch {path} {length_bytes}")

    def head(self, path: str, *, length_bytes: int = -1) -> "Plan":
        return self._add(f"head {path} {length_bytes}")

    def post(self, path: str, *, status: int) -> "Plan":
        return self._add(f"post {path} {status}")

    def body(self, name: str, content: bytes) -> "Plan":
        """Bytes that later `put` lines call by their name."""
        self._add(f"body {name} {len(content)}")
        self._lines.append(content)
        return self

    def put(self, path: str, name: str) -> "Plan":
        return self._add(f"put {path} {MANIFEST_TYPE} {name}")

    def session(self, name: str, repository: str, blob: Blob, part_bytes: int, *, seed: int = 0) -> "Plan":
        """A blob that later `open`, `send` and `close` lines call by this name; a seed shuffles its parts."""
        described = f"{repository} {blob.size_bytes} {blob.digest} {blob.tail} {part_bytes} {seed}"
        return self._add(f"session {name} {described}")

    def open(self, name: str) -> "Plan":
        return self._add(f"open {name}")

    def send(self, name: str) -> "Plan":
        """Take parts until all are taken, together with every other connection that sends this session's."""
        return self._add(f"send {name}")

    def close(self, name: str) -> "Plan":
        """Complete it once all its parts have arrived."""
        return self._add(f"close {name}")

    def lap(self) -> "Plan":
        """Wait here for all connections; each must have as many of these. The result tells when."""
        return self._add("lap")

    def times(self, connections: int) -> "Plan":
        """A plan in which this one's connections are there that many times over."""
        repeated = Plan()
        repeated._lines = self._lines * connections
        return repeated

    def encoded(self) -> bytes:
        return b"\n".join(self._lines) + b"\n"

    def _add(self, line: str) -> "Plan":
        self._lines.append(line.encode())
        return self


def blob_path(repository: str, blob: Blob) -> str:
    return f"/v2/{repository}/blobs/{blob.digest}"


def manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{reference}"


def pushes(how: How, repository: str, blobs: Sequence[Blob]) -> Plan:
    """Each blob on a connection of its own."""
    plan = Plan()
    for blob in blobs:
        plan.connection().push(how, repository, blob)
    return plan


def in_parts(repository: str, blob: Blob, part_bytes: int, connections: int, *, seed: int = 0) -> Plan:
    """One blob in parts: all connections send them, the first opens and closes the session."""
    plan = Plan().session("s", repository, blob, part_bytes, seed=seed).connection().open("s").send("s").close("s")
    for _ in range(connections - 1):
        plan.connection().send("s")
    return plan


def checks(repository: str, blobs: Sequence[Blob]) -> Plan:
    """HEAD of each blob, which must be there in its full length."""
    plan = Plan().connection()
    for blob in blobs:
        plan.head(blob_path(repository, blob), length_bytes=blob.size_bytes)
    return plan
