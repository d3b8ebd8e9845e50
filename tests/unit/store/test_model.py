"""The store against a model of it: random work, memory of every size, restarts in between, and the same answers."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.digests import Digest
from model.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, NameUnknown, RegistryError
from tests.unit.store.shop import EMPTY, EMPTY_DIGEST, Shop, described, image, shop

REPOSITORIES = ("a", "b")
TAGS = ("v1", "v2", "latest")
BLOBS = {EMPTY_DIGEST: EMPTY, Digest.of(b"a layer"): b"a layer"}
LAYER = Digest.of(b"a layer")
IMAGES = {Digest.of(content): content for content in (image("0"), image("1"), image("2", layers=[described(LAYER, 7)]))}
NEEDS = {digest: {EMPTY_DIGEST} | ({LAYER} if number == 2 else set()) for number, digest in enumerate(IMAGES)}


@dataclass
class Model:
    """What a repository should hold."""

    blobs: set[Digest] = field(default_factory=set)
    manifests: set[Digest] = field(default_factory=set)
    tags: dict[str, Digest] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether it holds anything."""
        return bool(self.blobs or self.manifests)


Step = tuple[str, str, str, Digest, Digest]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["blob", "blob", "mount", "unblob", "put", "put", "put", "delete", "untag", "copy", "drop", "restart"]
        ),
        st.sampled_from(REPOSITORIES),
        st.sampled_from(TAGS),
        st.sampled_from(list(BLOBS)),
        st.sampled_from(list(IMAGES)),
    ),
    max_size=25,
)


async def apply(store: Shop, models: dict[str, Model], step: Step) -> None:
    """Do one thing to both, and compare how it went."""
    act, repository, tag, blob, manifest = step
    model, other = models[repository], models["b" if repository == "a" else "a"]
    other_name = "b" if repository == "a" else "a"
    if act == "blob":
        await store.push_blob(repository, BLOBS[blob])
        model.blobs.add(blob)
    elif act == "mount":
        assert await store.blobs.mount(repository, blob, other_name) == (blob in other.blobs)
        if blob in other.blobs:
            model.blobs.add(blob)
    elif act == "unblob":
        with expecting(None if blob in model.blobs else BlobUnknown):
            await store.blobs.delete(repository, blob)
        model.blobs.discard(blob)
    elif act == "put":
        complete = NEEDS[manifest] <= model.blobs
        with expecting(None if complete else ManifestBlobUnknown):
            await store.push(repository, IMAGES[manifest], tag)
            model.manifests.add(manifest)
            model.tags[tag] = manifest
    elif act == "delete":
        with expecting(None if manifest in model.manifests else ManifestUnknown):
            await store.manifests.delete(repository, manifest)
        model.manifests.discard(manifest)
        model.tags = {name: digest for name, digest in model.tags.items() if digest != manifest}
    elif act == "untag":
        with expecting(None if tag in model.tags else ManifestUnknown):
            await store.manifests.delete_tag(repository, tag)
        model.tags.pop(tag, None)
    elif act == "copy":
        with expecting(None if tag in model.tags else ManifestUnknown):
            await store.tags.copy(repository, tag, "copy")
            model.tags["copy"] = model.tags[tag]
    elif act == "drop":
        with expecting(None if model.exists else NameUnknown):
            await store.repositories.delete(repository)
        models[repository] = Model()


class expecting:
    """The block raises exactly this, or nothing."""

    def __init__(self, error: type[RegistryError] | None) -> None:
        self.error = error

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None or issubclass(kind, RegistryError):
            assert kind is self.error
            return True
        return False


async def agree(store: Shop, name: str, model: Model) -> None:
    """Every question has the model's answer."""
    assert await store.exists(name) == model.exists
    for blob, content in BLOBS.items():
        with expecting(None if blob in model.blobs else BlobUnknown):
            assert await store.blobs.size(name, blob) == len(content)
        with expecting(None if blob in model.blobs else BlobUnknown):
            assert (await store.blobs.content(name, blob)).content == content  # type: ignore[union-attr]  # all are small
    for manifest, content in IMAGES.items():
        with expecting(None if manifest in model.manifests else ManifestUnknown):
            assert (await store.manifests.get(name, manifest)).content == content
    for tag in (*TAGS, "copy"):
        with expecting(None if tag in model.tags else ManifestUnknown):
            assert (await store.manifests.get(name, tag)).digest == model.tags[tag]
        with expecting(None if tag in model.tags else ManifestUnknown):
            assert await store.tags.resolve(name, tag) == model.tags[tag]
    with expecting(None if model.exists else NameUnknown):
        assert (await store.tags.page(name)).names == sorted(model.tags)


async def story(folder: Path, steps: list[Step], cache_bytes: int) -> None:
    """The whole course, with both repositories compared after every step."""
    models = {name: Model() for name in REPOSITORIES}
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(shop(folder, cache_bytes=cache_bytes))
        for step in steps:
            if step[0] == "restart":
                await stack.aclose()
                store = await stack.enter_async_context(shop(folder, cache_bytes=cache_bytes))
            await apply(store, models, step)
            for name, model in models.items():
                await agree(store, name, model)
        listed = (await store.repositories.page(10)).names
        assert listed == [name for name, model in models.items() if model.manifests]


@pytest.mark.parametrize("cache_bytes", [0, 2500, 1 << 20])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_it_answers_as_the_model_does(cache_bytes: int, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder), steps, cache_bytes))
