"""A server as a process over a real store: what it says at its start, and what keeps it from starting."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.oci.content import digest_of, noise
from tests.http.tlsdoor import certificate, tls_door
from tests.support.objectstore import ROOT, Bucket, ObjectStore, eventually
from tests.support.server import Server

CONTENT = noise(200_000, "process")


def start_refused(data: Path, **env: str) -> str:
    """What a server says that does not start; one line, and exit code 2."""
    command = [sys.executable, "registry.py", "serve", "--listen", "127.0.0.1:0", "--data", str(data)]
    environ = {"PATH": os.environ["PATH"], "HOLDFAST_CONFIG": os.devnull, **env}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("registry.py: ")]
    assert "Traceback" not in done.stderr
    return line


def put(server: Server, content: bytes) -> None:
    """Push a blob in one request."""
    url = f"{server.url}/v2/lab/x/blobs/uploads/?digest={digest_of(content)}"
    with urllib.request.urlopen(urllib.request.Request(url, content, method="POST")) as answer:
        assert answer.status == 201


def get(server: Server, content: bytes) -> bytes:
    """Fetch it."""
    with urllib.request.urlopen(f"{server.url}/v2/lab/x/blobs/{digest_of(content)}") as answer:
        fetched: bytes = answer.read()
        return fetched


def test_a_server_says_where_names_and_content_are_and_keeps_them_there(tmp_path: Path, bucket: Bucket) -> None:
    """H077, H120, H121, H130: and after a restart they are there."""
    with Server(tmp_path / "data", env=bucket.env()) as server:
        where = f"keeps names in {tmp_path / 'data'} and content in s3 bucket {bucket.name} at {bucket.store.url}\n"
        assert where in server.log()
        put(server, CONTENT)
        server.restart()
        assert get(server, CONTENT) == CONTENT
        log = server.log()
    assert log.count("presigned URLs enabled (S3)") == 2
    assert "Traceback" not in log and bucket.store.secret not in log
    digest = digest_of(CONTENT)[7:]
    assert list(bucket.objects("docker/")) == [f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"]
    assert bucket.uploads() == [] and not bucket.objects("holdfast/uploads/") and not bucket.objects("holdfast/probe/")
    assert not (tmp_path / "data" / "docker").exists()


def test_the_switch_is_honoured_at_the_start_as_everywhere(tmp_path: Path, bucket: Bucket) -> None:
    """H044, H045, H131, H132: with a store that could do more."""
    with Server(tmp_path / "data", env={**bucket.env(), "DISABLE_PRESIGNED_URLS": "true"}) as server:
        with urllib.request.urlopen(f"{server.url}/capabilities") as answer:
            assert json.load(answer)["multipart"] == "buffered"
        log = server.log()
    assert log.count("presigned URLs disabled by configuration (DISABLE_PRESIGNED_URLS=true)") == 1
    assert "using buffered mode (DISABLE_PRESIGNED_URLS=true)" in log
    assert "enabled (S3)" not in log and "straight to it" not in log


def test_what_content_lies_below_can_be_shared_with_others(tmp_path: Path, object_store: ObjectStore) -> None:
    """H124."""
    bucket = object_store.new_bucket(prefix="lab/registry")
    with Server(tmp_path / "data", env=bucket.env()) as server:
        put(server, CONTENT)
        assert get(server, CONTENT) == CONTENT
    assert len(bucket.objects("docker/registry/v2/blobs/")) == 1


def test_a_missing_bucket_is_told_and_made_when_told_to(tmp_path: Path, object_store: ObjectStore) -> None:
    """M15."""
    missing = Bucket(object_store, "not-yet-there")
    line = start_refused(tmp_path / "data", **missing.env())
    assert "not-yet-there" in line and "S3_CREATE_BUCKET" in line
    with Server(tmp_path / "data", env=missing.env(s3_create_bucket="on")) as server:
        put(server, CONTENT)
    assert len(missing.objects("docker/")) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"aws_secret_access_key": "another-secret"}, "AWS_SECRET_ACCESS_KEY"),
        ({"s3_region": "mars-1"}, "S3_REGION"),
        ({"s3_bucket": "nobodys"}, "S3_BUCKET"),
    ],
    ids=["secret", "region", "bucket"],
)
def test_what_waiting_would_not_help_keeps_it_from_starting_and_names_the_setting(
    tmp_path: Path, bucket: Bucket, wrong: dict[str, str], told: str
) -> None:
    """G19: one line that says which setting to look at, and no secret."""
    line = start_refused(tmp_path / "data", **bucket.env(**wrong))
    assert told in line
    assert bucket.store.secret not in line and "another-secret" not in line


def test_a_bucket_of_another_registry_is_one_line_with_the_remedies(tmp_path: Path, bucket: Bucket) -> None:
    """H124: not a server that answers 404 to everything, and whose copies of names mix with the other's."""
    with Server(tmp_path / "first", env=bucket.env()) as server:
        put(server, CONTENT)
    line = start_refused(tmp_path / "second", **bucket.env())
    for word in (
        "belongs to another registry",
        "registry.py restore",
        "s3_path_prefix",
        "registry.py storage take-over",
    ):
        assert word in line
    with Server(tmp_path / "second", env=bucket.env(s3_path_prefix="second")) as server:
        put(server, CONTENT)


