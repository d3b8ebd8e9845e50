"""What is to be pushed: blobs first, then the manifests that name them, children before parents."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clients.problems import Problem
from clients.reading import Slice
from model.digests import Digest

Digests = Mapping[str, Digest]
"""Digests of blobs, by the key of their slice."""


class NotPushable(Problem):
    """What was named as the source is nothing that can be pushed; the person has to name something else."""


@dataclass(frozen=True)
class Blob:
    """One blob: where its bytes are, and what they hash to if that is known beforehand."""

    bytes: Slice
    digest: Digest | None
    title: str
    """For the person: a file name, or a short digest."""


@dataclass(frozen=True)
class OutgoingManifest:
    """A manifest, exactly as it is pushed: under its digest, or under tags."""

    content: bytes
    media_type: str
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> Digest:
        """What it hashes to."""
        return Digest.of(self.content)


@dataclass(frozen=True)
class Plan:
    """A whole push. `manifests` is asked when the digests of all blobs are known."""

    blobs: Sequence[Blob]
    manifests: Callable[[Digests], Sequence[OutgoingManifest]]


def as_json(document: object) -> bytes:
    """A manifest of our making: the same words are the same bytes, so that a push repeated is the same digest."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def short(digest: Digest) -> str:
    """A digest as a person tells it from another."""
    return f"{digest.algorithm}:{digest.hex[:12]}"
