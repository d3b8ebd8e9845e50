"""Spool files: what a crash, a power cut, a full disk or a rewind leaves of a prefix."""

import errno
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import StorageFailed, StorageFull
from multipart import filesystem, spool
from multipart.spool import MARK_BYTES, SpoolFile

UPLOAD = "3f0c1a52-8f0e-4c4e-9f53-0d5d3b5e6a10"


def grown(folder, *pieces, rest=True):
    """A spool file that received `pieces`, in one request."""
    file = SpoolFile(folder, UPLOAD)
    file.open(None)
    for piece in pieces:
        file.write(memoryview(piece))
    if rest:
        file.rest()
    return file


def recovered(folder, *algorithms):
    """What the next process makes of the files."""
    file = SpoolFile(folder, UPLOAD, algorithms)
    file.recover()
    return file


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_digest_runs_along(tmp_path):
    file = grown(tmp_path, b"one ", b"two")
    assert file.seal("sha256") == sha256(b"one two")
    assert file.path.read_bytes() == b"one two"


def test_another_digest_is_read_from_the_file_when_it_is_first_asked_for(tmp_path):
    file = grown(tmp_path, b"one ", b"two")
    assert file.seal("sha512") == hashlib.sha512(b"one two").hexdigest()


def test_a_request_that_ended_is_whole_for_the_next_process(tmp_path):
    grown(tmp_path, os.urandom(1000))
    file = recovered(tmp_path)
    assert file.offset_bytes == 1000
    assert file.seal("sha256") == sha256(file.path.read_bytes())


def test_rule_13_sha512_goes_on_after_a_restart(tmp_path):
    grown(tmp_path, b"one ")
    file = recovered(tmp_path, "sha512")
    file.open(None)
    file.write(memoryview(b"two"))
    file.rest()
    assert file.seal("sha512") == hashlib.sha512(b"one two").hexdigest()


def test_a_kill_in_the_middle_costs_at_most_what_came_after_the_last_mark(tmp_path):
    content = os.urandom(3 * MARK_BYTES + 10)
    file = grown(tmp_path, content[: 3 * MARK_BYTES], content[3 * MARK_BYTES :], rest=False)
    file.close()
    assert recovered(tmp_path).offset_bytes == 3 * MARK_BYTES


def test_zeros_left_by_a_power_cut_are_never_offered_as_data(tmp_path):
    content = os.urandom(2 * MARK_BYTES)
    file = grown(tmp_path, content[:MARK_BYTES], content[MARK_BYTES:])
    with file.path.open("r+b") as raw:
        raw.seek(MARK_BYTES + 5)
        raw.write(bytes(4096))
    assert recovered(tmp_path).offset_bytes == MARK_BYTES


def test_a_file_cut_short_by_a_power_cut_goes_back_to_the_last_proven_prefix(tmp_path):
    content = os.urandom(2 * MARK_BYTES)
    file = grown(tmp_path, content[:MARK_BYTES], content[MARK_BYTES:])
    os.truncate(file.path, MARK_BYTES + 100)
    assert recovered(tmp_path).offset_bytes == MARK_BYTES


def test_marks_without_data_prove_nothing_and_are_removed(tmp_path):
    file = grown(tmp_path, b"something")
    file.path.unlink()
    assert recovered(tmp_path).offset_bytes == 0
    assert list(tmp_path.iterdir()) == []


@given(torn=st.integers(min_value=1, max_value=39), garbage=st.binary(max_size=200))
@settings(max_examples=50)
def test_torn_and_wrong_marks_never_prove_too_much(tmp_path_factory, torn, garbage):
    folder = tmp_path_factory.mktemp("spool")
    content = os.urandom(MARK_BYTES)
    file = grown(folder, content)
    whole = file.marks_path.read_bytes()
    file.marks_path.write_bytes(whole + garbage + whole[:torn])
    assert recovered(folder).offset_bytes in (0, MARK_BYTES)
    file.marks_path.write_bytes(whole[:-torn])
    assert recovered(folder).offset_bytes == 0


def test_going_back_forgets_what_came_behind(tmp_path):
    file = grown(tmp_path, b"the right half, ")
    file.open(None)
    file.write(memoryview(b"and a wrong one"))
    file.rewind(16)
    file.write(memoryview(b"then another"))
    file.rest()
    assert file.path.read_bytes() == b"the right half, then another"
    assert file.seal("sha256") == sha256(b"the right half, then another")
    assert recovered(tmp_path).offset_bytes == 28


def test_going_back_to_an_offset_that_was_never_handed_out_reads_the_prefix_again(tmp_path):
    file = grown(tmp_path, b"0123456789")
    file.open(None)
    file.rewind(4)
    file.write(memoryview(b"x"))
    file.rest()
    assert file.seal("sha256") == sha256(b"0123x")


def test_a_full_disk_leaves_the_prefix_as_it_was(tmp_path, monkeypatch):
    file = grown(tmp_path, b"stored")
    file.open(None)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(StorageFull):
        broken.setattr(spool, "_write_all", full)
        file.write(memoryview(b"not stored"))
    file.rest()
    assert (file.offset_bytes, file.path.read_bytes()) == (6, b"stored")
    assert file.seal("sha256") == sha256(b"stored")


def test_a_disk_that_takes_less_than_it_is_given_is_given_the_rest(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data[:3]), offset))
    assert grown(tmp_path, b"a body in pieces of three").path.read_bytes() == b"a body in pieces of three"


def test_a_body_that_the_disk_has_no_room_for_is_refused_before_a_byte_is_received(tmp_path):
    free = os.statvfs(tmp_path)
    with pytest.raises(StorageFull):
        SpoolFile(tmp_path, UPLOAD).open(free.f_bavail * free.f_frsize + (1 << 30))


