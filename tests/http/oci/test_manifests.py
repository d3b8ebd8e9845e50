"""Manifests: what is accepted and refused, and what GET and HEAD answer (oci.md end-3, end-7, 1.2)."""

import json

import pytest

from tests.http.oci.conftest import Serve
from tests.http.oci.content import (
    CONFIG,
    DOCKER_IMAGE,
    DOCKER_LIST,
    EMPTY_CONFIG,
    FOREIGN_LAYER,
    IMAGE,
    INDEX,
    LAYER_GZIP,
    Json,
    artifact,
    descriptor,
    digest_of,
    image,
    index,
    noise,
    written,
)
from tests.http.oci.serving import Serving

REPOSITORY = "lab/tools"
CONTENT = artifact("a")
DIGEST = digest_of(CONTENT)


@pytest.fixture
async def ready(oci: Serving) -> Serving:
    """A repository with the blob `{}`, which is all that `artifact` needs, and one manifest under `latest`."""
    await oci.push(REPOSITORY, b"{}")
    assert (await oci.put_manifest(REPOSITORY, "latest", CONTENT, IMAGE)).status == 201
    return oci


@pytest.mark.parametrize("reference", ["1.0", DIGEST, digest_of(CONTENT, "sha512")])
async def test_a_pushed_manifest_is_answered_with_where_it_is(ready: Serving, reference: str) -> None:
    answer = await ready.put_manifest(REPOSITORY, reference, CONTENT, IMAGE)
    digest = reference if ":" in reference else DIGEST
    assert (answer.status, answer.digest) == (201, digest)
    assert answer.location == f"/v2/{REPOSITORY}/manifests/{digest}"
    assert "OCI-Subject" not in answer.headers
    assert "OCI-Tag" not in answer.headers
    assert (await ready.ask("GET", answer.location)).body == CONTENT


@pytest.mark.parametrize("reference", ["latest", DIGEST])
async def test_a_manifest_comes_back_byte_for_byte_with_its_type(ready: Serving, reference: str) -> None:
    for method in ("GET", "HEAD", "GET"):
        answer = await ready.manifest(REPOSITORY, reference, method=method)
        assert (answer.status, answer.digest) == (200, DIGEST)
        assert answer.headers["Content-Type"] == IMAGE
        assert answer.headers["Content-Length"] == str(len(CONTENT))
        assert answer.headers["ETag"] == f'"{DIGEST}"'
        assert answer.body == (b"" if method == "HEAD" else CONTENT)


@pytest.mark.parametrize(
    "accept",
    [
        *([], ["*/*"], ["application/*"], [IMAGE], [INDEX], [DOCKER_IMAGE, DOCKER_LIST], ["text/html"], ["garbage"]),
        [f"{INDEX}, {IMAGE};q=0.5"],
    ],
)
async def test_accept_never_converts_and_never_refuses(ready: Serving, accept: list[str]) -> None:
    answer = await ready.manifest(REPOSITORY, "latest", [("Accept", line) for line in accept])
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, IMAGE, CONTENT)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(f'"{DIGEST}"', 304), (DIGEST, 304), (f'W/"{DIGEST}"', 304), (f'"x", "{DIGEST}"', 304), ("*", 304), ('"x"', 200)],
)
@pytest.mark.parametrize("reference", ["latest", DIGEST])
async def test_if_none_match_spares_a_manifest(ready: Serving, reference: str, condition: str, status: int) -> None:
    answer = await ready.manifest(REPOSITORY, reference, {"If-None-Match": condition})
    assert (answer.status, answer.body) == (status, CONTENT if status == 200 else b"")
    assert (answer.digest, answer.headers["ETag"]) == (DIGEST, f'"{DIGEST}"')


