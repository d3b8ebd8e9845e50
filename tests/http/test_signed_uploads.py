"""Whole blobs put by signed URLs: under their digest, or under a temporary name until they are moved (H031)."""

import hashlib
import json

import pytest

from auth.signed_urls import SignedUrl, UrlSigner
from tests.http.client import Connection
from tests.http.oci.conftest import Serve
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import Serving
from tests.http.signing import HandClock, ask, refused, sign, target_of
from tests.support.stage import until

BLOB = noise(300_000)
OTHER = noise(300_001)
SHA256 = hashlib.sha256(BLOB).hexdigest()
DIGEST, SHA512 = f"sha256:{SHA256}", digest_of(BLOB, "sha512")
REPOSITORY = "lab/tools"
TEMPORARY = {"repository": "_hold/anonymous", "owner": "-"}
AFAR = {"X-Forwarded-For": "192.0.2.1"}


@pytest.fixture
async def oci(serve: Serve) -> Serving:
    return await serve()


def upload(oci: Serving, digest: str = DIGEST, **how) -> SignedUrl:
    return sign(oci, "PUT", f"/signed/blobs/{digest}", {"repository": REPOSITORY}, **how)


def stays_clean(oci: Serving) -> bool:
    return oci.blob_files() == [] == oci.spooled() and not oci.rooms.services.sessions.all()


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
@pytest.mark.parametrize("announced", [None, SHA256])
async def test_a_whole_blob_is_put_by_its_url_alone(oci: Serving, digest: str, announced: str | None) -> None:
    """H031, H023, M09: 200 with an ETag; from anywhere, and again with the same result."""
    signed = upload(oci, digest, sha256=announced)
    assert ("x-amz-content-sha256" in signed.headers) == (announced is not None)
    for body in (BLOB, [BLOB[:1000], BLOB[1000:]]):
        answer = await ask(oci, "PUT", target_of(signed), body, {**signed.headers, **AFAR})
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{digest.partition(":")[2]}"')
    assert (await oci.blob(REPOSITORY, digest)).body == BLOB


async def test_other_bytes_than_the_digest_says_are_refused_and_not_kept(oci: Serving) -> None:
    """T10: an error, and nothing stays."""
    target = target_of(upload(oci))
    assert refused(await ask(oci, "PUT", target, OTHER), target) == (400, "BadDigest")
    await until(lambda: stays_clean(oci))
    assert not await oci.has(REPOSITORY, DIGEST)


async def test_other_bytes_than_were_announced_are_refused_and_not_kept(oci: Serving) -> None:
    """M09: the payload hash in the signature binds the body, also where the digest is of another algorithm."""
    other = digest_of(OTHER, "sha512")
    signed = upload(oci, other, sha256=SHA256)
    answer = await ask(oci, "PUT", target_of(signed), OTHER, signed.headers)
    assert refused(answer, signed.url) == (400, "XAmzContentSHA256Mismatch")
    await until(lambda: stays_clean(oci))
    assert not await oci.has(REPOSITORY, other)


async def test_a_hash_that_contradicts_the_digest_is_refused_before_the_body(oci: Serving) -> None:
    signed = upload(oci, sha256=hashlib.sha256(OTHER).hexdigest())
    connection = await Connection.open(oci.host, oci.port)
    fields = [("Content-Length", str(1 << 40)), ("Expect", "100-continue"), *signed.headers.items()]
    await connection.send_head("PUT", target_of(signed), fields)
    assert refused(await connection.answer(), signed.url) == (400, "XAmzContentSHA256Mismatch")
    await connection.close()
    assert stays_clean(oci)


async def test_the_announced_hash_must_be_sent_as_it_was_signed(oci: Serving) -> None:
    """M09, M13: the header is part of the signature (form C of s3-sigv4)."""
    signed = upload(oci, sha256=SHA256)
    target = target_of(signed)
    for headers in ({}, {"x-amz-content-sha256": "0" * 64}, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}):
        answer = await ask(oci, "PUT", target, BLOB, headers)
        assert refused(answer, target)[0] in (400, 403)
    assert stays_clean(oci)


async def test_a_url_for_one_method_does_not_serve_another(oci: Serving) -> None:
    await oci.push(REPOSITORY, BLOB)
    put = target_of(upload(oci))
    assert refused(await ask(oci, "GET", put), put) == (403, "SignatureDoesNotMatch")
    get = target_of(sign(oci, "GET", f"/signed/blobs/{DIGEST}", {"repository": REPOSITORY}))
    assert refused(await ask(oci, "PUT", get, BLOB), get) == (403, "SignatureDoesNotMatch")


