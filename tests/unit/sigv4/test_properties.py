"""Whatever is signed can be verified, and whatever is changed afterwards cannot (s3-sigv4 1.1, 1.2)."""

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sigv4.authorization import signed_headers
from sigv4.canonical import canonical_query, decoded, decoded_query, encoded_path
from sigv4.places import Place, place
from sigv4.presigning import Form
from sigv4.received import Received, is_plain
from sigv4.refusals import SignatureRefused
from sigv4.signing import Credentials
from sigv4.verifying import Accepted, verify_header
from tests.unit.sigv4.samples import BODY_SHA256, DATED_S, NOW_S, REGION, refused, signed, target_of, verified

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SEGMENTS = TEXTS.map(lambda text: text.replace("/", "")).filter(lambda text: text not in ("", ".", ".."))
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
NAMES = TEXTS.filter(lambda text: text != "" and not text.lower().startswith("x-amz-"))
PARAMETERS = st.dictionaries(NAMES, TEXTS, max_size=4)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])
PLACES = st.sampled_from(
    [
        place("http://127.0.0.1:9000"),
        place("https://registry.example.org"),
        place("http://[::1]:5000"),
        place("https://s3.example.org", "layers"),
    ]
)
CREDENTIALS = st.builds(
    Credentials,
    st.text("ABCabc019/-", min_size=1, max_size=12).filter(lambda key: key.strip("/") == key),
    TEXTS,
    st.none() | st.text("ab/+=", min_size=1, max_size=9),
)
FORMS = st.sampled_from([Form.PLAIN, Form.PLAIN_SAID, Form.HASH_IN_HEADER, Form.HASH])


def one(form: Form, **more: Any) -> tuple[str, dict[str, str]]:
    """A target and the headers to send with it."""
    payload = BODY_SHA256 if form in (Form.HASH_IN_HEADER, Form.HASH) else None
    made = signed(form=form, payload_sha256=payload, **more)
    return target_of(made.url), dict(made.headers)


@settings(deadline=None)
@given(METHODS, PATHS, PARAMETERS, PLACES, CREDENTIALS, FORMS)
def test_what_is_signed_can_be_verified(
    method: str, path: str, parameters: dict[str, str], where: Place, by: Credentials, form: Form
) -> None:
    target, headers = one(form, method=method, path=path, parameters=parameters, where=where, by=by)
    found = verified(target, method, headers, hosts=(where.authority,), by=by)
    assert found.path == decoded(where.prefix) + path
    assert found.parameters == parameters
    assert (found.payload_sha256 is not None) == (form in (Form.HASH_IN_HEADER, Form.HASH))


@settings(deadline=None)
@given(METHODS, PATHS, PARAMETERS, PLACES, CREDENTIALS)
def test_what_is_signed_in_a_header_can_be_verified(
    method: str, path: str, parameters: dict[str, str], where: Place, by: Credentials
) -> None:
    sent = signed_headers(
        *(by, where, method, path, parameters), region=REGION, now_s=NOW_S, payload=BODY_SHA256, headers={"Range": "x"}
    )
    target = f"{where.prefix}{encoded_path(path)}?{canonical_query(parameters.items())}"
    accepted = Accepted({by.key_id: by}, [where.authority], REGION)
    found = verify_header(Received(method, target, sent), accepted, DATED_S)
    assert (found.path, found.parameters) == (decoded(where.prefix) + path, parameters)


def meaning(target: str) -> tuple[str, list[tuple[str, str]]] | None:
    """What a target asks for, however it is spelled; None when that cannot be told."""
    path, _, query = target.partition("?")
    try:
        return decoded(path), sorted(decoded_query(query))
    except ValueError:
        return None


