"""Manifests: exact bytes, complete when accepted, found by digest and tag, gone with their tags."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model.descriptors import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from model.digests import Digest
from model.errors import ManifestBlobUnknown, ManifestUnknown
from store.manifest_rows import NAMED_MISSING
from tests.unit.store.shop import EMPTY, EMPTY_DIGEST, Shop, described, image, index, shop

ABSENT = Digest.of(b"never pushed")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """An empty store."""
    async with shop(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_the_exact_bytes_come_back_by_digest_and_tag(store: Shop, algorithm: str) -> None:
    await store.push_blob("a", EMPTY)
    content = b"  " + image("x") + b"\n"
    digest = await store.push("a", content, "v1", "latest", algorithm=algorithm)
    for reference in (digest, "v1", "latest"):
        for _ in range(3):
            stored = await store.manifests.get("a", reference)
            assert (stored.content, stored.digest, stored.media_type) == (content, digest, OCI_MANIFEST)


async def test_what_is_not_there_is_unknown(store: Shop) -> None:
    digest = await store.push_image("a", "v1")
    for repository, reference in (("a", "v2"), ("a", ABSENT), ("b", "v1"), ("b", digest)):
        with pytest.raises(ManifestUnknown):
            await store.manifests.get(repository, reference)


async def test_the_second_read_is_answered_from_memory(store: Shop) -> None:
    digest = await store.push_image("a", "v1")
    for reference in (digest, "v1"):
        assert store.manifests.cached("a", "v1" if reference == digest else "v2") is None
        first = await store.manifests.get("a", reference)
        stored = store.manifests.cached("a", reference)
        assert stored == first
        answer = store.manifests.get("a", reference)
        with pytest.raises(StopIteration) as returned:
            answer.send(None)
        assert returned.value.value is stored


async def test_repositories_share_the_bytes_in_memory(store: Shop) -> None:
    for repository in "ab":
        await store.push_image(repository, "v1")
    first, second = await store.manifests.get("a", "v1"), await store.manifests.get("b", "v1")
    assert store.manifests.cached("a", "v1") is store.manifests.cached("b", "v1")
    assert first == second


async def test_a_manifest_needs_its_config_and_layers_in_its_own_repository(store: Shop) -> None:
    await store.push_blob("elsewhere", EMPTY)
    layer = await store.push_blob("a", b"a layer")
    with pytest.raises(ManifestBlobUnknown) as raised:
        await store.push("a", image(layers=[described(layer), described(ABSENT)]), "v1")
    assert raised.value.detail["missing"] == [str(EMPTY_DIGEST), str(ABSENT)]
    with pytest.raises(ManifestUnknown):
        await store.manifests.get("a", "v1")
    with pytest.raises(ManifestBlobUnknown):
        await store.push("new", image(), "v1")
    assert not await store.exists("new")


async def test_an_error_names_only_the_first_of_many_missing(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    layers = [described(Digest.of(str(number).encode())) for number in range(200)]
    with pytest.raises(ManifestBlobUnknown) as raised:
        await store.push("a", image(layers=layers))
    assert raised.value.detail["missing"] == [layer["digest"] for layer in layers[:NAMED_MISSING]]
    assert "200" in raised.value.message


async def test_hundreds_of_layers_that_are_there_are_found(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    layers = [await store.push_blob("a", str(number).encode()) for number in range(40)]
    digest = await store.push("a", image(layers=[described(layer) for layer in layers * 3]))
    assert (await store.manifests.get("a", digest)).digest == digest


async def test_a_foreign_layer_need_not_be_there(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    foreign = described(ABSENT, media_type="application/vnd.oci.image.layer.nondistributable.v1.tar")
    await store.push("a", image(layers=[foreign | {"urls": ["https://example.com/layer"]}]))
    with pytest.raises(ManifestBlobUnknown):
        await store.push("a", image(layers=[foreign]))


async def test_a_child_may_be_a_manifest_or_a_blob(store: Shop) -> None:
    child = await store.push_image("a")
    blob = await store.push_blob("a", b"a build cache")
    digest = await store.push("a", index(child, blob), "v1")
    assert (await store.manifests.get("a", "v1")).media_type == OCI_INDEX
    assert (await store.manifests.get("a", digest)).content == index(child, blob)
    with pytest.raises(ManifestBlobUnknown) as raised:
        await store.push("a", index(child, ABSENT))
    assert raised.value.detail["missing"] == [str(ABSENT)]
    with pytest.raises(ManifestBlobUnknown):
        await store.push("b", index(child))


async def test_sparse_content_is_accepted_where_that_is_allowed(tmp_path: Path) -> None:
    async with shop(tmp_path, sparse=True) as store:
        for content in (index(ABSENT), image()):
            digest = await store.push("a", content, "v1")
            assert (await store.manifests.get("a", "v1")).digest == digest


async def test_an_empty_index_is_fine(store: Shop) -> None:
    digest = await store.push("a", index())
    assert (await store.manifests.get("a", digest)).content == index()


async def test_a_subject_may_be_missing(store: Shop) -> None:
    digest = await store.push_image("a", subject=described(ABSENT, media_type=OCI_MANIFEST))
    assert (await store.manifests.get("a", digest)).digest == digest


async def test_putting_again_moves_tags(store: Shop) -> None:
    first = await store.push_image("a", "v1", "latest", mark="1")
    second = await store.push_image("a", "v2", "latest", mark="2")
    assert (await store.manifests.get("a", "latest")).digest == second
    assert (await store.manifests.get("a", "v1")).digest == first
    await store.push("a", image("1"), "latest")
    assert (await store.manifests.get("a", "latest")).digest == first
    assert await store.tags.resolve("a", "latest") == first


async def test_the_same_bytes_by_two_algorithms_are_two_manifests(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    short = await store.push("a", image(), "short")
    long = await store.push("a", image(), "long", algorithm="sha512")
    assert (await store.manifests.get("a", "short")).digest == short
    assert (await store.manifests.get("a", "long")).digest == long
    await store.manifests.delete("a", short)
    assert (await store.manifests.get("a", "long")).digest == long


async def test_the_type_it_was_last_pushed_with_counts_also_when_it_is_warm(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    content = image().replace(b'"mediaType": "' + OCI_MANIFEST.encode() + b'", ', b"", 1)
    digest = await store.push("a", content, "v1", media_type=OCI_MANIFEST)
    assert (await store.manifests.get("a", "v1")).media_type == OCI_MANIFEST
    await store.push("a", content, media_type=DOCKER_MANIFEST)
    assert (await store.manifests.get("a", "v1")).media_type == DOCKER_MANIFEST
    assert (await store.manifests.get("a", digest)).media_type == DOCKER_MANIFEST


async def test_deleting_a_manifest_takes_its_tags_along(store: Shop) -> None:
    digest = await store.push_image("a", "v1", "v2", mark="1")
    other = await store.push_image("a", "v3", mark="2")
    for reference in ("v1", "v2", "v3", digest):
        await store.manifests.get("a", reference)
    await store.manifests.delete("a", digest)
    for reference in ("v1", "v2", digest):
        with pytest.raises(ManifestUnknown):
            await store.manifests.get("a", reference)
        if isinstance(reference, str):
            with pytest.raises(ManifestUnknown):
                await store.tags.resolve("a", reference)
    assert (await store.tags.page("a")).names == ["v3"]
    assert (await store.manifests.get("a", "v3")).digest == other
    with pytest.raises(ManifestUnknown):
        await store.manifests.delete("a", digest)
    with pytest.raises(ManifestUnknown):
        await store.manifests.delete("never", digest)


async def test_a_manifest_deleted_in_one_repository_stays_in_the_other(store: Shop) -> None:
    digest = await store.push_image("a", "v1")
    assert await store.push_image("b", "v1") == digest
    for repository in "ab":
        await store.manifests.get(repository, "v1")
    await store.manifests.delete("a", digest)
    assert (await store.manifests.get("b", "v1")).content == image()
    await store.manifests.delete("b", digest)
    counts = await store.catalog.read(
        lambda tx: [tx.one(f"SELECT COUNT(*) FROM {table}") for table in ("manifest_body", "manifest_reference")]
    )
    assert counts == [(0,), (0,)]


async def test_deleting_a_tag_leaves_the_manifest_and_its_other_tags(store: Shop) -> None:
    digest = await store.push_image("a", "v1", "v2")
    await store.manifests.get("a", "v1")
    await store.manifests.delete_tag("a", "v1")
    with pytest.raises(ManifestUnknown):
        await store.manifests.get("a", "v1")
    assert (await store.manifests.get("a", "v2")).digest == digest
    assert (await store.manifests.get("a", digest)).digest == digest
    for repository, tag in (("a", "v1"), ("never", "v2")):
        with pytest.raises(ManifestUnknown):
            await store.manifests.delete_tag(repository, tag)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with shop(tmp_path) as store:
        digest = await store.push_image("a", "v1")
    async with shop(tmp_path) as store:
        assert (await store.manifests.get("a", "v1")).digest == digest
        assert (await store.manifests.get("a", digest)).content == image()
