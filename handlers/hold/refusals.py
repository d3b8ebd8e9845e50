"""What the hold API refuses beyond what the engine does: words that make no sense, and what is switched off.

Invalid
├── RequestInvalid     a field is missing, of another type, or said twice and differently
└── UploadIdInvalid    what stands for an upload id cannot be one
Unknown
└── MultipartOff       404: the only "no" that old clients understand (M03)
Unsupported
└── PresignedOff       there is no way to do this without a signed URL
"""

from model.errors import Invalid, Unknown, Unsupported


class RequestInvalid(Invalid):
    """A field is missing, or is not what such a field can be."""


class UploadIdInvalid(Invalid):
    """The upload id is missing, or cannot be one."""

    code = "BLOB_UPLOAD_INVALID"


class MultipartOff(Unknown):
    """Uploads in parts are switched off; old clients then send the whole in one request (M03)."""

    code = "UNSUPPORTED"

    def __init__(self) -> None:
        super().__init__("uploads in parts are switched off on this registry (setting multipart)")


class PresignedOff(Unsupported):
    """Signed URLs are switched off, and this can be done by nothing else."""

    def __init__(self) -> None:
        super().__init__(
            "signed URLs are switched off on this registry (setting disable_presigned_urls), and a blob can be put with"
            " one only; send it in parts (/start-multipart), or push it as /v2/ has it",
            allowed=[],
        )