@pytest.mark.parametrize("reference", ["latest", DIGEST])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_from_memory_is_the_same_header_by_header(ready: Serving, method: str, reference: str) -> None:
    await ready.manifest(REPOSITORY, reference)
    short = await ready.manifest(REPOSITORY, reference, method=method)
    usual = await ready.manifest(REPOSITORY, f"{reference}?any", method=method)  # a query goes the usual way
    for answer in (short, usual):
        assert answer.headers.pop("Date")
        assert answer.headers.pop("X-Request-Id")
    assert short == usual
    assert [(record.path, record.status, record.sent_bytes, record.endpoint) for record in ready.records[-2:]] == [
        (f"/v2/{REPOSITORY}/manifests/{reference}", 200, len(short.body), "manifest")
    ] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["missing", digest_of(b"missing"), digest_of(b"missing", "sha512")])
@pytest.mark.parametrize("repository", [REPOSITORY, "lab/other"])
async def test_a_missing_manifest_is_unknown(ready: Serving, method: str, reference: str, repository: str) -> None:
    answer = await ready.manifest(repository, reference, method=method)
    assert answer.status == 404
    if method == "GET":
        assert answer.code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("sha256:baddigeststring", "DIGEST_INVALID"),
        ("sha512:" + "0" * 64, "DIGEST_INVALID"),
        ("blake3:" + "0" * 64, "DIGEST_INVALID"),
        ("-dash", "NAME_INVALID"),
        (".dot", "NAME_INVALID"),
        ("a" * 129, "NAME_INVALID"),
        ("caf%C3%A9", "NAME_INVALID"),
        ("a%20b", "NAME_INVALID"),
        ("a%00", "NAME_INVALID"),
        ("1%0a", "NAME_INVALID"),
    ],
)
async def test_what_is_neither_tag_nor_digest_is_refused(
    ready: Serving, method: str, reference: str, code: str
) -> None:
    body = CONTENT if method == "PUT" else None
    answer = await ready.ask(method, f"/v2/{REPOSITORY}/manifests/{reference}", body, {"Content-Type": IMAGE})
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_manifest_that_does_not_match_its_digest_is_refused(ready: Serving, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    answer = await ready.put_manifest("lab/tools", digest, CONTENT + b"  ", IMAGE)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await ready.manifest(REPOSITORY, digest_of(CONTENT + b"  ", algorithm))).status == 404


TYPED = {"schemaVersion": 2, "config": EMPTY_CONFIG, "layers": []}
LISTING = {"schemaVersion": 2, "manifests": []}


@pytest.mark.parametrize(
    ("document", "sent", "kept"),
    [
        (TYPED, IMAGE, IMAGE),
        (TYPED, DOCKER_IMAGE, DOCKER_IMAGE),
        (LISTING, INDEX, INDEX),
        (LISTING, DOCKER_LIST, DOCKER_LIST),
        (TYPED, f"{IMAGE}; charset=utf-8", IMAGE),
        (TYPED, IMAGE.upper(), IMAGE),
        (TYPED, None, IMAGE),
        (LISTING, None, INDEX),
        (TYPED | {"mediaType": DOCKER_IMAGE}, None, DOCKER_IMAGE),
        (LISTING | {"mediaType": DOCKER_LIST}, None, DOCKER_LIST),
        (TYPED | {"mediaType": IMAGE}, f"{IMAGE};x=y", IMAGE),
    ],
)
async def test_the_type_is_the_one_it_was_pushed_with(
    ready: Serving, document: Json, sent: str | None, kept: str
) -> None:
    content = written(document)
    assert (await ready.put_manifest(REPOSITORY, "typed", content, sent)).status == 201
    answer = await ready.manifest(REPOSITORY, "typed")
    assert (answer.headers["Content-Type"], answer.body) == (kept, content)


