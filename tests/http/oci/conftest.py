"""The servers that the tests of the OCI face ask."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from model.clock import SystemClock
from store.catalog import Catalog
from tests.http.oci.serving import Serving, serving
from tests.support import needs

Serve = Callable[..., Awaitable[Serving]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

ON_EACH_LOOP = ("test_many_clients", "test_upload_interruptions", "test_streaming")
"""Who vanishes, hangs and crowds meets the event loop itself; these run on both that we support."""


def uvloop() -> asyncio.AbstractEventLoop:
    """A loop of the extra `fast`."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        needs.missing("needs uvloop, which is not installed")
    return new_event_loop()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The loops that a test runs on."""
    loops: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    return loops | ({"uvloop": uvloop} if item.path.stem in ON_EACH_LOOP else {})


@pytest.fixture(scope="session")
def new_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog: making one takes longer than most tests here, copying it does not."""
    catalog = Catalog(tmp_path_factory.mktemp("new"), SystemClock(), durable=False)
    catalog.open()
    catalog.close()
    return catalog.path


@pytest.fixture
async def serve(tmp_path: Path, new_catalog: Path) -> AsyncIterator[Serve]:
    """Makes servers, each on a folder of its own, with settings of the test's choice."""
    async with AsyncExitStack() as stack:
        made = 0

        async def make(**settings: str) -> Serving:
            nonlocal made
            made += 1
            data = tmp_path / f"data{made}"
            data.mkdir()
            shutil.copy(new_catalog, data)
            return await stack.enter_async_context(serving(data, **settings))

        yield make


@pytest.fixture
async def oci(serve: Serve) -> Serving:
    """A server with the settings it ships with."""
    return await serve()
