"""From the configuration to a store: what the backend is told, whom we trust, what is not loaded without one."""

import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from config import Config, ConfigError, load
from sigv4.places import Style
from stores import is_loopback, proves_copies, session_maker, store_settings, trouble_with
from tests.repo.tree import ROOT
from tests.support.stage import certificate

__all__ = ["certificate"]

NOWHERE = Path("/nonexistent/holdfast.toml")


def stored(**settings: str) -> Config:
    """A configuration whose content is in a bucket."""
    return load({"storage_driver": "s3", "s3_bucket": "images", **settings}, {}, default_file=NOWHERE)


def test_the_backend_is_told_everything_that_was_said(tmp_path: Path) -> None:
    """H121, H124, M14, G04, G07."""
    said = {
        "s3_endpoint": "minio.lab:9000",
        "s3_tls": "off",
        "s3_external_endpoint": "https://s3.example.org",
        "s3_region": "garage",
        "s3_path_prefix": "/lab/",
        "s3_addressing_style": "virtual",
        "s3_create_bucket": "on",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret-one",
        "aws_session_token": "secret-token",
        "s3_other_access_key_id": "other",
        "s3_other_secret_access_key": "secret-two",
        "s3_credentials_file": str(tmp_path / "keys"),
        "s3_ca_file": str(tmp_path / "ca.pem"),
        "disable_presigned_urls": "on",
        "listen": "0.0.0.0:5000",
    }
    told = store_settings(stored(**said))
    assert (told.bucket, told.endpoint, told.region, told.prefix) == (
        "images",
        "http://minio.lab:9000",
        "garage",
        "lab",
    )
    assert (told.external_endpoint, told.style) == ("https://s3.example.org", Style.VIRTUAL)
    assert (told.key_id, told.secret, told.session_token) == ("id", "secret-one", "secret-token")
    assert (told.other_key_id, told.other_secret) == ("other", "secret-two")
    assert told.credentials_file == tmp_path / "keys"
    assert (told.create_bucket, told.direct, told.listens_beyond) == (True, False, True)
    assert "secret-" not in repr(told)


def test_what_nobody_said_is_the_stores_own_default() -> None:
    """H046, H125."""
    told = store_settings(stored())
    assert (told.endpoint, told.base_url) == ("", "https://s3.us-east-1.amazonaws.com")
    assert (told.direct, told.external_endpoint, told.listens_beyond, told.create_bucket) == (True, "", False, False)


@pytest.mark.parametrize(
    ("said", "others"),
    [
        ({"listen": "[::1]:0", "public_url": "http://localhost:5000"}, False),
        ({"listen": "0.0.0.0:5000", "public_url": "http://127.0.0.1:5000"}, True),
        ({"public_url": "https://registry.example.org"}, True),
        ({"trusted_proxies": "127.0.0.1"}, True),
    ],
)
def test_clients_of_a_proxy_before_us_are_not_on_this_machine(said: dict[str, str], others: bool) -> None:
    """M11, G07, H047: so a store on our loopback is none that they can be sent to."""
    assert store_settings(stored(**said)).listens_beyond == others


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *[("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True)],
        *[("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("registry.lab", False), ("fe80::1%eth0", False)],
    ],
)
def test_who_listens_for_others_is_told_from_who_does_not(host: str, local: bool) -> None:
    assert is_loopback(host) is local


async def test_the_session_trusts_the_operators_authority_and_passes_bytes_on_as_they_are(certificate: Path) -> None:
    """G15."""
    async with session_maker(stored(s3_ca_file=str(certificate)))() as session:
        connector = session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert connector.limit == 0, "each request to the store is made for one of ours, and those are limited"
        context = connector._ssl
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        assert any(("commonName", "stage") in name for each in context.get_ca_certs() for name in each["subject"])
        assert not session._auto_decompress


def test_a_file_without_a_certificate_is_told_with_who_named_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of that kind")
    with pytest.raises(ConfigError, match=r"^s3_ca_file = .*ca\.pem \(flag --s3-ca-file\): .*; name another$"):
        session_maker(stored(s3_ca_file=str(tmp_path / "ca.pem")))


def test_a_place_on_this_machine_has_no_trouble_of_that_kind() -> None:
    assert trouble_with(object()) == ""
    assert not proves_copies(object())


def test_a_server_on_a_directory_loads_nothing_of_an_object_store() -> None:
    """G20: it starts as fast as ever."""
    program = "import registry, sys; print(sorted(m for m in sys.modules if m.startswith(('aiobotocore', 'botocore'))))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
