"""Errors into what S3 says: the answer to whoever brought a signed URL, since S3's clients are who understands those.

    <Error><Code>SignatureDoesNotMatch</Code><Message>...</Message><RequestId>...</RequestId></Error>

Nothing in here repeats a signature, a canonical request, a key or a parameter: what differs is told in the log (G19).
"""

from typing import Final
from xml.sax.saxutils import escape

from aiohttp import web

from auth.refusals import SignatureRefused
from handlers import wire
from model import errors
from model.errors import RegistryError
from multipart import refusals
from multipart.interrupted import Interrupted, TooSlow

CODES: Final[dict[type[RegistryError], str]] = {
    errors.Invalid: "InvalidRequest",
    errors.DigestInvalid: "InvalidDigest",
    errors.DigestMismatch: "BadDigest",
    errors.SizeInvalid: "InvalidRequest",
    refusals.PartNumberInvalid: "InvalidArgument",
    refusals.PartLengthInvalid: "InvalidRequest",
    refusals.PartMismatch: "XAmzContentSHA256Mismatch",
    refusals.PartsInvalid: "InvalidPart",
    Interrupted: "IncompleteBody",
    TooSlow: "RequestTimeout",
    errors.TooLarge: "EntityTooLarge",
    errors.RangeNotSatisfiable: "InvalidRange",
    errors.Unknown: "NoSuchKey",
    errors.UploadUnknown: "NoSuchUpload",
    errors.Gone: "NoSuchUpload",
    errors.Unauthorized: "AccessDenied",
    errors.Denied: "AccessDenied",
    errors.Unsupported: "MethodNotAllowed",
    errors.TooMany: "SlowDown",
    errors.Conflict: "OperationAborted",
    errors.Unavailable: "ServiceUnavailable",
    errors.StorageFull: "InsufficientStorage",
}
"""The word of an error is that of the most specific class in here."""


def code_of(error: RegistryError) -> str:
    """S3's word for `error`."""
    if isinstance(error, SignatureRefused):
        return error.s3_code
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), "InternalError")


def answer(error: RegistryError, request_id: str) -> web.Response:
    """The answer to a signed request that failed, with the status that the error has everywhere."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code_of(error))}</Code><Message>{escape(_clean(error.message))}</Message>"
        f"<RequestId>{escape(request_id)}</RequestId></Error>"
    )
    fields = {"Content-Type": "application/xml", **wire.headers_of(error)}
    return web.Response(status=wire.status_of(error), body=body.encode(), headers=fields)


def _clean(text: str) -> str:
    """`text` with what XML cannot hold made visible."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
