"""Signed URLs to ourselves grant what they were made for, to whoever has them, for as long as they say."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from auth.refusals import Element, SignatureDenied, SignatureMalformed, SignatureRefused
from auth.signed_urls import Grant, SignedUrl, is_signed
from auth.signing_keys import LONGEST_URL_S
from tests.unit.auth.desk import NOW_S, Desk, open_desk

BASE = "https://registry.example.org:5000"
HOSTS = ["registry.example.org:5000"]
PATH = "/multipart-parts/5031bb36-c34d-49f0-bd29-aacae83506f1/7"
SCOPE = {"did": "did:plc:abc", "length": "21"}
HASH = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"


def made(desk: Desk, method: str = "PUT", path: str = PATH, base: str = BASE, **more: Any) -> SignedUrl:
    return desk.signer.sign(method, base, path, SCOPE, **({"lifetime_s": 900} | more))


def target(url: SignedUrl) -> str:
    parts = urlsplit(url.url)
    return f"{parts.path}?{parts.query}"


def refused(desk: Desk, *args: Any) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        desk.signer.verify(*args)
    return caught.value


def test_a_part_url_carries_everything_that_scopes_it(desk: Desk) -> None:
    """M07, M08, M10: session and part in the path, length and claim among the signed parameters."""
    url = made(desk)
    assert url.url.startswith(f"{BASE}{PATH}?")
    assert url.expires_at_s == NOW_S + 900
    assert url.headers == {}
    assert desk.signer.verify("PUT", target(url), HOSTS, {}) == Grant(SCOPE, None)


def test_an_announced_hash_is_signed_and_its_header_asked_for(desk: Desk) -> None:
    """M09: the client sends X-Amz-Content-Sha256; without it, or with another one, the URL is worth nothing."""
    url = made(desk, payload_sha256=HASH)
    assert url.headers == {"x-amz-content-sha256": HASH}
    assert desk.signer.verify("PUT", target(url), HOSTS, {"X-Amz-Content-SHA256": HASH}) == Grant(SCOPE, HASH)
    for headers in ({}, {"X-Amz-Content-Sha256": HASH[::-1]}, {"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}):
        assert refused(desk, "PUT", target(url), HOSTS, headers).element is Element.PAYLOAD


def test_it_works_without_authorization_and_ignores_any_that_comes(desk: Desk) -> None:
    for headers in ({}, {"Authorization": "Bearer abc"}, {"Authorization": "AWS4-HMAC-SHA256 nonsense"}):
        assert desk.signer.verify("PUT", target(made(desk)), HOSTS, headers).parameters == SCOPE


@pytest.mark.parametrize("base", ["http://r.example.org", "https://r.example.org", "https://R.example.org:443"])
@pytest.mark.parametrize(
    "hosts", [["r.example.org"], ["r.example.org:443"], ["r.example.org:80"], ["x", "R.Example.org"]]
)
def test_default_ports_make_no_difference_to_the_host(desk: Desk, base: str, hosts: list[str]) -> None:
    """M11: the name is the one that clients use, in whatever of its spellings."""
    assert desk.signer.verify("PUT", target(made(desk, base=base)), hosts, {}).parameters == SCOPE


def test_an_address_in_brackets_works_too(desk: Desk) -> None:
    url = made(desk, base="http://[::1]:5000")
    assert desk.signer.verify("PUT", target(url), ["[::1]:5000"], {}).parameters == SCOPE


def test_a_grant_ends_when_the_url_says(desk: Desk) -> None:
    """G08: the same clock for uploads and downloads, each with its own lifetime."""
    for lifetime_s in (1, 900, 86_400, 604_770):
        url = made(desk, lifetime_s=lifetime_s)
        desk.clock.at_s = NOW_S + lifetime_s - 0.001
        assert desk.signer.verify("PUT", target(url), HOSTS, {}).parameters == SCOPE
        desk.clock.at_s = NOW_S + lifetime_s
        refusal = refused(desk, "PUT", target(url), HOSTS, {})
        assert (refusal.s3_code, refusal.message) == ("AccessDenied", "Request has expired")
        desk.clock.at_s = NOW_S


@pytest.mark.parametrize(
    ("method", "change", "hosts", "element"),
    [
        ("GET", ("", ""), HOSTS, Element.METHOD),
        ("HEAD", ("", ""), HOSTS, Element.METHOD),
        ("PUT", ("", ""), ["elsewhere.example.org"], Element.HOST),
        ("PUT", ("/7?", "/8?"), HOSTS, Element.UNEXPLAINED),
        ("PUT", ("length=21", "length=22"), HOSTS, Element.UNEXPLAINED),
        ("PUT", ("&length=21", ""), HOSTS, Element.UNEXPLAINED),
        ("PUT", ("&length=21", "&length=21&owner=me"), HOSTS, Element.QUERY),
        ("PUT", ("X-Amz-Expires=930", "X-Amz-Expires=931"), HOSTS, Element.UNEXPLAINED),
        ("PUT", ("%2Fholdfast%2F", "%2Fus-east-1%2F"), HOSTS, Element.REGION),
        ("PUT", ("%2Fs3%2F", "%2Fs4%2F"), HOSTS, Element.SERVICE),
        ("PUT", ("=hf", "=HF"), HOSTS, Element.KEY),
    ],
)
def test_anything_else_than_was_signed_is_refused_and_the_log_knows_why(
    desk: Desk, method: str, change: tuple[str, str], hosts: list[str], element: Element
) -> None:
    """G19: what differs is in the reason, and nothing of it that is secret."""
    changed = target(made(desk)).replace(*change, 1) if change[0] else target(made(desk))
    refusal = refused(desk, method, changed, hosts, {"Host": HOSTS[0]})
    assert refusal.element is element
    assert isinstance(refusal, SignatureMalformed if element in (Element.REGION, Element.SERVICE) else SignatureDenied)
    told = refusal.reason + refusal.message + repr(refusal)
    assert desk.keys.current.secret not in told
    assert target(made(desk)).rpartition("=")[2] not in told


def test_a_host_that_a_proxy_changed_is_recognised_by_those_that_were_signed_for(desk: Desk) -> None:
    """G19, M11: nothing in the request says any more what the client asked for."""
    url = made(desk)
    for number in range(7):
        made(desk, base=f"http://h{number}.example.org")
    refusal = refused(desk, "PUT", target(url), ["inner:1"], {"Host": "inner:1"})
    assert refusal.reason == "host: signed for 'registry.example.org:5000', expected 'inner:1'"
    made(desk, base="http://one.more")
    assert refused(desk, "PUT", target(url), ["inner:1"], {"Host": "inner:1"}).element is Element.UNEXPLAINED


def test_a_url_outlives_a_restart(desk: Desk) -> None:
    """T09: what was handed out before goes on working."""
    url = made(desk)
    assert desk.again().signer.verify("PUT", target(url), HOSTS, {}).parameters == SCOPE


def test_a_url_outlives_a_rotation_until_its_own_end(desk: Desk) -> None:
    """G04: the longest one that can be had, a download's."""
    url = made(desk, lifetime_s=LONGEST_URL_S)
    desk.clock.at_s = NOW_S + 1
    desk.keys.rotate()
    for signer in (desk.signer, desk.again().signer):
        desk.clock.at_s = NOW_S + LONGEST_URL_S - 0.5
        assert signer.verify("PUT", target(url), HOSTS, {}).parameters == SCOPE
        desk.clock.at_s = NOW_S + LONGEST_URL_S
        assert refused(desk, "PUT", target(url), HOSTS, {}).message == "Request has expired"


