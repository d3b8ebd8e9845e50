"""Every error there is has a word of S3's, and its message cannot break out of the XML."""

import re

import pytest

from auth.refusals import Element, SignatureDenied, SignatureRefused
from handlers import signed_errors, wire
from model.errors import Invalid, RegistryError, TooMany, Unsupported
from tests.http.signing import REFUSAL


def family(root: type[RegistryError]) -> list[type[RegistryError]]:
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


def text_of(error: RegistryError) -> str:
    body = signed_errors.answer(error, "id-1").body
    assert isinstance(body, bytes)
    return body.decode()


@pytest.mark.parametrize("kind", [each for each in family(RegistryError) if each is not RegistryError])
def test_no_error_that_is_raised_on_purpose_looks_like_a_fault_of_ours(kind: type[RegistryError]) -> None:
    """G19: a client can tell what to do from the word."""
    error = kind.__new__(kind)
    if isinstance(error, SignatureRefused):
        error.s3_code = "AccessDenied"
    assert signed_errors.code_of(error) not in ("InternalError", "")


def test_a_bare_error_is_a_fault_of_ours() -> None:
    answer = signed_errors.answer(RegistryError("x"), "id-1")
    assert (answer.status, signed_errors.code_of(RegistryError("x"))) == (500, "InternalError")


@pytest.mark.parametrize("message", ["</Message><Code>x</Code>", "a & b", "\x00\x1b[31m", "\ud800", "é", "]]>", "a\nb"])
def test_a_message_stays_text(message: str) -> None:
    text = text_of(Invalid(message))
    assert REFUSAL.fullmatch(text)
    assert re.findall("<([A-Z][a-zA-Z]+)>", text) == ["Error", "Code", "Message", "RequestId"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_the_reason_stays_in_the_log() -> None:
    refused = SignatureDenied("AccessDenied", "Request has expired", Element.CLOCK, "47 seconds too old")
    text = text_of(refused)
    assert "Request has expired" in text
    assert "47" not in text
    assert refused.reason == "clock: 47 seconds too old"


def test_the_headers_of_an_error_are_those_of_every_protocol() -> None:
    for error in (TooMany("m", retry_after_s=9), Unsupported("m", allowed=["GET", "PUT"])):
        answer = signed_errors.answer(error, "id-1")
        assert answer.status == wire.status_of(error)
        assert wire.headers_of(error).items() <= dict(answer.headers).items()
