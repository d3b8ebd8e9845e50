"""A presigned URL is believed only as it was signed: the list of s3-sigv4 1.9, one by one."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from model.errors import Denied, Invalid
from sigv4.authorization import signed_headers
from sigv4.places import place
from sigv4.presigning import Form
from sigv4.received import Received
from sigv4.refusals import Element, SignatureDenied, SignatureMalformed
from sigv4.signing import Credentials
from sigv4.verifying import Accepted, host_spellings, verify_header, verify_query
from tests.unit.sigv4.samples import (
    BODY_SHA256,
    DATED_S,
    DAY_S,
    EXAMPLE,
    LOCAL,
    NOW_S,
    REGION,
    refused,
    signed,
    target_of,
    verified,
)

PLAIN = target_of(signed(parameters={"partNumber": "1", "uploadId": "up/load+id="}).url)
HASHED = target_of(signed(form=Form.HASH, payload_sha256=BODY_SHA256).url)
HEADER = {"X-Amz-Content-SHA256": BODY_SHA256}


def test_a_true_url_grants_its_path_and_its_parameters() -> None:
    """M10: uploadId and partNumber come out of the signed arguments."""
    found = verified(PLAIN)
    assert found.path == "/multipart-parts/5031bb36/1"
    assert found.parameters == {"partNumber": "1", "uploadId": "up/load+id="}
    assert (found.payload_sha256, found.key_id, found.host) == (None, EXAMPLE.key_id, "127.0.0.1:9000")
    assert found.expires_at_s == DATED_S + DAY_S


def test_a_hash_that_was_signed_is_the_one_the_body_must_have() -> None:
    """M09: with the header it is believed, without it the same refusal as a wrong signature."""
    assert verified(HASHED, headers=HEADER).payload_sha256 == BODY_SHA256
    for headers in ({}, {"x-amz-content-sha256": "0" * 64}, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}):
        refusal = refused(HASHED, headers=headers)
        assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.PAYLOAD)


def test_a_hash_that_was_not_signed_spoils_a_plain_url() -> None:
    """M09, G19: as on every store of the header family; the log says that it is the hash."""
    refusal = refused(PLAIN, headers=HEADER)
    assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.PAYLOAD)
    assert "UNSIGNED-PAYLOAD" in refusal.reason
    assert verified(PLAIN, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}).payload_sha256 is None


def test_a_hash_sent_twice_is_not_one_hash() -> None:
    twice = CIMultiDict([("x-amz-content-sha256", BODY_SHA256), ("X-Amz-Content-Sha256", "0" * 64)])
    assert refused(HASHED, headers=twice).element is Element.PAYLOAD


def test_the_form_that_says_an_open_payload_is_believed_and_the_argument_alone_is_not() -> None:
    said = target_of(signed(form=Form.PLAIN_SAID).url)
    assert verified(said).payload_sha256 is None
    only_argument = PLAIN.replace("&X-Amz-Credential", f"&X-Amz-Content-Sha256={BODY_SHA256}&X-Amz-Credential")
    assert refused(only_argument).element is Element.PAYLOAD


def changed(**arguments: str | None) -> str:
    """PLAIN with arguments in the place of others; None takes one out."""
    path, _, query = PLAIN.partition("?")
    pairs: dict[str, str | None] = dict(piece.partition("=")[::2] for piece in query.split("&"))
    pairs |= {f"X-Amz-{name}": value for name, value in arguments.items()}
    return f"{path}?" + "&".join(f"{name}={value}" for name, value in pairs.items() if value is not None)


MALFORMED = {
    "an argument twice": (f"{PLAIN}&partNumber=1", Element.QUERY),
    "a signature twice": (f"{PLAIN}&X-Amz-Signature={'0' * 64}", Element.QUERY),
    "an argument twice, spelled differently": (f"{PLAIN}&part%4Eumber=2", Element.QUERY),
    "an unknown one": (f"{PLAIN}&X-Amz-Thing=1", Element.QUERY),
    "an unknown one in lower case": (f"{PLAIN}&x-amz-expires=9", Element.QUERY),
    "no algorithm": (changed(Algorithm=None), Element.QUERY),
    "no credential": (changed(Credential=None), Element.QUERY),
    "no date": (changed(Date=None), Element.QUERY),
    "no end": (changed(Expires=None), Element.QUERY),
    "no signed headers": (changed(SignedHeaders=None), Element.QUERY),
    "no signature": (changed(Signature=None), Element.QUERY),
    "another algorithm": (changed(Algorithm="AWS4-ECDSA-P256-SHA256"), Element.FORM),
    "a signature in upper case": (changed(Signature="A" * 64), Element.FORM),
    "a short signature": (changed(Signature="0" * 63), Element.FORM),
    "a credential without a scope": (changed(Credential="AKIAIOSFODNN7EXAMPLE"), Element.FORM),
    "a credential with an empty part": (changed(Credential="A/20130524//s3/aws4_request"), Element.FORM),
    "a scope with another end": (changed(Credential="A/20130524/us-east-1/s3/aws5_request"), Element.FORM),
    "another region": (changed(Credential="A/20130524/eu-west-1/s3/aws4_request"), Element.REGION),
    "another service": (changed(Credential="A/20130524/us-east-1/ec2/aws4_request"), Element.SERVICE),
    "another day than the date's": (changed(Credential="A/20130525/us-east-1/s3/aws4_request"), Element.CLOCK),
    "a date that is none": (changed(Date="20130532T000000Z"), Element.CLOCK),
    "an end of 0": (changed(Expires="0"), Element.CLOCK),
    "an end that is negative": (changed(Expires="-1"), Element.CLOCK),
    "an end after more than 7 days": (changed(Expires="604801"), Element.CLOCK),
    "an end that is no number": (changed(Expires="1e3"), Element.CLOCK),
    "an end with a sign": (changed(Expires="%2B900"), Element.CLOCK),
    "an end in other digits": (changed(Expires="%D9%A9"), Element.CLOCK),
    "host not signed": (changed(SignedHeaders="range"), Element.HEADERS),
    "signed headers out of order": (changed(SignedHeaders="range%3Bhost"), Element.HEADERS),
    "a signed header twice": (changed(SignedHeaders="host%3Bhost"), Element.HEADERS),
    "a signed header in upper case": (changed(SignedHeaders="Host"), Element.HEADERS),
    "an empty signed header": (changed(SignedHeaders="host%3B"), Element.HEADERS),
    "more arguments than anybody needs": (PLAIN + "".join(f"&a{n}=" for n in range(64)), Element.QUERY),
    "an argument without a name": (f"{PLAIN}&=1", Element.PATH),
    "a broken escape": (f"{PLAIN}&a=%2", Element.PATH),
    "an escape that is no UTF-8": (f"{PLAIN}&a=%FF", Element.PATH),
}


@pytest.mark.parametrize(("target", "element"), MALFORMED.values(), ids=MALFORMED)
def test_a_url_outside_the_grammar_is_a_400_that_says_so(target: str, element: Element) -> None:
    refusal = refused(target)
    assert isinstance(refusal, SignatureMalformed) and isinstance(refusal, Invalid)
    assert refusal.s3_code in {"AuthorizationQueryParametersError", "InvalidURI"}
    assert refusal.element is element


@pytest.mark.parametrize(
    "path",
    [
        "//multipart-parts/1",
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/a/%2e%2E/b",
        "/a/b/",
        "/a%2Fb",
        "/a%00b",
        "/%zz",
        "/%",
        "a",
        "",
        "/%C3",
        "*",
        "http://127.0.0.1:9000/a",
    ],
)
def test_a_path_that_could_mean_two_things_is_refused_before_anything_else(path: str) -> None:
    refusal = refused(f"{path}?{PLAIN.partition('?')[2]}")
    assert isinstance(refusal, SignatureMalformed)
    assert (refusal.s3_code, refusal.element) == ("InvalidURI", Element.PATH)


def test_a_path_and_arguments_may_be_encoded_in_another_way_on_the_wire() -> None:
    """Clients rewrite `%3A` and `%2F`; what they mean is the same (s3-sigv4 1.2)."""
    target = target_of(signed("GET", "/signed/blobs/sha256:ab+c~é", {"repository": "lab/tools 1"}).url)
    other = target.replace("%3A", ":").replace("%2B", "+", 1).replace("lab%2Ftools", "lab/tools").replace("~", "%7e")
    other = other.replace("%20", "+")
    assert other != target
    found = verified(other, "GET")
    assert found.path == "/signed/blobs/sha256:ab+c~é"
    assert found.parameters == {"repository": "lab/tools 1"}


@pytest.mark.parametrize(
    ("hosts", "works"),
    [
        (("127.0.0.1:9000",), True),
        (("elsewhere.example.org", "127.0.0.1:9000"), True),
        (("elsewhere.example.org",), False),
        (("127.0.0.1",), False),
        (("127.0.0.1:9001",), False),
        ((), False),
    ],
)
def test_the_host_is_one_of_those_we_go_by(hosts: tuple[str, ...], works: bool) -> None:
    """M11: several may be accepted."""
    if works:
        assert verified(PLAIN, hosts=hosts).host == "127.0.0.1:9000"
    else:
        refusal = refused(PLAIN, hosts=hosts, headers={"Host": "127.0.0.1:9000"})
        assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.HOST)


def test_what_the_request_says_of_its_host_does_not_matter() -> None:
    """A proxy may have rewritten it, and an attacker may have written it."""
    assert verified(PLAIN, headers={"Host": "inner:1234"}).host == "127.0.0.1:9000"
    refusal = refused(PLAIN, headers={"Host": "127.0.0.1:9000"}, hosts=("registry.example.org",))
    assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.HOST)


@pytest.mark.parametrize("base", ["http://example.org", "https://example.org", "http://example.org:80"])
@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.org", "example.org:80", "example.org:443"])
def test_a_default_port_makes_no_difference(base: str, host: str) -> None:
    assert verified(target_of(signed(where=place(base)).url), hosts=(host,)).host == "example.org"


def test_other_ports_and_addresses_are_left_as_they_are() -> None:
    assert host_spellings(["H:80", "[::1]:443", "[::1]", "h:8080"]) == ["h:80", "[::1]:443", "[::1]", "h:8080", "h"]


@pytest.mark.parametrize(
    ("now_s", "outcome"),
    [
        (DATED_S - 901, "Request is not valid yet"),
        (DATED_S - 900, None),
        (DATED_S, None),
        (DATED_S + DAY_S - 0.01, None),
        (DATED_S + DAY_S, "Request has expired"),
        (DATED_S + 10 * DAY_S, "Request has expired"),
    ],
)
def test_it_is_good_from_a_quarter_of_an_hour_before_its_date_until_its_end(now_s: float, outcome: str | None) -> None:
    """M10: the clock at its edges."""
    if outcome is None:
        assert verified(PLAIN, now_s=now_s).path
        return
    refusal = refused(PLAIN, now_s=now_s)
    assert isinstance(refusal, SignatureDenied) and isinstance(refusal, Denied)
    assert (refusal.s3_code, refusal.message, refusal.element) == ("AccessDenied", outcome, Element.CLOCK)


@pytest.mark.parametrize("used", ["GET", "HEAD", "POST", "DELETE", "put"])
def test_a_url_serves_the_method_it_was_signed_for_only(used: str) -> None:
    refusal = refused(PLAIN, used)
    assert (refusal.s3_code, refusal.element) == ("SignatureDoesNotMatch", Element.METHOD)
    assert "signed for PUT" in refusal.reason


def test_an_unknown_key_is_refused_in_the_same_words_as_a_wrong_signature() -> None:
    unknown = refused(PLAIN, by=Credentials("ANOTHER", EXAMPLE.secret))
    wrong = refused(PLAIN, by=replace(EXAMPLE, secret="another secret"))
    assert (unknown.s3_code, unknown.message) == (wrong.s3_code, wrong.message)
    assert (unknown.element, wrong.element) == (Element.KEY, Element.UNEXPLAINED)


def test_several_keys_are_accepted_each_under_its_own_id() -> None:
    """A key that is being replaced goes on counting for a while."""
    new = Credentials("NEWKEY", "another secret")
    accepted = Accepted({each.key_id: each for each in (new, EXAMPLE)}, ["127.0.0.1:9000"], REGION)
    for by in (new, EXAMPLE):
        found = verify_query(Received("PUT", target_of(signed(by=by).url), {}), accepted, NOW_S)
        assert found.key_id == by.key_id


def test_a_session_token_has_to_be_that_of_the_key() -> None:
    borrowed = replace(EXAMPLE, token="the token")
    target = target_of(signed(by=borrowed).url)
    assert verified(target, by=borrowed).parameters == {}
    for by in (EXAMPLE, replace(EXAMPLE, token="another")):
        assert refused(target, by=by).element is Element.SESSION
    assert refused(PLAIN, by=borrowed).element is Element.SESSION


def test_a_signed_length_is_the_length_that_has_to_come() -> None:
    target = target_of(signed(headers={"content-length": "21"}).url)
    assert verified(target, headers={"Content-Length": "21"}).parameters == {}
    assert refused(target, headers={"Content-Length": "22"}).s3_code == "SignatureDoesNotMatch"
    absent = refused(target)
    assert (absent.s3_code, absent.element) == ("SignatureDoesNotMatch", Element.HEADERS)


@pytest.mark.parametrize("word", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "z" * 64, "0" * 63, "unsigned-payload"])
def test_a_payload_word_that_we_do_not_do_is_refused_even_when_it_is_signed(word: str) -> None:
    sent = signed_headers(EXAMPLE, LOCAL, "PUT", "/k", region=REGION, now_s=NOW_S, payload=word)
    with pytest.raises(SignatureMalformed) as caught:
        verify_header(Received("PUT", "/k", sent), _accepted(), NOW_S)
    assert caught.value.element is Element.PAYLOAD


def _accepted() -> Accepted:
    return Accepted({EXAMPLE.key_id: EXAMPLE}, ["127.0.0.1:9000"], REGION)


def in_header(**more: str) -> dict[str, str]:
    sent = signed_headers(
        *(EXAMPLE, LOCAL, "PUT", "/k", {"a": "b"}), region=REGION, now_s=NOW_S, payload=BODY_SHA256, headers=more
    )
    return {name.title(): value for name, value in sent.items()}


def test_a_request_signed_in_its_header_is_believed_for_a_quarter_of_an_hour_either_way() -> None:
    for skew_s in (-900, 0, 900):
        found = verify_header(Received("PUT", "/k?a=b", in_header()), _accepted(), NOW_S + skew_s)
        assert (found.path, found.parameters, found.payload_sha256) == ("/k", {"a": "b"}, BODY_SHA256)
    for skew_s, told in ((-901, "901 s ahead"), (901, "901 s behind")):
        with pytest.raises(SignatureDenied) as caught:
            verify_header(Received("PUT", "/k?a=b", in_header()), _accepted(), NOW_S + skew_s)
        assert (caught.value.s3_code, caught.value.element) == ("RequestTimeTooSkewed", Element.CLOCK)
        assert told in caught.value.reason


def _set(name: str, value: str) -> Callable[[dict[str, str]], object]:
    return lambda headers: headers.__setitem__(name, value)


BROKEN = {
    "no Authorization": lambda headers: headers.pop("Authorization"),
    "Basic": _set("Authorization", "Basic dTpw"),
    "Bearer": _set("Authorization", "Bearer abc"),
    "no fields": _set("Authorization", "AWS4-HMAC-SHA256 "),
    "a field twice": lambda headers: headers.update(Authorization=headers["Authorization"] + ", Signature=" + "0" * 64),
    "a stranger among the fields": lambda headers: headers.update(Authorization=headers["Authorization"] + ", X=1"),
    "no date": lambda headers: headers.pop("X-Amz-Date"),
    "no hash": lambda headers: headers.pop("X-Amz-Content-Sha256"),
    "a token that is not signed": _set("X-Amz-Security-Token", "t"),
    "a date of another day": _set("X-Amz-Date", "20130525T000000Z"),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_header_outside_the_grammar_is_a_400(spoil: Callable[[dict[str, str]], object]) -> None:
    headers = in_header()
    spoil(headers)
    with pytest.raises(SignatureMalformed) as caught:
        verify_header(Received("PUT", "/k?a=b", headers), _accepted(), NOW_S)
    assert caught.value.s3_code == "AuthorizationHeaderMalformed"


@pytest.mark.parametrize(
    ("method", "target", "change"),
    [
        ("GET", "/k?a=b", {}),
        ("PUT", "/j?a=b", {}),
        ("PUT", "/k?a=c", {}),
        ("PUT", "/k?a=b&c=d", {}),
        ("PUT", "/k?a=b", {"X-Amz-Content-Sha256": "0" * 64}),
        ("PUT", "/k?a=b", {"X-Amz-Meta-A": "other"}),
    ],
)
def test_a_request_signed_in_its_header_is_not_believed_when_changed(
    method: str, target: str, change: dict[str, str]
) -> None:
    headers = in_header(**{"x-amz-meta-a": "one"}) | change
    with pytest.raises(SignatureDenied) as caught:
        verify_header(Received(method, target, headers), _accepted(), NOW_S)
    assert caught.value.s3_code == "SignatureDoesNotMatch"


def test_a_presigned_url_does_not_care_about_authorization() -> None:
    for value in ("Bearer abc", "Basic dTpw", "AWS4-HMAC-SHA256 nonsense"):
        assert verified(PLAIN, headers={"Authorization": value}).path
