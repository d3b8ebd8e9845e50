"""What a presigned URL says: its times, its host, its arguments, and what it refuses to say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sigv4.places import Place, Style, place
from sigv4.presigning import BACK_DATED_S, LONGEST_S, Form
from sigv4.signing import Credentials, Scope, seconds, signing_key, timestamp
from tests.unit.sigv4.samples import BODY_SHA256, EXAMPLE, LOCAL, NOW_S, REGION, signed


def arguments(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def test_it_is_dated_half_a_minute_back_and_lives_that_much_longer() -> None:
    """M10: whole seconds, as text."""
    made = signed(now_s=NOW_S + 0.9, lifetime_s=900)
    assert arguments(made.url)["X-Amz-Date"] == timestamp(NOW_S - BACK_DATED_S)
    assert arguments(made.url)["X-Amz-Expires"] == "930"
    assert made.expires_at_s == NOW_S + 900


@pytest.mark.parametrize(
    ("lifetime_s", "said"), [(1, "31"), (604_770, "604800"), (604_771, "604800"), (604_800, "604800")]
)
def test_it_never_says_more_than_seven_days(lifetime_s: int, said: str) -> None:
    made = signed(lifetime_s=lifetime_s)
    assert arguments(made.url)["X-Amz-Expires"] == said
    assert made.expires_at_s == NOW_S - BACK_DATED_S + int(said)


def test_the_date_stays_inside_the_day_of_the_scope_around_midnight() -> None:
    midnight_s = seconds("20261122T000000Z")
    for past_s, day in ((0, "20261121"), (29, "20261121"), (30, "20261122")):
        said = arguments(signed(now_s=midnight_s + past_s).url)
        assert said["X-Amz-Date"][:8] == day
        assert said["X-Amz-Credential"].split("/")[1] == day


@pytest.mark.parametrize("lifetime_s", [0, -1, LONGEST_S + 1, 1.5, True, "900"])
def test_a_lifetime_that_is_not_1_to_604800_whole_seconds_is_refused(lifetime_s: Any) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        signed(lifetime_s=lifetime_s)


def test_it_does_not_outlive_borrowed_credentials() -> None:
    borrowed = Credentials("ID", "secret", "token", expires_at_s=NOW_S + 100.7)
    made = signed(by=borrowed, lifetime_s=900)
    assert made.expires_at_s == NOW_S + 100
    assert arguments(made.url)["X-Amz-Security-Token"] == "token"
    with pytest.raises(ValueError, match="ended"):
        signed(by=replace(borrowed, expires_at_s=NOW_S + 0.5), lifetime_s=900)


def test_the_same_key_signs_for_the_inner_and_for_the_outer_host() -> None:
    """M11: only the host differs, and with it the signature; no connection is needed for either."""
    inner, outer = (place(f"http://{host}", "layers") for host in ("minio:9000", "data.example.org"))
    one, other = signed(where=inner, path="/k"), signed(where=outer, path="/k")
    assert one.url.startswith("http://minio:9000/layers/k?")
    assert other.url.startswith("http://data.example.org/layers/k?")
    without = [{k: v for k, v in arguments(each.url).items() if k != "X-Amz-Signature"} for each in (one, other)]
    assert without[0] == without[1]
    assert arguments(one.url)["X-Amz-Signature"] != arguments(other.url)["X-Amz-Signature"]


@pytest.mark.parametrize(
    ("base_url", "authority"),
    [
        ("http://example.org", "example.org"),
        ("http://example.org:80", "example.org"),
        ("http://example.org:443", "example.org:443"),
        ("https://example.org:443/", "example.org"),
        ("https://example.org:80", "example.org:80"),
        ("https://Example.ORG:5000", "example.org:5000"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("https://[2001:DB8::1]:443", "[2001:db8::1]"),
    ],
)
def test_the_host_has_its_port_unless_it_is_the_schemes_own(base_url: str, authority: str) -> None:
    assert place(base_url).authority == authority


def test_a_bucket_is_named_in_the_path_or_in_the_host() -> None:
    """M12: path style unless something else is asked for."""
    by_path, by_host = place("https://s3.example.org", "b"), place("https://s3.example.org", "b", Style.VIRTUAL)
    assert (by_path.authority, by_path.prefix) == ("s3.example.org", "/b")
    assert (by_host.authority, by_host.prefix) == ("b.s3.example.org", "")


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "example.org",
        "ftp://h",
        "http://",
        "http://u:p@h",
        "http://h/path",
        "http://h?q=1",
        "http://h#f",
        "http://hé",
        "http://h:port",
        "http://h:70000",
    ],
)
def test_a_base_url_is_scheme_host_and_port(base_url: str) -> None:
    with pytest.raises(ValueError):
        place(base_url)


def test_an_address_has_no_virtual_hosts() -> None:
    with pytest.raises(ValueError, match="no virtual hosts"):
        place("http://[::1]:9000", "b", Style.VIRTUAL)
    with pytest.raises(ValueError, match="lower-case"):
        Place("http", "Example.org")


FORMS: dict[Form, tuple[Mapping[str, str], str | None, str]] = {
    Form.PLAIN: ({}, None, "host"),
    Form.PLAIN_SAID: ({}, "UNSIGNED-PAYLOAD", "host"),
    Form.HASH_IN_HEADER: ({"x-amz-content-sha256": BODY_SHA256}, None, "host;x-amz-content-sha256"),
    Form.HASH: ({"x-amz-content-sha256": BODY_SHA256}, BODY_SHA256, "host;x-amz-content-sha256"),
    Form.HEADER_UNHASHED: ({"x-amz-content-sha256": BODY_SHA256}, None, "host;x-amz-content-sha256"),
}


@pytest.mark.parametrize("form", Form)
def test_each_form_says_what_the_client_must_send(form: Form) -> None:
    """M09: a client that sends the hash needs the header among the signed ones."""
    headers, argument, names = FORMS[form]
    made = signed(form=form, payload_sha256=headers.get("x-amz-content-sha256"))
    assert made.headers == headers
    assert arguments(made.url).get("X-Amz-Content-Sha256") == argument
    assert arguments(made.url)["X-Amz-SignedHeaders"] == names


def test_further_headers_are_signed_as_they_have_to_be_sent() -> None:
    made = signed(headers={"Content-Length": "21", "X-Amz-Meta-A": "  b   c "})
    assert made.headers == {"content-length": "21", "x-amz-meta-a": "b c"}
    assert arguments(made.url)["X-Amz-SignedHeaders"] == "content-length;host;x-amz-meta-a"


@pytest.mark.parametrize(
    "more",
    [
        {"form": Form.HASH},
        {"form": Form.HASH, "payload_sha256": BODY_SHA256.upper()},
        {"form": Form.HASH_IN_HEADER, "payload_sha256": "UNSIGNED-PAYLOAD"},
        {"form": Form.HEADER_UNHASHED, "payload_sha256": ""},
        {"form": Form.PLAIN, "payload_sha256": BODY_SHA256},
        {"form": Form.PLAIN_SAID, "payload_sha256": BODY_SHA256},
        {"headers": {"Host": "elsewhere"}},
        {"parameters": {"X-Amz-Expires": "1"}},
        {"parameters": {"x-amz-signature": "1"}},
        {"path": "no/slash"},
        {"path": "/half \ud800"},
    ],
)
def test_what_cannot_be_signed_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        signed(**more)


def test_signing_keys_are_kept_and_few() -> None:
    signing_key.cache_clear()
    for day in range(200):
        signing_key("secret", Scope(f"{20260000 + day}", REGION))
    assert signing_key.cache_info().currsize == signing_key.cache_info().maxsize == 64
    signed()
    before = signing_key.cache_info().hits
    signed()
    assert signing_key.cache_info().hits == before + 1


def test_credentials_do_not_show_what_is_secret() -> None:
    shown = repr(Credentials("ID", "the secret", "the token"))
    assert "ID" in shown
    assert "the secret" not in shown and "the token" not in shown


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "20261121",
        "20261121T120000",
        "2026-11-21T12:00:00Z",
        "20261321T120000Z",
        "20260230T000000Z",
        "20261121T240000Z",
        "20261121T126000Z",
        "20261121T120060Z",
        "٢٠261121T120000Z",
        "20261121T120000Z\n",
        "00000101T000000Z",
    ],
)
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    with pytest.raises(ValueError):
        seconds(stamp)


def test_a_time_means_what_it_says() -> None:
    assert timestamp(seconds("20280229T235959Z")) == "20280229T235959Z"
    assert seconds("19700101T000001Z") == 1


def test_the_url_is_the_canonical_encoding_of_what_was_signed() -> None:
    made = signed("GET", "/a b/c+d/~é:", {"z": "/=&+ ", "a": "", "Z": "1"}, where=LOCAL)
    assert urlsplit(made.url).path == "/a%20b/c%2Bd/~%C3%A9%3A"
    assert "&Z=1&a=&z=%2F%3D%26%2B%20&X-Amz-Signature=" in made.url
    assert EXAMPLE.secret not in made.url
