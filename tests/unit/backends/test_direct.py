"""URLs of the store for clients: for which host, in which form, with which headers, and when none are made at all."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backends.base import Direct
from backends.s3.direct import DirectUrls
from backends.s3.families import LITERAL, NONE, PLAIN_ONLY, QUERY, Forms, family, form_with_hash
from backends.s3.settings import StoreSettings
from model.clock import Clock
from model.errors import StorageFailed
from sigv4.places import Style
from sigv4.presigning import Form, Presigned
from sigv4.signing import Credentials
from tests.unit.sigv4.samples import BODY_SHA256, EXAMPLE, NOW_S, REGION, verified

INSIDE = StoreSettings(bucket="images", endpoint="http://10.0.0.5:9000", region=REGION)
BOTH = replace(INSIDE, external_endpoint="https://s3.example.org")
KEY = "holdfast/uploads/u1/t1"


class Noon(Clock):
    """A clock that stands at the moment of AWS's examples."""

    def now_s(self) -> float:
        return NOW_S

    def monotonic_s(self) -> float:
        return 0.0


def urls(settings: StoreSettings = BOTH, *, by: Credentials = EXAMPLE, **found: Any) -> DirectUrls:
    made = DirectUrls(settings, Noon(), lambda: by)
    made.found = replace(made.found, **found)
    return made


def part(made: DirectUrls, *, sha256: str | None = None, lifetime_s: int = 900) -> Presigned:
    return made.part_url(KEY, "up/load+id=", 7, sha256=sha256, lifetime_s=lifetime_s)


def arguments(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def taken(made: Presigned, method: str, host: str, headers: Mapping[str, str]) -> str | None:
    """The hash that a store of that host asks of the body, None where it is open; it refuses what is not signed so."""
    parts = urlsplit(made.url)
    return verified(f"{parts.path}?{parts.query}", method, headers, hosts=(host,)).payload_sha256


def test_the_class_has_the_ability() -> None:
    assert isinstance(urls(), Direct)


def test_a_url_is_signed_for_the_host_that_clients_know_and_not_for_ours() -> None:
    """M11, G07: the internal address is in no URL, and no connection is made to sign for the other."""
    made = part(urls())
    assert made.url.startswith(f"https://s3.example.org/images/{KEY}?")
    assert taken(made, "PUT", "s3.example.org", {}) is None


def test_without_an_external_address_clients_get_the_one_that_we_use() -> None:
    """G07: both can be one."""
    assert part(urls(INSIDE)).url.startswith(f"http://10.0.0.5:9000/images/{KEY}?")


def test_aws_needs_no_address_at_all() -> None:
    made = part(urls(replace(INSIDE, endpoint="", region="eu-central-1")))
    assert urlsplit(made.url).netloc == "s3.eu-central-1.amazonaws.com"


def test_in_virtual_style_the_bucket_stands_before_the_host() -> None:
    """M12 has path style as the usual one."""
    made = part(urls(replace(BOTH, style=Style.VIRTUAL)))
    assert made.url.startswith(f"https://images.s3.example.org/{KEY}?")
    assert taken(made, "PUT", "images.s3.example.org", {}) is None


def test_the_prefix_stands_before_the_key() -> None:
    """H124."""
    assert urlsplit(part(urls(replace(BOTH, prefix="lab/one"))).url).path == f"/images/lab/one/{KEY}"


def test_a_part_url_names_part_and_upload_and_lives_as_long_as_it_should() -> None:
    """G08, H098."""
    made = part(urls(), lifetime_s=900)
    said = arguments(made.url)
    assert (said["partNumber"], said["uploadId"]) == ("7", "up/load+id=")
    assert made.expires_at_s == NOW_S + 900


def test_who_announces_no_hash_gets_a_plain_url_whatever_the_store_can_do() -> None:
    for hashed in (Form.HASH, Form.HEADER_UNHASHED, None):
        made = part(urls(hashed=hashed))
        assert made.headers == {}
        assert "X-Amz-Content-Sha256" not in arguments(made.url)


def test_who_announces_a_hash_gets_it_signed_where_the_store_takes_that() -> None:
    """Form C: as a header that must be sent, and as an argument (s3-sigv4 1.6)."""
    made = part(urls(hashed=Form.HASH), sha256=BODY_SHA256)
    assert made.headers == {"x-amz-content-sha256": BODY_SHA256}
    assert arguments(made.url)["X-Amz-Content-Sha256"] == BODY_SHA256
    assert taken(made, "PUT", "s3.example.org", made.headers) == BODY_SHA256


def test_a_literal_store_gets_the_header_signed_and_the_payload_open() -> None:
    """Form G: the client may send its hash, and the store does not look at it."""
    made = part(urls(hashed=Form.HEADER_UNHASHED), sha256=BODY_SHA256)
    assert made.headers == {"x-amz-content-sha256": BODY_SHA256}
    assert "X-Amz-Content-Sha256" not in arguments(made.url)
    assert arguments(made.url)["X-Amz-SignedHeaders"] == "host;x-amz-content-sha256"


def test_where_no_form_takes_a_hash_the_client_is_told_to_send_none() -> None:
    assert part(urls(hashed=None), sha256=BODY_SHA256).headers == {}


def test_a_link_is_good_for_its_method_and_decides_the_headers_of_the_answer() -> None:
    made = urls().link("GET", KEY, lifetime_s=60, answer_headers={"Content-Type": "a/b", "Cache-Control": "private"})
    said = arguments(made.url)
    assert (said["response-content-type"], said["response-cache-control"]) == ("a/b", "private")
    assert taken(made, "GET", "s3.example.org", {}) is None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "get"])