async def test_pushing_the_same_bytes_by_another_type_changes_the_type(ready: Serving) -> None:
    content = written(TYPED)
    for kind in (IMAGE, DOCKER_IMAGE, IMAGE):
        assert (await ready.put_manifest(REPOSITORY, "typed", content, kind)).status == 201
        for reference in ("typed", digest_of(content)):
            assert (await ready.manifest(REPOSITORY, reference)).headers["Content-Type"] == kind


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", IMAGE),
        (b"no json", IMAGE),
        (b"[]", IMAGE),
        (b"null", IMAGE),
        (b"\xff\xfe{}", IMAGE),
        (b"{}", IMAGE),
        (CONTENT[:-1], IMAGE),
        (b"[" * 100_000, IMAGE),
        (written({"schemaVersion": 1, "name": "old", "tag": "1", "fsLayers": []}), IMAGE),
        (written(TYPED | {"schemaVersion": "2"}), IMAGE),
        (written(TYPED | {"mediaType": INDEX}), IMAGE),
        (written(TYPED | {"mediaType": 7}), IMAGE),
        (written(TYPED), INDEX),
        (written(LISTING), IMAGE),
        (written(TYPED), "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (written(TYPED), "text/plain"),
        (written(TYPED | {"config": None}), IMAGE),
        (written(TYPED | {"layers": {}}), IMAGE),
        (written(TYPED | {"layers": [{"mediaType": "x", "size": 1}]}), IMAGE),
        (written(TYPED | {"layers": [EMPTY_CONFIG | {"digest": "sha256:short"}]}), IMAGE),
        (written(TYPED | {"layers": [EMPTY_CONFIG | {"size": -1}]}), IMAGE),
        (written(TYPED | {"subject": "sha256"}), IMAGE),
        (written(TYPED | {"annotations": {"a": 1}}), IMAGE),
        (written(TYPED | {"artifactType": []}), IMAGE),
        (written({"schemaVersion": 2}), INDEX),
        (written(LISTING | {"manifests": [EMPTY_CONFIG | {"size": 2.5}]}), INDEX),
    ],
)
async def test_what_is_no_manifest_is_refused(ready: Serving, content: bytes, sent: str) -> None:
    answer = await ready.put_manifest(REPOSITORY, "refused", content, sent)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert (await ready.manifest(REPOSITORY, "refused")).status == 404


async def test_a_manifest_may_be_4_mib_and_no_more(ready: Serving) -> None:
    most = 4 * 1024 * 1024
    content = artifact("large", annotations={"filler": ""})
    content = content.replace(b'"filler": ""', b'"filler": "%s"' % (b"A" * (most - len(content))))
    assert len(content) == most
    assert (await ready.put_manifest(REPOSITORY, "large", content, IMAGE)).status == 201
    assert (await ready.manifest(REPOSITORY, "large")).body == content
    for body in (content + b" ", [content, b" "]):
        answer = await ready.ask("PUT", f"/v2/{REPOSITORY}/manifests/larger", body, {"Content-Type": IMAGE})
        assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert (await ready.manifest(REPOSITORY, "larger")).status == 404


async def test_the_largest_manifest_is_a_setting(serve: Serve) -> None:
    oci = await serve(max_manifest_bytes="64KiB")
    content = index([], annotations={"filler": "A" * 65536})
    assert (await oci.put_manifest(REPOSITORY, "1", content, INDEX)).status == 413


async def test_a_manifest_may_come_in_chunks(ready: Serving) -> None:
    content = artifact("chunks")
    target = f"/v2/{REPOSITORY}/manifests/chunks"
    answer = await ready.ask("PUT", target, [content[:10], content[10:]], {"Content-Type": IMAGE})
    assert (answer.status, answer.digest) == (201, digest_of(content))


# What a manifest refers to


async def test_a_manifest_without_its_blobs_is_refused_and_told_which(oci: Serving) -> None:
    config, layer = noise(100, "config"), noise(100, "layer")
    content = image(descriptor(config, CONFIG), [descriptor(layer, LAYER_GZIP)])
    await oci.push("lab/other", layer)
    missing = [digest_of(config), digest_of(layer)]
    for blob in (config, layer):
        answer = await oci.put_manifest(REPOSITORY, "1", content, IMAGE)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert answer.json()["errors"][0]["detail"]["missing"] == missing
        assert (await oci.manifest(REPOSITORY, "1")).status == 404
        missing.remove(await oci.push(REPOSITORY, blob))
    assert (await oci.put_manifest(REPOSITORY, "1", content, IMAGE)).status == 201


