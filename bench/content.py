"""The blobs and manifests that are pushed: new bytes for every blob, with their digests known before the clock starts.

A blob is one pattern of random bytes repeated, and 64 bytes at its end that no other blob has. So the load generator
sends every blob from the same small buffer, and the SHA-256 of any number of equally large blobs costs one pass: the
state of the hash before the tail is kept. No server can store two of them as one.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

KIB = 1024
MIB = 1024 * KIB
PATTERN_BYTES = 4 * MIB
TAIL_BYTES = 64
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


class _Hash(Protocol):
    def copy(self) -> "_Hash": ...
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Blob:
    """What the load generator must know of one blob; its bytes are never put together here."""

    size_bytes: int
    digest: str
    tail: str

    @property
    def sha256(self) -> str:
        return self.digest.removeprefix("sha256:")


class Content:
    """Makes blobs over one pattern, which lies in a file for the load generator."""

    def __init__(self, pattern_file: Path, pattern: bytes | None = None) -> None:
        self.pattern_file = pattern_file
        self._pattern = os.urandom(PATTERN_BYTES) if pattern is None else pattern
        self._before_tail: dict[int, _Hash] = {}
        pattern_file.write_bytes(self._pattern)

    def blob(self, size_bytes: int) -> Blob:
        """A blob that no server has seen yet; at least 64 bytes."""
        tail = os.urandom(TAIL_BYTES // 2).hex()
        running = self._state_before_tail(size_bytes - TAIL_BYTES).copy()
        running.update(tail.encode())
        return Blob(size_bytes, f"sha256:{running.hexdigest()}", tail)

    def blobs(self, count: int, size_bytes: int) -> list[Blob]:
        return [self.blob(size_bytes) for _ in range(count)]

    def _state_before_tail(self, length_bytes: int) -> _Hash:
        if length_bytes < 0:
            raise ValueError(f"a blob has at least {TAIL_BYTES} bytes")
        if length_bytes not in self._before_tail:
            running: _Hash = hashlib.sha256()
            whole, rest = divmod(length_bytes, len(self._pattern))
            for _ in range(whole):
                running.update(self._pattern)
            running.update(self._pattern[:rest])
            self._before_tail[length_bytes] = running
        return self._before_tail[length_bytes]


def image_manifest(config: Blob, layers: Sequence[Blob], *, at_least_bytes: int = 0) -> bytes:
    """An OCI image manifest, padded with an annotation where it has to have a size (image-spec, manifest.md)."""
    described = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer) for layer in layers],
    }
    written = json.dumps(described).encode()
    if len(written) < at_least_bytes:
        described["annotations"] = {"bench.padding": "x" * (at_least_bytes - len(written))}
        written = json.dumps(described).encode()
    return written


def _descriptor(media_type: str, blob: Blob) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}
