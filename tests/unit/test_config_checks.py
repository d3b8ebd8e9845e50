"""Looking before using: folders, and what is said about an object store; what cannot be is told with who said it."""

import os
from pathlib import Path

import pytest

from config import Config, ConfigError, load
from config.checks import check_folders, check_store, without_effect


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


SECRET = "correct-horse"


def store(**settings: str) -> Config:
    """A configuration whose content is in a bucket."""
    said = {"storage_driver": "s3", "s3_bucket": "images", "s3_endpoint": "https://minio.lab:9000", **settings}
    return load({name: value for name, value in said.items() if value}, {}, default_file=Path("/nonexistent"))


def test_a_store_needs_no_more_than_a_bucket() -> None:
    """H046, H125: keys are found as AWS's own tools find theirs, and AWS is where no endpoint is said."""
    check_store(store(s3_endpoint=""))
    check_store(store(aws_access_key_id="id", aws_secret_access_key=SECRET))


@pytest.mark.parametrize("driver", ["filesystem", "memory"])
def test_without_an_object_store_nothing_about_it_matters(driver: str) -> None:
    check_store(store(storage_driver=driver, s3_bucket="", aws_access_key_id="id"))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (
            {"s3_bucket": ""},
            "storage_driver = s3 (flag --storage-driver): content goes into a bucket then: say which with S3_BUCKET, or"
            " s3_bucket under [s3]",
        ),
        (
            {"aws_access_key_id": "id"},
            "aws_access_key_id = id (flag --aws-access-key-id): aws_secret_access_key is missing; an id and its secret"
            " go together",
        ),
        (
            {"aws_secret_access_key": SECRET},
            "aws_secret_access_key = set (flag --aws-secret-access-key): aws_access_key_id is missing; an id and its"
            " secret go together",
        ),
        (
            {"s3_other_access_key_id": "id", "s3_other_secret_access_key": SECRET},
            "s3_other_access_key_id = id (flag --s3-other-access-key-id): means nothing without aws_access_key_id; set"
            " that as well",
        ),
        (
            {"aws_session_token": SECRET},
            "aws_session_token = set (flag --aws-session-token): means nothing without aws_access_key_id; set that as"
            " well",
        ),
        (
            {"s3_credentials_file": "/dev/null", "aws_access_key_id": "id", "aws_secret_access_key": SECRET},
            "s3_credentials_file = /dev/null (flag --s3-credentials-file): aws_access_key_id = id (flag"
            " --aws-access-key-id) is set as well; say the keys in one of the two places",
        ),
        (
            {"s3_ca_file": "/nonexistent/ca.pem"},
            "s3_ca_file = /nonexistent/ca.pem (flag --s3-ca-file): cannot be read (No such file or directory); name"
            " another, or none",
        ),
        (
            {"s3_endpoint": "https://images.s3.lab"},
            "s3_endpoint = https://images.s3.lab (flag --s3-endpoint): begins with the bucket's name; leave that away:"
            " s3.lab",
        ),
        (
            {"s3_addressing_style": "virtual", "s3_endpoint": "http://10.0.0.1:9000"},
            "s3_addressing_style = virtual (flag --s3-addressing-style): s3_endpoint = http://10.0.0.1:9000 (flag"
            " --s3-endpoint) is an address, which has no names below it; say path",
        ),
        (
            {"s3_addressing_style": "virtual", "s3_external_endpoint": "[::1]"},
            "s3_addressing_style = virtual (flag --s3-addressing-style): s3_external_endpoint = [::1] (flag"
            " --s3-external-endpoint) is an address, which has no names below it; say path",
        ),
        (
            {"s3_addressing_style": "virtual", "s3_bucket": "my.images"},
            "s3_addressing_style = virtual (flag --s3-addressing-style): no certificate fits a bucket with a dot in its"
            " name (my.images); say path",
        ),
        (
            {"s3_addressing_style": "virtual", "s3_bucket": "My_Images"},
            "s3_addressing_style = virtual (flag --s3-addressing-style): My_Images cannot be a part of a host name; say"
            " path, or use another bucket",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_work_with_a_store_is_told_before_it_is_tried(said: dict[str, str], answer: str) -> None:
    """M14, G04, G08: one line that says what to do, and no secret in it."""
    with pytest.raises(ConfigError) as refused:
        check_store(store(**said))
    assert str(refused.value) == answer
    assert SECRET not in answer


@pytest.mark.parametrize(
    "said",
    [
        {"s3_bucket": "minio", "s3_endpoint": "http://minio.lab:9000"},
        {"s3_bucket": "registry", "s3_external_endpoint": "https://registry.example.org"},
        {"s3_bucket": "store", "s3_endpoint": "https://store.eu-central-1.example.com"},
        {"s3_bucket": "my.images", "s3_endpoint": "http://s3.lab", "s3_addressing_style": "virtual"},
    ],
    ids=lambda said: "-".join(said.values()),
)
def test_a_bucket_may_be_called_as_its_host_and_have_dots_without_tls(said: dict[str, str]) -> None:
    check_store(store(**said))


def test_what_was_said_and_does_nothing_is_told() -> None:
    """H045, H120: a bucket without the driver for it, and redirects without the URLs for them."""
    assert list(without_effect(store())) == list(without_effect(load({}, {}, default_file=Path("/nonexistent")))) == []
    (forgotten,) = without_effect(store(storage_driver="filesystem"))
    assert forgotten == (
        "s3_bucket = images (flag --s3-bucket) has no effect: storage_driver = filesystem (flag --storage-driver);"
        " say s3 to keep content there"
    )
    (forbidden,) = without_effect(store(s3_redirect="on", disable_presigned_urls="on"))
    assert forbidden == (
        "s3_redirect = on (flag --s3-redirect) has no effect: disable_presigned_urls = on (flag"
        " --disable-presigned-urls)"
    )