async def test_an_index_without_its_children_is_refused_unless_sparse_ones_are_allowed(serve: Serve) -> None:
    content = index([descriptor(b"elsewhere", IMAGE)])
    strict, sparse = await serve(), await serve(sparse_indexes="on")
    answer = await strict.put_manifest(REPOSITORY, "1", content, INDEX)
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert (await sparse.put_manifest(REPOSITORY, "1", content, INDEX)).status == 201


async def test_the_child_of_an_index_may_not_be_of_another_repository(ready: Serving) -> None:
    answer = await ready.put_manifest("lab/other", "1", index([descriptor(CONTENT, IMAGE)]), INDEX)
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_buildkits_cache_index_lists_blobs(oci: Serving) -> None:
    layer, cache = noise(100, "layer"), b'{"layers":[]}'
    children = [descriptor(layer, LAYER_GZIP), descriptor(cache, "application/vnd.buildkit.cacheconfig.v0")]
    for blob in (layer, cache):
        await oci.push(REPOSITORY, blob)
    content = index(children)
    assert (await oci.put_manifest(REPOSITORY, "cache", content, INDEX)).status == 201
    assert (await oci.manifest(REPOSITORY, "cache")).body == content


async def test_foreign_layers_with_urls_need_not_be_here(ready: Serving) -> None:
    foreign = descriptor(b"windows", FOREIGN_LAYER, urls=["https://store.example.com/layer"])
    docker = foreign | {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}
    for layer in (foreign, docker):
        assert (await ready.put_manifest(REPOSITORY, "1", image(EMPTY_CONFIG, [layer]), IMAGE)).status == 201
    for layer in (foreign | {"urls": []}, foreign | {"mediaType": LAYER_GZIP}):
        answer = await ready.put_manifest(REPOSITORY, "1", image(EMPTY_CONFIG, [layer]), IMAGE)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_a_manifest_with_a_subject_is_answered_with_it(ready: Serving) -> None:
    subject = digest_of(b"need not exist")
    content = artifact("refers", subject=EMPTY_CONFIG | {"digest": subject})
    for reference in ("1", digest_of(content)):
        answer = await ready.put_manifest(REPOSITORY, reference, content, IMAGE)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject)


# Tag parameters (end-7b)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_one_push_by_digest_may_set_many_tags(ready: Serving, algorithm: str) -> None:
    content = artifact("tagged")
    digest = digest_of(content, algorithm)
    tags = [f"v{number}" for number in range(12)]
    query = "?" + "&".join(f"tag={tag}" for tag in [*tags, "v3"])
    answer = await ready.put_manifest(REPOSITORY, digest, content, IMAGE, query)
    assert answer.status == 201
    assert ", ".join(answer.headers.getall("OCI-Tag")).split(", ") == tags
    for tag in tags:
        found = await ready.manifest(REPOSITORY, tag, method="HEAD")
        assert (found.status, found.digest) == (200, digest), "a tag remembers the algorithm it was pushed by"
    assert set(tags) < set((await ready.tags(REPOSITORY)).json()["tags"])


async def test_tag_parameters_move_tags_that_are_there(ready: Serving) -> None:
    content = artifact("newer")
    await ready.put_manifest(REPOSITORY, digest_of(content), content, IMAGE, "?tag=latest")
    assert (await ready.manifest(REPOSITORY, "latest")).body == content


@pytest.mark.parametrize("query", ["?tag=-bad", "?tag=", "?tag=good&tag=a/b"])
async def test_a_tag_parameter_that_is_no_tag_refuses_the_push(ready: Serving, query: str) -> None:
    content = artifact("refused")
    answer = await ready.put_manifest(REPOSITORY, digest_of(content), content, IMAGE, query)
    assert (answer.status, answer.code) == (400, "NAME_INVALID")
    assert (await ready.manifest(REPOSITORY, digest_of(content))).status == 404
    assert (await ready.manifest(REPOSITORY, "good")).status == 404


async def test_a_tag_parameter_does_not_go_with_a_push_by_tag(ready: Serving) -> None:
    answer = await ready.put_manifest(REPOSITORY, "one", artifact("x"), IMAGE, "?tag=two")
    assert answer.status == 400


