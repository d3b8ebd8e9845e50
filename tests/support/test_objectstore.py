"""The S3 servers of the tests are what they say: they verify, keep what they hold, and belong to four families."""

import hashlib
import http.client
from urllib.parse import urlsplit

import pytest

from tests.support.objectstore import RULES, Bucket, ObjectStore, Request, Rule
from tests.support.stores import StoreOf

CONTENT = b"some content"


def ask(store: ObjectStore, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    """The status of one request with a URL that was signed."""
    split = urlsplit(url)
    connection = http.client.HTTPConnection(store.host, store.port, timeout=20)
    try:
        connection.request(method, f"{split.path}?{split.query}", body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def signed(bucket: Bucket, key: str) -> str:
    """A URL for PUT, signed by botocore."""
    url: str = bucket.store.client.generate_presigned_url("put_object", Params={"Bucket": bucket.name, "Key": key})
    return url


def test_what_was_written_is_listed_and_read(bucket: Bucket) -> None:
    bucket.write("a/b", CONTENT)
    bucket.write("b/c", b"")
    assert bucket.objects() == {"a/b": len(CONTENT), "b/c": 0}
    assert bucket.objects("b/") == {"b/c": 0}
    assert bucket.read("a/b") == CONTENT
    bucket.remove("a/b")
    assert bucket.objects() == {"b/c": 0}


def test_a_prefix_is_put_before_and_taken_off(object_store: ObjectStore) -> None:
    bucket = object_store.new_bucket(prefix="inner/place")
    Bucket(object_store, bucket.name).write("elsewhere", CONTENT)
    bucket.write("a", CONTENT)
    assert bucket.objects() == {"a": len(CONTENT)}
    assert bucket.settings()["s3_path_prefix"] == "inner/place"


def test_unfinished_uploads_and_their_parts_are_seen(bucket: Bucket) -> None:
    begun = bucket.store.client.create_multipart_upload(Bucket=bucket.name, Key="x/y")
    assert bucket.objects() == {}
    [upload] = bucket.uploads()
    assert (upload.key, upload.upload_id) == ("x/y", begun["UploadId"])
    bucket.store.client.upload_part(
        Bucket=bucket.name, Key="x/y", UploadId=upload.upload_id, PartNumber=3, Body=CONTENT
    )
    assert bucket.parts(upload) == {3: len(CONTENT)}
    bucket.store.client.abort_multipart_upload(Bucket=bucket.name, Key="x/y", UploadId=upload.upload_id)
    assert bucket.uploads() == []


def test_a_signature_that_was_touched_is_refused(bucket: Bucket) -> None:
    url = signed(bucket, "k")
    assert ask(bucket.store, "PUT", url.replace("/k?", "/l?"), CONTENT) == 403
    assert ask(bucket.store, "GET", url) == 403
    assert ask(bucket.store, "PUT", url, CONTENT) == 200
    assert bucket.objects() == {"k": len(CONTENT)}


@pytest.mark.parametrize("rule", RULES)
def test_each_family_has_its_rule_about_a_hash_that_was_not_signed(object_store_of: StoreOf, rule: Rule) -> None:
    bucket = object_store_of(rule).new_bucket()
    hashed = {"x-amz-content-sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert ask(bucket.store, "PUT", signed(bucket, "k"), CONTENT, hashed) == (
        403 if rule in ("header", "minio") else 200
    )


def test_debians_swift_is_of_the_literal_family(debian_store: ObjectStore) -> None:
    bucket = debian_store.new_bucket()
    hashed = {"x-amz-content-sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert ask(debian_store, "PUT", signed(bucket, "k"), CONTENT, hashed) == 200
    assert bucket.read("k") == CONTENT


def test_content_and_uploads_outlast_a_stop_and_a_kill(own_store: ObjectStore) -> None:
    bucket = own_store.new_bucket()
    bucket.write("k", CONTENT)
    own_store.client.create_multipart_upload(Bucket=bucket.name, Key="x")
    before = bucket.uploads()
    own_store.stop()
    assert not own_store.alive
    own_store.start()
    own_store.kill()
    own_store.start()
    assert bucket.read("k") == CONTENT
    assert bucket.uploads() == before != []


def test_every_request_is_written_down_with_its_bytes(bucket: Bucket) -> None:
    bucket.write("k", CONTENT)
    bucket.read("k")
    named = f"/{bucket.name}/k"
    assert [each for each in bucket.requests() if each.path == named] == [
        Request("PUT", named, "", 200, len(CONTENT), 0),
        Request("GET", named, "", 200, 0, len(CONTENT)),
    ]
