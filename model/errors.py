"""Everything this registry raises on purpose.

    RegistryError
    ├── Invalid                    the caller sent something malformed
    │   ├── NameInvalid
    │   ├── DigestInvalid
    │   │   └── DigestMismatch
    │   ├── SizeInvalid
    │   ├── PageInvalid
    │   ├── ManifestInvalid
    │   ├── ManifestBlobUnknown
    │   └── UploadInvalid
    │       └── OffsetMismatch     416 with where the session stands
    ├── TooLarge
    ├── RangeNotSatisfiable        416 of a download
    ├── Unknown                    the thing asked for does not exist
    │   ├── NameUnknown
    │   ├── BlobUnknown
    │   ├── ManifestUnknown
    │   ├── UploadUnknown
    │   └── PathUnknown
    ├── Unauthorized / Denied / Unsupported
    ├── TooMany                    a limit of ours; trying again later may work
    ├── Conflict                   the thing exists, but not in a state that allows this
    ├── Gone                       the thing was there, and its end is known: asking again will not help
    └── Unavailable                trying again later may work
        ├── StorageFull
        ├── StorageFailed
        └── Stopping

`code` is the word on the OCI wire (oci.md 1.0). No HTTP here: handlers/wire.py owns statuses and bodies.
`message` and `detail` are for whoever asked. As a string an error is what the log is told, which may say more.
"""

from typing import ClassVar


class RegistryError(Exception):
    """The root: a message for a person, and facts a client may see."""

    code: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class Invalid(RegistryError):
    """The caller sent something malformed."""

    code = "UNSUPPORTED"


class NameInvalid(Invalid):
    """A repository or tag name outside the grammar."""

    code = "NAME_INVALID"


class DigestInvalid(Invalid):
    """A digest outside the grammar, or of an algorithm we do not know."""

    code = "DIGEST_INVALID"


class DigestMismatch(DigestInvalid):
    """The bytes hash to something else; nothing was stored."""

    def __init__(self, *, expected: str, actual: str) -> None:
        super().__init__("the content does not match the digest", expected=expected, actual=actual)


class SizeInvalid(Invalid):
    """Lengths that contradict each other."""

    code = "SIZE_INVALID"


class PageInvalid(Invalid):
    """A page size that is not a count."""

    code = "PAGINATION_NUMBER_INVALID"


class ManifestInvalid(Invalid):
    """A manifest that is refused for itself."""

    code = "MANIFEST_INVALID"


class ManifestBlobUnknown(Invalid):
    """A manifest refers to content that the repository does not have."""

    code = "MANIFEST_BLOB_UNKNOWN"


class UploadInvalid(Invalid):
    """A request on an upload session that makes no sense."""

    code = "BLOB_UPLOAD_INVALID"


class OffsetMismatch(UploadInvalid):
    """The bytes offered do not continue the session; nothing was added.

    `upload_id` and `offset_bytes` say where it stands, for the Location and Range of the 416 (oci.md 2.3 rule 5).
    """

    def __init__(self, message: str, *, upload_id: str, offset_bytes: int) -> None:
        super().__init__(message, offset=offset_bytes)
        self.upload_id = upload_id
        self.offset_bytes = offset_bytes


class TooLarge(RegistryError):
    """A manifest, header or body above its limit."""

    code = "SIZE_INVALID"


class TooManyParameters(TooLarge):
    """A URL with more parameters than one request may have (oci.md 1.1 end-7b)."""

    code = "UNSUPPORTED"


class RangeNotSatisfiable(RegistryError):
    """A byte range that starts behind the end of the blob (RFC 9110 section 15.5.17)."""

    code = "SIZE_INVALID"

    def __init__(self, *, size_bytes: int) -> None:
        super().__init__("the range starts behind the end of the blob", size=size_bytes)
        self.size_bytes = size_bytes


class Unknown(RegistryError):
    """The thing asked for does not exist, or the caller may not know that it does."""

    code = "NAME_UNKNOWN"


class NameUnknown(Unknown):
    """No such repository."""


class BlobUnknown(Unknown):
    """The repository has no such blob."""

    code = "BLOB_UNKNOWN"


class ManifestUnknown(Unknown):
    """The repository has no such manifest or tag."""

    code = "MANIFEST_UNKNOWN"


class UploadUnknown(Unknown):
    """No such upload session in this repository."""

    code = "BLOB_UPLOAD_UNKNOWN"


class PathUnknown(Unknown):
    """No endpoint lives at this path."""

    code = "NAME_UNKNOWN"


class Unauthorized(RegistryError):
    """Nobody, or somebody unproven, asked for what needs a name."""

    code = "UNAUTHORIZED"


class Denied(RegistryError):
    """A known caller may not do this."""

    code = "DENIED"


class Unsupported(RegistryError):
    """The method or feature does not exist here, or is switched off."""

    code = "UNSUPPORTED"


class TooMany(RegistryError):
    """A limit of ours is reached; `retry_after_s` says when trying again makes sense."""

    code = "TOOMANYREQUESTS"

    def __init__(self, message: str, *, retry_after_s: int = 5, **detail: object) -> None:
        super().__init__(message, **detail)
        self.retry_after_s = retry_after_s


class Conflict(RegistryError):
    """The thing exists, but not in a state that allows this."""

    code = "BLOB_UPLOAD_INVALID"


class Gone(RegistryError):
    """The thing was there, and its end is known: asking again will not help."""

    code = "BLOB_UPLOAD_UNKNOWN"


class Unavailable(RegistryError):
    """We cannot do it now; nothing was changed and trying again later may work, after so many seconds.

    `inner` is what the log is told instead of the message: with names of keys and files, which are nobody else's.
    """

    code = "UNAVAILABLE"
    retry_after_s: int = 5

    def __init__(self, message: str, *, inner: str = "", **detail: object) -> None:
        super().__init__(message, **detail)
        self.inner = inner or message

    def __str__(self) -> str:
        return self.inner


class StorageFull(Unavailable):
    """The disk is full; nothing was acknowledged that is not stored."""


class StorageFailed(Unavailable):
    """The disk answered with an error."""


class Stopping(Unavailable):
    """The server is about to stop."""
