"""The promises of `Multipart` and `Copies` in `backends/base.py`, kept by every backend that has them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

import pytest

from backends.base import Backend, Copies, FileSlice, KeyMissing, Multipart, MultipartGone, RemotePart
from backends.keys import KeyInvalid
from backends.memory_parts import MemoryStore
from model.errors import StorageFailed, StorageFull
from model.units import MIB
from tests.contract.subjects import FIXTURES, S3, STORES, Subject, subject_named
from tests.support.stores import StoreOf

KEY = "holdfast/uploads/u1/t1"
PIECES = [b"first" * 300, b"second" * 200, b"third" * 100, b"last"]


class Able(Backend, Multipart, Copies, Protocol):
    """A backend with both abilities."""


class Maker:
    """A subject, and short words for what is done with parts."""

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.backend, Multipart)
        assert isinstance(subject.backend, Copies)
        self.subject = subject
        self.backend = cast("Able", subject.backend)

    async def send(
        self, upload_id: str, number: int, content: bytes, sha256: str | None = None, *, key: str = KEY
    ) -> RemotePart:
        path = self.subject.spool / "parts"
        path.write_bytes(b"before" + content + b"behind")
        return await self.backend.send_part(key, upload_id, number, FileSlice(path, 6, len(content)), sha256)

    async def begun(self, *pieces: bytes, key: str = KEY) -> tuple[str, list[RemotePart]]:
        upload_id = await self.backend.begin(key)
        return upload_id, [await self.send(upload_id, number, each, key=key) for number, each in enumerate(pieces, 1)]

    async def made(self, *pieces: bytes, key: str = KEY) -> None:
        upload_id, parts = await self.begun(*pieces, key=key)
        await self.backend.assemble(key, upload_id, parts)


MEMORY = "memory as an object store"


@pytest.fixture(params=[MEMORY, *STORES])
async def maker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Maker]:
    """Each backend with the abilities in turn; parts may be as small as they like."""
    async with subject_named(request.param, tmp_path, lambda name: request.getfixturevalue(FIXTURES[name])) as subject:
        if isinstance(subject.backend, MemoryStore):
            subject.backend.smallest_part_bytes = 1
        yield Maker(subject)


@pytest.fixture(params=[MEMORY, S3])
async def strict(request: pytest.FixtureRequest, tmp_path: Path, object_store_of: StoreOf) -> AsyncIterator[Maker]:
    """The same, with S3's own limit."""
    async with subject_named(request.param, tmp_path, lambda _: object_store_of("header", min_part=5 * MIB)) as subject:
        yield Maker(subject)


async def test_parts_in_any_order_become_one_object_in_the_order_of_their_numbers(maker: Maker) -> None:
    upload_id = await maker.backend.begin(KEY)
    parts = [await maker.send(upload_id, number, PIECES[number - 1]) for number in (3, 1, 4, 2)]
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"".join(PIECES)
    assert await maker.backend.size(KEY) == sum(map(len, PIECES))


