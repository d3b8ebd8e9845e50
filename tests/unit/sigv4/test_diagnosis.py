"""A refusal tells the log which element differs, and nobody a secret (G19)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sigv4.canonical import EMPTY_SHA256, Pair, canonical_query, canonical_request, encoded_path
from sigv4.presigning import SIGNATURE_ARGUMENT, Form
from sigv4.received import Received
from sigv4.refusals import Element, SignatureRefused
from sigv4.signing import Credentials, Scope, signature
from sigv4.verifying import Accepted, verify_query
from tests.unit.sigv4.samples import (
    BODY_SHA256,
    DAY_S,
    EXAMPLE,
    LOCAL,
    NOW_S,
    REGION,
    STAMP,
    refused,
    signed,
    target_of,
)

SCOPE = Scope(STAMP[:8], REGION)
HOST = LOCAL.authority
PATH = "/signed/blobs/sha256:ab"
ARGUMENTS = {"repository": "lab/tools two", "length": "21"}


def misguided(
    method: str = "PUT",
    uri: str | None = None,
    host: str = HOST,
    payload: str = "UNSIGNED-PAYLOAD",
    added: Mapping[str, str] | None = None,
    unsigned: tuple[str, ...] = (),
    secret: str = EXAMPLE.secret,
) -> str:
    """A target whose signer had its own idea of one element."""
    arguments = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{EXAMPLE.key_id}/{SCOPE}",
        "X-Amz-Date": STAMP,
        "X-Amz-Expires": str(DAY_S),
        "X-Amz-SignedHeaders": "host",
        **ARGUMENTS,
        **(added or {}),
    }
    seen: list[Pair] = [pair for pair in arguments.items() if pair[0] not in unsigned]
    uri = encoded_path(PATH) if uri is None else uri
    canonical = canonical_request(method, uri, canonical_query(seen), [("host", host)], payload)
    made = signature(secret, STAMP, SCOPE, canonical)
    return f"{encoded_path(PATH)}?{canonical_query(arguments.items())}&{SIGNATURE_ARGUMENT}={made}"


CAUSES: dict[str, tuple[dict[str, Any], Element, str]] = {
    "another method": ({"method": "GET"}, Element.METHOD, "signed for GET, used for 'PUT'"),
    "the host it went to": ({"host": "inner:9000"}, Element.HOST, "signed for 'inner:9000', expected '127.0.0.1:9000'"),
    "the host before a proxy": ({"host": "outer.example.org"}, Element.HOST, "signed for 'outer.example.org'"),
    "the host without its port": ({"host": "inner"}, Element.HOST, "signed for 'inner'"),
    "the host with a default port": ({"host": "outer.example.org:443"}, Element.HOST, "outer.example.org:443"),
    "the empty hash": ({"payload": EMPTY_SHA256}, Element.PAYLOAD, f"signed with '{EMPTY_SHA256}'"),
    "the path encoded twice": ({"uri": encoded_path(encoded_path(PATH))}, Element.PATH, "signed encoded twice"),
    "the path not encoded": ({"uri": PATH}, Element.PATH, "signed not encoded at all"),
    "the path with a slash": ({"uri": encoded_path(PATH) + "/"}, Element.PATH, "with a slash at its end"),
    "the path without the bucket": ({"uri": "/blobs/sha256%3Aab"}, Element.PATH, "virtual-host style"),
    "an argument added later": ({"unsigned": ("length",)}, Element.QUERY, "the argument 'length' was added"),
    "another key of ours": ({"secret": "the new secret"}, Element.KEY, "another key of ours"),
    "a wrong secret": ({"secret": "nobody's"}, Element.UNEXPLAINED, "a wrong secret, or several things changed"),
    "two things at once": ({"secret": "nobody's", "method": "GET"}, Element.UNEXPLAINED, "canonical request hashes to"),
}


@pytest.mark.parametrize(("guide", "element", "told"), CAUSES.values(), ids=CAUSES)
def test_the_log_learns_which_element_differs(guide: dict[str, Any], element: Element, told: str) -> None:
    """G19: the client always gets the same words."""
    keys = {EXAMPLE.key_id: EXAMPLE, "NEW": Credentials("NEW", "the new secret")}
    headers = {"Host": "Inner:9000", "X-Forwarded-Host": "outer.example.org"}
    with pytest.raises(SignatureRefused) as caught:
        verify_query(Received("PUT", misguided(**guide), headers), Accepted(keys, [HOST], REGION), NOW_S)
    refusal = caught.value
    assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", element)
    assert refusal.reason.startswith(f"{element.value}: ")
    assert told in refusal.reason
    assert refusal.message == refused(misguided(secret="x")).message


def test_nothing_misguided_is_believed() -> None:
    """The helper above signs properly when it is not told otherwise."""
    accepted = Accepted({EXAMPLE.key_id: EXAMPLE}, [HOST], REGION)
    assert verify_query(Received("PUT", misguided(), {}), accepted, NOW_S).parameters == ARGUMENTS


def test_a_plus_that_came_without_its_encoding_is_told() -> None:
    target = target_of(signed(parameters={"uploadId": "a+b"}).url).replace("a%2Bb", "a+b")
    refusal = refused(target)
    assert (refusal.element, "a plus" in refusal.reason) == (Element.QUERY, True)


def test_a_token_that_was_not_signed_is_told() -> None:
    borrowed = replace(EXAMPLE, token="the token")
    target = misguided(added={"X-Amz-Security-Token": "the token"}, unsigned=("X-Amz-Security-Token",))
    assert refused(target, by=borrowed).element is Element.SESSION


def test_the_hash_that_a_header_brought_into_a_plain_url_is_told() -> None:
    """G19, M09: one of the two causes of the errors that could not be explained."""
    refusal = refused(target_of(signed().url), headers={"x-amz-content-sha256": BODY_SHA256})
    assert refusal.element is Element.PAYLOAD
    assert f"signed with 'UNSIGNED-PAYLOAD', but x-amz-content-sha256 makes it '{BODY_SHA256}'" in refusal.reason


def test_a_signed_header_with_an_open_payload_line_is_told() -> None:
    """G19: what was tried first in the story (form G), refused by stores of this family."""
    made = signed(form=Form.HEADER_UNHASHED, payload_sha256=BODY_SHA256)
    refusal = refused(target_of(made.url), headers=made.headers)
    assert (refusal.element, "signed with 'UNSIGNED-PAYLOAD'" in refusal.reason) == (Element.PAYLOAD, True)


def test_the_clock_is_told_with_its_skew() -> None:
    target = target_of(signed(lifetime_s=900).url)
    assert "expired 100 s ago, 930 s after its date" in refused(target, now_s=NOW_S + 1000).reason
    assert "dated 970 s ahead of our clock" in refused(target, now_s=NOW_S - 1000).reason


def test_another_region_is_told_to_both() -> None:
    """M10: the region is part of what is signed."""
    refusal = refused(target_of(signed().url), region="holdfast")
    assert refusal.reason == "region: signed for 'us-east-1', expected 'holdfast'"
    assert "'holdfast'" in refusal.message


@pytest.mark.parametrize("guide", [cause[0] for cause in CAUSES.values()], ids=CAUSES)
def test_a_reason_holds_no_secret_and_no_value_of_the_query(guide: dict[str, Any]) -> None:
    target = misguided(**guide)
    refusal = refused(target, headers={"Host": "Inner:9000", "X-Forwarded-Host": "outer.example.org"})
    told = refusal.reason + refusal.message + str(refusal) + repr(refusal)
    hidden = [EXAMPLE.secret, target.rpartition("=")[2], ARGUMENTS["repository"], "lab%2Ftools"]
    assert [each for each in hidden if each in told] == []


def test_what_a_client_sent_cannot_break_the_line_of_the_log() -> None:
    target = target_of(signed().url)
    refusal = refused(target, "PUT\n2026 forged", headers={"Host": "a\nb"})
    assert "\n" not in refusal.reason
    assert len(refused(f"{target}&X-Amz-{'x' * 5000}=1").reason) < 200
