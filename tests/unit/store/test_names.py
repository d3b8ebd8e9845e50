"""Tags, repositories and referrers: who is listed, in which order, and what goes when something goes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model.descriptors import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from model.digests import Digest
from model.errors import BlobUnknown, ManifestUnknown, NameUnknown
from store import repositories
from store.transactions import Row, Transaction, Values
from store.values import Page, RepositorySize
from tests.unit.store.shop import EMPTY, EMPTY_DIGEST, Shop, described, image, index, shop

SUBJECT = Digest.of(b"the subject")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """An empty store."""
    async with shop(tmp_path) as opened:
        yield opened


async def test_tags_are_listed_in_byte_order(store: Shop) -> None:
    await store.push_image("a", "b", "a", "B", "_", "a-1", "a.1", "10", "9")
    assert (await store.tags.page("a")).names == ["10", "9", "B", "_", "a", "a-1", "a.1", "b"]


@pytest.mark.parametrize(
    ("limit", "last", "expected"),
    [
        (2, None, Page(["a", "b"], more=True)),
        (2, "b", Page(["c", "d"], more=False)),
        (2, "aa", Page(["b", "c"], more=True)),
        (4, None, Page(["a", "b", "c", "d"], more=False)),
        (9, "d", Page([], more=False)),
        (0, None, Page([], more=False)),
        (None, "b", Page(["c", "d"], more=False)),
    ],
)
async def test_tags_come_in_pages(store: Shop, limit: int | None, last: str | None, expected: Page) -> None:
    await store.push_image("repo", "d", "c", "b", "a")
    assert await store.tags.page("repo", limit, last) == expected


async def test_a_repository_without_tags_has_an_empty_page_and_an_unknown_one_none(store: Shop) -> None:
    await store.push_image("a")
    assert await store.tags.page("a") == Page([], more=False)
    for limit in (None, 0, 5):
        with pytest.raises(NameUnknown):
            await store.tags.page("b", limit)


async def test_a_tag_resolves_to_the_digest_it_was_pushed_by(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    short = await store.push("a", image(), "short")
    long = await store.push("a", image(), "long", algorithm="sha512")
    for _ in range(2):
        assert await store.tags.resolve("a", "short") == short
        assert await store.tags.resolve("a", "long") == long
    with pytest.raises(ManifestUnknown):
        await store.tags.resolve("a", "never")
    with pytest.raises(ManifestUnknown):
        await store.tags.resolve("never", "short")


async def test_a_copied_tag_points_at_the_same_and_then_goes_its_own_way(store: Shop) -> None:
    first = await store.push_image("a", "v1", mark="1")
    await store.push_image("a", "stable", mark="0")
    await store.tags.resolve("a", "stable")
    await store.tags.copy("a", "v1", "stable")
    assert await store.tags.resolve("a", "stable") == first
    await store.push_image("a", "v1", mark="2")
    assert await store.tags.resolve("a", "stable") == first
    for repository, source in (("a", "never"), ("never", "v1")):
        with pytest.raises(ManifestUnknown):
            await store.tags.copy(repository, source, "x")
    assert (await store.tags.page("a")).names == ["stable", "v1"]


async def test_a_repository_exists_while_it_holds_something(store: Shop) -> None:
    assert not await store.exists("a")
    digest = await store.push_image("a", "v1")
    assert await store.exists("a")
    await store.manifests.delete("a", digest)
    assert await store.exists("a")
    await store.blobs.delete("a", EMPTY_DIGEST)
    assert not await store.exists("a")


async def test_repositories_with_a_manifest_are_listed_in_byte_order_in_pages(store: Shop) -> None:
    for name in ("b", "a/b", "a-b", "a", "a/b/c"):
        await store.push_image(name)
    await store.push_blob("only-blobs", EMPTY)
    names = ["a", "a-b", "a/b", "a/b/c", "b"]
    assert await store.repositories.page(100) == Page(names, more=False)
    assert await store.repositories.page(2) == Page(names[:2], more=True)
    assert await store.repositories.page(2, "a-b") == Page(names[2:4], more=True)
    assert await store.repositories.page(5, "a/a") == Page(names[2:], more=False)
    assert await store.repositories.page(0) == Page([], more=False)


async def test_a_deleted_repository_is_gone_with_everything_also_from_memory(store: Shop) -> None:
    digest = await store.push_image("a", "v1", "v2")
    assert await store.push_image("b", "v1", "v2") == digest
    for repository in ("a", "b"):
        await store.manifests.get(repository, "v1")
        await store.blobs.content(repository, EMPTY_DIGEST)
    await store.repositories.delete("a")
    for reference in ("v1", digest):
        with pytest.raises(ManifestUnknown):
            await store.manifests.get("a", reference)
    with pytest.raises(BlobUnknown):
        await store.blobs.content("a", EMPTY_DIGEST)
    assert not await store.exists("a")
    assert (await store.manifests.get("b", "v1")).content == image()
    for name in ("a", "never"):
        with pytest.raises(NameUnknown):
            await store.repositories.delete(name)
    await store.push_image("a", "v3")
    assert (await store.tags.page("a")).names == ["v3"]


async def test_deleting_the_last_holder_lets_go_of_manifest_bytes_but_not_of_blobs(store: Shop) -> None:
    await store.push_image("a", "v1")
    await store.repositories.delete("a")
    bodies = await store.catalog.read(lambda tx: tx.all("SELECT digest FROM manifest_body"))
    assert bodies == []
    assert store.file_of(EMPTY_DIGEST).read_bytes() == EMPTY


async def test_sizes_tell_what_is_shared(store: Shop) -> None:
    assert await store.repositories.list_sizes() == []
    await store.push_image("a", "v1", "v2", mark="a")
    await store.push_image("b", "v1", mark="bb")
    await store.push_blob("b", b"b alone")
    await store.push_blob("c", b"c")
    assert await store.repositories.list_sizes() == [
        RepositorySize("a", 1, 2, len(image("a")), 2),
        RepositorySize("b", 1, 1, len(image("bb")) + 7, 2),
        RepositorySize("c", 0, 0, 1, 0),
    ]


async def test_taking_stock_lets_manifests_and_blobs_be_read(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = await store.push_image("a", "v1")
    looking, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held(really: Callable[[Transaction], object]) -> Callable[[Transaction], object]:
        def look(tx: Transaction) -> object:
            loop.call_soon_threadsafe(looking.set)
            assert go_on.wait(20)
            return really(tx)

        return look

    for name in ("_sizes", "_counts"):
        monkeypatch.setattr(repositories, name, held(getattr(repositories, name)))
    stock = [asyncio.create_task(take()) for take in [store.repositories.list_sizes, store.repositories.count] * 2]
    try:
        await looking.wait()
        async with asyncio.timeout(10):
            assert (await store.manifests.get("a", "v1")).digest == digest
            assert await store.blobs.size("a", EMPTY_DIGEST) == 2
            await store.push_blob("a", b"another")
    finally:
        go_on.set()
        await asyncio.gather(*stock)


async def test_referrers_are_described_by_type_and_annotations(store: Shop) -> None:
    subject = described(SUBJECT, media_type=OCI_MANIFEST)
    plain = await store.push_image("a", subject=subject)
    typed = await store.push_image(
        "a", subject=subject, artifactType="application/x-signature", annotations={"who": "me", "ünter": "ä"}
    )
    bare = await store.push("a", index(subject=subject))
    await store.push_image("a", mark="no subject")
    await store.push_image("a", subject=described(Digest.of(b"another")))
    found = {entry["digest"]: entry for entry in await store.referrers_of("a", SUBJECT)}
    assert found == {
        str(plain): {
            "mediaType": OCI_MANIFEST,
            "size": len((await store.manifests.get("a", plain)).content),
            "digest": str(plain),
            "artifactType": "application/octet-stream",
        },
        str(typed): {
            "mediaType": OCI_MANIFEST,
            "size": len((await store.manifests.get("a", typed)).content),
            "digest": str(typed),
            "artifactType": "application/x-signature",
            "annotations": {"who": "me", "ünter": "ä"},
        },
        str(bare): {"mediaType": OCI_INDEX, "size": len(index(subject=subject)), "digest": str(bare)},
    }


async def test_referrers_come_in_a_stable_order_and_by_type(store: Shop) -> None:
    subject = described(SUBJECT)
    for number in range(6):
        await store.push_image("a", subject=subject, artifactType=f"x/{number % 3}", mark=str(number))
    everything = await store.referrers_of("a", SUBJECT)
    assert [entry["digest"] for entry in everything] == sorted(entry["digest"] for entry in everything)
    some = await store.referrers_of("a", SUBJECT, "x/0", "x/2")
    assert some == [entry for entry in everything if entry["artifactType"] in {"x/0", "x/2"}]
    assert len(some) == 4
    assert await store.referrers_of("a", SUBJECT, "x/9") == []


async def test_referrers_come_in_pages_and_what_is_behind_a_page_is_not_read(
    store: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        await store.push_image("a", subject=described(SUBJECT), artifactType=f"x/{number % 3}", mark=str(number))
    really, drawn = Transaction.each, 0

    def counting(tx: Transaction, sql: str, values: Values = ()) -> Iterator[Row]:
        nonlocal drawn
        for row in really(tx, sql, values):
            drawn += 1
            yield row

    for kinds in ((), ("x/0", "x/2", "x/0")):
        everything = await store.referrers_of("a", SUBJECT, *kinds)
        one_bytes = len(json.dumps(everything[0], separators=(",", ":"))) + 1
        found: list[dict[str, Any]] = []
        last: str | None = ""
        while last is not None:
            with monkeypatch.context() as patched:
                patched.setattr(Transaction, "each", counting)
                drawn = 0
                page = await store.referrers.page("a", SUBJECT, kinds, last=last, limit_bytes=4 * one_bytes)
            last = page.more_behind
            assert len(page.descriptors) == (4 if last else len(everything) % 4 or 4)
            assert drawn == len(page.descriptors) + (last is not None)
            found += [json.loads(text) for text in page.descriptors]
            assert last in (None, found[-1]["digest"])
        assert found == everything
    assert len(await store.referrers_of("a", SUBJECT, "x/0", "x/2")) == 20


async def test_a_referrer_larger_than_a_page_is_a_page_of_its_own(store: Shop) -> None:
    for number in range(2):
        await store.push_image("a", subject=described(SUBJECT), mark=str(number), annotations={"a": "ü" * 300})
    first = await store.referrers.page("a", SUBJECT, limit_bytes=10)
    assert len(first.descriptors) == 1
    assert len(first.descriptors[0]) < 1000
    second = await store.referrers.page("a", SUBJECT, last=first.more_behind, limit_bytes=10)
    assert (len(second.descriptors), second.more_behind) == (1, None)


async def test_a_referrer_is_listed_by_the_type_it_was_last_pushed_with(store: Shop) -> None:
    await store.push_blob("a", EMPTY)
    content = image(subject=described(SUBJECT)).replace(b'"mediaType": "' + OCI_MANIFEST.encode() + b'", ', b"", 1)
    for media_type in (OCI_MANIFEST, DOCKER_MANIFEST):
        await store.push("a", content, media_type=media_type)
        assert [entry["mediaType"] for entry in await store.referrers_of("a", SUBJECT)] == [media_type]


async def test_nobody_refers_to_what_is_unknown(store: Shop) -> None:
    assert await store.referrers_of("never", SUBJECT) == []
    await store.push_image("a", subject=described(SUBJECT))
    assert await store.referrers_of("b", SUBJECT) == []
    assert await store.referrers_of("a", Digest.of(b"{}", "sha512")) == []


async def test_a_deleted_referrer_is_not_listed_and_a_deleted_subject_changes_nothing(store: Shop) -> None:
    subject = await store.push_image("a", "v1")
    first = await store.push_image("a", subject=described(subject), mark="1")
    second = await store.push_image("a", subject=described(subject), mark="2")
    await store.manifests.delete("a", first)
    assert [entry["digest"] for entry in await store.referrers_of("a", subject)] == [str(second)]
    await store.manifests.delete("a", subject)
    assert [entry["digest"] for entry in await store.referrers_of("a", subject)] == [str(second)]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_a_fallback_tag_rightly_lists_is_a_referrer_once_and_the_rest_is_not(
    store: Shop, algorithm: str
) -> None:
    await store.push_blob("a", EMPTY)
    subject = await store.push("a", image("the subject"), algorithm=algorithm)
    signature = await store.push_image("a", subject=described(subject), mark="signature")
    stranger = await store.push_image("a", mark="does not carry the subject")
    listed = json.loads(index(signature, stranger))
    listed["manifests"].append(described(EMPTY_DIGEST))
    await store.push("a", json.dumps(listed).encode(), f"{subject.algorithm}-{subject.hex[:64]}")
    assert [entry["digest"] for entry in await store.referrers_of("a", subject)] == [str(signature)]
