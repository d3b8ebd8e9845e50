"""A read that began before a write never leaves an old answer in memory, whatever the two threads do in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from model.digests import Digest
from model.errors import BlobUnknown, ManifestUnknown, RegistryError
from store.catalog import Catalog
from store.transactions import Transaction
from tests.unit.store.shop import EMPTY, EMPTY_DIGEST, Shop, image, shop


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shop]:
    """A store with one image."""
    async with shop(tmp_path) as opened:
        await opened.push_image("a", "v1", mark="old")
        yield opened


class HeldRead:
    """Holds the next reading operation in its thread, after it has read and before it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read, self._may_answer = asyncio.Event(), threading.Event()
        loop, really, held = asyncio.get_running_loop(), Catalog._read, [True]

        def read(catalog: Catalog, call: Callable[[Transaction], Any]) -> Any:
            answer = really(catalog, call)
            if held:
                held.pop()
                loop.call_soon_threadsafe(self.has_read.set)
                assert self._may_answer.wait(10)
            return answer

        monkeypatch.setattr(Catalog, "_read", read)

    def let_go(self) -> None:
        """Let the read answer what it has read."""
        self._may_answer.set()


async def outcome(asked: Awaitable[Any]) -> Any:
    """What was answered, or how it was refused."""
    try:
        return await asked
    except RegistryError as error:
        return type(error)


async def interleaved(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Awaitable[Any]], write: Callable[[], Awaitable[Any]]
) -> tuple[Any, Any]:
    """What a read answers that spans a whole write, and what the next read answers."""
    with monkeypatch.context() as patched:
        held = HeldRead(patched)
        reading = asyncio.create_task(outcome(read()))
        await held.has_read.wait()
        await write()
        held.let_go()
        spanning = await reading
    return spanning, await outcome(read())


async def test_a_moved_tag(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await interleaved(
        monkeypatch, lambda: store.tags.resolve("a", "v1"), lambda: store.push("a", image("new"), "v1")
    )
    assert (first, second) == (Digest.of(image("old")), Digest.of(image("new")))


async def test_a_manifest_read_by_a_tag_that_moves(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await interleaved(
        monkeypatch, lambda: store.manifests.get("a", "v1"), lambda: store.push("a", image("new"), "v1")
    )
    assert (first.content, second.content) == (image("old"), image("new"))


async def test_a_deleted_tag(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await interleaved(
        monkeypatch, lambda: store.manifests.get("a", "v1"), lambda: store.manifests.delete_tag("a", "v1")
    )
    assert (first.content, second) == (image("old"), ManifestUnknown)


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_a_deleted_manifest(store: Shop, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    wanted = Digest.of(image("old"))
    reference = "v1" if by == "tag" else wanted
    first, second = await interleaved(
        monkeypatch, lambda: store.manifests.get("a", reference), lambda: store.manifests.delete("a", wanted)
    )
    assert (first.content, second) == (image("old"), ManifestUnknown)
    assert await outcome(store.manifests.get("a", wanted)) is ManifestUnknown


async def test_a_deleted_repository(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await interleaved(
        monkeypatch, lambda: store.manifests.get("a", "v1"), lambda: store.repositories.delete("a")
    )
    assert (first.content, second) == (image("old"), ManifestUnknown)


@pytest.mark.parametrize("verb", ["size", "content"])
async def test_a_deleted_blob(store: Shop, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    _, second = await interleaved(
        monkeypatch,
        lambda: getattr(store.blobs, verb)("a", EMPTY_DIGEST),
        lambda: store.blobs.delete("a", EMPTY_DIGEST),
    )
    assert second is BlobUnknown


async def test_a_blob_that_came_while_somebody_asked(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await interleaved(
        monkeypatch, lambda: store.blobs.size("b", EMPTY_DIGEST), lambda: store.push_blob("b", EMPTY)
    )
    assert (first, second) == (BlobUnknown, len(EMPTY))


async def test_a_write_whose_client_left_counts_like_any_other(store: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave() -> None:
        task = asyncio.create_task(store.manifests.delete_tag("a", "v1"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.tags.copy("a", "v2", "v3")  # behind it in the same queue

    await store.push_image("a", "v2", mark="other")
    first, second = await interleaved(monkeypatch, lambda: store.manifests.get("a", "v1"), leave)
    assert (first.content, second) == (image("old"), ManifestUnknown)