@pytest.mark.parametrize("count", [101, 1200])
async def test_too_many_tag_parameters_are_414(ready: Serving, count: int) -> None:
    content = artifact("x")
    answer = await ready.put_manifest(REPOSITORY, digest_of(content), content, IMAGE, "?" + "tag=a&" * count)
    assert answer.status == 414


# Deleting (end-9)


async def test_deleting_a_digest_takes_every_tag_with_it(ready: Serving) -> None:
    other = artifact("other")
    await ready.put_manifest(REPOSITORY, DIGEST, CONTENT, IMAGE, "?tag=a&tag=b")
    await ready.put_manifest(REPOSITORY, "other", other, IMAGE)
    for reference in ("latest", "a", "b", DIGEST):  # so that all of them are in memory
        assert (await ready.manifest(REPOSITORY, reference)).status == 200
    assert (await ready.delete(REPOSITORY, "manifests", DIGEST)).status == 202
    for reference in ("latest", "a", "b", DIGEST):
        for method in ("GET", "HEAD"):
            assert (await ready.manifest(REPOSITORY, reference, method=method)).status == 404
    assert (await ready.tags(REPOSITORY)).json()["tags"] == ["other"]
    again = await ready.delete(REPOSITORY, "manifests", DIGEST)
    assert (again.status, again.code) == (404, "MANIFEST_UNKNOWN")


async def test_deleting_a_tag_leaves_the_manifest_and_other_tags(ready: Serving) -> None:
    await ready.put_manifest(REPOSITORY, "other", CONTENT, IMAGE)
    assert (await ready.delete(REPOSITORY, "manifests", "latest")).status == 202
    assert (await ready.manifest(REPOSITORY, "latest")).status == 404
    for reference in ("other", DIGEST):
        assert (await ready.manifest(REPOSITORY, reference)).body == CONTENT
    again = await ready.delete(REPOSITORY, "manifests", "latest")
    assert (again.status, again.code) == (404, "MANIFEST_UNKNOWN")


async def test_deleting_in_one_repository_leaves_the_others_alone(ready: Serving) -> None:
    await ready.push("lab/other", b"{}")
    await ready.put_manifest("lab/other", "latest", CONTENT, IMAGE)
    assert (await ready.delete(REPOSITORY, "manifests", DIGEST)).status == 202
    for reference in ("latest", DIGEST):
        assert (await ready.manifest("lab/other", reference)).body == CONTENT


async def test_by_each_algorithm_a_manifest_is_one_of_its_own(ready: Serving) -> None:
    other = digest_of(CONTENT, "sha512")
    await ready.put_manifest(REPOSITORY, other, CONTENT, IMAGE, "?tag=long")
    assert (await ready.delete(REPOSITORY, "manifests", other)).status == 202
    assert (await ready.manifest(REPOSITORY, "long")).status == 404
    assert (await ready.manifest(REPOSITORY, "latest")).digest == DIGEST


async def test_a_deleted_manifest_may_be_pushed_again(ready: Serving) -> None:
    for _ in range(2):
        assert (await ready.delete(REPOSITORY, "manifests", DIGEST)).status == 202
        assert (await ready.put_manifest(REPOSITORY, "latest", CONTENT, IMAGE)).status == 201
        assert (await ready.manifest(REPOSITORY, "latest")).body == CONTENT


@pytest.mark.parametrize(
    ("what", "reference"), [("manifests", "latest"), ("manifests", DIGEST), ("blobs", EMPTY_CONFIG["digest"])]
)
async def test_deleting_can_be_switched_off(serve: Serve, what: str, reference: str) -> None:
    oci = await serve(delete_enabled="off")
    await oci.push(REPOSITORY, b"{}")
    await oci.put_manifest(REPOSITORY, "latest", CONTENT, IMAGE)
    answer = await oci.delete(REPOSITORY, what, reference)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert (await oci.manifest(REPOSITORY, "latest")).body == CONTENT
    assert json.loads((await oci.blob(REPOSITORY, EMPTY_CONFIG["digest"])).body) == {}
