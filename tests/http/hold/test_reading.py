"""com.atproto.sync.getBlob: blobs by their digest, in ranges, from whichever repository the caller may read."""

import pytest

from tests.http.hold.client import BEARER, FROM_AFAR, TOKEN, Hold, error_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import ALGORITHMS, digest_of, noise

CONTENT = noise(200_000, "read")
DIGEST = digest_of(CONTENT)


async def test_a_blob_that_was_pushed_through_oci_is_read_by_its_digest(hold: Hold) -> None:
    """H032: nobody has to know the repository."""
    await hold.oci.push("lab/app", CONTENT)
    answer = await hold.blob(DIGEST)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Docker-Content-Digest"] == DIGEST
    head = await hold.blob(DIGEST, method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_it_may_have_either_algorithm(hold: Hold, algorithm: str) -> None:
    digest = await hold.oci.push("lab/app", CONTENT, algorithm)
    assert (await hold.blob(digest)).body == CONTENT


async def test_ranges_of_it_are_read(hold: Hold) -> None:
    await hold.oci.push("lab/app", CONTENT)
    answer = await hold.blob(DIGEST, headers={"Range": "bytes=100-199"})
    assert (answer.status, answer.body) == (206, CONTENT[100:200])
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(CONTENT)}"
    beyond = await hold.blob(DIGEST, headers={"Range": "bytes=999999-"})
    assert error_of(beyond) == (416, "InvalidRange")
    assert beyond.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


async def test_the_repository_may_be_named(hold: Hold) -> None:
    await hold.oci.push("lab/app", CONTENT)
    assert (await hold.blob(DIGEST, "&repository=lab/app")).body == CONTENT
    assert (await hold.blob(DIGEST, "&repository=lab/other")).status == 404
    assert error_of(await hold.blob(DIGEST, "&repository=_hold/anonymous")) == (400, "InvalidRepository")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_blob_that_is_not_there_is_no_fault(hold: Hold, method: str, caplog: pytest.LogCaptureFixture) -> None:
    """H140: a HEAD that misses is how every push begins."""
    assert (await hold.blob(DIGEST, method=method)).status == 404
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize(
    "cid", ["", "x", "../../etc/passwd", "sha256:abc", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"]
)
async def test_what_is_no_digest_is_refused(hold: Hold, cid: str) -> None:
    """H076."""
    assert error_of(await hold.blob(cid)) == (400, "InvalidDigest")


async def test_what_lies_in_a_hidden_repository_is_its_owners_alone(opened: Open) -> None:
    """H151: neither its bytes nor whether it is there."""
    hold = await opened(hold_token=TOKEN)
    trusted = hold.as_caller({**BEARER, **FROM_AFAR})
    upload_id = await trusted.begin()
    part = await trusted.send(upload_id, 1, CONTENT)
    assert (await trusted.complete(upload_id, DIGEST, [part])).status == 200
    assert (await trusted.blob(DIGEST)).body == CONTENT
    for stranger in (hold, hold.as_caller(FROM_AFAR)):
        assert (await stranger.blob(DIGEST)).status == 404
        assert (await stranger.post("/get-presigned-url", {"digest": DIGEST})).status == 404
        assert (await stranger.blob(DIGEST, method="HEAD")).status == 404
    said = (await trusted.post("/get-presigned-url", {"digest": DIGEST})).json()
    assert (await hold.put(said["url"], None, method="GET")).body == CONTENT


async def test_a_stranger_mounts_nothing_from_a_hidden_repository_and_its_owner_does(opened: Open) -> None:
    """H079, H151."""
    hold = await opened(hold_token=TOKEN)
    trusted = hold.as_caller(BEARER)
    upload_id = await trusted.begin()
    assert (await trusted.complete(upload_id, DIGEST, [await trusted.send(upload_id, 1, CONTENT)])).status == 200
    target = f"/v2/lab/app/blobs/uploads/?mount={DIGEST}"
    assert (await hold.oci.ask("POST", target, b"")).status == 202
    assert (await hold.oci.ask("POST", target, b"", BEARER)).status == 201
    assert (await hold.oci.blob("lab/app", DIGEST)).body == CONTENT
