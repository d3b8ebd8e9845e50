"""Signatures that were published, or agreed on by two other implementations, come out of ours (s3-sigv4 section 2)."""

import pytest

from sigv4.authorization import signed_headers
from sigv4.canonical import EMPTY_SHA256
from sigv4.presigning import Form
from sigv4.received import Received
from sigv4.verifying import Accepted, verify_header
from tests.unit.sigv4.samples import AMAZON, BODY_SHA256, DATED_S, EXAMPLE, REGION, signature_of, signed


def test_the_presigned_get_of_the_documentation() -> None:
    made = signed("GET", "/test.txt", where=AMAZON)
    assert made.url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


# Method, path, parameters, further headers, payload line, signature.
IN_HEADERS = {
    "get a range": (
        *("GET", "/test.txt", {}, {"Range": "bytes=0-9"}, EMPTY_SHA256),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put with a dollar sign in the key": (
        *("PUT", "/test$file.text", {}),
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        BODY_SHA256,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "an argument without a value": (
        *("GET", "/", {"lifecycle": ""}, {}, EMPTY_SHA256),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list": (
        *("GET", "/", {"prefix": "J", "max-keys": "2"}, {}, EMPTY_SHA256),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize(
    ("method", "path", "parameters", "headers", "payload", "expected"), IN_HEADERS.values(), ids=IN_HEADERS
)
def test_the_requests_of_the_documentation_that_are_signed_in_a_header(
    method: str, path: str, parameters: dict[str, str], headers: dict[str, str], payload: str, expected: str
) -> None:
    made = signed_headers(
        *(EXAMPLE, AMAZON, method, path, parameters), region=REGION, now_s=DATED_S, payload=payload, headers=headers
    )
    assert made["authorization"].endswith(f"Signature={expected}")
    query = "&".join(f"{name}={value}" if value else name for name, value in parameters.items())
    accepted = Accepted({EXAMPLE.key_id: EXAMPLE}, [AMAZON.authority], REGION)
    found = verify_header(Received(method, f"{path}?{query}", made), accepted, DATED_S)
    assert (found.path, found.parameters, found.payload_sha256) == (path, parameters, payload)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Form.PLAIN, "b8e389928abe025627576f51c8b3af5706d8685021686f89fce81bb50cde9738"),
        (Form.HASH_IN_HEADER, "27d4c9a371b9f6148c3cf6ef930d3f6f022ae091e01a93d08d01a2bcf35152f3"),
        (Form.HASH, "c714d0cd7a64a6d6df7d02b8f70f5101f0ff0a7aa4257ec88c4a24f691808c8e"),
    ],
    ids=["U", "B", "C"],
)
def test_our_own_vectors_for_an_explicit_payload_hash(form: Form, expected: str) -> None:
    """M09: the URL is signed with the hash that the client will send, and the header is signed with it."""
    payload = None if form is Form.PLAIN else BODY_SHA256
    arguments = {"partNumber": "1", "uploadId": "up/load+id="}
    made = signed("PUT", "/blobs/sha256:ab+c~d é", arguments, form=form, payload_sha256=payload)
    assert signature_of(made.url) == expected
    assert made.headers == ({} if payload is None else {"x-amz-content-sha256": payload})
