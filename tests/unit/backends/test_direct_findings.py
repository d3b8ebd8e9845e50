"""What was found of a store, in values and in words: when clients are sent there, and what the log hears of it."""

from dataclasses import replace
from typing import Any

import pytest

from backends.s3.addresses import barred, is_loopback
from backends.s3.findings import SLOW_S, Aspect, Findings, Step, ahead, news, not_yet
from backends.s3.naming import name_of, swift_version
from backends.s3.settings import StoreSettings
from sigv4.presigning import Form

ELSEWHERE = StoreSettings(bucket="images", endpoint="http://10.0.0.5:9000")
HERE = StoreSettings(bucket="images", endpoint="http://127.0.0.1:9000")


def found(**more: Any) -> Findings:
    """All is well with the store, but for `more`."""
    well: dict[str, Any] = {
        "when_s": 1.0,
        "reachable": True,
        "plain": True,
        "hashed": Form.HASH,
        "checks_hashes": True,
        "family": "header or minio",
        "external": "reached at http://10.0.0.5:9000",
        "multipart": True,
        "copy": True,
        "skew_s": 0.0,
        "server": "MinIO",
    }
    return Findings(**(well | more))


def test_clients_are_sent_there_when_plain_urls_and_multipart_work() -> None:
    """H041, H042: no more is needed; a store that checks no hashes does as well."""
    for more in ({}, {"hashed": None, "checks_hashes": False}, {"copy": False}):
        assert (found(**more).native, found(**more).why_not) == (True, "")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"reachable": False, "trouble": "nobody answers"}, "cannot be used: nobody answers"),
        ({"multipart": False}, "multipart"),
        ({"plain": False, "external": "signed URLs for https://s3.example.org do not work: DNS"}, "DNS"),
        ({"barred": "DISABLE_PRESIGNED_URLS is set"}, "DISABLE_PRESIGNED_URLS"),
    ],
)
def test_why_they_are_not_is_said(more: dict[str, Any], why: str) -> None:
    """H047: each reason to fall back is one that a person reads."""
    assert not found(**more).native
    assert why in found(**more).why_not


def test_what_the_operator_decided_is_the_reason_also_when_the_store_is_dead() -> None:
    """H045."""
    assert found(barred="DISABLE_PRESIGNED_URLS is set", reachable=False).why_not == "DISABLE_PRESIGNED_URLS is set"


def test_the_switch_bars_the_way_whatever_the_addresses() -> None:
    """H044."""
    for settings in (HERE, ELSEWHERE, replace(ELSEWHERE, external_endpoint="https://s3.example.org")):
        assert barred(replace(settings, direct=False)) == "DISABLE_PRESIGNED_URLS is set"


