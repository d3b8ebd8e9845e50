"""The pool of large buffers: capped, first come first served, and nobody rests on one while others wait."""

import asyncio

from handlers.buffers import Buffer, BufferPool


class Rester:
    """Holds a buffer until it is asked for it."""

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self.buffer = pool.take(lambda buffer: None)
        pool.filling(self)

    def squeeze(self) -> None:
        assert self.buffer is not None
        self._pool.settled(self)
        self._pool.give(self.buffer)


async def test_buffers_are_made_when_they_are_needed_and_used_again() -> None:
    pool = BufferPool(3, buffer_bytes=4096)
    assert (pool.in_use, pool.free) == (0, 0)
    first = pool.take(lambda buffer: None)
    assert first is not None
    first.view[:5] = b"bytes"
    pool.give(first)
    assert pool.take(lambda buffer: None) is first
    assert (pool.in_use, pool.free) == (1, 0)
    pool.close()


async def test_who_waits_longest_is_served_first_and_nobody_jumps_the_queue() -> None:
    pool = BufferPool(1, buffer_bytes=4096)
    served: list[str] = []
    held: list[Buffer] = []

    def waiter(name: str) -> None:
        def granted(buffer: Buffer) -> None:
            served.append(name)
            held.append(buffer)

        assert pool.take(granted) is None

    first = pool.take(lambda buffer: None)
    assert first is not None
    waiter("one")
    waiter("two")
    pool.give(first)
    waiter("three")
    pool.give(held.pop())
    pool.give(held.pop())
    assert (served, pool.in_use, pool.waiting) == (["one", "two", "three"], 1, 0)
    pool.close()


async def test_who_leaves_the_queue_gets_nothing() -> None:
    pool = BufferPool(1, buffer_bytes=4096)
    served: list[Buffer] = []
    first = pool.take(served.append)
    assert first is not None
    granted = served.append
    assert pool.take(granted) is None
    pool.leave(granted)
    pool.give(first)
    assert (served, pool.in_use, pool.waiting) == ([], 0, 0)
    pool.close()


async def test_who_rests_on_a_buffer_is_asked_for_it_when_another_waits() -> None:
    pool = BufferPool(1, buffer_bytes=4096)
    rester = Rester(pool)
    got: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
    assert pool.take(got.set_result) is None
    assert await asyncio.wait_for(got, 10) is rester.buffer
    pool.close()
