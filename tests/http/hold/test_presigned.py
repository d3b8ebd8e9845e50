"""URLs for whole blobs: put, get and head, with signatures and without."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.http.hold.client import BEARER, FROM_AFAR, TEMP, TOKEN, Hold, Json, error_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import digest_of, noise

CONTENT = noise(70_000, "whole")
DIGEST = digest_of(CONTENT)
WAYS = ["get", "head"]


async def url_of(hold: Hold, way: str, digest: str = DIGEST, **more: object) -> Json:
    """What a call for a URL answers."""
    answer = await hold.post(f"/{way}-presigned-url", {"did": "did:plc:tester", "digest": digest, **more})
    assert answer.status == 200, answer.body
    said: Json = answer.json()
    return said


async def test_an_old_client_puts_a_whole_blob_by_one_url(hold: Hold) -> None:
    """H031, H032, H155."""
    said = await url_of(hold, "put", repository="lab/app")
    assert (said["method"], said["headers"]) == ("PUT", {})
    assert (await hold.put(said["url"], CONTENT)).status == 200
    assert (await hold.oci.blob("lab/app", DIGEST)).body == CONTENT


async def test_a_whole_blob_may_be_put_under_a_temporary_name_and_moved(hold: Hold) -> None:
    """H030, H031, H075, H078."""
    said = await url_of(hold, "put", TEMP)
    assert (await hold.put(said["url"], CONTENT)).status == 200
    assert (await hold.blob(DIGEST)).status == 404
    assert (await hold.move(TEMP, DIGEST)).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT


async def test_what_was_put_by_a_url_is_moved_by_who_asked_for_the_url(opened: Open) -> None:
    """H030, H031, H152: whoever sends the bytes, and nobody else."""
    hold = await opened(hold_token=TOKEN)
    trusted = hold.as_caller(BEARER)
    whole = (await url_of(trusted, "put", DIGEST))["url"]
    url = (await url_of(trusted, "put", TEMP))["url"]
    assert parse_qs(urlsplit(whole).query)["owner"] == parse_qs(urlsplit(url).query)["owner"] == ["hold"]
    assert (await hold.put(url, CONTENT, FROM_AFAR)).status == 200
    assert error_of(await hold.move(TEMP, DIGEST)) == (401, "AuthRequired")
    assert (await trusted.move(TEMP, DIGEST)).status == 200
    assert (await trusted.blob(DIGEST)).body == CONTENT


async def test_a_second_put_under_the_same_temporary_name_takes_the_place_of_the_first(hold: Hold) -> None:
    """H031, H068."""
    for content in (b"first", CONTENT):
        assert (await hold.put((await url_of(hold, "put", TEMP))["url"], content)).status == 200
    assert (await hold.move(TEMP, DIGEST)).status == 200
    assert hold.oci.spooled() == []


async def test_a_put_of_other_bytes_than_the_digests_is_refused(hold: Hold) -> None:
    """H080, T10."""
    said = await url_of(hold, "put")
    assert (await hold.put(said["url"], b"other bytes")).status == 400
    assert (await hold.blob(DIGEST)).status == 404
    assert hold.oci.spooled() == []


async def test_a_put_whose_hash_was_announced_carries_it(hold: Hold) -> None:
    """M09."""
    sha256 = DIGEST.removeprefix("sha256:")
    said = await url_of(hold, "put", TEMP, sha256=sha256)
    assert [value for name, value in said["headers"].items() if name.lower() == "x-amz-content-sha256"] == [sha256]
    assert (await hold.put(said["url"], CONTENT)).status in (400, 403)
    assert (await hold.put(said["url"], CONTENT, said["headers"])).status == 200


@pytest.mark.parametrize("way", WAYS)
async def test_a_blob_is_read_by_a_url_alone(hold: Hold, way: str) -> None:
    """H032: for a day, with no authority beside it."""
    await hold.oci.push("lab/app", CONTENT)
    said = await url_of(hold, way, repository="lab/app")
    method = way.upper()
    assert said["method"] == method
    answer = await hold.put(said["url"], None, method=method)
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
    assert answer.body == (CONTENT if way == "get" else b"")
    lifetime = parse_qs(urlsplit(said["url"]).query)["X-Amz-Expires"]
    assert 24 * 3600 <= int(lifetime[0]) <= 24 * 3600 + 60


async def test_ranges_come_by_the_url_as_well(hold: Hold) -> None:
    await hold.oci.push("lab/app", CONTENT)
    url = (await url_of(hold, "get"))["url"]
    answer = await hold.put(url, None, {"Range": "bytes=10-19"}, "GET")
    assert (answer.status, answer.body) == (206, CONTENT[10:20])
    assert (await hold.put(url, None, {"Range": "bytes=99999999-"}, "GET")).status == 416


async def test_a_url_to_read_is_not_one_to_ask_the_size_by_nor_to_write(hold: Hold) -> None:
    """H032: signed apart, as with S3."""
    await hold.oci.push("lab/app", CONTENT)
    url = (await url_of(hold, "get"))["url"]
    assert (await hold.put(url, None, method="HEAD")).status == 403
    assert (await hold.put(url, CONTENT)).status == 403
    assert (await hold.put((await url_of(hold, "head"))["url"], None, method="GET")).status == 403


@pytest.mark.parametrize("way", WAYS)
async def test_a_blob_that_is_not_there_has_no_url_and_is_no_fault(
    hold: Hold, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """H140: clients ask before they push; nothing of it looks like an error."""
    for more in ({}, {"repository": "lab/app"}):
        answer = await hold.post(f"/{way}-presigned-url", {"digest": DIGEST, **more})
        assert error_of(answer) in ((404, "BlobNotFound"), (404, "RepoNotFound"))
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("way", [*WAYS, "put"])
@pytest.mark.parametrize("digest", ["../../etc/passwd", "sha256:", "", None, 7, "uploads/temp-a/../b"])
async def test_a_url_for_anything_else_is_refused(hold: Hold, way: str, digest: object) -> None:
    """H076."""
    assert error_of(await hold.post(f"/{way}-presigned-url", {"digest": digest})) == (400, "InvalidDigest")


@pytest.mark.parametrize("way", WAYS)
async def test_what_has_a_temporary_name_cannot_be_read(hold: Hold, way: str) -> None:
    """H110."""
    assert (await hold.put((await url_of(hold, "put", TEMP))["url"], CONTENT)).status == 200
    assert error_of(await hold.post(f"/{way}-presigned-url", {"digest": TEMP})) == (404, "BlobNotFound")


async def test_without_signatures_a_blob_is_read_by_a_plain_url(opened: Open) -> None:
    """H044, H045, H123."""
    hold = await opened(disable_presigned_urls="on")
    await hold.oci.push("lab/app", CONTENT)
    for way in WAYS:
        said = await url_of(hold, way)
        assert "X-Amz" not in said["url"]
        answer = await hold.put(said["url"], None, method=way.upper())
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))


async def test_without_signatures_a_whole_blob_cannot_be_put_and_the_answer_says_why(opened: Open) -> None:
    """H044, H045, H051."""
    hold = await opened(disable_presigned_urls="on")
    answer = await hold.post("/put-presigned-url", {"digest": DIGEST})
    assert error_of(answer) == (405, "MethodNotSupported")
    assert "disable_presigned_urls" in answer.json()["message"]