def test_a_store_on_this_machine_is_no_address_for_clients_from_others() -> None:
    """G07: unless the operator said so, who may have reasons."""
    assert barred(HERE) == ""
    assert "S3_EXTERNAL_ENDPOINT" in barred(replace(HERE, listens_beyond=True))
    assert barred(replace(ELSEWHERE, listens_beyond=True)) == ""
    said = replace(HERE, listens_beyond=True, external_endpoint="http://127.0.0.1:9000")
    assert barred(said) == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:9000", True),
        ("http://minio.localhost", True),
        ("http://127.8.8.8", True),
        ("https://[::1]:9000", True),
        ("http://10.0.0.5", False),
        ("https://localhost.example.org", False),
        ("https://s3.example.org", False),
    ],
)
def test_a_loopback_address_is_known_as_one(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_the_log_hears_which_store_it_is_and_where_clients_are_sent() -> None:
    """G12, H046."""
    lines = found().lines()
    assert lines[0] == "the store is MinIO"
    assert "clients send parts straight to it (reached at http://10.0.0.5:9000" in lines[1]
    assert "it checks payload hashes" in lines[1]
    assert "does not check" in found(hashed=Form.HEADER_UNHASHED, checks_hashes=False).lines()[1]


def test_of_a_dead_store_it_hears_that_and_nothing_else() -> None:
    assert found(reachable=False, trouble="nobody answers").lines() == ["the store cannot be used: nobody answers"]


def test_what_does_not_work_is_said_with_what_is_done_instead() -> None:
    missing = Step(Aspect.COPY_PARTS, works=False)
    lines = found(steps=(missing, Step(Aspect.READ, works=True), Step(Aspect.COPY_SHA256, works=False))).lines()
    assert [line for line in lines if "5 GiB" in line] == ["copy by parts: no; nothing above 5 GiB can be settled"]
    assert not any("SHA-256" in line for line in lines), "what has its own way around is no news"


def test_clocks_that_drift_apart_are_said_before_the_store_refuses() -> None:
    assert not any("clock" in line for line in found(skew_s=20.0).lines())
    assert found(skew_s=-400.0).lines()[-1] == "the store's clock is 7 min behind ours: set one of the two right"


def test_the_same_finding_is_no_news() -> None:
    """H046: a change is said once."""
    assert news(None, found()) == found().lines()
    assert news(found(when_s=1.0), found(when_s=99.0, steps=(Step(Aspect.READ, works=True, took_s=0.4),))) == []
    dead = found(reachable=False, trouble="nobody answers")
    assert news(found(), dead) == ["the store cannot be used: nobody answers"]
    assert len(news(dead, found())) == 2


def test_before_the_first_look_nothing_is_promised() -> None:
    first = not_yet("")
    assert (first.native, first.reachable, first.hashed, first.checks_hashes) == (False, False, None, False)


def test_only_what_works_can_be_slow() -> None:
    assert Step(Aspect.READ, works=True, took_s=SLOW_S + 0.1).slow
    assert not Step(Aspect.READ, works=True, took_s=SLOW_S).slow
    assert not Step(Aspect.READ, works=False, took_s=9.0).slow
    assert not Step(Aspect.MULTIPART, works=True, took_s=4 * SLOW_S).slow, "that is five requests"


@pytest.mark.parametrize(("skew_s", "told"), [(3.4, "3 s ahead of ours"), (-900.0, "15 min behind ours")])
def test_a_skew_is_told_in_the_units_of_a_person(skew_s: float, told: str) -> None:
    assert ahead(skew_s) == told


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"server": "MinIO"}, "MinIO"),
        ({"server": "AmazonS3"}, "AmazonS3"),
        ({"server": "SeaweedFS 3.97"}, "SeaweedFS 3.97"),
        ({"x-openstack-request-id": "tx1", "x-amz-id-2": "tx1"}, "OpenStack Swift"),
        ({"server": "nginx/1.22.1", "x-trans-id": "tx1"}, "OpenStack Swift, behind nginx/1.22.1"),
        ({"server": "nginx"}, "nginx"),
        ({"x-amz-request-id": "tx000004d7dbae0bcfa3c79-006b01d5ff-100f-default"}, "Ceph RGW"),
        ({"x-amz-request-id": "tx74f011b4961540b99f8a5-006b01d29b", "x-trans-id": "tx74"}, "OpenStack Swift"),
        ({"server": "Min\x1b[31mIO"}, "Min[31mIO"),
        ({}, ""),
    ],
)
def test_a_store_is_named_by_its_own_word_or_by_its_habits(headers: dict[str, str], name: str) -> None:
    """G12. What it says goes to a terminal, so it is written without what a terminal obeys."""
    assert name_of(headers) == name


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b'{"swift": {"version": "2.38.3"}}', "2.38.3"),
        (b'{"swift": {}}', ""),
        (b"[]", ""),
        (b"<html>", ""),
        (b'{"swift": {"version": 3}}', ""),
    ],
)
def test_swift_tells_its_version_where_anybody_may_ask(body: bytes, version: str) -> None:
    assert swift_version(body) == version
