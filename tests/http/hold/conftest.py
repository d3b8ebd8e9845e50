"""The servers that the tests of the hold API ask, and the two spellings in which they are asked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.http.hold.client import CASINGS, Casing, Hold
from tests.http.oci.conftest import Serve, new_catalog, serve

__all__ = ["new_catalog", "serve"]

SMALL: dict[str, str] = {"min_part_bytes": "1"}
"""So that tests about something else need not send megabytes."""

Open = Callable[..., Awaitable[Hold]]


@pytest.fixture
async def opened(serve: Serve) -> AsyncIterator[Open]:
    """Makes servers with settings of the test's choice, and gives their hold API."""
    async with AsyncExitStack() as stack:

        async def make(**settings: str) -> Hold:
            hold = Hold(await serve(**{**SMALL, **settings}))
            stack.push_async_callback(hold.close)
            return hold

        yield make


@pytest.fixture
async def hold(opened: Open) -> Hold:
    """A server with the settings it ships with, but for smaller parts."""
    return await opened()


@pytest.fixture(params=list(CASINGS.values()), ids=list(CASINGS))
def casing(request: pytest.FixtureRequest) -> Casing:
    """Each spelling of the calls in turn."""
    spelling: Casing = request.param
    return spelling
