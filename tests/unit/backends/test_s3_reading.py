"""A stream out of a store goes on where a connection broke, and never mixes two objects."""

import hashlib
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from backends.base import KeyMissing, ShortRead, StoreUnavailable
from backends.s3 import readers
from backends.s3.readers import NARROW
from backends.s3.retrying import BROKEN
from model.errors import StorageFailed
from model.units import KIB, MIB
from tests.support.objectstore import Bucket
from tests.support.stage import until
from tests.support.storefaults import ERROR_IN_200, INTERNAL, RESET, Call, Refusal, Short
from tests.unit.backends.s3harness import Rig, rigged

CONTENT = bytes(range(251)) * (2 * MIB // 251)
ENDS = len(CONTENT)
READERS = 16
PIECES = 48


@pytest.fixture
async def rig(bucket: Bucket, tmp_path: Path) -> AsyncIterator[Rig]:
    """A store behind a proxy that holds `a/b`."""
    async with rigged(bucket, tmp_path) as made:
        bucket.write("a/b", CONTENT)
        yield made


def ranges(rig: Rig) -> int:
    """How often the store was asked for content."""
    return len(rig.proxy.asked(Call.GET))


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, ENDS), (1000, None), (1000, MIB), (ENDS - 1, 1)])
@pytest.mark.parametrize("fault", [Short(0), Short(700 * KIB), RESET, INTERNAL], ids=str)
async def test_a_broken_stream_goes_on_where_it_was(rig: Rig, start: int, length: int | None, fault: Short) -> None:
    rig.proxy.on(fault, Call.GET, times=2)
    stop = ENDS if length is None else start + length
    assert await rig.get("a/b", start, length) == CONTENT[start:stop]
    assert ranges(rig) > 1 or length == 1


async def test_a_stream_that_breaks_often_goes_on_while_bytes_come(rig: Rig) -> None:
    rig.proxy.on(Short(100 * KIB), Call.GET)
    assert await rig.get("a/b") == CONTENT
    assert ranges(rig) > 10


async def test_a_stream_that_never_brings_a_byte_is_a_store_that_does_not_answer_and_no_damage(rig: Rig) -> None:
    rig.proxy.on(Short(0), Call.GET)
    with pytest.raises(StoreUnavailable):
        await rig.get("a/b")
    assert ranges(rig) == BROKEN.tries
    assert rig.clock.passed_s < 10


async def test_a_store_that_dies_in_the_middle_ends_the_stream_in_an_error(rig: Rig) -> None:
    rig.proxy.on(Short(100 * KIB), Call.GET, times=1)
    rig.proxy.on(INTERNAL, Call.GET)
    got = bytearray()
    with pytest.raises(StoreUnavailable):
        async for piece in rig.backend.get("a/b"):
            got += piece
    assert CONTENT.startswith(bytes(got))
    assert got


@pytest.mark.parametrize("other", [b"x" * ENDS, b"shorter", CONTENT + b"longer"], ids=["as long", "shorter", "longer"])
async def test_an_object_replaced_while_it_is_read_is_never_mixed_with_the_new_one(rig: Rig, other: bytes) -> None:
    rig.proxy.on(Short(MIB), Call.GET, times=1)
    got = bytearray()
    with pytest.raises(ShortRead):
        async for piece in rig.backend.get("a/b"):
            if not got:
                rig.bucket.write("a/b", other)
            got += piece
    assert CONTENT.startswith(bytes(got))


async def test_an_object_removed_while_it_is_read_is_a_short_read_and_not_missing(rig: Rig) -> None:
    rig.proxy.on(Short(MIB), Call.GET, times=1)
    got = bytearray()
    with pytest.raises(ShortRead) as raised:
        async for piece in rig.backend.get("a/b"):
            if not got:
                rig.bucket.remove("a/b")
            got += piece
    assert not isinstance(raised.value, KeyMissing)
    assert CONTENT.startswith(bytes(got))


async def test_an_object_removed_and_put_again_with_the_same_bytes_is_the_same(rig: Rig) -> None:
    rig.proxy.on(Short(MIB), Call.GET, times=1)
    got = bytearray()
    async for piece in rig.backend.get("a/b"):
        if not got:
            rig.bucket.write("a/b", CONTENT)
        got += piece
    assert bytes(got) == CONTENT


async def test_a_store_that_does_not_know_ranges_is_not_believed(rig: Rig) -> None:
    rig.proxy.on(Refusal(200, "AndABodyOfItsOwn"), Call.GET)
    with pytest.raises(StorageFailed):
        await rig.get("a/b", 5, 10)


