"""The fault proxy passes what it is not told to break, counts it, and breaks what it is told in just that way."""

import http.client
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import (
    ERROR_IN_200,
    LOST,
    RESET,
    SLOW_DOWN,
    Call,
    Fault,
    Head,
    Held,
    Reset,
    Short,
    Slow,
)

KIB = 1024
CONTENT = b"0123456789abcdef" * KIB
BROKEN = (OSError, http.client.HTTPException)


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[FaultProxy]:
    with FaultProxy(object_store.netloc) as made:
        yield made


def signed(proxy: FaultProxy, bucket: Bucket, method: str, key: str = "k") -> str:
    """Path and query of a URL for the proxy's address."""
    from botocore.config import Config
    from botocore.session import Session

    client = Session().create_client(
        "s3",
        region_name=bucket.store.region,
        endpoint_url=proxy.url,
        aws_access_key_id=bucket.store.key_id,
        aws_secret_access_key=bucket.store.secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url(method, Params={"Bucket": bucket.name, "Key": key})
    split = urlsplit(url)
    return f"{split.path}?{split.query}"


def put(proxy: FaultProxy, bucket: Bucket, body: bytes = CONTENT) -> int:
    """PUT through the proxy; the status."""
    return ask(proxy, "PUT", signed(proxy, bucket, "put_object"), body)[0]


def get(proxy: FaultProxy, bucket: Bucket) -> tuple[int, bytes]:
    """GET through the proxy."""
    return ask(proxy, "GET", signed(proxy, bucket, "get_object"))


def ask(proxy: FaultProxy, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_what_no_rule_names_passes_and_is_counted(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.on(RESET, Call.DELETE)
    proxy.on(RESET, path="elsewhere")
    assert put(proxy, bucket) == 200
    assert get(proxy, bucket) == (200, CONTENT)
    pushed, pulled = proxy.asked()
    assert (pushed.call, pushed.status, pushed.body_bytes, pushed.answer_bytes) == (Call.PUT, 200, len(CONTENT), 0)
    assert (pulled.call, pulled.status, pulled.body_bytes, pulled.answer_bytes) == (Call.GET, 200, 0, len(CONTENT))
    assert 400 < pushed.head_bytes < 2 * KIB
    assert pushed.in_all_bytes == pushed.head_bytes + len(CONTENT)


def test_a_connection_is_kept_for_more_than_one_request(proxy: FaultProxy, bucket: Bucket) -> None:
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=20)
    for _ in range(3):
        connection.request("PUT", signed(proxy, bucket, "put_object"), CONTENT)
        assert connection.getresponse().read() == b""
        connection.request("HEAD", signed(proxy, bucket, "head_object"))
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, str(len(CONTENT)), b"")
    connection.close()
    assert [each.call for each in proxy.asked()] == [Call.PUT, Call.HEAD] * 3


def test_a_refusal_is_s3s_xml_and_the_store_has_heard_nothing(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.on(SLOW_DOWN, Call.PUT, skip=1, times=1)
    assert put(proxy, bucket, b"first") == 200
    status, said = ask(proxy, "PUT", signed(proxy, bucket, "put_object"), CONTENT)
    assert status == 503
    assert b"<Code>SlowDown</Code>" in said
    assert bucket.read("k") == b"first"
    assert put(proxy, bucket, b"third") == 200


def test_an_error_may_look_like_success(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.on(ERROR_IN_200, Call.PUT)
    assert put(proxy, bucket) == 200
    assert bucket.objects() == {}


@pytest.mark.parametrize("fault", [RESET, Reset(after_bytes=5000)], ids=["before", "in the middle"])
def test_a_reset_leaves_nothing_in_the_store(proxy: FaultProxy, bucket: Bucket, fault: Fault) -> None:
    proxy.on(fault, Call.PUT, times=1)
    with pytest.raises(BROKEN):
        put(proxy, bucket)
    assert bucket.objects() == {}
    assert put(proxy, bucket) == 200


def test_a_lost_answer_is_of_something_that_was_done(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.on(LOST, Call.PUT, times=1)
    with pytest.raises(BROKEN):
        put(proxy, bucket)
    assert bucket.read("k") == CONTENT


def test_a_short_answer_ends_before_its_length(proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.write("k", CONTENT)
    proxy.on(Short(after_bytes=5000), Call.GET, times=1)
    with pytest.raises(http.client.IncompleteRead) as cut:
        get(proxy, bucket)
    assert cut.value.partial == CONTENT[:5000]
    assert get(proxy, bucket) == (200, CONTENT)


def test_a_slow_store_takes_its_time(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.on(Slow(bytes_per_s=4 * len(CONTENT)), Call.PUT)
    began = time.monotonic()
    assert put(proxy, bucket) == 200
    assert 0.2 < time.monotonic() - began < 5


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("break_off", [True, False], ids=["broken off", "let go"])
def test_what_is_held_waits_until_it_is_released(
    proxy: FaultProxy, bucket: Bucket, where: str, break_off: bool
) -> None:
    rule = proxy.on(Held("before" if where == "before" else "after"), Call.PUT)
    ends: list[int | None] = []

    def pushing() -> None:
        try:
            ends.append(put(proxy, bucket))
        except BROKEN:
            ends.append(None)

    thread = threading.Thread(target=pushing)
    thread.start()
    rule.reached()
    assert ends == []
    assert bool(bucket.objects()) == (where == "after")
    rule.release(break_off=break_off)
    thread.join(20)
    assert ends == [None if break_off else 200]
    assert bool(bucket.objects()) == (where == "after" or not break_off)
    assert proxy.asked(Call.PUT)[0].status == (0 if break_off else 200)


def test_a_store_that_is_down_refuses_connections_until_it_is_up(proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.down()
    with pytest.raises(ConnectionRefusedError):
        put(proxy, bucket)
    proxy.up()
    assert put(proxy, bucket) == 200


def test_a_store_that_is_gone_behind_it_breaks_the_connection(own_store: ObjectStore) -> None:
    bucket = own_store.new_bucket()
    with FaultProxy(own_store.netloc) as proxy:
        own_store.kill()
        with pytest.raises(BROKEN):
            put(proxy, bucket)
        own_store.start()
        assert put(proxy, bucket) == 200


@pytest.mark.parametrize(
    ("method", "target", "headers", "call"),
    [
        ("PUT", "/b/a/k", {}, Call.PUT),
        ("PUT", "/b/k", {"x-amz-copy-source": "/b/j"}, Call.COPY),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, Call.PART),
        ("PUT", "/b/k?uploadId=u&partNumber=1", {"x-amz-copy-source": "/b/j"}, Call.PART_COPY),
        ("POST", "/b/k?uploads", {}, Call.CREATE),
        ("POST", "/b/k?uploads=", {}, Call.CREATE),
        ("POST", "/b/k?uploadId=u", {}, Call.COMPLETE),
        ("DELETE", "/b/k?uploadId=u", {}, Call.ABORT),
        ("DELETE", "/b/k", {}, Call.DELETE),
        ("GET", "/b/k", {}, Call.GET),
        ("GET", "/b/k?uploadId=u", {}, Call.LIST_PARTS),
        ("GET", "/b?uploads&prefix=x", {}, Call.LIST_UPLOADS),
        ("GET", "/b/?list-type=2", {}, Call.LIST),
        ("GET", "/b?list-type=2&prefix=a%2Fb", {}, Call.LIST),
        ("HEAD", "/b/k", {}, Call.HEAD),
        ("HEAD", "/b", {}, Call.BUCKET),
        ("PUT", "/b", {}, Call.BUCKET),
    ],
)
def test_every_kind_of_call_is_recognised(method: str, target: str, headers: dict[str, str], call: Call) -> None:
    assert Head(method, target, headers, b"").call is call