def test_a_bucket_that_turns_out_to_be_anothers_once_its_store_is_back_is_an_error_and_not_ready(
    tmp_path: Path, own_store: ObjectStore
) -> None:
    bucket = own_store.new_bucket()
    bucket.write("holdfast/registry", b'{"id": "theirs"}')
    own_store.kill()
    with Server(tmp_path / "data", env=bucket.env()) as server:
        assert "whether it is the right bucket is not known" in server.log()
        own_store.start()
        assert eventually("ERROR holdfast.store: the bucket belongs to another" in server.log() for _ in ticks())
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{server.url}/readyz")
        assert server.log().count("belongs to another registry") == 1
    assert bucket.objects() == {}
    assert bucket.read("holdfast/registry") == b'{"id": "theirs"}'


def ticks() -> Iterator[None]:
    """Some times a second, for ever."""
    pause = threading.Event()
    while True:
        yield
        pause.wait(0.2)


def test_while_keys_are_changed_both_are_accepted(tmp_path: Path, bucket: Bucket) -> None:
    """G04."""
    pair = {"s3_other_access_key_id": bucket.store.key_id, "s3_other_secret_access_key": bucket.store.secret}
    env = bucket.env(aws_access_key_id="former", aws_secret_access_key="not-accepted-any-more", **pair)
    with Server(tmp_path / "data", env=env) as server:
        put(server, CONTENT)
        assert get(server, CONTENT) == CONTENT


def test_keys_may_be_in_a_file_of_their_own(tmp_path: Path, bucket: Bucket) -> None:
    """G04."""
    keys = tmp_path / "keys.env"
    keys.write_text(f"AWS_ACCESS_KEY_ID={bucket.store.key_id}\nAWS_SECRET_ACCESS_KEY={bucket.store.secret}\n")
    env = bucket.env(s3_credentials_file=str(keys))
    del env["HOLDFAST_AWS_ACCESS_KEY_ID"], env["HOLDFAST_AWS_SECRET_ACCESS_KEY"]
    with Server(tmp_path / "data", env=env) as server:
        put(server, CONTENT)
        assert get(server, CONTENT) == CONTENT


def test_a_store_with_a_certificate_of_its_own_is_trusted_by_its_file_alone(tmp_path: Path, bucket: Bucket) -> None:
    """G10, G15, G16: an endpoint without a scheme is spoken to by TLS; without the file nobody vouches for it."""
    leaf, key = certificate(tmp_path)
    with tls_door(bucket.store.port, leaf, key) as port:
        env = bucket.env(s3_endpoint=f"127.0.0.1:{port}")
        with Server(tmp_path / "trusting", env={**env, "S3_CA_FILE": str(leaf)}) as server:
            put(server, CONTENT)
            assert get(server, CONTENT) == CONTENT
            assert f"at https://127.0.0.1:{port}\n" in server.log()
        with Server(tmp_path / "wary", env=env) as server:
            assert "set S3_CA_FILE" in server.log()
            with pytest.raises(urllib.error.HTTPError, match="503"):
                put(server, CONTENT)


def test_metrics_and_status_tell_of_the_store(tmp_path: Path, bucket: Bucket) -> None:
    """M18."""
    with Server(tmp_path / "data", env=bucket.env()) as server:
        put(server, CONTENT)
        with urllib.request.urlopen(f"{server.url}/metrics") as answer:
            lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
        assert float(lines["holdfast_store_requests_total"]) > 3
        assert float(lines["holdfast_store_failures_total"]) >= 0
        assert float(lines["holdfast_store_up"]) == 1
        command = [sys.executable, "registry.py", "status", "--data", str(tmp_path / "data")]
        environ = {"PATH": os.environ["PATH"], "HOLDFAST_CONFIG": os.devnull, **bucket.env()}
        told = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout
    assert f"bucket     {bucket.name} at {bucket.store.url}\n" in told
