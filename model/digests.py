"""Digests: `algorithm:hex`, parsed once into a value (image-spec, descriptor section).

Only algorithms whose content we can check are accepted: sha256 (64 hex) and sha512 (128 hex), lower case.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from model.errors import DigestInvalid

HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Digest:
    """A content address that is known to be well-formed."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """The digest that `text` spells.

        Raises:
            DigestInvalid: outside the grammar, or an algorithm that cannot be checked here.
        """
        algorithm, colon, encoded = text.partition(":")
        if not colon or algorithm not in HEX_LENGTH:
            raise DigestInvalid("a digest is sha256:<64 hex> or sha512:<128 hex>", digest=text[:200])
        if len(encoded) != HEX_LENGTH[algorithm] or not _HEX.fullmatch(encoded):
            raise DigestInvalid(
                f"{algorithm} takes {HEX_LENGTH[algorithm]} lower-case hex characters", digest=text[:200]
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """The digest of `content`, which is small enough to be in memory."""
        return cls(algorithm, hashlib.new(algorithm, content, usedforsecurity=True).hexdigest())


def known_algorithm(text: str) -> str:
    """`text`, if it names an algorithm we can check; DigestInvalid otherwise (oci.md end-4c)."""
    if text not in HEX_LENGTH:
        raise DigestInvalid(f"the digest algorithms here are {', '.join(HEX_LENGTH)}", algorithm=text[:200])
    return text
