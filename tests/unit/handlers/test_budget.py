"""The budget for bodies in memory: bounded for all and for one address, served in turn, and nothing of it is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from handlers.budget import Budget
from model.errors import TooMany

LONG_S = 20.0


class Guest:
    """Somebody who holds some of the budget until told to leave."""

    def __init__(self, budget: Budget, peer: str, wanted_bytes: int, *, within_s: float = LONG_S) -> None:
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._stay(budget, peer, wanted_bytes, within_s))

    async def _stay(self, budget: Budget, peer: str, wanted_bytes: int, within_s: float) -> None:
        async with budget.hold(peer, wanted_bytes, within_s=within_s):
            self.inside.set()
            await self.leave.wait()

    async def comes_in(self) -> None:
        await asyncio.wait_for(self.inside.wait(), LONG_S)

    async def goes(self) -> None:
        self.leave.set()
        await asyncio.wait_for(self.task, LONG_S)


@asynccontextmanager
async def emptied(budget: Budget) -> AsyncIterator[Budget]:
    """Whatever happened: in the end nothing is used, nobody waits, and all of it can be had again."""
    yield budget
    assert (budget.used_bytes, budget.waiting) == (0, 0)
    for peer in ("a", "b"):
        async with budget.hold(peer, budget.share_bytes, within_s=0.001):
            assert budget.used_bytes == budget.share_bytes


async def settled() -> None:
    """Everybody who can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_there_is_never_more_in_use_than_the_limit() -> None:
    async with emptied(Budget(100)) as budget:
        guests = [Guest(budget, f"peer {number}", 30) for number in range(10)]
        seen = 0
        while guests:
            await settled()
            assert budget.used_bytes == 30 * min(3, len(guests))
            inside = [guest for guest in guests if guest.inside.is_set()]
            seen += 1
            guests.remove(inside[0])
            await inside[0].goes()
        assert seen == 10


async def test_who_wants_more_than_there_can_be_gets_all_of_a_share() -> None:
    async with emptied(Budget(100)) as budget, budget.hold("a", 10**9, within_s=LONG_S):
        assert budget.used_bytes == 50


async def test_one_address_has_half_of_it_at_most() -> None:
    async with emptied(Budget(100)) as budget:
        greedy = [Guest(budget, "greedy", 10) for _ in range(50)]
        await settled()
        assert (budget.used_bytes, budget.waiting) == (50, 45)
        modest = Guest(budget, "modest", 50)
        await modest.comes_in()
        assert budget.used_bytes == 100
        await modest.goes()
        for guest in greedy:
            await guest.comes_in()
            await guest.goes()


async def test_addresses_that_wait_are_served_in_turn() -> None:
    async with emptied(Budget(100)) as budget:
        holders = [Guest(budget, "x", 50), Guest(budget, "y", 50)]
        greedy = [Guest(budget, "greedy", 50) for _ in range(20)]
        modest = [Guest(budget, "modest", 50) for _ in range(2)]
        await settled()
        assert budget.waiting == 22
        await holders[0].goes()
        await greedy[0].comes_in()
        await holders[1].goes()
        await modest[0].comes_in()
        for guest in (modest[0], greedy[0], modest[1]):
            await guest.goes()
        for guest in greedy[1:]:
            await guest.comes_in()
            await guest.goes()


async def test_small_wishes_do_not_keep_a_large_one_waiting_for_ever() -> None:
    async with emptied(Budget(100)) as budget:
        first = [Guest(budget, f"small {number}", 20) for number in range(5)]
        await settled()
        large = Guest(budget, "large", 50)
        later = [Guest(budget, f"later {number}", 20) for number in range(5)]
        await first[0].goes()
        await settled()
        assert not any(guest.inside.is_set() for guest in later)
        await first[1].goes()
        await first[2].goes()
        await large.comes_in()
        for guest in (large, *first[3:], *later):
            await guest.comes_in()
            await guest.goes()


async def test_who_waits_too_long_is_told_to_try_again() -> None:
    async with emptied(Budget(100)) as budget:
        holder = Guest(budget, "a", 50)
        await holder.comes_in()
        late = Guest(budget, "a", 10, within_s=0.01)
        with pytest.raises(TooMany):
            await asyncio.wait_for(late.task, LONG_S)
        assert (budget.used_bytes, budget.waiting) == (50, 0)
        await holder.goes()


async def test_the_time_for_waiting_does_not_run_for_what_is_done_with_it() -> None:
    async with emptied(Budget(100)) as budget:
        with pytest.raises(TimeoutError):
            async with budget.hold("a", 10, within_s=LONG_S):
                raise TimeoutError


async def test_who_is_cancelled_while_waiting_leaves_its_place_to_the_next() -> None:
    async with emptied(Budget(100)) as budget:
        holder = Guest(budget, "a", 50)
        await holder.comes_in()
        first, second = Guest(budget, "a", 50), Guest(budget, "a", 50)
        await settled()
        first.task.cancel()
        await settled()
        assert first.task.cancelled()
        await holder.goes()
        await second.comes_in()
        await second.goes()


@pytest.mark.parametrize("moment", ["just before the grant", "in the middle of it", "just after it"])
async def test_a_cancellation_around_the_grant_loses_nothing(moment: str) -> None:
    async with emptied(Budget(100)) as budget:
        holder = Guest(budget, "a", 50)
        await holder.comes_in()
        leaving, next_ = Guest(budget, "a", 50), Guest(budget, "a", 50)
        await settled()
        if moment == "just before the grant":
            leaving.task.cancel()
        holder.task.cancel()
        if moment == "in the middle of it":  # its wait is over, but the holder lets go before it has had its say
            leaving.task.cancel()
        if moment == "just after it":  # called when the holder has let go, and before it knows that it has its turn
            asyncio.get_running_loop().call_soon(leaving.task.cancel)
        await asyncio.wait({holder.task, leaving.task}, timeout=LONG_S)
        assert leaving.task.cancelled()
        assert not leaving.inside.is_set()
        await next_.comes_in()
        assert budget.used_bytes == 50
        await next_.goes()


async def test_who_is_cancelled_while_holding_gives_it_back() -> None:
    async with emptied(Budget(100)) as budget:
        holder = Guest(budget, "a", 50)
        await holder.comes_in()
        holder.task.cancel()
        await asyncio.wait({holder.task})
