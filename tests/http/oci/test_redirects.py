"""Downloads that are sent to the store: what is answered, to whom, and when not (M20, G08; oci.md 1.0, 7)."""

from typing import Final

import pytest

from tests.http.client import Answer, Headers
from tests.http.oci.conftest import Serve
from tests.http.oci.content import artifact, digest_of, noise
from tests.http.oci.serving import Serving
from tests.http.reachable import WHERE, Reachable, reachable

REPOSITORY = "lab/tools"
LARGE = noise(100_000, "large")
SMALL = noise(500, "small")
IMAGE = "application/vnd.oci.image.manifest.v1+json"
ON: Final = {"storage_driver": "memory", "s3_redirect": "on", "signed_url_minutes": "10"}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Reachable:
    return reachable(monkeypatch)


async def get(oci: Serving, digest: str, headers: Headers = (), method: str = "GET", target: str = "") -> Answer:
    """Ask for a blob; the laws of answers without a store do not hold for a redirect's Location."""
    connection = await oci.connect()
    return await connection.ask(method, target or f"/v2/{REPOSITORY}/blobs/{digest}", headers=headers)


async def test_a_large_blob_is_fetched_from_the_store_itself(serve: Serve, store: Reachable) -> None:
    """H017, G07, G08: 307 with a URL that lives as long as others, kept by this client alone and for less than that."""
    oci = await serve(**ON)
    digest = await oci.push(REPOSITORY, LARGE)
    for headers in ({}, {"Range": "bytes=1-5"}, {"Range": "bytes=1-5,9-", "If-Range": f'"{digest}"'}):
        answer = await get(oci, digest, headers)
        assert (answer.status, answer.body) == (307, b"")
        assert answer.location.startswith(f"{WHERE}/docker/registry/v2/blobs/sha256/")
        assert answer.location.endswith("?for=GET")
        assert answer.digest == digest
        assert answer.headers["Content-Length"] == "0"
        private, _, age = answer.headers["Cache-Control"].partition(", max-age=")
        assert private == "private" and 0 < int(age) < 600
    assert set(store.lifetimes_s) == {600}


async def test_who_reads_by_digest_alone_is_sent_there_as_well(serve: Serve, store: Reachable) -> None:
    oci = await serve(**ON)
    digest = await oci.push(REPOSITORY, LARGE)
    answer = await get(oci, digest, target=f"/xrpc/com.atproto.sync.getBlob?did=did:web:x&cid={digest}")
    assert (answer.status, answer.location.partition("?")[0].rpartition("/")[2]) == (307, "data")


async def test_what_is_small_or_asked_for_without_its_bytes_is_answered_here(serve: Serve, store: Reachable) -> None:
    """Never HEAD, never manifests, never what memory serves sooner; and who has it already is told so."""
    oci = await serve(**ON)
    large, small = await oci.push(REPOSITORY, LARGE), await oci.push(REPOSITORY, SMALL)
    head = await get(oci, large, method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(LARGE)))
    for _ in range(3):
        assert (await get(oci, small)).body == SMALL
    assert (await get(oci, large, {"If-None-Match": f'"{large}"'})).status == 304
    content = artifact("x", annotations={"padding": "x" * 100_000})
    await oci.push(REPOSITORY, b"{}")
    assert (await oci.put_manifest(REPOSITORY, "v1", content, IMAGE)).status == 201
    assert (await oci.manifest(REPOSITORY, "v1")).body == content
    assert store.lifetimes_s == []


async def test_what_the_repository_does_not_have_is_not_betrayed(serve: Serve, store: Reachable) -> None:
    oci = await serve(**ON)
    digest = await oci.push("other/place", LARGE)
    assert (await get(oci, digest)).status == 404
    assert (await get(oci, digest_of(b"nothing"))).status == 404
    assert store.lifetimes_s == []


async def test_clients_that_cannot_reach_the_store_get_the_bytes_from_us(serve: Serve, store: Reachable) -> None:
    """H046, H047: also when that is found out later."""
    oci = await serve(**ON)
    digest = await oci.push(REPOSITORY, LARGE)
    assert (await get(oci, digest)).status == 307
    store.why_not_native = "nobody there"
    answer = await get(oci, digest)
    assert (answer.status, answer.body) == (200, LARGE)


@pytest.mark.parametrize("settings", [{"s3_redirect": "off"}, {"disable_presigned_urls": "on"}], ids=["off", "flag"])
async def test_nobody_is_sent_there_unless_the_operator_says_so_or_where_he_forbids_signed_urls(
    serve: Serve, store: Reachable, settings: dict[str, str]
) -> None:
    """H044, H045."""
    oci = await serve(**{**ON, **settings})
    digest = await oci.push(REPOSITORY, LARGE)
    answer = await get(oci, digest)
    assert (answer.status, answer.body) == (200, LARGE)
    assert answer.headers["Cache-Control"] == "max-age=31536000"
    assert store.lifetimes_s == []
