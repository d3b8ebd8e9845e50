"""Errors into the hold's answers: {"error": name, "message": text}, by one table of names.

The statuses are those of handlers/wire.py. The names are the lexicons' where they have one (shared by both casings).
An answer never carries an upload id, under no key and in no text: an old client takes a session from whatever it
decodes (T04). So what an error knows beside its message stays here, but for the problems of a list of parts.
"""

from typing import Final

from aiohttp import web

from handlers import wire
from handlers.answers import document
from handlers.hold.refusals import UploadIdInvalid
from model import errors
from model.errors import RegistryError
from multipart import refusals
from multipart.interrupted import Interrupted

NAMES: Final[dict[type[RegistryError], str]] = {
    errors.Invalid: "InvalidRequest",
    errors.NameInvalid: "InvalidRepository",
    errors.DigestInvalid: "InvalidDigest",
    errors.DigestMismatch: "CompletionFailed",
    errors.SizeInvalid: "InvalidSize",
    UploadIdInvalid: "InvalidUploadId",
    refusals.NativeNotConfigured: "NotConfigured",
    refusals.PartNumberInvalid: "InvalidPartNumber",
    refusals.PartSizeInvalid: "InvalidPartSize",
    refusals.PartLengthInvalid: "InvalidPartSize",
    refusals.PartMismatch: "PartMismatch",
    refusals.PartsInvalid: "MissingParts",
    Interrupted: "PartIncomplete",
    errors.TooLarge: "PayloadTooLarge",
    errors.RangeNotSatisfiable: "InvalidRange",
    errors.Unknown: "NotFound",
    errors.NameUnknown: "RepoNotFound",
    errors.BlobUnknown: "BlobNotFound",
    errors.UploadUnknown: "InvalidUploadId",
    errors.Gone: "InvalidUploadId",
    refusals.UploadFinished: "UploadFinished",
    errors.Unauthorized: "AuthRequired",
    errors.Denied: "Forbidden",
    errors.Unsupported: "MethodNotSupported",
    errors.TooMany: "RateLimitExceeded",
    errors.Conflict: "Conflict",
    errors.Unavailable: "Unavailable",
    errors.StorageFull: "StorageFull",
}
"""The name of an error is that of the most specific class in here."""


def name_of(error: RegistryError) -> str:
    """The word a client may decide by."""
    return next((NAMES[kind] for kind in type(error).__mro__ if kind in NAMES), "InternalServerError")


def answer(error: RegistryError) -> web.Response:
    """The answer a caller of the hold API gets for `error`."""
    body: dict[str, object] = {"error": name_of(error), "message": error.message}
    problems = error.detail.get("problems")
    if isinstance(problems, list) and problems:
        body["problems"] = [str(each) for each in problems]
    return document(body, status=wire.status_of(error), headers=_headers(error))


def _headers(error: RegistryError) -> dict[str, str]:
    if isinstance(error, errors.OffsetMismatch):
        return {}  # its Location has the id of a session that is not the hold's
    proof = {"WWW-Authenticate": "Bearer"} if isinstance(error, errors.Unauthorized) else {}
    return wire.headers_of(error) | proof
