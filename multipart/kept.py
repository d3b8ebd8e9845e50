"""What a session in parts is made of: a part that is stored, one that arrives, and what comes of them all."""

import asyncio
from dataclasses import dataclass

from multipart.bodies import Body
from multipart.parts import StoredPart


@dataclass(frozen=True, slots=True)
class Completed:
    """A session whose parts became a whole: a blob, or still unseen under its temporary name."""

    upload_id: str
    repository: str
    digest: str
    """Of the whole, also while it is unseen; empty when that is known only once it is proven."""
    size_bytes: int
    parts: int


@dataclass(slots=True)
class Kept:
    """A part that is stored."""

    stored: StoredPart
    proven: bool
    """This process received it, or has hashed it again, or the object store checked it."""
    trimmed: bool = False
    """Its bytes are in the object store alone."""


class Arrival:
    """A body that arrives as some part."""

    def __init__(self, number: int, body: Body | None, *, in_place: bool) -> None:
        self.number, self.body, self.in_place = number, body, in_place
        self.written_bytes = 0
        """How much of it lies in the part's place, from its beginning."""
        self.asked = asyncio.Event()
        """Somebody wants it to leave."""
        self.left = asyncio.Event()

    def ask_to_leave(self) -> None:
        """End the body, politely; `left` is set when nothing of it touches the session any more."""
        self.asked.set()
        if self.body is not None:
            self.body.stop()
