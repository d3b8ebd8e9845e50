"""Who is asking: the principal a request yields."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `name` is what logs and owners of sessions show; anonymous is a principal like any other."""

    name: str
    anonymous: bool = False


ANONYMOUS: Final = Principal("-", anonymous=True)
