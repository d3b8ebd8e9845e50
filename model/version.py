"""Which release this is; the same as `version` in pyproject.toml, which a test compares."""

from typing import Final

VERSION: Final = "0.1.0"
