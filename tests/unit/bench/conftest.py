"""The compiled load generator, and blobs for it to send."""

from pathlib import Path

import pytest

from bench.content import Content
from bench.loader import Loader, compiled
from tests.support import needs


@pytest.fixture(scope="package")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.tool("cc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return compiled()


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "pattern", bytes(range(251)) * 400)


@pytest.fixture
def loader(binary: Path, content: Content, tmp_path: Path) -> Loader:
    return Loader(binary, content.pattern_file, tmp_path)
