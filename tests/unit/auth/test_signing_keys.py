"""The secrets behind our own signed URLs: made once, private, durable, rotated without breaking anybody (G04)."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth.refusals import SigningKeysUnusable
from auth.signing_keys import FILE_NAME, LONGEST_URL_S, MAX_KEYS, SigningKeys
from store.refusals import CannotStart
from tests.unit.auth.desk import NOW_S, Desk, SetClock, open_desk


def secrets_in(file: Path) -> list[str]:
    return [row["secret"] for row in json.loads(file.read_text())["keys"]]


def test_the_first_start_makes_a_key_that_its_owner_alone_can_read(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        made = SigningKeys.open(tmp_path, SetClock())
    finally:
        os.umask(former)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secrets_in(file) == [made.current.secret]
    assert len(made.current.secret) >= 43  # 256 bits


def test_every_folder_has_another_secret_and_another_id(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(SigningKeys.open(tmp_path / name, SetClock()).current)
    assert made[0].key_id != made[1].key_id
    assert made[0].secret != made[1].secret


def test_the_next_start_finds_the_same_key(desk: Desk) -> None:
    before = desk.file.read_bytes()
    assert desk.again().keys.current == desk.keys.current
    assert desk.file.read_bytes() == before


def test_a_rotated_key_signs_and_the_former_one_still_counts(desk: Desk) -> None:
    """G04: old values are kept beside new ones for as long as the longest URL lives."""
    former = desk.keys.current
    made = desk.keys.rotate()
    for keys in (desk.keys, desk.again().keys):
        assert keys.current.key_id == made.id != former.key_id
        assert dict(keys.accepted()) == {made.id: made.credentials, former.key_id: former}
    desk.clock.at_s = NOW_S + LONGEST_URL_S - 1
    assert former.key_id in desk.keys.accepted()
    desk.clock.at_s += 1
    assert dict(desk.keys.accepted()) == {made.id: made.credentials}
    assert desk.keys.former() == []


def test_the_time_a_former_key_counts_is_that_of_the_longest_url(tmp_path: Path) -> None:
    clock = SetClock()
    keys = SigningKeys.open(tmp_path, clock, longest_url_s=60)
    keys.rotate()
    clock.at_s = NOW_S + 59
    assert len(keys.accepted()) == 2
    clock.at_s = NOW_S + 60
    assert len(keys.accepted()) == 1


def test_revoking_ends_every_key_that_was(desk: Desk) -> None:
    desk.keys.rotate()
    made = desk.keys.rotate(revoke=True)
    for keys in (desk.keys, desk.again().keys):
        assert list(keys.accepted()) == [made.id]
    assert secrets_in(desk.file) == [made.secret]


def test_there_are_never_more_than_a_few_keys(desk: Desk) -> None:
    ids = [desk.keys.current.key_id, *(desk.keys.rotate().id for _ in range(2 * MAX_KEYS))]
    assert list(desk.keys.accepted()) == ids[: -MAX_KEYS - 1 : -1]
    assert len(secrets_in(desk.file)) == MAX_KEYS


def test_a_key_that_has_ended_leaves_the_file_with_the_next_rotation(desk: Desk) -> None:
    first = desk.keys.current.secret
    desk.keys.rotate()
    desk.clock.at_s += LONGEST_URL_S
    desk.keys.rotate()
    assert first not in secrets_in(desk.file)


def test_what_a_crash_left_of_a_rotation_is_no_matter(desk: Desk) -> None:
    current = desk.keys.current
    unfinished = desk.folder / f"{desk.file.name}.unfinished"
    unfinished.write_text("half a")
    assert desk.again().keys.current == current
    desk.keys.rotate()
    assert not unfinished.exists()


def test_a_rotation_that_cannot_be_written_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash or a full disk before the rename: the old file is there, whole, and goes on being believed."""
    before, current = desk.file.read_bytes(), desk.keys.current

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        desk.keys.rotate()
    assert desk.keys.current == current
    assert desk.file.read_bytes() == before


