"""Every data set of the official conformance suite is pushed, listed, found, pulled and deleted (oci.md 5, case 4)."""

from urllib.parse import urlencode

import pytest

from tests.http.oci.conftest import Serve
from tests.http.oci.content import IMAGE, INDEX, Json
from tests.http.oci.datasets import BUILDERS, DataSet, data_set
from tests.http.oci.serving import Serving

REPOSITORY = "conformance/data"


@pytest.fixture(params=BUILDERS)
def data(request: pytest.FixtureRequest) -> DataSet:
    return data_set(request.param)


@pytest.fixture
async def pushed(serve: Serve, data: DataSet) -> Serving:
    """A registry in which all of the data set was accepted: blobs, manifests by digest, then the tags."""
    oci = await serve(sparse_indexes="on")
    for digest, content in data.blobs.items():
        assert await oci.push(REPOSITORY, content, data.algorithm) == digest
    for digest, (content, media_type) in data.manifests.items():
        tags = [tag for tag, target in data.tags.items() if target == digest] if data.tag_parameters else []
        query = "?" + "&".join(f"tag={tag}" for tag in tags) if tags else ""
        answer = await oci.put_manifest(REPOSITORY, digest, content, media_type, query)
        assert (answer.status, answer.digest) == (201, digest), answer.body
        assert answer.headers.get("OCI-Tag", "") == ", ".join(tags)
        subjects = [subject for subject, found in data.referrers.items() if digest in [one["digest"] for one in found]]
        assert answer.headers.getall("OCI-Subject", []) == subjects
    for tag, digest in data.tags.items() if not data.tag_parameters else ():
        content, media_type = data.manifests[digest]
        answer = await oci.put_manifest(REPOSITORY, tag, content, media_type)
        assert (answer.status, answer.digest) == (201, digest)
    return oci


def by_digest(entry: Json) -> str:
    return str(entry["digest"])


async def test_its_tags_are_listed_whole_and_behind_each_of_them(pushed: Serving, data: DataSet) -> None:
    tags = sorted(data.tags)
    listed = await pushed.tags(REPOSITORY)
    assert (listed.status, listed.json()) == (200, {"name": REPOSITORY, "tags": tags})
    for number, last in enumerate(tags):
        assert (await pushed.tags(REPOSITORY, f"?last={last}")).json()["tags"] == tags[number + 1 :]


async def test_it_is_found_by_head(pushed: Serving, data: DataSet) -> None:
    for reference, digest in [*data.tags.items(), *zip(data.manifests, data.manifests, strict=True)]:
        content, media_type = data.manifests[digest]
        answer = await pushed.manifest(REPOSITORY, reference, method="HEAD")
        assert (answer.status, answer.digest) == (200, digest)
        assert (answer.headers["Content-Type"], answer.headers["Content-Length"]) == (media_type, str(len(content)))
    for digest, content in data.blobs.items():
        answer = await pushed.blob(REPOSITORY, digest, method="HEAD")
        assert (answer.status, answer.digest) == (200, digest)
        assert answer.headers["Content-Length"] == str(len(content))


async def test_it_is_pulled_byte_for_byte(pushed: Serving, data: DataSet) -> None:
    for reference, digest in [*data.tags.items(), *zip(data.manifests, data.manifests, strict=True)]:
        answer = await pushed.manifest(REPOSITORY, reference, [("Accept", IMAGE), ("Accept", INDEX)])
        assert (answer.status, answer.digest) == (200, digest)
        assert (answer.body, answer.headers["Content-Type"]) == data.manifests[digest]
    for digest, content in data.blobs.items():
        answer = await pushed.blob(REPOSITORY, digest)
        assert (answer.status, answer.digest, answer.body) == (200, digest, content)


async def test_its_referrers_are_listed_in_all_and_by_type(pushed: Serving, data: DataSet) -> None:
    nothing: dict[str, list[Json]] = {digest: [] for digest in data.manifests}
    for subject, expected in (nothing | data.referrers).items():
        found = await pushed.referrers(REPOSITORY, subject)
        assert found == sorted(expected, key=by_digest)
        for kind in {one.get("artifactType", "none/such") for one in expected} | {"none/such"}:
            target = f"/v2/{REPOSITORY}/referrers/{subject}?{urlencode({'artifactType': kind})}"
            answer = await pushed.ask("GET", target)
            assert (answer.status, answer.headers["OCI-Filters-Applied"]) == (200, "artifactType")
            wanted = [one for one in expected if one.get("artifactType") == kind]
            assert answer.json()["manifests"] == sorted(wanted, key=by_digest)


async def test_it_is_deleted_piece_by_piece(pushed: Serving, data: DataSet) -> None:
    for tag in data.tags:
        assert (await pushed.delete(REPOSITORY, "manifests", tag)).status == 202
        assert (await pushed.manifest(REPOSITORY, tag, method="HEAD")).status == 404
    for digest in reversed(data.manifests):
        assert (await pushed.delete(REPOSITORY, "manifests", digest)).status == 202
        assert (await pushed.manifest(REPOSITORY, digest, method="HEAD")).status == 404
    for digest in data.blobs:
        assert (await pushed.delete(REPOSITORY, "blobs", digest)).status == 202
        assert not await pushed.has(REPOSITORY, digest)
    for subject in data.referrers:
        assert await pushed.referrers(REPOSITORY, subject) == []
    assert (await pushed.tags(REPOSITORY)).status == 404
    assert (await pushed.ask("GET", "/v2/_catalog")).json() == {"repositories": []}


async def test_a_bad_digest_image_is_refused_and_its_blobs_stay(oci: Serving) -> None:
    made = data_set("image")
    for content in made.blobs.values():
        await oci.push(REPOSITORY, content)
    [(digest, (content, media_type))] = made.manifests.items()
    answer = await oci.put_manifest(REPOSITORY, digest, content + b"  ", media_type)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await oci.manifest(REPOSITORY, digest, method="HEAD")).status == 404
    assert (await oci.tags(REPOSITORY)).json()["tags"] == []
    for blob, content in made.blobs.items():
        assert (await oci.blob(REPOSITORY, blob)).body == content
