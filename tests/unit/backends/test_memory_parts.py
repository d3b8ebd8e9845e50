"""The object store in memory fails when a test asks for it, and says what it was asked."""

from pathlib import Path

import pytest

from backends.base import FileSlice, MultipartGone
from backends.memory_parts import MemoryStore
from model.errors import StorageFailed, StorageFull


@pytest.fixture
def piece(tmp_path: Path) -> FileSlice:
    """Five bytes of a file."""
    (tmp_path / "file").write_bytes(b"a part")
    return FileSlice(tmp_path / "file", 2, 4)


class Once:
    """A hook that fails the first time it is asked about a verb."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    async def __call__(self, verb: str, key: str) -> None:
        if verb == self.verb:
            self.verb = ""
            raise StorageFailed(f"{verb} {key}")


async def test_what_fails_before_has_done_nothing(piece: FileSlice) -> None:
    store = MemoryStore()
    store.before = Once("send_part")
    upload_id = await store.begin("a/b")
    with pytest.raises(StorageFailed, match="send_part a/b"):
        await store.send_part("a/b", upload_id, 1, piece)
    assert await store.list_parts("a/b", upload_id) == []
    assert [verb for verb, _ in store.asked] == ["begin", "send_part", "list_parts"]


@pytest.mark.parametrize("verb", ["begin", "send_part", "assemble", "copy", "abort"])
async def test_what_fails_behind_has_done_everything(piece: FileSlice, verb: str) -> None:
    store = MemoryStore()
    store.after = Once(verb)
    with pytest.raises(StorageFailed):
        upload_id = await store.begin("a/b")
        part = await store.send_part("a/b", upload_id, 1, piece)
        await store.assemble("a/b", upload_id, [part])
        await store.copy("a/b", "a/c", 4)
        await store.abort("a/b", upload_id)
    assert store.asked[-1][0] == verb
    if verb == "begin":
        assert len(store.unfinished) == 1
    else:
        upload_id = next(iter(store.unfinished), "none")
        done = {
            "send_part": lambda: store.unfinished[upload_id].parts == {1: b"part"},
            "assemble": lambda: store.values == {"a/b": b"part"},
            "copy": lambda: store.values["a/c"] == b"part",
            "abort": lambda: not store.unfinished,
        }
        assert done[verb]()


async def test_a_limit_on_room_counts_parts_as_well(piece: FileSlice) -> None:
    store = MemoryStore(capacity_bytes=6)
    upload_id = await store.begin("a/b")
    await store.send_part("a/b", upload_id, 1, piece)
    with pytest.raises(StorageFull):
        await store.send_part("a/b", upload_id, 2, piece)
    await store.abort("a/b", None)
    with pytest.raises(MultipartGone):
        await store.send_part("a/b", upload_id, 2, piece)


async def test_a_copy_tells_its_hash_when_it_is_told_to(tmp_path: Path) -> None:
    store = MemoryStore(hashes_copies=True)
    store.values["a/b"] = b""
    assert await store.copy("a/b", "a/c", 0, sha256=True) == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert await store.copy("a/b", "a/c", 0) is None