def test_a_rotation_is_synced_before_it_is_renamed_and_the_folder_after(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(fd: int) -> None:
        order.append("folder synced" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file synced")
        sync(fd)

    def noted_replace(path: Path, target: Path) -> Path:
        order.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    desk.keys.rotate()
    assert order == ["file synced", "renamed", "folder synced"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620, 0o601])
def test_a_file_that_others_may_use_stops_the_start_with_a_way_out(desk: Desk, mode: int) -> None:
    desk.file.chmod(mode)
    with pytest.raises(SigningKeysUnusable) as caught:
        desk.again()
    assert f"mode {mode:04o}" in caught.value.message and str(desk.file) in caught.value.message
    assert f"chmod 600 {desk.file}" in caught.value.remedy and "keys rotate --revoke" in caught.value.remedy
    desk.file.chmod(0o600)
    assert desk.again().keys.current == desk.keys.current


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The file with something changed in its document."""

    def edit(text: bytes) -> bytes:
        document = json.loads(text)
        change(document)
        return json.dumps(document).encode()

    return edit


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda text: b"",
    "cut short": lambda text: text[:-20],
    "zeros": lambda text: bytes(len(text)),
    "not UTF-8": lambda text: b"\xff\xfe" + text,
    "too long": lambda text: text + b" " * 70_000,
    "deep": lambda text: b"[" * 60_000,
    "a list": lambda text: b"[]",
    "a number": lambda text: b"1",
    "another version": edited(lambda document: document.update(version=2)),
    "no keys": edited(lambda document: document.update(keys=[])),
    "no list of keys": edited(lambda document: document.update(keys=7)),
    "a key that is none": edited(lambda document: document.update(keys=[None])),
    "a field too many": edited(lambda document: document["keys"][0].update(more=1)),
    "a field missing": edited(lambda document: document["keys"][0].pop("secret")),
    "a short secret": edited(lambda document: document["keys"][0].update(secret="short")),
    "a secret of another kind": edited(lambda document: document["keys"][0].update(secret=["x"] * 43)),
    "an id with a slash": edited(lambda document: document["keys"][0].update(id="hf/aaaaaaaaaaaaaa")),
    "a time that is none": edited(lambda document: document["keys"][0].update(made_at_s="today")),
    "a time without an end": edited(lambda document: document["keys"][0].update(made_at_s=float("inf"))),
    "a time after all dates": edited(lambda document: document["keys"][0].update(made_at_s=1e300)),
    "nobody signs": edited(lambda document: document["keys"][0].update(accepted_until_s=1)),
    "two sign": edited(lambda document: document["keys"].append(document["keys"][0] | {"id": "hfaaaaaaaaaaaaaaaa"})),
    "an id twice": edited(lambda document: document["keys"].append(document["keys"][0] | {"accepted_until_s": 1})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_stops_the_start_and_is_left_as_it_is(desk: Desk, damage: Callable[[bytes], bytes]) -> None:
    secret = desk.keys.current.secret
    damaged = damage(desk.file.read_bytes())
    desk.file.write_bytes(damaged)
    with pytest.raises(SigningKeysUnusable) as caught:
        desk.again()
    assert isinstance(caught.value, CannotStart)
    assert str(desk.file) in str(caught.value) and "remove it" in caught.value.remedy
    assert secret not in str(caught.value) and caught.value.__cause__ is None
    assert desk.file.read_bytes() == damaged


def test_a_folder_in_the_place_of_the_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir(mode=0o700)
    with pytest.raises(SigningKeysUnusable):
        open_desk(tmp_path, SetClock())


def test_a_folder_that_cannot_be_written_stops_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(SigningKeysUnusable, match="cannot be written"):
        SigningKeys.open(tmp_path / "missing", SetClock())


def test_nothing_shows_a_secret(desk: Desk) -> None:
    made = desk.keys.rotate()
    shown = repr([desk.keys, made, desk.keys.former(), desk.keys.current, desk.signer, vars(desk.keys)])
    assert [secret for secret in secrets_in(desk.file) if secret in shown] == []