def test_a_url_does_not_outlive_a_revocation(desk: Desk) -> None:
    url = made(desk)
    desk.keys.rotate(revoke=True)
    refusal = refused(desk, "PUT", target(url), HOSTS, {})
    assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.KEY)
    assert desk.signer.verify("PUT", target(made(desk)), HOSTS, {}).parameters == SCOPE


def test_another_registry_does_not_believe_it(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = open_desk(tmp_path_factory.mktemp("other"), desk.clock)
    assert refused(other, "PUT", target(made(desk)), HOSTS, {}).element is Element.KEY


def test_a_url_tells_nothing_of_the_secret(desk: Desk) -> None:
    url = made(desk).url
    assert desk.keys.current.secret not in url
    assert f"X-Amz-Credential={desk.keys.current.key_id}%2F" in url


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/a//b"},
        {"path": "/a/../b"},
        {"path": "a"},
        {"path": "/a/"},
        {"base": "registry.example.org"},
        {"base": "https://registry.example.org/path"},
        {"lifetime_s": 0},
        {"lifetime_s": 604_801},
        {"payload_sha256": "abc"},
    ],
)
def test_no_url_is_made_that_could_not_be_believed(desk: Desk, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        made(desk, **more)


@pytest.mark.parametrize(
    ("raw", "signed"),
    [
        ("/a?X-Amz-Signature=1", True),
        ("/a?b=c&X-Amz-Signature", True),
        ("/a?x-amz-signature=1", True),
        ("/a?X%2DAmz%2dSignature=1", True),
        ("/a?X-Amz-Signature=1&X-Amz-Signature=2", True),
        ("/a", False),
        ("/a?", False),
        ("/X-Amz-Signature=1", False),
        ("/a?b=X-Amz-Signature", False),
        ("/a?X-Amz-Signatures=1", False),
    ],
)
def test_a_target_that_has_a_signature_is_known_by_its_query(raw: str, signed: bool) -> None:
    assert is_signed(raw) is signed
