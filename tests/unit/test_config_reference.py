"""What is written out about the settings can be read again."""

import tomllib
from pathlib import Path

import pytest

from config import ConfigError, load
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
    secrets = {row.name: flags[row.name] for row in SETTINGS if row.kind.secret and row.name in flags}
    assert load(secrets, {}, file) == config


def test_every_value_is_shown_with_who_decided_it() -> None:
    config = load({"grace": "5s"}, {"HOLDFAST_METRICS": "off"}, default_file=NOWHERE)
    lines = {line.split(" ")[0]: line for line in as_toml(config)}
    assert lines["grace"].split() == ["grace", "=", '"5s"', "#", "flag", "--grace"]
    assert lines["metrics"].endswith("# environment HOLDFAST_METRICS")
    assert lines["listen"].endswith("# default")
    shown = tomllib.loads("\n".join(as_toml(config)))
    told = [(row.group, row.name) for row in SETTINGS if not row.kind.secret]
    assert told == [(group, name) for group in shown for name in shown[group]]


def test_a_secret_is_not_shown_anywhere() -> None:
    """T06: HOLD_TOKEN is what the hold API asks for; `config show` and messages say at most that there is one."""
    config = load({}, {"HOLD_TOKEN": "correct-horse-battery"}, default_file=NOWHERE)
    assert config.hold_token == "correct-horse-battery"
    page = "\n".join(as_toml(config))
    assert '# hold_token = "set"' in page
    for told in (page, repr(config), config.said("hold_token")):
        assert "horse" not in told
    stored = load({"aws_secret_access_key": "horse!", "aws_session_token": "horse?"}, {}, default_file=NOWHERE)
    assert "horse" not in "\n".join(as_toml(stored)) + repr(stored)
    assert '# hold_token = "empty"' in "\n".join(as_toml(load({}, {}, default_file=NOWHERE)))
    with pytest.raises(ConfigError, match=r"^hold_token = \(not repeated here\) \(environment HOLD_TOKEN\)") as refused:
        load({}, {"HOLD_TOKEN": "short horse"}, default_file=NOWHERE)
    assert "horse" not in str(refused.value)


def test_the_page_is_one_table_per_section_that_no_value_breaks() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(SETTINGS)
    assert {row.count(" | ") for row in rows} == {2}
