"""Where a setting can be said, who wins, and what is said about mistakes."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from config import Config, ConfigError, Origin, Uploads
from config.settings import SETTINGS, Setting
from config.sources import load

NOWHERE = Path("/nonexistent/holdfast.toml")
# A value for each setting that is not its default.
OTHER = {
    "listen": "[::]:0",
    "data_dir": "/srv/a",
    "storage_root_dir": "/srv/b",
    "storage_driver": "memory",
    "s3_bucket": "lab.images",
    "s3_endpoint": "minio.lab:9000",
    "s3_region": "garage",
    "s3_path_prefix": "lab/registry",
    "aws_access_key_id": "test:tester",
    "aws_secret_access_key": "horse/battery+staple=",
    "aws_session_token": "horse//token==",
    "s3_other_access_key_id": "other",
    "s3_other_secret_access_key": "other-horse",
    "s3_credentials_file": "/srv/keys.env",
    "s3_external_endpoint": "https://s3.example.org",
    "s3_addressing_style": "virtual",
    "s3_tls": "off",
    "s3_ca_file": "/srv/ca.pem",
    "s3_create_bucket": "on",
    "s3_redirect": "on",
    "durability": "none",
    "uncached_writes": "off",
    "uvloop": "off",
    "log_format": "json",
    "log_level": "debug",
    "upload_expiry": "90m",
    "stall_timeout": "61s",
    "grace": "1s",
    "sparse_indexes": "on",
    "delete_enabled": "off",
    "access_log": "off",
    "metrics": "off",
    "max_manifest_bytes": "1MiB",
    "max_header_bytes": "8KiB",
    "cache_bytes": "1MiB",
    "small_blob_bytes": "4KiB",
    "max_uploads": "7",
    "max_uploads_per_repository": "7",
    "max_connections": "7",
    "max_connections_per_address": "7",
    "buffer_count": "7",
    "public_url": "https://registry.lab:5443",
    "trusted_proxies": "127.0.0.1, 10.0.0.0/8",
    "hold_token": "correct-horse-battery",
    "multipart": "off",
    "disable_presigned_urls": "on",
    "signed_url_minutes": "7",
    "download_url_hours": "7",
    "min_part_bytes": "1MiB",
    "max_upload_bytes": "1TiB",
    "max_uploads_per_caller": "7",
    "max_spooled_bytes": "1TiB",
    "max_spooled_bytes_per_caller": "1GiB",
}


def decided(
    flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> Config:
    """The configuration of a machine that has no file of its own."""
    return load(flags or {}, environ or {}, file, default_file=NOWHERE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its TOML."""
    return tmp_path / "holdfast.toml"


def test_nothing_needs_to_be_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """G09, G20, H046, H050: a directory, one command, no configuration, uploads in parts on."""
    monkeypatch.chdir(tmp_path)
    config = decided()
    assert (config.listen_host, config.listen_port) == ("127.0.0.1", 5000)
    assert config.data_dir == config.storage_root == tmp_path / "data"
    assert (config.storage_driver, config.durability, config.uvloop) == ("filesystem", "full", "auto")
    assert (config.upload_expiry_s, config.stall_timeout_s, config.grace_s) == (86400, 120, 30)
    assert (config.max_manifest_bytes, config.cache_bytes, config.small_blob_bytes) == (4 << 20, 64 << 20, 64 << 10)
    assert (config.max_uploads, config.max_uploads_per_repository) == (10000, 1000)
    assert (config.max_connections, config.max_connections_per_address, config.buffer_count) == (4096, 1024, 48)
    assert config.multipart
    assert not config.disable_presigned_urls
    assert (config.sparse_indexes, config.delete_enabled, config.access_log, config.metrics) == (
        False,
        True,
        True,
        True,
    )
    assert {config.origin(row.name) for row in SETTINGS} == {Origin("default")}


def test_every_setting_is_tried_with_another_value_here() -> None:
    assert OTHER.keys() == {row.name for row in SETTINGS}


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(row: Setting, file: Path) -> None:
    other, default = OTHER[row.name], row.kind.parse(row.default)
    file.write_text(f'[{row.group}]\n{row.name} = "{other}"\n')
    variable = row.variables[-1]

    def told(config: Config) -> tuple[bool, str]:
        value = getattr(config, row.attribute)
        assert value in {default, row.kind.parse(other)}
        return value != default, str(config.origin(row.name))

    assert told(decided(file=file)) == (True, f"file {file}")
    assert told(decided({}, {variable: other})) == (True, f"environment {variable}")
    assert told(decided({row.name: other})) == (True, f"flag {row.flags[0]}")
    if row.default:
        assert told(decided({}, {variable: row.default}, file)) == (False, f"environment {variable}")
        assert told(decided({row.name: row.default}, {variable: other}, file)) == (False, f"flag {row.flags[0]}")


