"""What makes a registry on S3 quick to open in this process, for suites that open hundreds.

The store's abilities are looked at once, not for each; and botocore's description of S3, which it reads again for each
client, is read once. Neither is what those suites are about.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.support.driver import DRIVER


@pytest.fixture(scope="session", autouse=True)
def quick_opening() -> Iterator[None]:
    """For the length of a run on S3."""
    if not DRIVER.on_s3:
        yield
        return
    from botocore import loaders

    from backends.s3 import probing
    from backends.s3.findings import Findings

    really, known = probing.look, dict[Any, Findings]()
    read = cache(loaders.JSONFileLoader().load_file)

    async def look(calls: Any, settings: Any, clock: Any, session: Any) -> Findings:
        asked = (settings.endpoint, settings.external_endpoint, settings.direct, settings.listens_beyond)
        if asked not in known:
            known[asked] = await really(calls, settings, clock, session)
        return known[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "look", look)
        patch.setattr(loaders.JSONFileLoader, "load_file", lambda self, path: read(path))
        yield
