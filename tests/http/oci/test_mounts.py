"""Mounting: a blob of one repository becomes one of another, without sending or storing it again (oci.md end-11)."""

import pytest

from tests.http.oci.content import ALGORITHMS, IMAGE, artifact, digest_of, noise
from tests.http.oci.serving import Serving

CONTENT = noise(5000, "mounted")


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("source", ["&from=lab/source", ""], ids=["named", "anonymous"])
async def test_a_blob_is_mounted_from_where_it_is(oci: Serving, source: str, algorithm: str) -> None:
    digest = await oci.push("lab/source", CONTENT, algorithm)
    answer = await oci.begin("lab/target", f"?mount={digest}{source}")
    assert (answer.status, answer.digest) == (201, digest)
    assert answer.location == f"/v2/lab/target/blobs/{digest}"
    assert (await oci.ask("GET", answer.location)).body == CONTENT
    assert len(oci.blob_files()) == 1
    assert oci.spooled() == []


async def test_a_mounted_blob_survives_its_source(oci: Serving, algorithm: str) -> None:
    digest = await oci.push("lab/source", CONTENT, algorithm)
    await oci.begin("lab/target", f"?mount={digest}&from=lab/source")
    assert (await oci.delete("lab/source", "blobs", digest)).status == 202
    assert not await oci.has("lab/source", digest)
    assert (await oci.blob("lab/target", digest)).body == CONTENT


@pytest.mark.parametrize("source", ["&from=lab/nowhere", "&from=lab/other", ""], ids=["no-repository", "other", "none"])
async def test_what_cannot_be_mounted_becomes_a_session(oci: Serving, source: str, algorithm: str) -> None:
    await oci.push("lab/other", b"another blob")
    digest = digest_of(CONTENT, algorithm)
    answer = await oci.begin("lab/target", f"?mount={digest}{source}")
    assert (answer.status, answer.headers["Range"]) == (202, "0-0")
    assert answer.headers["Docker-Upload-UUID"] in answer.location
    assert (await oci.put(answer.location, digest, CONTENT)).status == 201
    assert (await oci.blob("lab/target", digest)).body == CONTENT


async def test_a_named_source_is_the_only_one_that_is_asked(oci: Serving) -> None:
    digest = await oci.push("lab/source", CONTENT)
    answer = await oci.begin("lab/target", f"?mount={digest}&from=lab/nowhere")
    assert answer.status == 202
    assert not await oci.has("lab/target", digest)


async def test_a_blob_can_be_mounted_from_its_own_repository(oci: Serving) -> None:
    digest = await oci.push("lab/source", CONTENT)
    assert (await oci.begin("lab/source", f"?mount={digest}&from=lab/source")).status == 201
    assert (await oci.begin("lab/source", f"?mount={digest}")).status == 201


async def test_the_origin_that_crane_adds_is_ignored(oci: Serving) -> None:
    digest = await oci.push("lab/source", CONTENT)
    answer = await oci.begin("lab/target", f"?mount={digest}&from=lab/source&origin=registry.example.com")
    assert answer.status == 201


async def test_a_mount_of_no_digest_is_refused(oci: Serving) -> None:
    answer = await oci.begin("lab/target", "?mount=sha256:short&from=lab/source")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_a_mount_from_no_name_is_refused(oci: Serving) -> None:
    answer = await oci.begin("lab/target", f"?mount={digest_of(CONTENT)}&from=../etc")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


async def test_a_mounted_blob_completes_a_manifest(oci: Serving) -> None:
    digest = await oci.push("lab/source", b"{}")
    refused = await oci.put_manifest("lab/target", "1", artifact("mounted"), IMAGE)
    assert (refused.status, refused.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    await oci.begin("lab/target", f"?mount={digest}&from=lab/source")
    assert (await oci.put_manifest("lab/target", "1", artifact("mounted"), IMAGE)).status == 201


async def test_pushing_what_another_repository_has_stores_it_once(oci: Serving, algorithm: str) -> None:
    [digest] = {await oci.push(repository, CONTENT, algorithm) for repository in ("one", "two", "three")}
    assert len(oci.blob_files()) == 1
    assert (await oci.delete("two", "blobs", digest)).status == 202
    assert [await oci.has(repository, digest) for repository in ("one", "two", "three")] == [True, False, True]
