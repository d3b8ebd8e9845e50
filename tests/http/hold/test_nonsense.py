"""Whatever is sent to the hold, the answer is one of its own: never a 500, never an id (the laws of every answer)."""

import json
import random

import pytest

from tests.http.client import Connection
from tests.http.hold.client import BEARER, TEMP, TOKEN, Casing, Hold, error_of, target_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import digest_of

WORDS = ["did", "digest", "upload_id", "part_number", "parts", "etag", "size", "part_size", "sha256", "repository"]
VALUES: list[object] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        10_001,
        2**63,
        10**50,
        1.5,
        1e300,
        "",
        "x",
        "1",
        "\ud800",
        "\0",
        "ä" * 300,
        "x" * 5_000,
    ),
    *([], {}, [[]], [{}], [None], {"a": {"b": []}}, [{"part_number": 1, "etag": "x"}], [{"etag": None}] * 50),
    *(
        TEMP,
        digest_of(b"x"),
        "sha512:",
        "../..",
        "uploads/temp-a/../../b",
        "did:plc:a",
        "a/b",
        "_hold/anonymous",
        "A/B",
    ),
]
PATHS = [
    *("/start-multipart", "/part-presigned-url", "/complete-multipart", "/abort-multipart", "/move"),
    *("/put-presigned-url", "/get-presigned-url", "/head-presigned-url"),
    *(f"/xrpc/io.atcr.hold.{name}" for name in ("initiateUpload", "getPartUploadUrl", "completeUpload", "abortUpload")),
]


@pytest.mark.parametrize("path", PATHS)
async def test_any_mixture_of_words_is_answered_sensibly(hold: Hold, path: str) -> None:
    """H036, H150, T04."""
    random_ = random.Random(path)
    ids = [await hold.begin(), await hold.begin(digest_of(b"x"), size=1)]
    for _ in range(150):
        said = {word: random_.choice(VALUES) for word in random_.sample(WORDS, random_.randint(0, 6))}
        if random_.random() < 0.5:
            said["upload_id"] = random_.choice(ids)
        answer = await hold.call("POST", path, json.dumps(said).encode())
        if answer.status == 200 and path in ("/start-multipart", "/xrpc/io.atcr.hold.initiateUpload"):
            hold.ids.add(answer.json().get("upload_id") or answer.json()["uploadId"])


@pytest.mark.parametrize(
    "query", ["", "?", "?from", "?from=%ff&to=%ff", "?from=a&from=b&to=c", f"?from={TEMP}&From=x&to=y"]
)
async def test_any_query_of_a_move_is_answered_sensibly(hold: Hold, query: str) -> None:
    assert (await hold.call("POST", f"/move{query}")).status == 400


@pytest.mark.parametrize("query", ["", "?cid", "?cid=%ff", "?cid=a&cid=b", "?cid=&CID=x", "?did=%00&cid=x"])
async def test_any_query_of_a_read_is_answered_sensibly(hold: Hold, query: str) -> None:
    assert (await hold.call("GET", f"/xrpc/com.atproto.sync.getBlob{query}")).status == 400


@pytest.mark.parametrize(
    "query", ["", "?uploadId=x", "?partNumber=1", "?uploadId=x&partNumber=x", "?uploadId=a&upload_id=b"]
)
async def test_any_query_of_a_part_is_answered_sensibly(hold: Hold, query: str) -> None:
    assert (await hold.call("PUT", f"/xrpc/io.atcr.hold.uploadPart{query}", b"x")).status == 400


async def test_a_body_of_many_megabytes_is_refused(hold: Hold, casing: Casing) -> None:
    """H148."""
    for path in (casing.start, casing.complete):
        body = b'{"digest": "' + b"x" * (3 * 1024 * 1024) + b'"}'
        assert error_of(await hold.call("POST", path, body)) == (413, "PayloadTooLarge")


async def test_what_lists_no_parts_is_asked_in_64_kib(hold: Hold, casing: Casing) -> None:
    """H148: who may read without proving anything must not keep everybody waiting with a large body."""
    old = ("/get-presigned-url", "/head-presigned-url", "/put-presigned-url", "/move")
    for asked in (*old, casing.start, casing.part_url, casing.abort):
        assert error_of(await hold.call("POST", asked, b" " * 65_537)) == (413, "PayloadTooLarge")
        assert error_of(await hold.call("POST", asked, b" " * 65_536))[0] == 400


async def test_a_list_of_parts_may_be_long_but_not_made_of_nothing(hold: Hold, casing: Casing) -> None:
    """H101, H148: two megabytes of empty lists would take as long to read as hundreds of honest ones."""
    upload_id = await hold.begin("uploads/temp-many", casing)
    many = [{"part_number": number, "etag": "x" * 64} for number in range(1, 10_001)]
    assert error_of(await hold.complete(upload_id, None, many, casing)) == (400, "MissingParts")
    body = b'{"parts": [' + b"[]," * 300_000 + b"[]]}"
    assert error_of(await hold.call("POST", casing.complete, body)) == (400, "InvalidRequest")


@pytest.mark.parametrize("did", ["did:plc:a%2Fb", "a?b&c=d", "x+y", "'\"<>\\^`{|}~", "=", "../..", "X-Amz-Signature=1"])
async def test_whatever_a_client_calls_itself_its_url_works(hold: Hold, did: str) -> None:
    """H024, M10."""
    url = await hold.part_url(await hold.begin(), 1, did=did)
    assert (await hold.put(url, b"x")).status == 200


@pytest.mark.parametrize(
    "host",
    ["[::1]:5000", "a_b.example", "x.example.", "localhost:0", "localhost:99999", "a..b", "-", "ä", "a b", "*:80"],
)
async def test_whatever_host_a_request_names_it_gets_a_url_that_works_or_a_refusal(opened: Open, host: str) -> None:
    """M11."""
    hold = (await opened(hold_token=TOKEN)).as_caller(BEARER)
    upload_id = await hold.begin()
    connection = await Connection.open(hold.oci.host, hold.oci.port)
    connection._host = host
    said = json.dumps({"upload_id": upload_id, "part_number": 1}).encode()
    answer = await connection.ask("POST", "/part-presigned-url", said, BEARER)
    assert answer.status in (200, 400)
    if answer.status == 200:
        url = answer.json()["url"]
        sent = await connection.ask("PUT", target_of(url, url.partition("/multipart-parts/")[0]), b"x")
        assert sent.status == 200
    await connection.close()


async def test_a_fault_of_ours_is_told_in_the_holds_words_without_its_reason(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(hold.oci.rooms.services.sessions.parted, "find", broken)
    connection = await Connection.open(hold.oci.host, hold.oci.port)
    answer = await connection.ask("POST", "/abort-multipart", b'{"upload_id": "x"}')
    assert error_of(answer) == (500, "InternalServerError")
    assert b"secret" not in answer.body
    await connection.close()