@settings(deadline=None, max_examples=300)
@given(PATHS, PARAMETERS, FORMS, st.data())
def test_a_target_with_any_character_changed_is_refused(
    path: str, parameters: dict[str, str], form: Form, data: st.DataObject
) -> None:
    """Path, arguments, and signature alike; a change of spelling only, `%3a` for `%3A`, changes nothing."""
    target, headers = one(form, path=path, parameters=parameters)
    index = data.draw(st.integers(0, len(target) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    changed = target[:index] + other + target[index + 1 :]
    assume(meaning(changed) != meaning(target))
    with pytest.raises(SignatureRefused):
        verified(changed, headers=headers)


@settings(deadline=None)
@given(PATHS, PARAMETERS, FORMS, st.data())
def test_a_target_with_a_piece_taken_out_or_put_in_is_refused(
    path: str, parameters: dict[str, str], form: Form, data: st.DataObject
) -> None:
    target, headers = one(form, path=path, parameters=parameters)
    start = data.draw(st.integers(0, len(target)))
    stop = data.draw(st.integers(start, len(target)))
    changed = target[:start] + data.draw(st.text("aA1%&=?/+.", max_size=4)) + target[stop:]
    assume(meaning(changed) != meaning(target))
    with pytest.raises(SignatureRefused):
        verified(changed, headers=headers)


@settings(deadline=None)
@given(st.integers(0, 63), st.integers(1, 15))
def test_a_signature_with_any_bit_flipped_is_refused(position: int, flip: int) -> None:
    target, _ = one(Form.PLAIN)
    head, _, made = target.rpartition("=")
    digit = f"{int(made[position], 16) ^ flip:x}"
    assert refused(f"{head}={made[:position]}{digit}{made[position + 1 :]}").s3_code == "SignatureDoesNotMatch"


@settings(deadline=None)
@given(st.text("abcdefghij.-:0123456789", min_size=1, max_size=20), METHODS, st.text("0123456789abcdef", min_size=64))
def test_another_host_method_or_signed_header_is_refused(host: str, method: str, header: str) -> None:
    target, headers = one(Form.HASH_IN_HEADER, headers={"x-amz-meta-a": "b"})
    assert verified(target, headers=headers).payload_sha256 == BODY_SHA256
    assume(host != "127.0.0.1:9000" and method != "PUT" and header != BODY_SHA256)
    assert refused(target, headers=headers, hosts=(host,)).s3_code == "SignatureDoesNotMatch"
    assert refused(target, method, headers=headers).s3_code == "SignatureDoesNotMatch"
    assert refused(target, headers=headers | {"x-amz-content-sha256": header}).s3_code == "SignatureDoesNotMatch"
    assert refused(target, headers=headers | {"x-amz-meta-a": header}).s3_code == "SignatureDoesNotMatch"


@settings(deadline=None)
@given(st.integers(1, 604_800), st.floats(-2000, 700_000))
def test_it_is_good_exactly_between_its_edges(lifetime_s: int, later_s: float) -> None:
    """M10: from 15 minutes before its date until its end."""
    made = signed(lifetime_s=lifetime_s)
    now_s = DATED_S + later_s
    if DATED_S - 900 <= now_s < made.expires_at_s:
        assert verified(target_of(made.url), now_s=now_s).expires_at_s == made.expires_at_s
    else:
        assert refused(target_of(made.url), now_s=now_s).s3_code == "AccessDenied"


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60), st.text(max_size=60))
def test_no_target_whatsoever_is_more_than_refused(path: str, query: str) -> None:
    for target in (f"{path}?{query}", f"/{path}?{query}&{target_of(signed().url).partition('?')[2]}"):
        with pytest.raises(SignatureRefused):
            verified(target)


@given(PATHS)
def test_encoding_a_path_is_undone_by_decoding_and_survives_every_client(path: str) -> None:
    assert decoded(encoded_path(path)) == path == unquote(encoded_path(path))
    assert is_plain(path)
    assert urlsplit(f"http://h{encoded_path(path)}").path == encoded_path(path)
    assert encoded_path(path).isascii()


@given(st.dictionaries(NAMES, TEXTS, max_size=5))
def test_a_canonical_query_is_read_back_as_it_was(parameters: dict[str, str]) -> None:
    assert dict(decoded_query(canonical_query(parameters.items()))) == parameters
