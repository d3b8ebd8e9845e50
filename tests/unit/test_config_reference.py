"""What is written out about the settings can be read again."""

import tomllib
from pathlib import Path

import pytest

from config import load
from config.reference import as_toml, settings_page
from config.settings import SETTINGS
from tests.unit.test_config_sources import NOWHERE, OTHER


@pytest.mark.parametrize(
    "flags", [{}, OTHER, {"data_dir": '/a "quoted"/\\back\tslash/new\nline/☃'}], ids=["bare", "all", "odd"]
)
def test_what_is_shown_is_a_file_that_says_the_same(flags: dict[str, str], tmp_path: Path) -> None:
    config = load(flags, {}, default_file=NOWHERE)
    file = tmp_path / "shown.toml"
    file.write_text("\n".join(as_toml(config)), encoding="utf-8")
    assert load({}, {}, file) == config


def test_every_value_is_shown_with_who_decided_it() -> None:
    config = load({"grace": "5s"}, {"HOLDFAST_METRICS": "off"}, default_file=NOWHERE)
    lines = {line.split(" ")[0]: line for line in as_toml(config)}
    assert lines["grace"].split() == ["grace", "=", '"5s"', "#", "flag", "--grace"]
    assert lines["metrics"].endswith("# environment HOLDFAST_METRICS")
    assert lines["listen"].endswith("# default")
    shown = tomllib.loads("\n".join(as_toml(config)))
    assert [(row.group, row.name) for row in SETTINGS] == [(group, name) for group in shown for name in shown[group]]


def test_the_page_is_one_table_per_section_that_no_value_breaks() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(SETTINGS)
    assert {row.count(" | ") for row in rows} == {2}
