"""Pushes and pulls that meet a full disk, a forgotten secret or a damaged part: what they say, and what they keep."""

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from clients.journal import Entry, Journal
from clients.problems import Problem, Refused
from clients.retrying import GaveUp
from model.clock import SystemClock
from tests.unit.clients.fake import FakeRegistry, Status, Then
from tests.unit.clients.steps import pulled, sha256, some_file
from tests.unit.clients.test_parts import PART, journals, pushed

CLOCK = SystemClock()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight parts, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * PART + 17)


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_who_forgot_the_secret_is_told_and_the_upload_stays(big: Path, tmp_path: Path) -> None:
    """H071: it was begun with one; without it nothing is begun anew, and with it only the rest is sent."""
    async with FakeRegistry() as fake:
        fake.hold_token = "secret"
        fake.faults["part"] = [Then(lambda: None)] * 5 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, hold_token="secret", give_up_after_s=0.05)
        fake.faults.clear()
        with pytest.raises(Refused, match=r"401.*\nset HOLD_TOKEN"):
            await pushed(fake.url, big)
        assert not fake.of("patch")
        assert len(fake.of("start")) == 1
        before = len(fake.of("part"))
        await pushed(fake.url, big, hold_token="secret")
        assert len(fake.of("part")) - before < 8
        assert fake.blobs[sha256(big)] == big.read_bytes()
    assert journals(tmp_path) == []


@pytest.mark.parametrize("error", ["XAmzContentSHA256Mismatch", "PartMismatch"])
async def test_an_announced_part_that_was_damaged_on_the_way_is_sent_again(big: Path, error: str) -> None:
    """M09: the line is at fault; the other parts stay."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None), Status(400, document={"error": error})]
        await pushed(fake.url, big, announce=True)
        assert len(fake.of("start")) == 1
        assert not fake.of("abort")
        assert fake.blobs[sha256(big)] == big.read_bytes()


@pytest.mark.parametrize("where", ["http://[", "http://127.0.0.1:no/"])
async def test_an_address_that_is_none_is_a_sentence(big: Path, where: str) -> None:
    async with FakeRegistry() as fake:
        fake.faults["url"] = [Status(200, document={"url": where})]
        with pytest.raises(Problem, match="which is no address"):
            await pushed(fake.url, big)


async def test_a_list_of_parts_that_is_none_is_passed_over(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 5 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.05)
        fake.faults.clear()
        fake.faults["list"] = [Status(200, document={"parts": [{"etag": "x"}, {"part_number": "one"}, 3]})]
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_a_journal_on_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written, and at the end; the lock is free afterwards."""
    with monkeypatch.context() as broken:
        broken.setattr("clients.journal.os.fsync", full)
        with (
            pytest.raises(Problem, match=r"(?s)No space left.*--journal-dir"),
            Journal.open(tmp_path, "d", "s", CLOCK) as journal,
        ):
            journal.entries["k"] = Entry([])
            with pytest.raises(Problem, match="No space left"):
                await journal.save()
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.forget()
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_is_not_taken_for_a_broken_line(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        with monkeypatch.context() as broken, pytest.raises(Problem, match=r"partial cannot be written: No space left"):
            broken.setattr("clients.download.os.pwrite", full)
            await pulled(fake.url, tmp_path / "out", give_up_after_s=0.05)
        asked = len(fake.of("blob"))
        await pulled(fake.url, tmp_path / "out")
        assert asked <= 4  # nothing was tried again


async def test_a_write_that_takes_less_than_it_is_given_goes_on(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def half(fd: int, data: memoryview, at: int) -> int:
        return real(fd, data[: max(1, len(data) // 2)], at)

    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        with monkeypatch.context() as slow:
            slow.setattr("clients.download.os.pwrite", half)
            await pulled(fake.url, tmp_path / "out")
        stored = tmp_path / "out/blobs/sha256" / sha256(big).removeprefix("sha256:")
        assert stored.read_bytes() == big.read_bytes()


async def test_a_pull_that_another_one_finished_at_this_moment_does_not_write_to_its_file(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It got its name between our opening it and our having it to ourselves."""
    real, moved = fcntl.flock, threading.Event()
    partial, whole = tmp_path / "it.partial", tmp_path / "it"

    def flock(fd: int, how: int) -> None:
        if partial.exists() and not moved.is_set():
            partial.write_bytes(b"of the other")
            partial.rename(whole)
            moved.set()
        real(fd, how)

    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        with monkeypatch.context() as raced, pytest.raises(Problem, match="by somebody else"):
            raced.setattr("clients.download.fcntl.flock", flock)
            await pulled(fake.url, whole, output=True)
        assert whole.read_bytes() == b"of the other"