def test_announcing_a_length_does_not_take_the_room_for_all_of_it(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    file.open(1 << 30)
    file.write(memoryview(b"one byte"))
    reserved = file.path.stat().st_blocks * 512
    assert reserved <= spool.RESERVE_AHEAD_BYTES + (1 << 20)
    file.rest()


def test_room_goes_on_being_reserved_ahead_of_what_arrives(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(filesystem, "reserve", lambda fd, offset, length: asked.append((offset, length)))
    monkeypatch.setattr(spool, "RESERVE_AHEAD_BYTES", 100)
    file = SpoolFile(tmp_path, UPLOAD)
    file.open(250)
    for _ in range(25):
        file.write(memoryview(bytes(10)))
    assert asked == [(0, 100), (100, 100), (200, 50)]


def test_room_is_reserved_before_a_byte_is_received(tmp_path, monkeypatch):
    def full(fd, offset, length_bytes):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filesystem, "reserve", full)
    with pytest.raises(StorageFull):
        SpoolFile(tmp_path, UPLOAD).open(1 << 30)


def test_room_reserved_too_much_is_given_back(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    file.open(64 << 20)
    file.write(memoryview(b"the client left"))
    file.rest()
    assert file.path.stat().st_size == 15
    assert file.path.stat().st_blocks * 512 < 1 << 20


def test_a_file_that_somebody_else_changed_does_not_become_a_blob(tmp_path):
    file = grown(tmp_path, b"received")
    os.truncate(file.path, 3)
    with pytest.raises(StorageFailed):
        file.seal("sha256")


def test_rule_12_an_upload_without_a_byte_becomes_an_empty_file(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    assert file.seal("sha256") == sha256(b"")
    assert file.path.read_bytes() == b""


def test_syncing_a_session_that_ended_meanwhile_is_no_error(tmp_path):
    file = grown(tmp_path, b"gone soon")
    file.remove()
    file.sync()


def test_syncing_keeps_the_prefix_and_marks_it_clean(tmp_path):
    file = grown(tmp_path, b"to be kept")
    assert file.dirty
    file.sync()
    assert not file.dirty


def test_an_upload_that_could_not_become_a_blob_is_kept_whole_for_the_next_process(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    file.write(memoryview(b"sealed at once"))
    file.seal("sha256")
    assert not file.is_marked
    file.keep()
    assert recovered(tmp_path).offset_bytes == 14


def test_a_mark_made_after_a_sync_is_synced_as_well(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    file.write(memoryview(b"a little"))
    file.sync()
    file.rest()
    assert file.dirty


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path):
    file = SpoolFile(tmp_path, UPLOAD)
    for _ in range(3 * spool.CHECKPOINTS):
        file.write(memoryview(b"x"))
        file.rest()
    assert len(file._checkpoints) == spool.CHECKPOINTS
    file.rewind(0)
    file.write(memoryview(b"y"))
    assert file.seal("sha256") == sha256(b"y")


def test_a_file_that_vanished_is_not_made_again_with_a_hole(tmp_path):
    file = grown(tmp_path, b"received")
    file.path.unlink()
    with pytest.raises(StorageFailed):
        file.write(memoryview(b"more"))


def test_a_file_that_became_shorter_is_never_filled_up_with_zeros(tmp_path):
    file = grown(tmp_path, b"received")
    os.truncate(file.path, 3)
    file.open(None)
    with pytest.raises(StorageFailed):
        file.rest()
    assert file.path.stat().st_size == 3


def test_a_mark_that_the_disk_takes_half_is_taken_back(tmp_path, monkeypatch):
    file = grown(tmp_path, b"one")
    file.open(None)
    file.write(memoryview(b"two"))
    real = os.write
    with monkeypatch.context() as broken, pytest.raises(StorageFull):
        broken.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
        file.rest()
    file.write(memoryview(b"three"))
    file.rest()
    assert recovered(tmp_path).offset_bytes == 11


@pytest.mark.parametrize("answer", [None, 5], ids=["the filesystem cannot", "takes a part"])
def test_a_large_upload_is_written_past_the_page_cache_where_that_can_be_done(tmp_path, monkeypatch, answer):
    asked = []

    def uncached(fd, data, offset):
        asked.append(offset)
        return None if answer is None else os.pwrite(fd, data[:answer], offset)

    monkeypatch.setattr(filesystem, "write_uncached", uncached)
    monkeypatch.setattr(spool, "UNCACHED_FROM_BYTES", 20)
    monkeypatch.setattr(spool, "UNCACHED_PIECE_BYTES", 10)
    file = SpoolFile(tmp_path, UPLOAD, uncached=True)
    pieces = [os.urandom(10), os.urandom(10), os.urandom(10), os.urandom(9), os.urandom(10)]
    for piece in pieces:
        file.write(memoryview(piece))
    assert file.seal("sha256") == sha256(b"".join(pieces)) == sha256(file.path.read_bytes())
    assert asked == ([20] if answer is None else [20, 39]), "large pieces of a large upload; once is enough for a no"


def test_the_real_way_past_the_page_cache_writes_the_same_bytes_or_says_that_it_cannot(tmp_path):
    content = os.urandom(1 << 20)
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        written = filesystem.write_uncached(file.fileno(), memoryview(content), 0)
        assert written is None or file.read() == content[:written]


@pytest.mark.parametrize(
    ("release", "can"), [("6.14.2", False), ("6.15.0-rc1", False), ("6.16.0", True), ("7.0", True), ("odd", False)]
)
def test_kernels_in_which_it_was_wrong_are_not_asked(monkeypatch, release, can):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", release, "", "x86_64")))
    assert filesystem.can_write_uncached() is can
