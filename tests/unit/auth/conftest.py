"""What the tests of auth start from: a data folder with keys, and a clock that stands still."""

from pathlib import Path

import pytest

from tests.unit.auth.desk import Desk, SetClock, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A signer with keys of its own."""
    return open_desk(tmp_path, SetClock())
