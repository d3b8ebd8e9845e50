"""`storage check`: what it tells of a real store, what it calls forgotten, and that --fix takes nothing else."""

import json
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cli
from admin.commands import COMMANDS
from admin.operations import perform
from model.clock import SystemClock
from model.digests import Digest
from store.blob_rows import record_at
from store.catalog import Catalog
from store.store_objects import ObjectRow, begun, intend
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.server import Server
from tests.support.storefaults import Call, Refusal, Slow

TEMPORARY = "holdfast/uploads/47c1e684-5b1c-4d0e-9f57-0d5c3f1f2a60/0123456789abcdef"
PROBE = "holdfast/probe/0123456789abcdef-parts"
NOT_OURS = ("holdfast/uploads/plain.txt", "holdfast/uploads/mine/own.txt", "holdfast/probe/mine")
BLOB = f"docker/registry/v2/blobs/sha256/ab/{'ab' * 32}/data"

Check = Callable[..., "Said"]


class Said:
    """What a command said, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def answer(self) -> Any:
        """What it said with --json."""
        return json.loads(self.out)

    def row(self, what: str) -> str:
        """The row of the table about something."""
        return next(line for line in self.out.splitlines() if line.startswith(f"{what}  "))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def check(data: Path, capfd: pytest.CaptureFixture[str]) -> Check:
    def run(bucket: Bucket, *words: str, **more: str) -> Said:
        capfd.readouterr()  # what others have said before
        environ = bucket.env(**more) | {"DATA_DIR": str(data)}
        code = cli.run(["storage", "check", *words], serve=lambda _: 0, more=COMMANDS, environ=environ)
        return Said(code, *capfd.readouterr())

    return run


@pytest.fixture
def registry(data: Path, bucket: Bucket) -> Server:
    """A registry on the bucket, which does not run yet; `data` is its folder."""
    return Server(data, env=bucket.env())


def unfinished(bucket: Bucket, key: str) -> str:
    """A multipart upload as somebody left it; its id."""
    answer = bucket.store.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    return str(answer["UploadId"])


def test_what_works_what_does_not_and_what_is_done_instead_is_a_table(check: Check, bucket: Bucket) -> None:
    """M18: for a person, before the first start; it leaves nothing in the bucket, and makes no folder."""
    said = check(bucket)
    assert said.code == 0, said.out
    for what in ("write", "read", "read a range", "multipart upload", "copy in the store", "copy by parts", "list"):
        assert " works " in said.row(what) or said.row(what).endswith(" ms")
    assert "works" in said.row("signed URL with payload hash")
    assert "no " in said.row("copy tells the SHA-256")
    assert "read once more" in said.row("copy tells the SHA-256")
    assert "OpenStack Swift 2.38.3" in said.out.splitlines()[0]
    assert "(native)" in said.out
    assert (bucket.objects(), bucket.uploads()) == ({}, [])


def test_no_secret_is_told(check: Check, bucket: Bucket) -> None:
    """M14: the settings used, but for what nobody may know."""
    for words in ((), ("--json",)):
        said = check(bucket, *words, s3_other_access_key_id="other:key", s3_other_secret_access_key="othersecret")
        assert bucket.store.secret not in said.out + said.err
        assert "othersecret" not in said.out + said.err
        assert "other:key" in said.out
        assert bucket.store.key_id in said.out


def test_the_settings_used_are_told(check: Check, bucket: Bucket) -> None:
    """M14, M15."""
    settings = check(bucket, "--json", s3_external_endpoint=f"http://localhost:{bucket.store.port}").answer["settings"]
    assert settings["endpoint"] == bucket.store.url
    assert settings["external endpoint"] == f"http://localhost:{bucket.store.port}"
    assert (settings["bucket"], settings["region"], settings["addressing style"]) == (bucket.name, "us-east-1", "path")


def test_a_store_that_cannot_be_used_is_exit_code_1_and_one_sentence(check: Check, bucket: Bucket) -> None:
    """G19."""
    for wrong, word in (
        ({"aws_secret_access_key": "wrong" * 5}, "AWS_SECRET_ACCESS_KEY"),
        ({"s3_bucket": "not-there"}, "S3_CREATE_BUCKET"),
        ({"s3_endpoint": "http://127.0.0.1:9"}, "Connection refused"),
    ):
        said = check(bucket, **wrong)
        assert said.code == 1
        assert word in said.out.splitlines()[-1]
        assert "RESULT" not in said.out, "a table of what was not tried tells nobody anything"


def test_without_keys_the_settings_for_them_are_named(
    check: Check, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As serving says it."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    said = check(bucket, aws_access_key_id="", aws_secret_access_key="")
    assert said.code == 1
    assert "no keys for the store" in said.out and "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said.out
    wrong = check(bucket, aws_secret_access_key="another")
    assert "`registry.py storage check` tells more" not in wrong.out


def test_without_an_object_store_there_is_nothing_to_check(check: Check, bucket: Bucket) -> None:
    said = check(bucket, storage_driver="filesystem")
    assert said.code == 2
    assert "storage_driver = filesystem" in said.err


def test_what_is_slow_is_called_slow(check: Check, bucket: Bucket) -> None:
    with FaultProxy(bucket.store.netloc) as proxy:
        proxy.on(Slow(20), Call.PUT)
        said = check(bucket, s3_endpoint=proxy.url)
    assert said.code == 0, said.out
    assert "slow" in said.row("write")


def test_what_is_needed_and_does_not_work_is_exit_code_1(check: Check, bucket: Bucket) -> None:
    with FaultProxy(bucket.store.netloc) as proxy:
        proxy.on(Refusal(501, "NotImplemented"), Call.PART_COPY)
        said = check(bucket, s3_endpoint=proxy.url)
    assert said.code == 1
    assert "nothing above 5 GiB can be settled" in said.row("copy by parts")


def test_an_external_address_that_was_set_and_does_not_work_is_exit_code_1(check: Check, bucket: Bucket) -> None:
    """G07, M11: the server would go on buffered; whoever set the address wants to know."""
    said = check(bucket, s3_external_endpoint="http://127.0.0.1:9")
    assert said.code == 1
    assert "(buffered): signed URLs for http://127.0.0.1:9 do not work" in said.out


@pytest.mark.parametrize(
    "where", [("--public-url", "https://registry.example.org"), ("--trusted-proxies", "127.0.0.1")]
)
def test_what_decides_whether_clients_reach_the_store_may_be_said_by_flags(
    check: Check, bucket: Bucket, where: tuple[str, str]
) -> None:
    """G07: as to `serve`, so that both find the same."""
    assert "straight to the store (native)" in check(bucket).out
    assert "Parts come through this server (buffered)" in check(bucket, *where).out


def test_with_signed_urls_switched_off_the_rest_is_checked_all_the_same(check: Check, bucket: Bucket) -> None:
    """H044."""
    said = check(bucket, disable_presigned_urls="on")
    assert said.code == 0, said.out
    assert "not tried" in said.row("signed URL, from outside")
    assert "(buffered): DISABLE_PRESIGNED_URLS is set" in said.out


def test_without_a_registry_nothing_is_called_forgotten_or_removed(check: Check, bucket: Bucket) -> None:
    """Only a catalog knows; a mistyped folder must not cost anything."""
    bucket.write(TEMPORARY, b"x")
    assert "cannot be said" in check(bucket).out
    said = check(bucket, "--fix")
    assert said.code == 2
    assert "there is no registry in" in said.err
    assert bucket.objects() == {TEMPORARY: 1}


def test_what_nobody_knows_is_listed_and_with_fix_removed(check: Check, bucket: Bucket, registry: Server) -> None:
    """H067: never anything that we did not make."""
    with registry:
        pass
    others = ("holdfast/other/thing", "another/program", "holdfast/catalog/note.txt", *NOT_OURS)
    for key in (TEMPORARY, PROBE, BLOB, *others):
        bucket.write(key, b"x")
    mine, other = unfinished(bucket, f"{TEMPORARY}2"), unfinished(bucket, "another/program.part")
    kept = set(bucket.objects()) - {TEMPORARY, PROBE}

    listed = check(bucket)
    assert listed.code == 0
    assert "3 forgotten things in the bucket; --fix removes them" in listed.out
    assert "another/program.part" in listed.out, "it is told of, and left alone"
    assert {TEMPORARY, PROBE} < set(bucket.objects())

    fixed = check(bucket, "--fix")
    assert fixed.code == 0, fixed.out
    assert "Removed 3 forgotten things." in fixed.out
    assert set(bucket.objects()) == kept
    assert [upload.upload_id for upload in bucket.uploads()] == [other] != [mine]
    assert "Nothing in the bucket is forgotten." in check(bucket).out


def test_the_prefix_bounds_what_is_looked_through(check: Check, object_store: ObjectStore, data: Path) -> None:
    """H124: what another registry keeps in the same bucket, below another prefix, is not ours."""
    bucket = object_store.new_bucket(prefix="lab")
    with Server(data, env=bucket.env()):
        pass
    neighbour = Bucket(object_store, bucket.name, "lab2")
    neighbour.write(TEMPORARY, b"x")
    bucket.write(TEMPORARY, b"x")
    assert "Removed 1 forgotten thing." in check(bucket, "--fix").out
    assert (TEMPORARY in bucket.objects(), TEMPORARY in neighbour.objects()) == (False, True)


def test_while_a_server_runs_nothing_young_is_touched(check: Check, bucket: Bucket, registry: Server) -> None:
    """Even if nobody seems to know it."""
    bucket.write(TEMPORARY, b"x")
    with registry:
        said = check(bucket, "--fix")
        assert said.code == 0, said.out + said.err
        assert "Nothing older than an hour in the bucket is forgotten." in said.out
        assert "1 younger thing may be: too young to tell while the server runs." in said.out
        assert check(bucket, "--json").answer["too_young"] == 1
    assert TEMPORARY in bucket.objects()
    assert "1 forgotten thing" in check(bucket).out, "a stopped server begins nothing meanwhile"


def test_another_registrys_bucket_is_told_of_and_nothing_is_removed_there(
    check: Check, bucket: Bucket, registry: Server, tmp_path: Path
) -> None:
    """H067: the wrong data folder, whose catalog knows nothing of what the other one is uploading."""
    with registry:
        pass
    mistaken = tmp_path / "mistaken"
    mistaken.mkdir()
    catalog = Catalog(mistaken, SystemClock())
    catalog.open()
    catalog.close()
    bucket.write(TEMPORARY, b"x")

    def said(*words: str) -> Said:
        return check(bucket, *words, "--data", str(mistaken))

    shown = said()
    assert shown.code == 1
    assert "belongs to another registry" in shown.out and "storage take-over" in shown.out
    fixed = said("--fix")
    assert fixed.code == 1
    assert "registry.py: nothing was removed: the bucket belongs to another registry" in fixed.err
    assert TEMPORARY in bucket.objects()


def test_a_bucket_that_says_nothing_of_whose_it_is_loses_nothing(
    check: Check, bucket: Bucket, registry: Server
) -> None:
    with registry:
        pass
    bucket.write(TEMPORARY, b"x")
    bucket.remove("holdfast/registry")
    assert "does not say yet which registry it belongs to" in check(bucket).out
    assert check(bucket, "--fix").code == 1
    assert TEMPORARY in bucket.objects()


def test_what_an_open_upload_has_in_the_store_is_known(check: Check, bucket: Bucket, registry: Server) -> None:
    """H067: neither while the server runs nor while it is stopped is it anybody's to remove."""
    with registry:
        body = json.dumps({"digest": "uploads/temp-upload-1"}).encode()
        asked = urllib.request.Request(
            f"{registry.url}/start-multipart", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(asked) as response:
            assert json.load(response)["mode"] == "native"
        [upload] = bucket.uploads()
        assert check(bucket, "--json", "--fix").answer["removed"] == 0
    assert check(bucket, "--json", "--fix").answer["forgotten"] == []
    assert bucket.uploads() == [upload]


async def test_what_the_catalog_has_a_row_for_is_known(data: Path) -> None:
    """Objects in the making by their row, blobs that are not settled by the key that theirs points at."""
    data.mkdir()
    catalog = Catalog(data, SystemClock())
    catalog.open()
    try:
        row = ObjectRow("holdfast/uploads/u1/t1", "u1", "hold", 1.0)
        await catalog.run(intend, row)
        await catalog.run(begun, row.key, row.upload_id, "store-id-1")
        await catalog.run(intend, ObjectRow("holdfast/uploads/u2/t2", "u2", "hold", 1.0))
        digest = Digest.parse(f"sha256:{'ab' * 32}")
        await catalog.run(record_at, "lab/one", digest, 1, "holdfast/uploads/u2/t2", None, 1.0)
        answer = await perform(desk_of(catalog), "storage.known", {})
    finally:
        catalog.close()
    assert answer == {
        "keys": ["holdfast/uploads/u1/t1", "holdfast/uploads/u2/t2"],
        "upload_ids": ["store-id-1"],
        "content": True,
        "registry": None,
        "serving": False,
    }


def desk_of(catalog: Catalog) -> Any:
    """As much of a desk as the operation asks for."""
    return SimpleNamespace(rooms=SimpleNamespace(catalog=catalog), serving=None)


def test_an_empty_catalog_beside_copies_of_a_full_one_removes_nothing(
    check: Check, bucket: Bucket, registry: Server
) -> None:
    """A lost machine: what looks forgotten are the blobs that the copies know."""
    with registry:
        pass
    bucket.write("holdfast/catalog/catalog-20261121T112328670454Z.sqlite3", b"x")
    bucket.write(TEMPORARY, b"x")
    assert "restore --list" in check(bucket).out
    said = check(bucket, "--fix")
    assert said.code == 1
    assert "nothing was removed" in said.err
    assert TEMPORARY in bucket.objects()


def test_what_could_not_be_removed_is_said(check: Check, bucket: Bucket, registry: Server) -> None:
    with registry:
        pass
    bucket.write(TEMPORARY, b"x")
    with FaultProxy(bucket.store.netloc) as proxy:
        proxy.on(Refusal(403, "AccessDenied"), Call.DELETE, path="holdfast/uploads")
        said = check(bucket, "--fix", s3_endpoint=proxy.url)
    assert said.code == 1
    assert "1 thing could not be removed" in said.out
    assert TEMPORARY in bucket.objects()


def test_the_command_is_imported_only_when_it_is_called() -> None:
    """A start on a folder must not pay for object stores."""
    assert "admin.storage" not in vars(sys.modules["admin.commands"])