def test_links_are_for_reading_only(method: str) -> None:
    with pytest.raises(ValueError, match="no links"):
        urls().link(method, KEY, lifetime_s=60)


def test_a_link_does_not_promise_a_header_that_no_store_can_be_told() -> None:
    with pytest.raises(ValueError, match="X-Frame-Options"):
        urls().link("GET", KEY, lifetime_s=60, answer_headers={"X-Frame-Options": "DENY"})


def test_credentials_that_have_ended_are_the_stores_trouble_and_not_a_mistake() -> None:
    """H047: a presigning call that errors is a reason to go on buffered, so it must be one that can be caught."""
    with pytest.raises(StorageFailed, match="ended"):
        part(urls(by=replace(EXAMPLE, expires_at_s=NOW_S + 0.5)))


def test_a_url_dies_with_the_credentials_it_was_made_by() -> None:
    assert part(urls(by=replace(EXAMPLE, expires_at_s=NOW_S + 100))).expires_at_s == NOW_S + 100


def test_the_pair_that_works_now_signs() -> None:
    """G04: a rotation takes effect with the next URL."""
    pairs = [Credentials("OLD", "old"), Credentials("NEW", "new")]
    made = DirectUrls(BOTH, Noon(), lambda: pairs[-1])
    assert arguments(part(made).url)["X-Amz-Credential"].startswith("NEW/")
    pairs.pop()
    assert arguments(part(made).url)["X-Amz-Credential"].startswith("OLD/")


def test_before_the_first_look_nobody_is_sent_to_the_store() -> None:
    made = DirectUrls(BOTH, Noon(), lambda: EXAMPLE)
    assert (made.native, made.checks_hashes) == (False, False)
    assert "not asked yet" in made.why_not_native


def test_what_was_found_decides() -> None:
    """H042, H046."""
    made = urls(reachable=True, multipart=True, plain=True, checks_hashes=True)
    assert (made.native, made.why_not_native, made.checks_hashes) == (True, "", True)


@pytest.mark.parametrize(
    ("forms", "named", "form"),
    [
        (Forms(plain=True, hashed=True, refuses_wrong=True), "header or minio", Form.HASH),
        (Forms(plain=True, hashed=True, refuses_wrong=True, unhashed=True), QUERY, Form.HASH),
        (Forms(plain=True, unhashed=True), LITERAL, Form.HEADER_UNHASHED),
        (Forms(plain=True), PLAIN_ONLY, None),
        (Forms(), NONE, None),
        (Forms(hashed=True, unhashed=True), NONE, None),
    ],
)
def test_a_family_is_told_by_the_forms_it_takes(forms: Forms, named: str, form: Form | None) -> None:
    """s3-sigv4 1.6."""
    assert (family(forms), form_with_hash(forms)) == (named, form)
