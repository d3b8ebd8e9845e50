"""The ways a body can end early, as errors: none of them is a fault of the storage, and all of them keep what arrived.

Interrupted (Invalid)
├── BodyVanished    the client went away; it never sees an answer
├── TooSlow         no progress for the allowed time
└── TakenOver       a newer request on the session has the turn now, or the server stops
"""

from typing import Final

from model.errors import Invalid, RegistryError, SizeInvalid, UploadInvalid
from multipart.bodies import Ending, Poured


class Interrupted(Invalid):
    """The body ended before its end."""

    code = "BLOB_UPLOAD_INVALID"


class BodyVanished(Interrupted):
    """The client went away."""


class TooSlow(Interrupted):
    """Nothing arrived for the allowed time."""


class TakenOver(Interrupted):
    """Another request on the same session has the turn now, or the server stops."""


_MEANING: Final[dict[Ending, tuple[type[RegistryError], str]]] = {
    Ending.TOO_LONG: (SizeInvalid, "the body is longer than its Content-Range"),
    Ending.VANISHED: (BodyVanished, "the client went away"),
    Ending.STALLED: (TooSlow, "nothing arrived for too long; what came before is kept"),
    Ending.STOPPED: (TakenOver, "another request took this upload over"),
    Ending.MALFORMED: (UploadInvalid, "the chunked transfer encoding is broken"),
}


def require_whole(poured: Poured, expected_bytes: int | None = None) -> None:
    """Raise what the ending of a body means, unless it came whole (and as long as its Content-Range said)."""
    if poured.ending is not Ending.WHOLE:
        error, message = _MEANING[poured.ending]
        raise error(message, received=poured.received_bytes)
    if expected_bytes is not None and poured.received_bytes != expected_bytes:
        raise SizeInvalid("the body is shorter than its Content-Range", received=poured.received_bytes)
