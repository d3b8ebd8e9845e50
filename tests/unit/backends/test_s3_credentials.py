"""Where the keys for a store come from, and how they change without a stop (M17, G04)."""

import logging
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from backends.s3 import refused
from backends.s3.credentials import LOOK_AGAIN_S, Keys, pairs_of
from backends.s3.errors import CallFailed, StoreRefused, Trouble
from backends.s3.settings import StoreSettings
from sigv4.signing import Credentials
from tests.unit.backends.s3harness import Moved

ONE, TWO, THREE = Credentials("one", "1"), Credentials("two", "2"), Credentials("three", "3")


async def keys(clock: Moved | None = None, **said: object) -> Keys:
    made = Keys(StoreSettings(**{"bucket": "b", "endpoint": "http://store", **said}), clock or Moved())  # type: ignore[arg-type]
    await made.open()
    return made


async def test_the_pair_of_the_settings_is_used() -> None:
    made = await keys(key_id="one", secret="1")
    assert await made.current() == made.now() == ONE
    assert await made.other_than([ONE]) is None
    assert made.now() == ONE


async def test_a_second_pair_is_tried_when_the_first_is_refused_and_stays_first() -> None:
    """G04: old and new keys are accepted during a rotation."""
    made = await keys(key_id="one", secret="1", other_key_id="two", other_secret="2")
    assert await made.other_than([ONE]) == TWO
    assert await made.current() == TWO
    assert await made.other_than([TWO]) == ONE
    assert await made.other_than([ONE, TWO]) is None


async def test_somebody_else_may_have_found_the_pair_that_works_already() -> None:
    made = await keys(key_id="one", secret="1", other_key_id="two", other_secret="2")
    await made.other_than([ONE])
    assert await made.other_than([ONE]) == TWO


async def test_a_file_is_read_and_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """M17: storage and registry may share a file of keys."""
    caplog.set_level(logging.INFO, "holdfast.store")
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(clock, credentials_file=file)
    assert made.now() == ONE
    file.write_text("AWS_ACCESS_KEY_ID=three\nAWS_SECRET_ACCESS_KEY=3\n")
    assert await made.current() == ONE, "it is not looked at for every call"
    clock.move(LOOK_AGAIN_S)
    assert await made.current() == THREE
    assert "three" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_refused_key_has_the_file_looked_at_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.env"
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(credentials_file=file)
    file.write_text("AWS_ACCESS_KEY_ID=three\nAWS_SECRET_ACCESS_KEY=3\n")
    assert await made.other_than([ONE]) == THREE


async def test_the_pair_that_works_stays_first_when_others_come_or_go(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(clock, credentials_file=file, other_key_id="two", other_secret="2")
    assert await made.other_than([ONE]) == TWO
    file.write_text("AWS_ACCESS_KEY_ID=three\nAWS_SECRET_ACCESS_KEY=3\n")
    clock.move(LOOK_AGAIN_S)
    assert await made.current() == TWO
    assert await made.other_than([TWO]) == THREE


@pytest.mark.parametrize("now", [None, "", "half=of it", "AWS_ACCESS_KEY_ID=one\n", "\xff"])
async def test_a_file_that_is_broken_later_changes_nothing(tmp_path: Path, now: str | None) -> None:
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(clock, credentials_file=file)
    file.unlink()
    if now is not None:
        file.write_bytes(now.encode("latin-1"))
    clock.move(LOOK_AGAIN_S)
    assert await made.current() == ONE


@pytest.mark.parametrize("text", [None, "", "AWS_ACCESS_KEY_ID=one\n", "nothing of this kind"])
async def test_a_file_without_keys_ends_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys.env"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StoreRefused) as raised:
        await keys(credentials_file=file)
    assert str(file) in raised.value.reason
    assert "AWS_ACCESS_KEY_ID" in raised.value.remedy


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1", [ONE]),
        ("export AWS_ACCESS_KEY_ID=\"one\"\n  AWS_SECRET_ACCESS_KEY = '1'  \n", [ONE]),
        ("# AWS_ACCESS_KEY_ID=no\nAWS_ACCESS_KEY_ID=one\n\nAWS_SECRET_ACCESS_KEY=1=2", [Credentials("one", "1=2")]),
        ("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\nAWS_SESSION_TOKEN=t", [Credentials("one", "1", "t")]),
        (
            "AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\nS3_OTHER_ACCESS_KEY_ID=two\nS3_OTHER_SECRET_ACCESS_KEY=2",
            [ONE, TWO],
        ),
        ("S3_OTHER_ACCESS_KEY_ID=two\nS3_OTHER_SECRET_ACCESS_KEY=2", [TWO]),
        ("AWS_ACCESS_KEY_ID=\nAWS_SECRET_ACCESS_KEY=1", []),
    ],
)
def test_a_file_is_read_as_shells_and_environment_files_are_written(text: str, pairs: list[Credentials]) -> None:
    assert pairs_of(text) == pairs


