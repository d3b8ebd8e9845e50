"""The referrers of a manifest: an index, always 200 (oci.md end-12)."""

import json

import pytest

from tests.http.client import Answer
from tests.http.oci.content import (
    ALGORITHMS,
    CONFIG,
    DOCKER_IMAGE,
    IMAGE,
    INDEX,
    Json,
    artifact,
    descriptor,
    digest_of,
    image,
    index,
)
from tests.http.oci.serving import Serving, following

REPOSITORY = "lab/tools"
SUBJECT_CONTENT = artifact("subject")
SUBJECT = digest_of(SUBJECT_CONTENT)
REFERENCE = descriptor(SUBJECT_CONTENT, IMAGE)


@pytest.fixture
async def ready(oci: Serving) -> Serving:
    """A repository with what artifacts need."""
    await oci.push(REPOSITORY, b"{}")
    return oci


async def put(oci: Serving, content: bytes, media_type: str = IMAGE, reference: str | None = None) -> Json:
    """Push a manifest; its descriptor without what the manifest itself says."""
    answer = await oci.put_manifest(REPOSITORY, reference or digest_of(content), content, media_type)
    assert answer.status == 201, answer.body
    return descriptor(content, media_type)


def is_index(answer: Answer) -> list[Json]:
    """The entries of an answer that is an OCI index in every respect."""
    document = answer.json()
    assert (answer.status, answer.headers["Content-Type"]) == (200, INDEX)
    assert (document["schemaVersion"], document["mediaType"]) == (2, INDEX)
    entries: list[Json] = document["manifests"]
    return entries


@pytest.mark.parametrize("repository", ["no/such", REPOSITORY])
@pytest.mark.parametrize("digest", [SUBJECT, "sha256:" + "0" * 64, "sha512:" + "0" * 128])
async def test_what_nothing_refers_to_has_an_empty_index(ready: Serving, repository: str, digest: str) -> None:
    for query in ("", "?artifactType=application/x"):
        answer = await ready.ask("GET", f"/v2/{repository}/referrers/{digest}{query}")
        assert is_index(answer) == []
        assert ("OCI-Filters-Applied" in answer.headers) == bool(query)


@pytest.mark.parametrize("digest", ["sha256:short", "latest", "md5:" + "0" * 32, "sha256:" + "G" * 64])
async def test_the_subject_is_named_by_its_digest(ready: Serving, digest: str) -> None:
    answer = await ready.ask("GET", f"/v2/{REPOSITORY}/referrers/{digest}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_an_entry_says_what_the_manifest_says(ready: Serving) -> None:
    config = await ready.push(REPOSITORY, b"config")
    typed = artifact(1, subject=REFERENCE, artifactType="application/x", annotations={"a": "ü", "b": ""})
    plain = image(descriptor(b"config", CONFIG), [], subject=REFERENCE)
    listing = index([], subject=REFERENCE)
    typed_listing = index([], subject=REFERENCE, artifactType="application/y")
    expected = [
        await put(ready, typed) | {"artifactType": "application/x", "annotations": {"a": "ü", "b": ""}},
        await put(ready, plain) | {"artifactType": CONFIG},
        await put(ready, listing, INDEX),
        await put(ready, typed_listing, INDEX) | {"artifactType": "application/y"},
    ]
    assert config == digest_of(b"config")
    found = await ready.referrers(REPOSITORY, SUBJECT)
    assert found == sorted(expected, key=lambda entry: str(entry["digest"]))


async def test_several_types_mean_any_of_them(ready: Serving) -> None:
    for kind in "abc":
        await put(ready, artifact(kind, subject=REFERENCE, artifactType=f"application/{kind}+json"))
    for asked in ("a", "b", "ab", "ca", "abc", "ax", "x"):
        query = "?" + "&".join(f"artifactType=application/{kind}%2Bjson" for kind in asked)
        answer = await ready.ask("GET", f"/v2/{REPOSITORY}/referrers/{SUBJECT}{query}")
        kinds = {entry["artifactType"] for entry in is_index(answer)}
        assert kinds == {f"application/{kind}+json" for kind in asked if kind in "abc"}
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_subject_is_found_by_the_digest_that_names_it(ready: Serving, algorithm: str) -> None:
    subject = descriptor(SUBJECT_CONTENT, IMAGE, algorithm)
    entry = await put(ready, artifact("refers", subject=subject))
    assert [one["digest"] for one in await ready.referrers(REPOSITORY, subject["digest"])] == [entry["digest"]]
    other = ALGORITHMS[1 - ALGORITHMS.index(algorithm)]
    assert await ready.referrers(REPOSITORY, digest_of(SUBJECT_CONTENT, other)) == []


async def test_the_subject_may_come_later_and_go_earlier(ready: Serving) -> None:
    await put(ready, artifact("refers", subject=REFERENCE))
    assert len(await ready.referrers(REPOSITORY, SUBJECT)) == 1
    await put(ready, SUBJECT_CONTENT)
    assert (await ready.delete(REPOSITORY, "manifests", SUBJECT)).status == 202
    assert len(await ready.referrers(REPOSITORY, SUBJECT)) == 1


async def test_referrers_belong_to_their_repository(ready: Serving) -> None:
    await put(ready, artifact("refers", subject=REFERENCE))
    assert await ready.referrers("lab/other", SUBJECT) == []


async def test_a_deleted_referrer_is_listed_no_more(ready: Serving) -> None:
    one, two = [await put(ready, artifact(number, subject=REFERENCE)) for number in range(2)]
    await ready.delete(REPOSITORY, "manifests", one["digest"])
    assert [entry["digest"] for entry in await ready.referrers(REPOSITORY, SUBJECT)] == [two["digest"]]


async def test_the_index_under_a_fallback_tag_adds_what_truly_refers_and_nothing_twice(ready: Serving) -> None:
    true = artifact("true", subject=REFERENCE)
    entries = [await put(ready, true), await put(ready, artifact("untrue"))]
    await put(ready, index(entries), INDEX, SUBJECT.replace(":", "-"))
    assert [entry["digest"] for entry in await ready.referrers(REPOSITORY, SUBJECT)] == [digest_of(true)]
    assert (await ready.manifest(REPOSITORY, SUBJECT.replace(":", "-"))).body == index(entries)


async def test_text_that_is_no_unicode_is_listed_as_it_was_written(ready: Serving) -> None:
    # JSON can write half of a surrogate pair, which UTF-8 cannot hold.
    odd = {"annotations": {"half": "\ud800", "whole": "\U0001f600 ü"}, "artifactType": "x\udfff"}
    await put(ready, artifact("odd", subject=REFERENCE, **odd))
    [entry] = await ready.referrers(REPOSITORY, SUBJECT)
    assert {key: entry[key] for key in odd} == odd


async def test_the_list_can_be_asked_for_by_head(ready: Serving) -> None:
    await put(ready, artifact("refers", subject=REFERENCE))
    whole = await ready.ask("GET", f"/v2/{REPOSITORY}/referrers/{SUBJECT}")
    answer = await ready.ask("HEAD", f"/v2/{REPOSITORY}/referrers/{SUBJECT}")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(whole.body)))


