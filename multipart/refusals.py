"""What an upload in parts is refused for, each a refinement of a class of the tree in model/errors.py.

Denied ── UploadForeign           the session belongs to another caller
Gone ─┬── UploadExpired           it lay idle for too long
      └── UploadAborted           it was given up
Conflict ── UploadFinished        it has become a blob, or is about to
Invalid ─┬── NativeNotConfigured     clients cannot put parts into a store themselves here
         ├── PartNumberInvalid
         ├── PartSizeInvalid      of the part size that was asked for at the start
         ├── PartsInvalid         the list given at completion is not what is stored
         ├── SizeInvalid ── PartLengthInvalid
         └── DigestInvalid ── PartMismatch     a part's bytes are not what was announced
TooLarge ── UploadTooLarge
"""

from collections.abc import Sequence
from typing import Final

from model.errors import Conflict, Denied, DigestInvalid, Gone, Invalid, SizeInvalid, TooLarge

PROBLEMS_TOLD: Final = 100
"""So many problems of a list are named; the message says how many more there are."""


class UploadForeign(Denied):
    """The session belongs to another caller."""


class UploadExpired(Gone):
    """The session lay idle for too long and was removed (H064-H066)."""


class UploadAborted(Gone):
    """The session was given up, by its client or the operator, or because the whole had another digest (T10)."""


class UploadFinished(Conflict):
    """The session has become a blob, or is being completed: parts are not taken any more."""


class NativeNotConfigured(Invalid):
    """A client insists on URLs of an object store, and there are none here (H051); the message says why."""


class PartNumberInvalid(Invalid):
    """A part number outside 1..10,000, or behind the last part of a declared size (H101)."""

    code = "BLOB_UPLOAD_INVALID"


class PartSizeInvalid(Invalid):
    """A size and part size that do not make 1..10,000 parts, or parts below the minimum."""

    code = "SIZE_INVALID"


class PartLengthInvalid(SizeInvalid):
    """The body is not as long as its part."""


class PartMismatch(DigestInvalid):
    """The bytes of a part do not hash to what was announced; the part stays as it was."""


class PartsInvalid(Invalid):
    """The list of parts is not what is stored; the session stays as it was. `problems` has a sentence for each."""

    code = "BLOB_UPLOAD_INVALID"

    def __init__(self, problems: Sequence[str]) -> None:
        told = list(problems[:PROBLEMS_TOLD])
        if len(problems) > PROBLEMS_TOLD:
            told.append(f"and {len(problems) - PROBLEMS_TOLD} more")
        super().__init__(f"the parts do not make the upload: {'; '.join(told)}", problems=told)


class UploadTooLarge(TooLarge):
    """More bytes than one upload may have (setting max_upload_bytes)."""