async def test_nothing_is_visible_before_it_is_assembled(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    assert await maker.subject.keys() == []
    with pytest.raises(KeyMissing):
        await maker.backend.size(KEY)
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.keys() == [KEY]


async def test_what_is_under_the_key_stays_until_it_is_replaced_whole(maker: Maker) -> None:
    await maker.subject.put(KEY, b"old")
    upload_id, parts = await maker.begun(*PIECES)
    assert await maker.subject.get(KEY) == b"old"
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_a_part_that_comes_again_replaces_the_former(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    parts[1] = await maker.send(upload_id, 2, b"another")
    assert await maker.backend.list_parts(KEY, upload_id) == parts
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == PIECES[0] + b"another" + PIECES[2] + PIECES[3]


async def test_the_store_lists_the_parts_that_it_has_by_number_with_size_and_etag(maker: Maker) -> None:
    """H088: what is in the store is asked of the store."""
    upload_id = await maker.backend.begin(KEY)
    assert await maker.backend.list_parts(KEY, upload_id) == []
    parts = [await maker.send(upload_id, number, PIECES[0] * number) for number in (7, 2, 10_000)]
    assert await maker.backend.list_parts(KEY, upload_id) == [parts[1], parts[0], parts[2]]
    assert [part.size_bytes for part in parts] == [len(PIECES[0]) * number for number in (7, 2, 10_000)]
    assert all(part.etag and '"' not in part.etag for part in parts)


async def test_a_part_is_stored_when_it_has_the_hash_that_was_said(maker: Maker) -> None:
    upload_id = await maker.backend.begin(KEY)
    await maker.send(upload_id, 1, b"right", hashlib.sha256(b"right").hexdigest())
    with pytest.raises(StorageFailed):
        await maker.send(upload_id, 1, b"wrong", hashlib.sha256(b"something else").hexdigest())
    parts = await maker.backend.list_parts(KEY, upload_id)
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"right"


async def test_a_part_that_is_not_named_does_not_become_part_of_the_object(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    await maker.backend.assemble(KEY, upload_id, [parts[0], parts[3]])
    assert await maker.subject.get(KEY) == PIECES[0] + PIECES[3]


async def test_assembling_again_after_it_succeeded_succeeds_again(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    for _ in range(3):
        await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_an_upload_that_is_gone_cannot_be_assembled(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    await maker.backend.abort(KEY, upload_id)
    with pytest.raises(MultipartGone):
        await maker.backend.assemble(KEY, upload_id, parts)
    await maker.subject.put(KEY, b"of another size")
    with pytest.raises(MultipartGone):
        await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"of another size"


async def test_an_object_is_not_assembled_from_parts_that_the_store_has_not(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    for wrong in (RemotePart(2, parts[1].size_bytes, "0" * 32), RemotePart(9, 5, parts[0].etag)):
        with pytest.raises(StorageFailed) as raised:
            await maker.backend.assemble(KEY, upload_id, [parts[0], wrong])
        assert not isinstance(raised.value, MultipartGone)
    assert await maker.subject.keys() == []
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_a_part_below_the_smallest_size_may_only_be_the_last(strict: Maker) -> None:
    """H102: the limits of S3 are those of every backend with the ability."""
    assert strict.backend.smallest_part_bytes == 5 * MIB
    upload_id, parts = await strict.begun(b"x" * 5 * MIB, b"small", b"last")
    with pytest.raises(StorageFailed):
        await strict.backend.assemble(KEY, upload_id, parts)
    await strict.backend.assemble(KEY, upload_id, parts[:2])
    assert await strict.backend.size(KEY) == 5 * MIB + 5


async def test_an_aborted_upload_is_gone_with_all_its_parts(maker: Maker) -> None:
    upload_id, _ = await maker.begun(*PIECES)
    await maker.backend.abort(KEY, upload_id)
    with pytest.raises(MultipartGone):
        await maker.backend.list_parts(KEY, upload_id)
    with pytest.raises(MultipartGone):
        await maker.send(upload_id, 1, b"late")
    assert await maker.subject.keys() == []


async def test_aborting_what_is_not_there_is_fine_and_leaves_what_is_whole(maker: Maker) -> None:
    await maker.made(*PIECES)
    upload_id, _ = await maker.begun(b"never finished")
    for _ in range(2):
        await maker.backend.abort(KEY, upload_id)
    await maker.backend.abort(KEY, None)
    await maker.backend.abort("never/begun", None)
    await maker.backend.abort("never/begun", upload_id)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_aborting_what_was_assembled_leaves_it_whole(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    await maker.backend.assemble(KEY, upload_id, parts)
    await maker.backend.abort(KEY, upload_id)
    await maker.backend.abort(KEY, None)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_what_is_unfinished_is_aborted_beside_an_object_under_the_same_key(maker: Maker) -> None:
    await maker.made(*PIECES)
    upload_id, _ = await maker.begun(b"never finished")
    await maker.backend.abort(KEY, upload_id)
    with pytest.raises(MultipartGone):
        await maker.backend.list_parts(KEY, upload_id)
    assert await maker.subject.get(KEY) == b"".join(PIECES)


async def test_in_an_empty_store_there_is_nothing_to_abort(maker: Maker) -> None:
    await maker.backend.abort(KEY, None)
    await maker.backend.abort(KEY, "bm90aGluZw")
    with pytest.raises(MultipartGone):
        await maker.backend.list_parts(KEY, "bm90aGluZw")


async def test_everything_unfinished_under_a_key_is_aborted_and_nothing_under_its_neighbours(maker: Maker) -> None:
    neighbours = [f"{KEY}x", f"{KEY}/x", KEY[:-1]]
    ids = [(await maker.begun(b"one"))[0], (await maker.begun(b"two"))[0]]
    others = [(key, (await maker.begun(b"other", key=key))[0]) for key in neighbours]
    await maker.backend.abort(KEY, None)
    for upload_id in ids:
        with pytest.raises(MultipartGone):
            await maker.backend.list_parts(KEY, upload_id)
    for key, upload_id in others:
        assert len(await maker.backend.list_parts(key, upload_id)) == 1


async def test_two_uploads_under_one_key_know_nothing_of_each_other(maker: Maker) -> None:
    one, parts_of_one = await maker.begun(b"one")
    two, parts_of_two = await maker.begun(b"two")
    assert one != two
    await maker.backend.assemble(KEY, two, parts_of_two)
    assert await maker.subject.get(KEY) == b"two"
    await maker.backend.assemble(KEY, one, parts_of_one)
    assert await maker.subject.get(KEY) == b"one"


async def test_an_upload_belongs_to_its_key(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    with pytest.raises(MultipartGone):
        await maker.backend.list_parts("another/key", upload_id)
    with pytest.raises(MultipartGone):
        await maker.backend.assemble("another/key", upload_id, parts)
    await maker.backend.abort("another/key", upload_id)
    assert await maker.backend.list_parts(KEY, upload_id) == parts


async def test_many_parts_at_once_all_arrive(maker: Maker) -> None:
    upload_id = await maker.backend.begin(KEY)
    contents = [bytes([number]) * 3000 for number in range(1, 33)]
    paths = [maker.subject.spool / f"part-{number}" for number in range(1, 33)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    slices = [FileSlice(path, 0, 3000) for path in paths]
    parts = await asyncio.gather(
        *(maker.backend.send_part(KEY, upload_id, number, each) for number, each in enumerate(slices, 1))
    )
    await maker.backend.assemble(KEY, upload_id, parts)
    assert await maker.subject.get(KEY) == b"".join(contents)


@pytest.mark.parametrize("length_bytes", [100, 3 * MIB])
async def test_a_file_that_ends_too_early_is_no_part(maker: Maker, length_bytes: int) -> None:
    upload_id = await maker.backend.begin(KEY)
    path = maker.subject.spool / "short"
    path.write_bytes(b"x" * (length_bytes - 1))
    for sha256 in (None, hashlib.sha256(b"x" * length_bytes).hexdigest()):
        with pytest.raises(StorageFailed, match="too early"):
            await maker.backend.send_part(KEY, upload_id, 1, FileSlice(path, 0, length_bytes), sha256)
    with pytest.raises(StorageFailed, match=r"cannot be read|cannot read"):
        await maker.backend.send_part(KEY, upload_id, 1, FileSlice(path.with_name("never"), 0, 1))
    assert await maker.backend.list_parts(KEY, upload_id) == []


async def test_a_full_store_takes_no_part_and_loses_none(maker: Maker) -> None:
    upload_id, parts = await maker.begun(*PIECES)
    maker.subject.fill()
    with pytest.raises(StorageFull):
        await maker.send(upload_id, 5, b"one more")
    assert await maker.backend.list_parts(KEY, upload_id) == parts


async def test_a_copy_has_the_same_bytes_and_leaves_the_source(maker: Maker) -> None:
    """H078, T11: from the temporary key to that of the digest, without the bytes passing through here."""
    await maker.made(*PIECES)
    content = b"".join(PIECES)
    await maker.backend.copy(KEY, "docker/x/data", len(content))
    assert await maker.subject.get("docker/x/data") == content
    assert await maker.subject.keys() == ["docker/x/data", KEY]
    await maker.subject.put("docker/x/data", b"old")
    await maker.backend.copy(KEY, "docker/x/data", len(content))
    assert await maker.subject.get("docker/x/data") == content


async def test_a_copy_tells_the_hash_of_the_whole_or_nothing(maker: Maker) -> None:
    await maker.made(*PIECES)
    content = b"".join(PIECES)
    told = await maker.backend.copy(KEY, "docker/x/data", len(content), sha256=True)
    assert told in (None, hashlib.sha256(content).hexdigest())
    assert await maker.subject.get("docker/x/data") == content


async def test_what_is_not_there_cannot_be_copied(maker: Maker) -> None:
    await maker.subject.put("docker/x/data", b"old")
    with pytest.raises(KeyMissing):
        await maker.backend.copy("never/put", "docker/x/data", 5)
    assert await maker.subject.get("docker/x/data") == b"old"


async def test_a_full_store_copies_nothing(maker: Maker) -> None:
    await maker.made(*PIECES)
    maker.subject.fill()
    with pytest.raises(StorageFull):
        await maker.backend.copy(KEY, "docker/x/data", sum(map(len, PIECES)))
    assert await maker.subject.keys() == [KEY]


async def test_a_key_outside_the_law_is_refused(maker: Maker) -> None:
    await maker.made(*PIECES)
    backend, none = maker.backend, FileSlice(maker.subject.spool / "none", 0, 0)
    asked: list[Callable[[str], Awaitable[object]]] = [
        backend.begin,
        lambda key: backend.send_part(key, "id", 1, none),
        lambda key: backend.list_parts(key, "id"),
        lambda key: backend.assemble(key, "id", []),
        lambda key: backend.abort(key, None),
        lambda key: backend.copy(key, KEY, 1),
        lambda key: backend.copy(KEY, key, 1),
    ]
    for key in ("", "/a", "a//b", "../a", "a b", "a.unfinished"):
        for ask in asked:
            with pytest.raises(KeyInvalid):
                await ask(key)
    assert await maker.subject.keys() == [KEY]


async def test_the_store_lists_what_is_unfinished_under_exactly_one_key(maker: Maker) -> None:
    """H180: what it began, and could not tell us, is found by the key."""
    first, parts = await maker.begun(*PIECES)
    second = await maker.backend.begin(KEY)
    await maker.backend.begin(f"{KEY}0")
    assert sorted(await maker.backend.list_unfinished(KEY)) == sorted([first, second])
    await maker.backend.assemble(KEY, first, parts)
    assert await maker.backend.list_unfinished(KEY) == [second]
    await maker.backend.abort(KEY, second)
    assert await maker.backend.list_unfinished(KEY) == []