def test_familiar_names_are_read_bare_and_the_prefix_wins_over_them() -> None:
    """H120, H122: names that other software has made familiar."""
    bare = {"LISTEN": "h:1", "DATA_DIR": "/a", "STORAGE_DRIVER": "memory", "STORAGE_ROOT_DIR": "/b"}
    bare |= {"UPLOAD_EXPIRY": "1h", "DURABILITY": "none"}
    config = decided({}, bare)
    assert (config.listen_port, config.data_dir, config.storage_driver) == (1, Path("/a"), "memory")
    assert (config.storage_root, config.upload_expiry_s, config.durability) == (Path("/b"), 3600, "none")
    both = decided({}, {"HOLDFAST_LISTEN": "h:2", "LISTEN": "h:1"})
    assert (both.listen_port, str(both.origin("listen"))) == (2, "environment HOLDFAST_LISTEN")


def test_a_bare_name_that_is_not_ours_is_left_to_whoever_it_belongs_to() -> None:
    assert decided({}, {"LOG_LEVEL": "shout", "METRICS": "9090", "REGION": "x"}).log_level == "info"


def test_an_empty_variable_is_not_set() -> None:
    assert decided({}, {"HOLDFAST_LISTEN": "", "LISTEN": "h:1"}).listen_port == 1


def test_toml_may_use_its_own_numbers_and_truths(file: Path) -> None:
    file.write_text("[registry]\nsparse_indexes = true\n[uploads]\nmax_uploads = 5\n[memory]\ncache_bytes = 1048576\n")
    config = decided(file=file)
    assert (config.sparse_indexes, config.max_uploads, config.cache_bytes) == (True, 5, 1 << 20)


def test_the_file_is_the_one_that_is_named_else_the_default_if_it_is_there(file: Path, tmp_path: Path) -> None:
    file.write_text('[log]\nlog_level = "error"\n')
    other = tmp_path / "other.toml"
    other.write_text('[log]\nlog_level = "debug"\n')
    assert load({}, {}, default_file=file).log_level == "error"
    assert load({}, {"HOLDFAST_CONFIG": str(other)}, default_file=file).log_level == "debug"
    assert load({}, {"HOLDFAST_CONFIG": str(other)}, file, default_file=NOWHERE).log_level == "error"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nlisten = 'x'\n", "listen = 'x' (file FILE): expected HOST:PORT, for example 127.0.0.1:5000"),
        ("[server]\nlistn = 'x'\n", "FILE: there is no setting listn in [server]; did you mean listen?"),
        ("[server]\nquux = 1\n", "FILE: there is no setting quux in [server]; `config show` lists all there are"),
        ("[sever]\nlisten = 'x'\n", "FILE: there is no section [sever]; did you mean server?"),
        ("listen = 'h:1'\n", "FILE: listen belongs under [server]"),
        ("[log]\nlisten = 'h:1'\n", "FILE: listen belongs under [server], not [log]"),
        ("server = 5\n", "FILE: there is no section [server]"),
        ("[uploads]\nmax_uploads = 1.5\n", "FILE: max_uploads must be a string, a whole number, true or false"),
        ("[log]\naccess_log = 'perhaps'\n", "access_log = 'perhaps' (file FILE): expected on or off"),
        ("[log\n", "configuration file FILE: not TOML ("),
        ("\udc80", "configuration file FILE: not TOML ("),
    ],
)
def test_a_mistake_in_the_file_is_told_with_the_file_and_what_to_do(file: Path, text: str, message: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        decided(file=file)
    assert str(caught.value).startswith(message.replace("FILE", str(file)))
    assert "\n" not in str(caught.value)


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not there; name another with --config"):
        decided(file=NOWHERE)
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        decided(file=tmp_path)


def test_a_variable_with_our_prefix_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"HOLDFAST_LISTN: there is no such setting; did you mean HOLDFAST_LISTEN\?"):
        decided({}, {"HOLDFAST_LISTN": "x"})


def test_what_an_orchestrator_says_about_a_service_of_our_name_is_not_taken_for_a_setting() -> None:
    told = {
        "HOLDFAST_SERVICE_HOST": "10.0.0.1",
        "HOLDFAST_SERVICE_PORT": "5000",
        "HOLDFAST_SERVICE_PORT_HTTP": "5000",
        "HOLDFAST_PORT": "tcp://10.0.0.1:5000",
        "HOLDFAST_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "HOLDFAST_PORT_5000_TCP_PROTO": "tcp",
        "HOLDFAST_REGISTRY_PORT_5000_TCP_ADDR": "10.0.0.1",
    }
    assert decided({}, told).listen_port == 5000
    with pytest.raises(ConfigError, match=r"HOLDFAST_PORT: there is no such setting"):
        decided({}, {"HOLDFAST_PORT": "5001"})


