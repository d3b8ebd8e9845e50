"""The folders of a server: made, proven, held by one process, and refused with one clear line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.folder import LOCK_NAME, DataFolder
from store.refusals import AlreadyRunning, CannotStart, FolderError

HOLD = """
import sys
from pathlib import Path
from store.folder import DataFolder
with DataFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "some" / "data") as folder:
        assert folder.spool == tmp_path / "some" / "data" / "spool"
        assert folder.spool.is_dir()
        assert folder.docker.is_dir()
        assert sorted(path.name for path in folder.data_dir.iterdir()) == ["docker", LOCK_NAME, "spool"]
        assert list(folder.spool.iterdir()) == list(folder.docker.iterdir()) == []


def test_without_blobs_there_is_no_folder_for_them(tmp_path: Path) -> None:
    """Nothing says that content lies here while it lies in an object store; what is received still does."""
    with DataFolder(tmp_path, blobs=False):
        assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK_NAME, "spool"]
        assert list((tmp_path / "spool").iterdir()) == []
    (tmp_path / "spool").rmdir()
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(FolderError):
        DataFolder(tmp_path, blobs=False).open()


def test_what_it_makes_is_private(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data") as folder:
        assert folder.data_dir.stat().st_mode & 0o077 == 0
        assert (folder.data_dir / LOCK_NAME).stat().st_mode & 0o077 == 0


def test_the_storage_root_takes_blobs_and_spool_along(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data", tmp_path / "disk") as folder:
        assert folder.spool == tmp_path / "disk" / "spool"
        assert folder.docker == tmp_path / "disk" / "docker"
        assert [path.name for path in folder.data_dir.iterdir()] == [LOCK_NAME]


def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning) as refused:
            DataFolder(tmp_path).open()
        assert refused.value.pid == holder.pid
        assert str(holder.pid) in refused.value.message
        holder.kill()
        holder.wait(10)
    with DataFolder(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_was_left_names_no_process(tmp_path: Path) -> None:
    with DataFolder(tmp_path):
        with pytest.raises(AlreadyRunning):
            DataFolder(tmp_path).open()
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert (tmp_path / LOCK_NAME).read_text() == ""


def test_a_disk_without_a_single_block_left_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FolderError, match="No space left"):
        DataFolder(tmp_path).open()


def test_two_data_folders_on_one_storage_root_are_refused(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "one", tmp_path / "disk"):
        with pytest.raises(AlreadyRunning):
            DataFolder(tmp_path / "two", tmp_path / "disk").open()
        DataFolder(tmp_path / "three", tmp_path / "other disk").open()


def test_it_can_be_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    for _ in range(2):
        folder.open()
        folder.close()


def test_a_file_in_the_place_of_a_folder_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (DataFolder(tmp_path / "file"), DataFolder(tmp_path / "file" / "below")):
        with pytest.raises(FolderError) as refused:
            folder.open()
        assert str(tmp_path / "file") in refused.value.message
        assert "\n" not in str(refused.value)
        assert refused.value.remedy


@pytest.mark.parametrize("refusing", ["data", "data/spool", "data/docker"])
def test_a_folder_that_cannot_be_written_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    really_write, really_replace = Path.write_bytes, Path.replace

    def check(path: Path) -> None:
        if path.parent == tmp_path / refusing:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def write(path: Path, data: bytes) -> int:
        check(path)
        return really_write(path, data)

    def replace(path: Path, target: Path) -> Path:
        check(target)
        return really_replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write)
        patched.setattr(Path, "replace", replace)
        with pytest.raises(FolderError) as refused:
            DataFolder(tmp_path / "data").open()
    assert f"{tmp_path / refusing} cannot be written" in refused.value.message
    with DataFolder(tmp_path / "data") as folder:
        assert list(folder.spool.iterdir()) == []


def test_spool_and_blobs_on_two_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(FolderError, match="different file systems") as refused:
            DataFolder(tmp_path).open()
    assert "STORAGE_ROOT_DIR" in refused.value.remedy
    with DataFolder(tmp_path) as folder:
        assert list(folder.spool.iterdir()) == []


def test_a_refusal_says_what_and_what_to_do() -> None:
    refused = CannotStart("this is wrong", "do that")
    assert str(refused) == "this is wrong; do that"