async def test_the_time_counts_when_the_request_begins(oci: Serving) -> None:
    """H098: a part that began in time may end later."""
    services = oci.rooms.services
    clock = HandClock(oci.rooms.clock.now_s())
    object.__setattr__(services, "signer", UrlSigner(services.signer.keys, clock))
    target = target_of(upload(oci, lifetime_s=1))
    connection = await Connection.open(oci.host, oci.port)
    await connection.send_head("PUT", target, [("Content-Length", str(len(BLOB)))])
    await connection.send_raw(BLOB[:100_000])
    await until(lambda: bool(oci.spooled()))
    clock.at_s += 3600
    await connection.send_raw(BLOB[100_000:])
    assert (await connection.answer("PUT")).status == 200
    await connection.close()
    assert refused(await ask(oci, "PUT", target, BLOB), target) == (403, "AccessDenied")


async def test_a_client_that_vanishes_leaves_nothing(oci: Serving) -> None:
    connection = await Connection.open(oci.host, oci.port)
    await connection.send_head("PUT", target_of(upload(oci)), [("Content-Length", str(len(BLOB)))])
    await connection.send_raw(BLOB[:100_000])
    await until(lambda: bool(oci.spooled()))
    connection.vanish()
    await until(lambda: stays_clean(oci))


@pytest.mark.parametrize("announced", [None, SHA256])
async def test_under_a_temporary_name_it_is_invisible_until_it_is_moved(oci: Serving, announced: str | None) -> None:
    """H030, H031, H110: what old clients do with small blobs."""
    signed = sign(oci, "PUT", "/signed/uploads/temp-1-a.b", TEMPORARY, sha256=announced)
    for _ in range(2):
        answer = await ask(oci, "PUT", target_of(signed), BLOB, {**signed.headers, **AFAR})
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{SHA256}"')
    mount = f"?mount={DIGEST}"
    assert (await oci.begin(REPOSITORY, mount)).status == 202
    moved = await ask(oci, "POST", f"/move?from=uploads/temp-1-a.b&to={DIGEST}&did=x", b"")
    assert moved.status == 200, moved.body
    assert (await oci.begin(REPOSITORY, mount)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == BLOB


async def test_other_bytes_than_were_announced_do_not_take_a_temporary_name(oci: Serving) -> None:
    signed = sign(oci, "PUT", "/signed/uploads/temp-1", TEMPORARY, sha256=SHA256)
    answer = await ask(oci, "PUT", target_of(signed), OTHER, signed.headers)
    assert refused(answer, signed.url) == (400, "XAmzContentSHA256Mismatch")
    await until(lambda: oci.spooled() == [])
    assert (await ask(oci, "POST", f"/move?from=uploads/temp-1&to={digest_of(OTHER)}", b"")).status == 404


async def test_what_one_owner_put_another_cannot_move(serve: Serve) -> None:
    """H152: what a URL brought belongs to whoever asked for the URL."""
    oci = await serve(hold_token="correct-horse-battery")
    signed = sign(oci, "PUT", "/signed/uploads/temp-1", TEMPORARY)
    assert (await ask(oci, "PUT", target_of(signed), BLOB)).status == 200
    bearer = {"Authorization": "Bearer correct-horse-battery"}
    move = f"/move?from=uploads/temp-1&to={DIGEST}"
    assert (await ask(oci, "POST", move, b"", bearer)).status == 404
    assert (await ask(oci, "POST", move, b"")).status == 401


async def test_put_urls_are_asked_for_and_work(serve: Serve) -> None:
    """H031, T05: from the asking to the blob, through the API."""
    oci = await serve(hold_token="correct-horse-battery")
    bearer = {"Authorization": "Bearer correct-horse-battery"}
    said = json.dumps({"did": "did:plc:x", "digest": DIGEST, "repository": REPOSITORY}).encode()
    assert (await ask(oci, "POST", "/put-presigned-url", said)).status == 401
    given = (await ask(oci, "POST", "/put-presigned-url", said, bearer)).json()
    target = "/" + given["url"].partition("://")[2].partition("/")[2]
    assert (await ask(oci, "PUT", target, BLOB, given.get("headers", {}))).status == 200
    assert (await oci.blob(REPOSITORY, DIGEST)).body == BLOB
