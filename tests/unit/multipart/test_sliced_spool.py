"""A spool file in slices: cut where they end, hashed once, proven slice by slice, with room given back at its front."""

import hashlib
import os
import random

import pytest

from model.errors import StorageFailed, StorageFull
from multipart import filesystem, marks, spool
from multipart.refusals import UploadTooLarge
from multipart.sliced_spool import SlicedSpool
from multipart.slices import Sizes

SIZES = Sizes(first_bytes=100, largest_bytes=10_000, most_parts=2000)
FEW = Sizes(first_bytes=100, largest_bytes=10_000, most_parts=40)
CONTENT = random.Random(7).randbytes(1000)


@pytest.fixture(autouse=True)
def marks_come_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MARK_BYTES", 8)


def spooled(folder, *, sizes=SIZES, algorithms=("sha256",)):
    return SlicedSpool(folder, "u", algorithms, sizes, reserved_bytes=300)


def write(to, content, piece=30):
    for start in range(0, len(content), piece):
        to.write(memoryview(content[start : start + piece]))


def hexadecimal(content):
    return hashlib.sha256(content).hexdigest()


def described(file):
    return [(each.number, each.start, each.length_bytes, each.sha256) for each in file.slices]


@pytest.mark.parametrize("piece", [1, 7, 100, 101, 1000])
def test_slices_are_contiguous_and_each_has_its_hash(tmp_path, piece):
    file, told = spooled(tmp_path), []
    file.on_slice = lambda: told.append(len(file.slices))
    write(file, CONTENT[:250], piece)
    assert described(file) == [
        (1, 0, 100, hexadecimal(CONTENT[:100])),
        (2, 100, 100, hexadecimal(CONTENT[100:200])),
    ]
    assert told == [1, 2]
    tail = file.tail()
    assert tail is not None
    assert (tail.number, tail.start, tail.length_bytes, tail.sha256) == (3, 200, 50, hexadecimal(CONTENT[200:250]))
    assert file.seal("sha256") == hexadecimal(CONTENT[:250])


def test_the_first_slice_is_hashed_once(tmp_path, monkeypatch):
    """It is the whole so far."""

    def twice() -> None:
        raise AssertionError("a slice was hashed apart from the whole")

    file = spooled(tmp_path)
    monkeypatch.setattr("multipart.sliced_spool.hashlib.sha256", twice)
    write(file, CONTENT[:99])


def test_the_body_that_opens_the_session_chooses_the_size(tmp_path):
    file = spooled(tmp_path, sizes=FEW)
    file.open(1000)
    write(file, CONTENT)
    assert [each.length_bytes for each in file.slices] == [FEW.equal_bytes(1000)] * 2 == [500, 500]


def test_h101_more_slices_than_the_store_takes_are_refused_and_what_came_before_is_kept(tmp_path):
    file = spooled(tmp_path, sizes=Sizes(first_bytes=10, largest_bytes=10, most_parts=3))
    with pytest.raises(UploadTooLarge):
        write(file, CONTENT[:31], 31)
    assert file.offset_bytes == 30
    assert len(file.slices) == 3


def test_a_full_disk_at_the_end_of_a_slice_loses_nothing(tmp_path, monkeypatch):
    file = spooled(tmp_path)
    real, full = marks.append_of_slice, True

    def append(fd, offset, *rest):
        if full and offset == 100:
            raise OSError(28, "No space left on device")
        real(fd, offset, *rest)

    monkeypatch.setattr(marks, "append_of_slice", append)
    with pytest.raises(StorageFull):
        write(file, CONTENT[:150], 150)
    assert (file.offset_bytes, file.slices) == (100, [])
    full = False
    write(file, CONTENT[100:150])
    assert described(file) == [(1, 0, 100, hexadecimal(CONTENT[:100]))]
    assert file.seal("sha256") == hexadecimal(CONTENT[:150])


@pytest.mark.parametrize("at", [0, 1, 100, 150, 200, 249, 250])
def test_going_back_goes_on_as_if_nothing_had_come(tmp_path, at):
    file = spooled(tmp_path)
    write(file, CONTENT[:at] + bytes(250 - at))
    file.cut(at)
    file.rewind(at)
    write(file, CONTENT[at:300])
    assert [each.sha256 for each in file.slices] == [hexadecimal(CONTENT[i : i + 100]) for i in (0, 100, 200)]
    assert file.seal("sha256") == hexadecimal(CONTENT[:300])


def test_going_back_that_failed_is_made_up_for(tmp_path, monkeypatch):
    """The slices are cut, the file is not: what is there counts again."""
    file = spooled(tmp_path)
    write(file, CONTENT[:250])
    file.cut(120)
    with monkeypatch.context() as failing, pytest.raises(StorageFailed):
        failing.setattr(os, "ftruncate", _fail)
        file.rewind(120)
    write(file, CONTENT[250:300])
    assert file.slices[0].sha256 == hexadecimal(CONTENT[:100])
    assert sum(each.length_bytes for each in file.slices) + (file.tail().length_bytes if file.tail() else 0) == 300
    assert file.seal("sha256") == hexadecimal(CONTENT[:300])


def _fail(*_):
    raise OSError(5, "Input/output error")


def let_go(file, stop):
    assert file.punch(stop)
    file.let_go(stop)


@pytest.mark.parametrize("at", [200, 201, 300, 450])
def test_with_the_front_let_go_it_goes_back_into_what_is_kept(tmp_path, at):
    file = spooled(tmp_path)
    write(file, CONTENT[:at] + bytes(450 - at))
    let_go(file, 200)
    file.cut(at)
    file.rewind(at)
    write(file, CONTENT[at:500])
    assert file.path.read_bytes() == bytes(200) + CONTENT[200:500]
    assert file.seal("sha256") == hexadecimal(CONTENT[:500])
    assert file.seal("sha512") == ""


