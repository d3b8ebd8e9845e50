"""What can only be known by looking at this machine, or at several settings at once.

Whether the folders that were named can be used: looking changes nothing, and a folder that does not exist yet is fine
when its nearest parent that does can be written. And whether what is said about an object store goes together.
"""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from config.rows import ConfigError
from config.settings import Config

NEEDS_BUCKET: Final = "content goes into a bucket then: say which with S3_BUCKET, or s3_bucket under [s3]"


def check_folders(config: Config) -> None:
    """See that the data folder and the storage folder can be used by this process.

    Raises:
        ConfigError: one of them is no folder, or cannot be written.
    """
    _check(config, "data_dir", config.data_dir)
    if config.storage_root_dir is not None:
        _check(config, "storage_root_dir", config.storage_root_dir)


def check_store(config: Config) -> None:
    """See that an object store can be spoken to with what was said about it; nothing is asked of the store itself.

    Raises:
        ConfigError: something is missing, or two settings contradict each other.
    """
    if config.storage_driver != "s3":
        return
    if not config.s3_bucket:
        raise ConfigError(f"{config.said('storage_driver')}: {NEEDS_BUCKET}")
    _check_keys(config)
    for name, file in (("s3_ca_file", config.s3_ca_file), ("s3_credentials_file", config.s3_credentials_file)):
        if file is not None:
            _check_file(config, name, file)
    for name, url in (("s3_endpoint", config.s3_url), ("s3_external_endpoint", config.s3_external_url)):
        _check_host(config, name, url.partition("://")[2])
    if config.s3_addressing_style == "virtual":
        _check_virtual(config)


def without_effect(config: Config) -> Iterator[str]:
    """What was said and does nothing, each in a sentence: no mistake, but hardly what was meant."""
    if config.s3_bucket and config.storage_driver != "s3":
        yield f"{config.said('s3_bucket')} has no effect: {config.said('storage_driver')}; say s3 to keep content there"
    elif config.s3_redirect and config.disable_presigned_urls:
        yield f"{config.said('s3_redirect')} has no effect: {config.said('disable_presigned_urls')}"


def _check(config: Config, name: str, folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ConfigError(f"{config.said(name)}: {nearest} is not a folder; name another")
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"{config.said(name)}: user {os.geteuid()} may not write in {nearest}; "
            "change its owner, run as somebody else, or name another folder"
        )


def _check_file(config: Config, name: str, file: Path) -> None:
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise ConfigError(f"{config.said(name)}: cannot be read ({error.strerror}); name another, or none") from None


def _check_keys(config: Config) -> None:
    """Keys come in pairs, and from one place."""
    for one, other in (
        ("aws_access_key_id", "aws_secret_access_key"),
        ("s3_other_access_key_id", "s3_other_secret_access_key"),
    ):
        for said, missing in ((one, other), (other, one)):
            if getattr(config, said) and not getattr(config, missing):
                raise ConfigError(f"{config.said(said)}: {missing} is missing; an id and its secret go together")
    for name in ("aws_session_token", "s3_other_access_key_id"):
        if getattr(config, name) and not config.aws_access_key_id:
            raise ConfigError(f"{config.said(name)}: means nothing without aws_access_key_id; set that as well")
    if config.s3_credentials_file is not None and config.aws_access_key_id:
        raise ConfigError(
            f"{config.said('s3_credentials_file')}: {config.said('aws_access_key_id')} is set as well; say the keys in"
            " one of the two places"
        )


def _check_host(config: Config, name: str, host: str) -> None:
    """An endpoint does not name the bucket: we put it there ourselves. One that is called as the store is may do so."""
    named = f"{config.s3_bucket.lower()}."
    rest = host.removeprefix(named)
    if host.startswith(named) and rest.startswith("s3"):
        raise ConfigError(f"{config.said(name)}: begins with the bucket's name; leave that away: {rest}")


def _check_virtual(config: Config) -> None:
    """A bucket that is a part of a host name must be fit for it."""
    style = config.said("s3_addressing_style")
    bucket = config.s3_bucket
    if bucket != bucket.lower() or "_" in bucket:
        raise ConfigError(f"{style}: {bucket} cannot be a part of a host name; say path, or use another bucket")
    external = config.s3_external_url or config.s3_url
    for name, url in (("s3_endpoint", config.s3_url), ("s3_external_endpoint", external)):
        scheme, _, host = url.partition("://")
        if _is_address(host):
            raise ConfigError(f"{style}: {config.said(name)} is an address, which has no names below it; say path")
        if "." in bucket and scheme != "http":
            raise ConfigError(f"{style}: no certificate fits a bucket with a dot in its name ({bucket}); say path")


def _is_address(host: str) -> bool:
    """Whether host[:port] is an IP address."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
