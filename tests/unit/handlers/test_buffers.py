"""The pool of large buffers: capped, served by address in turn, and nobody rests on one while others wait."""

import asyncio

from handlers.buffers import Buffer, BufferPool


class Rester:
    """Holds a buffer until it is asked for it."""

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self.buffer = pool.take("a", lambda buffer: None)
        pool.filling(self)

    def squeeze(self) -> None:
        assert self.buffer is not None
        self._pool.settled(self)
        self._pool.give(self.buffer)


async def test_buffers_are_made_when_they_are_needed_and_used_again() -> None:
    pool = BufferPool(3, buffer_bytes=4096)
    assert (pool.in_use, pool.free) == (0, 0)
    first = pool.take("a", lambda buffer: None)
    assert first is not None
    first.view[:5] = b"bytes"
    pool.give(first)
    assert pool.take("a", lambda buffer: None) is first
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

        assert pool.take("a", granted) is None

    first = pool.take("a", lambda buffer: None)
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
    first = pool.take("a", served.append)
    assert first is not None
    granted = served.append
    assert pool.take("a", granted) is None
    pool.leave("a", granted)
    pool.give(first)
    assert (served, pool.in_use, pool.waiting) == ([], 0, 0)
    pool.close()


async def test_who_rests_on_a_buffer_is_asked_for_it_when_another_waits() -> None:
    pool = BufferPool(1, buffer_bytes=4096)
    rester = Rester(pool)
    got: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()
    assert pool.take("a", got.set_result) is None
    assert await asyncio.wait_for(got, 10) is rester.buffer
    pool.close()


async def test_an_address_that_waits_once_is_not_behind_one_that_waits_a_thousand_times() -> None:
    pool = BufferPool(1, buffer_bytes=4096)
    served: list[str] = []
    held: list[Buffer] = []

    def wait(peer: str) -> None:
        def granted(buffer: Buffer) -> None:
            served.append(peer)
            held.append(buffer)

        assert pool.take(peer, granted) is None

    first = pool.take("greedy", lambda buffer: None)
    assert first is not None
    for _ in range(1000):
        wait("greedy")
    wait("modest")
    wait("modest")
    pool.give(first)
    while pool.waiting > 996:
        pool.give(held.pop())
    assert served == ["greedy", "modest", "greedy", "modest", "greedy", "greedy"]
    pool.close()


async def test_buffers_that_nobody_needs_go_back_while_others_are_in_use() -> None:
    pool = BufferPool(8, buffer_bytes=4096, quiet_s=0.01)
    crowd = [pool.take("a", lambda buffer: None) for _ in range(8)]
    for buffer in crowd[1:]:
        assert buffer is not None
        pool.give(buffer)

    async def one_goes_on() -> None:
        while pool.free > 1:
            buffer = pool.take("a", lambda buffer: None)
            assert buffer is not None
            pool.give(buffer)
            await asyncio.sleep(0)

    await asyncio.wait_for(one_goes_on(), 10)
    assert (pool.in_use, pool.free) == (1, 1)  # the one that is used again and again stays
    pool.close()
