"""The hold's errors: each has a name and a status, and none tells an upload id."""

import ast
import importlib
import inspect
import json
from typing import Any

import pytest

from handlers.hold import wire
from handlers.hold.refusals import MultipartOff, PresignedOff, RequestInvalid, UploadIdInvalid
from model import errors
from model.errors import RegistryError
from multipart import refusals
from multipart.interrupted import TooSlow
from sigv4.refusals import Element
from tests.repo.tree import ROOT, product

ID = "0f8b6a52-37c4-4c1d-9a53-5f1f8a0f7c11"

for module in ("backends", "store", "auth", "multipart", "handlers"):
    for source in product():
        if source.owner == module and "Invalid" in source.text and source.module != "registry":
            importlib.import_module(source.module)


def family(root: type[RegistryError]) -> list[type[RegistryError]]:
    """A class and everything below it."""
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


def made(kind: type[RegistryError]) -> RegistryError:
    """An error of that class that knows an upload id wherever it can know something."""
    special: dict[str, Any] = {
        "size_bytes": 1,
        "offset_bytes": 1,
        "retry_after_s": 7,
        "upload_id": ID,
        "problems": ["said"],
        "element": next(iter(Element)),
    }
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    positional = [special.get(p.name, "said") for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: special.get(p.name, "said") for p in parameters if p.kind is p.KEYWORD_ONLY}
    error = kind(*positional, **named)
    error.detail |= {"upload": ID, "upload_id": ID, "session": ID}
    return error


@pytest.mark.parametrize("kind", family(RegistryError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_name_and_a_message_and_tells_no_upload_id(kind: type[RegistryError]) -> None:
    """T04: old clients take a session from whatever they decode."""
    answer = wire.answer(made(kind))
    assert isinstance(answer.body, bytes)
    said = json.loads(answer.body)
    assert set(said) <= {"error", "message", "problems"}
    assert said["error"].isalpha()
    assert said["error"] != "InternalServerError" or kind is RegistryError
    assert said["message"]
    assert answer.status >= 400
    assert ID not in answer.body.decode() + str(answer.headers)


def test_no_message_of_an_error_is_made_of_an_upload_id() -> None:
    """T04: what a message says, a client sees."""
    told = [
        f"{source.path}:{node.lineno}"
        for source in product()
        if source.owner in ("multipart", "auth") or source.path.startswith("handlers/hold/")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        for inner in ast.walk(node.exc.args[0])
        if isinstance(inner, ast.FormattedValue) and ast.unparse(inner.value).split(".")[-1] in ("id", "upload_id")
    ]
    assert told == []


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.DigestInvalid("m"), 400, "InvalidDigest"),
        (errors.DigestMismatch(expected="a", actual="b"), 400, "CompletionFailed"),
        (errors.UploadUnknown("m"), 404, "InvalidUploadId"),
        (refusals.UploadForeign("m"), 403, "Forbidden"),
        (refusals.UploadExpired("m"), 410, "InvalidUploadId"),
        (refusals.UploadAborted("m"), 410, "InvalidUploadId"),
        (refusals.UploadFinished("m"), 409, "UploadFinished"),
        (refusals.PartNumberInvalid("m"), 400, "InvalidPartNumber"),
        (refusals.PartsInvalid(["part 2 is missing"]), 400, "MissingParts"),
        (refusals.PartMismatch("m"), 400, "PartMismatch"),
        (refusals.UploadTooLarge("m"), 413, "PayloadTooLarge"),
        (UploadIdInvalid("m"), 400, "InvalidUploadId"),
        (RequestInvalid("m"), 400, "InvalidRequest"),
        (MultipartOff(), 404, "NotFound"),
        (PresignedOff(), 405, "MethodNotSupported"),
        (errors.BlobUnknown("m"), 404, "BlobNotFound"),
        (errors.Unauthorized("m"), 401, "AuthRequired"),
        (errors.Denied("m"), 403, "Forbidden"),
        (errors.StorageFull("m"), 507, "StorageFull"),
        (TooSlow("m"), 408, "PartIncomplete"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RegistryError) else None,
)
def test_the_errors_that_lexicons_and_people_look_for(error: RegistryError, status: int, name: str) -> None:
    """H090: a client can tell by status and name what to do."""
    answer = wire.answer(error)
    assert isinstance(answer.body, bytes)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, name)


def test_the_problems_of_a_list_are_told_one_by_one() -> None:
    """H090."""
    answer = wire.answer(refusals.PartsInvalid(["part 2 is missing", "part 3 has another ETag"]))
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["problems"] == ["part 2 is missing", "part 3 has another ETag"]


def test_who_must_prove_something_is_told_how() -> None:
    """H145, H151."""
    assert wire.answer(errors.Unauthorized("m")).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("error", "wait"), [(errors.TooMany("m", retry_after_s=9), "9"), (errors.StorageFull("m"), "5")]
)
def test_who_may_try_again_is_told_when(error: RegistryError, wait: str) -> None:
    assert wire.answer(error).headers["Retry-After"] == wait


def test_what_is_switched_off_names_its_setting() -> None:
    """H045, H123."""
    assert "disable_presigned_urls" in PresignedOff().message
    assert "multipart" in MultipartOff().message


def test_every_name_is_explained_in_the_documents() -> None:
    page = (ROOT / "docs/wire-errors.md").read_text(encoding="utf-8")
    assert {name for name in wire.NAMES.values() if f"`{name}`" not in page} == set()