async def test_an_error_behind_a_200_is_not_taken_for_content(rig: Rig) -> None:
    rig.proxy.on(ERROR_IN_200, Call.GET, times=2)
    assert await rig.get("a/b") == CONTENT
    rig.proxy.on(ERROR_IN_200, Call.GET, times=2)
    assert await rig.backend.size("a/b") == ENDS
    rig.proxy.on(ERROR_IN_200, Call.GET)
    with pytest.raises(StoreUnavailable):
        await rig.get("a/b")


async def test_a_reader_that_leaves_early_leaves_nothing_open(rig: Rig) -> None:
    for _ in range(3):
        async with aclosing(rig.calls.fetch("a/b")) as stream:  # type: ignore[type-var]
            await anext(stream)
    assert await rig.get("a/b") == CONTENT


async def test_one_connection_serves_many_reads(rig: Rig) -> None:
    await rig.get("a/b")
    connector = rig.calls.session.connector
    assert connector is not None
    before = set(connector._conns)
    for start in range(5):
        await rig.get("a/b", start, 100)
    assert set(connector._conns) == before


async def test_neither_sending_nor_reading_holds_much_at_once(rig: Rig) -> None:
    """Memory does not grow with the size of a blob (D2)."""
    path = rig.file(b"")
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    tracemalloc.start()
    try:
        await rig.backend.put("a/large", path)
        sent_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        read_bytes = 0
        async for piece in rig.backend.get("a/large"):
            read_bytes += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
    assert sent_bytes < 12 * MIB
    assert read_bytes == 64 * MIB


async def test_readers_that_take_nothing_more_hold_less_than_a_mebibyte_each(bucket: Bucket, tmp_path: Path) -> None:
    """D2, H188: many nodes that pull at once through a slow line must not fill the memory."""
    bucket.write("a/large", bytes(24 * MIB))  # more than the kernel buffers
    async with rigged(bucket, tmp_path, endpoint=bucket.store.url) as rig, AsyncExitStack() as stack:
        connector = rig.calls.session.connector
        assert connector is not None
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for _ in range(READERS):
            stream = await stack.enter_async_context(aclosing(rig.calls.fetch("a/large")))  # type: ignore[type-var]
            assert await anext(stream)
        assert len(connector._acquired) == READERS
        await until(lambda: all(each._reading_paused for each in connector._acquired))
        assert tracemalloc.get_traced_memory()[0] < READERS * MIB


@pytest.fixture
def one_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one reader at a time has large buffers."""
    monkeypatch.setattr(readers, "WIDE_AT_ONCE", 1)


@pytest.mark.usefixtures("one_wide")
async def test_whoever_reads_beside_many_others_holds_little_and_gets_all_the_same(
    bucket: Bucket, tmp_path: Path
) -> None:
    """D2, H188: all slow readers together are bounded, however many may connect."""
    content = bytes(range(251)) * (24 * MIB // 251)
    bucket.write("a/large", content)
    async with rigged(bucket, tmp_path, endpoint=bucket.store.url) as rig, AsyncExitStack() as stack:
        connector = rig.calls.session.connector
        assert connector is not None

        async def begun() -> AsyncGenerator[bytes, None]:
            return await stack.enter_async_context(aclosing(rig.calls.fetch("a/large")))  # type: ignore[arg-type]

        first = await begun()
        assert len(await anext(first)) > NARROW.piece_bytes
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        others = [await begun() for _ in range(READERS)]
        taken = hashlib.sha256()
        for other in others:
            for _ in range(PIECES):  # so what came along with the head is through
                piece = await anext(other)
                assert len(piece) <= NARROW.piece_bytes
                if other is others[-1]:
                    taken.update(piece)
        await until(lambda: all(each._reading_paused for each in connector._acquired))
        assert tracemalloc.get_traced_memory()[0] < READERS * 200 * KIB
        assert rig.calls.transfer.readers.wide == 1

        async for piece in others[-1]:
            taken.update(piece)
        assert taken.digest() == hashlib.sha256(content).digest()
        assert not any(connector._conns.values()), "a connection that takes little at a time is nobody else's"
        await first.aclose()
        assert len(await anext(await begun())) > NARROW.piece_bytes


@pytest.mark.usefixtures("one_wide")
async def test_a_reader_with_small_buffers_goes_on_where_a_connection_broke(rig: Rig) -> None:
    async with aclosing(rig.calls.fetch("a/b")) as other:  # type: ignore[type-var]
        await anext(other)
        rig.proxy.on(Short(100 * KIB), Call.GET, times=3)
        assert await rig.get("a/b", 1000, MIB) == CONTENT[1000 : 1000 + MIB]
    assert ranges(rig) > 3
    assert rig.calls.transfer.readers.wide == 0
