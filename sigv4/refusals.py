"""How a signature is refused: S3's word and a message for the client, for the log which element differs (G19).

    SignatureRefused
    ├── SignatureDenied        (a Denied: 403)    wrong, unknown, expired, or not valid yet
    └── SignatureMalformed     (an Invalid: 400)  not a signature that could be looked at

A `reason` holds no secret: no signature, no token, no value of a query. A `message` holds nothing that the client
did not say itself, except what is public anyway.
"""

from enum import Enum
from typing import Final

from model.errors import Denied, Invalid

MISMATCH: Final = "SignatureDoesNotMatch"
DENIED: Final = "AccessDenied"
SKEWED: Final = "RequestTimeTooSkewed"
QUERY_MALFORMED: Final = "AuthorizationQueryParametersError"
HEADER_MALFORMED: Final = "AuthorizationHeaderMalformed"
URI_INVALID: Final = "InvalidURI"


class Element(Enum):
    """What of a request can be at fault; the first word of a reason."""

    FORM = "form"
    KEY = "key id"
    HOST = "host"
    METHOD = "method"
    PATH = "path encoding"
    QUERY = "query"
    REGION = "region"
    SERVICE = "service"
    CLOCK = "clock"
    PAYLOAD = "payload hash"
    HEADERS = "signed headers"
    SESSION = "session token"
    UNEXPLAINED = "signature"


class SignatureRefused(Exception):
    """Any refusal: `s3_code` and `message` for the client, `element` and `reason` for the log."""

    message: str

    def __init__(self, s3_code: str, message: str, element: Element, detail: str) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.element = element
        self.reason = f"{element.value}: {detail}"


class SignatureDenied(SignatureRefused, Denied):
    """The signature is not true, or not true now."""


class SignatureMalformed(SignatureRefused, Invalid):
    """What should be a signature cannot be looked at."""


def mismatch(element: Element, detail: str) -> SignatureDenied:
    """What a client is told whose signature is not ours to believe, whatever the reason: the same words for all."""
    return SignatureDenied(
        MISMATCH, "The signature does not match this request. Ask for a new URL, and use it unchanged.", element, detail
    )


def shown(text: str) -> str:
    """Something that a client sent, fit for one line of a log."""
    return repr(text[:100])