@pytest.mark.parametrize("deleting", [False, True], ids=["kept", "last-of-each-page-deleted"])
async def test_more_than_clients_can_read_at_once_comes_in_pages(ready: Serving, deleting: bool) -> None:
    more: Json = {"subject": REFERENCE, "artifactType": "application/big+json"}
    filler = {"filler": "A" * 1_500_000}
    entries = [
        await put(ready, artifact(number, **more, annotations=filler | {"n": str(number)})) for number in range(5)
    ]
    await put(ready, artifact("other", subject=REFERENCE))
    wanted = sorted(str(entry["digest"]) for entry in entries)
    target: str | None = f"/v2/{REPOSITORY}/referrers/{SUBJECT}?artifactType=application/big%2Bjson"
    found: list[str] = []
    while target is not None:
        answer = await ready.ask("GET", target)
        assert len(answer.body) <= 4 << 20
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        found += [entry["digest"] for entry in is_index(answer)]
        if deleting:
            assert (await ready.delete(REPOSITORY, "manifests", found[-1])).status == 202
        target = following(answer)
    assert found == wanted


@pytest.mark.parametrize(("last", "shown"), [("", 3), ("md5:0", 3), ("sha256:zz", 0), ("%FF", 0), ("%00", 3)])
async def test_a_page_may_begin_behind_what_is_no_digest(ready: Serving, last: str, shown: int) -> None:
    for number in range(3):
        await put(ready, artifact(number, subject=REFERENCE))
    assert len(await ready.referrers(REPOSITORY, SUBJECT, f"?last={last}")) == shown


async def test_a_type_that_no_text_can_hold_matches_nothing(ready: Serving) -> None:
    await put(ready, artifact("odd", subject=REFERENCE, artifactType="x\udfff"))
    for kind in ("x%ED%BF%BF", "x%5Cudfff", "x%FF", "%00"):
        assert await ready.referrers(REPOSITORY, SUBJECT, f"?artifactType={kind}") == []


async def test_a_referrer_pushed_again_as_another_type_is_listed_as_that(ready: Serving) -> None:
    document = json.loads(artifact("retyped", subject=REFERENCE))
    del document["mediaType"]
    content = json.dumps(document).encode()
    for media_type in (IMAGE, DOCKER_IMAGE):
        await put(ready, content, media_type)
        assert [entry["mediaType"] for entry in await ready.referrers(REPOSITORY, SUBJECT)] == [media_type]
