"""Looking at folders before using them: what can be used passes, what cannot is told with who named it."""

import os
from pathlib import Path

import pytest

from config import Config, ConfigError, load
from config.checks import check_folders


def naming(**folders: Path) -> Config:
    """A configuration with these folders."""
    return load({name: str(path) for name, path in folders.items()}, {}, default_file=Path("/nonexistent"))


def test_a_folder_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    check_folders(naming(data_dir=tmp_path / "a" / "b", storage_root_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ["data_dir", "storage_root_dir"])
def test_a_file_in_the_way_is_told(tmp_path: Path, setting: str) -> None:
    (tmp_path / "file").write_text("")
    named = {"data_dir": tmp_path} | {setting: tmp_path / "file" / "data"}
    with pytest.raises(ConfigError, match=rf"^{setting} = .*file/data \(flag --.*\): .*file is not a folder"):
        check_folders(naming(**named))


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(ConfigError, match=rf"^data_dir = {tmp_path}/x \(flag --data\): user \d+ may not write in"):
        check_folders(naming(data_dir=tmp_path / "x"))
