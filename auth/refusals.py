"""What goes wrong with signed URLs: refusals of a request, and of a start on a file of keys that cannot be used.

The first two are told to clients by their `s3_code` and `message`; `element` and `reason` are for the log (G19).
"""

from pathlib import Path

from sigv4.refusals import Element, SignatureDenied, SignatureMalformed, SignatureRefused
from store.refusals import CannotStart

__all__ = ["Element", "SignatureDenied", "SignatureMalformed", "SignatureRefused", "SigningKeysUnusable"]


class SigningKeysUnusable(CannotStart):
    """The file of signing keys is damaged, readable by others, or cannot be read or written."""

    def __init__(self, path: Path, reason: str, remedy: str = "") -> None:
        anew = (
            f"bring {path.name} back from a backup, or remove it: a new one is made then, "
            "and every signed URL that was handed out ends"
        )
        super().__init__(f"the signing keys {path} cannot be used: {reason}", remedy or anew)
        self.path = path