async def test_without_any_keys_the_standard_files_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = one\naws_secret_access_key = 1\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = await keys()
    assert await made.current() == ONE


async def test_no_keys_at_all_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreRefused, match="no keys for the store"):
        await keys()


def test_no_secret_is_shown() -> None:
    said = StoreSettings(bucket="b", endpoint="http://store", key_id="one", secret="hidden", other_secret="hidden")
    assert "hidden" not in repr(said)


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole"),
        ValueError("what a credential_process printed is no JSON"),
        AttributeError("or none of the right kind"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_borrowed_keys_that_cannot_be_renewed_are_refused_keys_and_nothing_worse(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whoever lends them answers by errors of several kinds; none of them ends the watch over the store."""

    class Lender:
        async def get_frozen_credentials(self) -> object:
            raise error

    made = await keys(key_id="one", secret="1")
    monkeypatch.setattr(made, "_chain", Lender())
    with pytest.raises(CallFailed) as raised:
        await made.current()
    assert raised.value.trouble is Trouble.WRONG_KEY
    assert made.now() == ONE


def test_a_session_token_is_not_told_to_the_log() -> None:
    ours = "PUT\n/b/k\n\nhost:store\nx-amz-security-token:hidden\n\nhost;x-amz-security-token\nhash"
    fields = {"CanonicalRequest": ours.replace("hidden", "hidden too")}
    settings = StoreSettings(bucket="b", endpoint="http://store")
    refusal = refused.Refusal(403, "SignatureDoesNotMatch", fields=fields)
    told = refused.remedy(refusal, settings, "one", canonical=ours)
    assert "session token" in told
    assert "hidden" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("garbage", "no keys in it"),
        ("AWS_ACCESS_KEY_ID=three", "no AWS_SECRET_ACCESS_KEY in it"),
        ("AWS_SECRET_ACCESS_KEY=3", "no AWS_ACCESS_KEY_ID in it"),
    ],
)
async def test_a_file_that_became_useless_is_told_once_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, told: str
) -> None:
    """M17: the next start would refuse it, so the operator must hear of it now."""
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(clock, credentials_file=file)
    file.write_text(text)
    for _ in range(3):
        clock.move(LOOK_AGAIN_S)
        assert await made.current() == ONE
    assert caplog.text.count(f"has {told}; the keys stay as they were") == 1
    with pytest.raises(StoreRefused, match=told):
        await keys(credentials_file=file)


async def test_a_file_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    made = await keys(clock, credentials_file=file)
    file.unlink()
    for _ in range(3):
        clock.move(LOOK_AGAIN_S)
        await made.current()
    assert caplog.text.count("cannot be read any more") == 1


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
async def test_a_file_that_everybody_may_read_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    file, clock = tmp_path / "keys.env", Moved()
    file.write_text("AWS_ACCESS_KEY_ID=one\nAWS_SECRET_ACCESS_KEY=1\n")
    file.chmod(mode)
    made = await keys(clock, credentials_file=file)
    for _ in range(3):
        clock.move(LOOK_AGAIN_S)
        assert await made.current() == ONE
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned
    assert (f"chmod 600 {file}" in caplog.text) == warned