def test_a_bad_value_is_told_with_the_place_it_came_from() -> None:
    with pytest.raises(ConfigError, match=r"^max_uploads = '0' \(environment HOLDFAST_MAX_UPLOADS\): expected a whole"):
        decided({}, {"HOLDFAST_MAX_UPLOADS": "0"})
    with pytest.raises(ConfigError, match=r"^grace = '30' \(flag --grace\): expected a time .* with its unit"):
        decided({"grace": "30"})


def test_a_mistake_is_told_also_where_another_place_overrules_it() -> None:
    with pytest.raises(ConfigError, match=r"environment HOLDFAST_LISTEN"):
        decided({"listen": "h:1"}, {"HOLDFAST_LISTEN": "nonsense"})


@pytest.mark.parametrize(
    ("driver", "answer"),
    [
        ("swift", "expected filesystem, s3 or memory"),
        ("s3aws", "it is called s3 here"),
        ("inmemory", "it is called memory here"),
    ],
)
def test_a_store_that_is_not_known_here_is_refused_in_words(driver: str, answer: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decided({}, {"STORAGE_DRIVER": driver})
    assert str(refused.value) == f"storage_driver = '{driver}' (environment STORAGE_DRIVER): {answer}"


def test_an_object_store_is_said_by_the_names_of_the_source_documents() -> None:
    """H120, H121, H123, H124, M14, G04, G07: bare, as other software of this kind has them."""
    said = {
        "STORAGE_DRIVER": "s3",
        "S3_BUCKET": "images",
        "S3_ENDPOINT": "http://minio:9000/",
        "S3_EXTERNAL_ENDPOINT": "https://S3.Example.org:443",
        "S3_REGION": "eu-west-1",
        "S3_PATH_PREFIX": "/lab/registry/",
        "AWS_ACCESS_KEY_ID": "test:tester",
        "AWS_SECRET_ACCESS_KEY": "testing123",
        "AWS_SESSION_TOKEN": "until-tonight",
        "S3_OTHER_ACCESS_KEY_ID": "former",
        "S3_OTHER_SECRET_ACCESS_KEY": "formerly",
        "DISABLE_PRESIGNED_URLS": "true",
    }
    config = decided({}, said)
    assert (config.storage_driver, config.s3_bucket, config.s3_region) == ("s3", "images", "eu-west-1")
    assert (config.s3_url, config.s3_external_url) == ("http://minio:9000", "https://s3.example.org")
    assert config.s3_path_prefix == "lab/registry", "slashes at the ends are nobody's"
    assert (config.aws_access_key_id, config.aws_secret_access_key) == ("test:tester", "testing123")
    assert (config.s3_other_access_key_id, config.s3_other_secret_access_key) == ("former", "formerly")
    assert config.aws_session_token == "until-tonight"
    assert config.disable_presigned_urls
    assert decided({}, {**said, "HOLDFAST_S3_BUCKET": "other"}).s3_bucket == "other"


@pytest.mark.parametrize(
    ("endpoint", "tls", "url"),
    [
        ("", "on", ""),
        ("minio", "on", "https://minio"),
        ("minio:9000", "on", "https://minio:9000"),
        ("minio:9000", "off", "http://minio:9000"),
        ("minio:443", "on", "https://minio"),
        ("minio:80", "on", "https://minio:80"),
        ("minio:80", "off", "http://minio"),
        ("[::1]:9000", "off", "http://[::1]:9000"),
        ("http://minio:9000", "on", "http://minio:9000"),
        ("HTTPS://Minio:443/", "off", "https://minio"),
    ],
)
def test_an_endpoint_is_with_or_without_a_scheme_and_tls_is_one_setting(endpoint: str, tls: str, url: str) -> None:
    """G10, G16, H125: from http to https is one word, for both addresses of the store."""
    config = decided({"s3_endpoint": endpoint, "s3_external_endpoint": endpoint, "s3_tls": tls})
    assert (config.s3_url, config.s3_external_url) == (url, url)


def test_a_configuration_cannot_be_changed_and_can_be_taken_in_parts() -> None:
    config = decided()
    with pytest.raises(FrozenInstanceError):
        config.max_uploads = 1  # type: ignore[misc]
    assert isinstance(config, Uploads)
    assert Uploads().max_uploads == config.max_uploads