def test_letting_go_gives_the_room_back(tmp_path):
    big = Sizes(first_bytes=1 << 20, largest_bytes=1 << 20, most_parts=20)
    file = spooled(tmp_path, sizes=big)
    write(file, bytes(range(256)) * 4096 * 3, 1 << 18)
    file.sync()
    before = file.path.stat().st_blocks
    let_go(file, 2 << 20)
    assert file.path.stat().st_blocks * 512 <= before * 512 - (2 << 20)
    assert file.path.stat().st_size == 3 << 20


@pytest.mark.parametrize("error", ["unsupported", "failed"])
def test_a_file_system_that_cannot_let_go_says_so(tmp_path, monkeypatch, error):
    file = spooled(tmp_path)
    write(file, CONTENT)
    if error == "unsupported":
        monkeypatch.setattr(filesystem, "punch", lambda *_: False)
        assert not file.punch(200)
    else:
        monkeypatch.setattr(filesystem, "punch", _fail)
        with pytest.raises(StorageFailed):
            file.punch(200)
    assert file.path.read_bytes() == CONTENT


# -- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 99, 100, 101, 250, 300])
def test_after_a_restart_the_same_slices_are_there(tmp_path, size):
    first = spooled(tmp_path)
    write(first, CONTENT[:size])
    first.rest()
    file = spooled(tmp_path)
    file.recover()
    assert file.offset_bytes == size
    write(file, CONTENT[size:500])
    assert [each.sha256 for each in file.slices] == [hexadecimal(CONTENT[i : i + 100]) for i in range(0, 500, 100)]
    assert file.seal("sha256") == hexadecimal(CONTENT[:500])


def test_after_a_restart_slices_go_on_in_the_size_that_was_chosen(tmp_path):
    first = spooled(tmp_path, sizes=FEW)
    first.open(400)
    write(first, CONTENT[:250])
    first.rest()
    file = spooled(tmp_path, sizes=FEW)
    file.recover()
    write(file, CONTENT[250:])
    assert [each.length_bytes for each in file.slices] == [200] * 5


@pytest.mark.parametrize("damaged_at", [50, 150, 220])
def test_after_a_power_cut_only_what_is_proven_counts(tmp_path, damaged_at):
    first = spooled(tmp_path)
    write(first, CONTENT[:300], 10)
    first.rest()
    content = bytearray(first.path.read_bytes())
    content[damaged_at] ^= 1
    first.path.write_bytes(content)
    file = spooled(tmp_path)
    file.recover()
    assert file.offset_bytes == damaged_at // 10 * 10
    assert file.path.read_bytes() == CONTENT[: file.offset_bytes]


def restored(folder, slices):
    file = spooled(folder)
    file.restore(slices)
    file.recover()
    return file


def test_with_the_front_let_go_what_the_store_has_counts_and_what_lies_behind_is_proven(tmp_path):
    first = spooled(tmp_path)
    write(first, CONTENT[:560])
    first.rest()
    let_go(first, 200)
    file = restored(tmp_path, first.slices[:3])
    assert (file.offset_bytes, file.floor_bytes, file.knows_whole) == (560, 200, False)
    assert described(file) == described(first)
    write(file, CONTENT[560:610])
    assert file.slices[-1].sha256 == hexadecimal(CONTENT[500:600])
    assert file.seal("sha256") == ""


def test_with_nothing_let_go_after_all_the_whole_is_known(tmp_path):
    """Killed between the ledger's row and the hole."""
    first = spooled(tmp_path)
    write(first, CONTENT[:560])
    first.rest()
    file = restored(tmp_path, first.slices[:3])
    assert (file.offset_bytes, file.floor_bytes, file.knows_whole) == (560, 0, True)
    assert file.seal("sha256") == hexadecimal(CONTENT[:560])


@pytest.mark.parametrize("lost", ["data", "marks", "both"])
def test_with_files_lost_it_stands_where_the_store_does(tmp_path, lost):
    first = spooled(tmp_path)
    write(first, CONTENT[:560])
    first.rest()
    let_go(first, 200)
    if lost in ("data", "both"):
        first.path.unlink()
    if lost in ("marks", "both"):
        first.marks_path.unlink()
    file = restored(tmp_path, first.slices[:4])
    assert file.offset_bytes == 400
    assert file.floor_bytes == (200 if lost == "marks" else 400)
    write(file, CONTENT[400:500])
    assert file.slices[-1].sha256 == hexadecimal(CONTENT[400:500])


def test_what_a_commit_took_away_is_known_by_its_last_mark(tmp_path):
    """Only uploads below one slice are ever moved."""
    first = spooled(tmp_path)
    write(first, CONTENT[:90])
    first.rest()
    first.path.unlink()
    moved = spooled(tmp_path).moved_away()
    assert moved is not None
    assert (moved[0], moved[1].hex) == (90, hexadecimal(CONTENT[:90]))


def test_marks_that_cannot_be_read_are_the_disks_failure(tmp_path):
    file = spooled(tmp_path)
    file.marks_path.mkdir()
    with pytest.raises(StorageFailed):
        file.moved_away()


def test_starting_from_nothing_forgets_all(tmp_path):
    file = spooled(tmp_path)
    write(file, CONTENT)
    let_go(file, 300)
    file.reset()
    write(file, CONTENT[:150])
    assert file.slices[0].sha256 == hexadecimal(CONTENT[:100])
    assert file.seal("sha256") == hexadecimal(CONTENT[:150])
