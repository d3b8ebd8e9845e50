"""The servers that the tests of the OCI face ask."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.http.oci.serving import Serving, serving

Serve = Callable[..., Awaitable[Serving]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Makes servers, each on a folder of its own, with settings of the test's choice."""
    async with AsyncExitStack() as stack:
        made = 0

        async def make(**settings: str) -> Serving:
            nonlocal made
            made += 1
            return await stack.enter_async_context(serving(tmp_path / f"data{made}", **settings))

        yield make


@pytest.fixture
async def oci(serve: Serve) -> Serving:
    """A server with the settings it ships with."""
    return await serve()
