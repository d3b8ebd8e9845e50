"""The journal: written whole or not at all, one push at a time, forgotten when it is old."""

import json
import os
from pathlib import Path

import pytest

from clients.journal import FORGOTTEN_AFTER_S, Entry, Journal, cache_folder
from clients.problems import Problem
from model.clock import SystemClock

CLOCK = SystemClock()


def test_what_was_written_down_is_there_the_next_time(tmp_path: Path) -> None:
    """H071."""
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.entries["k"] = Entry([1, 2, 3], upload_id="u", parts={"1": "e"})
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        assert journal.entries == {"k": Entry([1, 2, 3], upload_id="u", parts={"1": "e"})}
    with Journal.open(tmp_path, "other", "s", CLOCK) as journal:
        assert journal.entries == {}


def test_what_is_known_survives_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.entries["k"] = Entry([], upload_id="u")
        raise ZeroDivisionError
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        assert journal.entries["k"].upload_id == "u"


def test_nothing_is_left_of_a_push_that_is_done(tmp_path: Path) -> None:
    """H071: removed on commit."""
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.entries["k"] = Entry([])
        journal.forget()
    assert list(tmp_path.iterdir()) == []


async def test_a_journal_is_written_at_once_or_now_and_then(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.entries["k"] = Entry([], upload_id="one")
        await journal.save()
        journal.entries["k"].upload_id = "two"
        await journal.later()
        [path] = tmp_path.glob("*.json")
        assert json.loads(path.read_text())["blobs"]["k"]["upload_id"] == "one"
        assert path.stat().st_mode & 0o777 == 0o600


class Ticking(SystemClock):
    """A hundredth of a second passes whenever somebody looks, and more when a test says so."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def monotonic_s(self) -> float:
        self.at_s += 0.01
        return self.at_s


async def test_what_only_we_know_is_written_down_as_soon_as_that_costs_little(tmp_path: Path) -> None:
    """H071, T08: the ETag of an object store, which no look at the bytes brings back."""
    clock = Ticking()
    with Journal.open(tmp_path, "d", "s", clock) as journal:
        journal.entries["k"] = entry = Entry([], upload_id="one")
        await journal.save()
        [path] = tmp_path.glob("*.json")
        for upload_id, later_s, written in (("two", 0.05, "one"), ("three", 0.1, "three"), ("four", 0.0, "three")):
            entry.upload_id = upload_id
            clock.at_s += later_s
            await journal.later(soon=True)
            assert json.loads(path.read_text())["blobs"]["k"]["upload_id"] == written


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 0}', '{"version": 1, "blobs": {"k": {"new": 1}}}'])
def test_a_journal_that_cannot_be_read_knows_nothing(tmp_path: Path, text: str) -> None:
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        journal.entries["k"] = Entry([])
    [path] = tmp_path.glob("*.json")
    path.write_text(text)
    with Journal.open(tmp_path, "d", "s", CLOCK) as journal:
        assert journal.entries == {}


def test_the_same_push_does_not_run_twice(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "d", "s", CLOCK):
        with Journal.open(tmp_path, "d", "another", CLOCK):
            pass
        with (
            pytest.raises(Problem, match="the same push of s to d is running already"),
            Journal.open(tmp_path, "d", "s", CLOCK),
        ):
            pass


def test_what_nobody_came_back_for_is_forgotten_after_a_week(tmp_path: Path) -> None:
    for name in ("old", "new", "running"):
        with Journal.open(tmp_path, "d", name, CLOCK) as journal:
            journal.entries["k"] = Entry([])
    week_ago = CLOCK.now_s() - FORGOTTEN_AFTER_S - 60
    kept = set()
    with Journal.open(tmp_path, "d", "running", CLOCK):
        for path in tmp_path.glob("*.json"):
            source = json.loads(path.read_text())["source"]
            if source == "new":
                kept.add(path.name)
            else:
                os.utime(path, (week_ago, week_ago))
            if source == "running":
                kept.add(path.name)
        with Journal.open(tmp_path, "d", "one more", CLOCK):
            assert {path.name for path in tmp_path.glob("*.json")} == kept


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Problem, match=r"cannot be written: .*\nchoose another folder with --journal-dir"),
        Journal.open(tmp_path / "file", "d", "s", CLOCK),
    ):
        pass


def test_the_cache_folder_is_where_caches_are(tmp_path: Path) -> None:
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/holdfast")
    assert cache_folder({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/holdfast")
