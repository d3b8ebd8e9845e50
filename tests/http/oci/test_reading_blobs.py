"""GET, HEAD and DELETE of blobs: headers, ranges, conditions (oci.md end-2, end-10, section 7)."""

import re
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from tests.http.client import Answer
from tests.http.oci.conftest import Serve
from tests.http.oci.content import ALGORITHMS, digest_of, noise
from tests.http.oci.serving import Serving

REPOSITORY = "lab/tools"
SMALL = noise(4000, "small")
LARGE = noise(300_000, "large")
BY_SOURCE = pytest.mark.parametrize(
    "settings",
    [{"small_blob_bytes": "64KiB"}, {"small_blob_bytes": "0"}, {"small_blob_bytes": "0", "storage_driver": "memory"}],
    ids=["from-memory", "from-file", "streamed"],
)
BOTH = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["from-memory", "from-file"])


def is_whole(answer: Answer, content: bytes) -> None:
    assert (answer.status, answer.body) == (200, content)
    assert "Content-Range" not in answer.headers


@BOTH
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_blob_is_answered_with_everything_that_strict_clients_look_for(
    oci: Serving, method: str, content: bytes, algorithm: str
) -> None:
    digest = await oci.push(REPOSITORY, content, algorithm)
    for _ in range(3):  # the first comes from the file, later ones may come from memory
        answer = await oci.blob(REPOSITORY, digest, method=method)
        assert (answer.status, answer.body) == (200, content if method == "GET" else b"")
        assert answer.digest == digest
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["ETag"] == f'"{digest}"'
        assert answer.headers["Cache-Control"] == "max-age=31536000"


@pytest.mark.parametrize("coding", ["gzip", "zstd,gzip,deflate", "*", "br;q=1.0, identity;q=0"])
@BOTH
async def test_bytes_are_never_compressed_on_their_way(oci: Serving, content: bytes, coding: str) -> None:
    digest = await oci.push(REPOSITORY, content)
    is_whole(await oci.blob(REPOSITORY, digest, {"Accept-Encoding": coding}), content)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 4000),
        ("bytes=-500", 3500, 4000),
        ("bytes=2000-5000", 2000, 4000),
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 4000),
        ("bytes=3999-", 3999, 4000),
        ("bytes=3999-3999", 3999, 4000),
        ("bytes=-4000", 0, 4000),
        ("bytes=-9999", 0, 4000),
        ("bytes=0-18446744073709551", 0, 4000),
        ("BYTES=1-2", 1, 3),
        ("bytes= 1-2", 1, 3),
        ("bytes=1-2,", 1, 3),
        ("bytes=9000-9100,1-2", 1, 3),
    ],
)
@BY_SOURCE
async def test_one_range_is_answered_206(
    serve: Serve, settings: dict[str, str], asked: str, start: int, stop: int
) -> None:
    oci = await serve(**settings)
    digest = await oci.push(REPOSITORY, SMALL)
    answer = await oci.blob(REPOSITORY, digest, {"Range": asked})
    assert (answer.status, answer.body) == (206, SMALL[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4000"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.digest == digest
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    "asked", ["bytes=500-0", "bytes={past}-{far}", "bytes={size}-", "bytes=-0", "bytes={size}-,{past}-"]
)
@BOTH
async def test_a_range_with_nothing_in_it_is_416(oci: Serving, content: bytes, asked: str) -> None:
    digest = await oci.push(REPOSITORY, content)
    size = len(content)
    asked = asked.format(size=size, past=size + 1000, far=size + 6000)
    answer = await oci.blob(REPOSITORY, digest, {"Range": asked})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "asked",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "items=0-5", "0-5", "bytes=1-2;3-4", "bytes=--5"),
        *("bytes=" + ",".join(["0-0"] * 65), "bytes=0-2999,1000-3999"),
    ],
)
async def test_a_range_that_cannot_be_read_or_asks_too_much_is_ignored(oci: Serving, asked: str) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    is_whole(await oci.blob(REPOSITORY, digest, {"Range": asked}), SMALL)


@BY_SOURCE
async def test_several_ranges_come_as_parts(serve: Serve, settings: dict[str, str]) -> None:
    oci, content = await serve(**settings), SMALL
    digest = await oci.push(REPOSITORY, content)
    # As podman asks for the pieces of a zstd:chunked layer that it has not got.
    answer = await oci.blob(REPOSITORY, digest, {"Range": "bytes=0-99,1000-1000, 3000-3499"})
    assert answer.status == 206
    assert answer.headers.getall("Content-Range", []) == []
    assert re.fullmatch(r'multipart/byteranges; ?boundary="?[\w-]{1,70}"?', answer.headers["Content-Type"])
    raw = b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n" + answer.body
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(raw)
    parts = [(part["Content-Range"], part.get_content()) for part in message.iter_parts()]
    assert message.defects == []
    size = len(content)
    assert parts == [
        (f"bytes 0-99/{size}", content[:100]),
        (f"bytes 1000-1000/{size}", content[1000:1001]),
        (f"bytes 3000-3499/{size}", content[3000:3500]),
    ]


async def test_a_range_of_an_empty_blob_is_the_empty_blob(oci: Serving) -> None:
    digest = await oci.push(REPOSITORY, b"")
    answer = await oci.blob(REPOSITORY, digest, {"Range": "bytes=0-"})
    assert (answer.status, answer.body) == (200, b""), "containerd begins every layer like this"


async def test_a_head_takes_no_notice_of_ranges(oci: Serving) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    answer = await oci.blob(REPOSITORY, digest, {"Range": "bytes=0-5"}, method="HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "4000")


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"{digest}"', 206), ('"another"', 200), ('W/"{digest}"', 200), ("Sat, 21 Nov 2026 08:00:00 GMT", 200)],
)
@BOTH
async def test_if_range_gives_the_range_of_the_same_content_only(
    oci: Serving, content: bytes, condition: str, status: int
) -> None:
    digest = await oci.push(REPOSITORY, content)
    headers = {"Range": "bytes=0-99", "If-Range": condition.format(digest=digest)}
    answer = await oci.blob(REPOSITORY, digest, headers)
    assert (answer.status, answer.body) == (status, content[:100] if status == 206 else content)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"{digest}"', 304),
        ("{digest}", 304),
        ('W/"{digest}"', 304),
        ('"other", "{digest}"', 304),
        ("*", 304),
        ('"other"', 200),
        ("", 200),
        ('"{digest}x"', 200),
    ],
)
@BOTH
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_if_none_match_spares_the_bytes_that_the_client_has(
    oci: Serving, method: str, content: bytes, condition: str, status: int
) -> None:
    digest = await oci.push(REPOSITORY, content)
    answer = await oci.blob(REPOSITORY, digest, {"If-None-Match": condition.format(digest=digest)}, method)
    assert answer.status == status
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.body == (content if status == 200 and method == "GET" else b"")


async def test_if_none_match_does_not_tell_of_a_blob_that_is_not_here(oci: Serving) -> None:
    digest = await oci.push("lab/other", SMALL)
    answer = await oci.blob(REPOSITORY, digest, {"If-None-Match": f'"{digest}"'})
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


async def test_if_none_match_comes_before_a_range(oci: Serving) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    answer = await oci.blob(REPOSITORY, digest, {"If-None-Match": f'"{digest}"', "Range": "bytes=9999-"})
    assert answer.status == 304


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_blob_is_seen_through_its_own_repository_only(oci: Serving, method: str) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    answer = await oci.blob("lab/other", digest, method=method)
    assert answer.status == 404
    assert await oci.has(REPOSITORY, digest)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("digest", ["sha256:short", "sha256:" + "g" * 64, "tag", "sha1:" + "0" * 40, "%2e%2e"])
async def test_what_is_no_digest_is_refused(oci: Serving, method: str, digest: str) -> None:
    answer = await oci.blob(REPOSITORY, digest, method=method)
    assert answer.status == 400
    if method != "HEAD":
        assert answer.code == "DIGEST_INVALID"


@BY_SOURCE
async def test_a_blob_is_whole_wherever_its_bytes_come_from(serve: Serve, settings: dict[str, str]) -> None:
    oci = await serve(**settings)
    for content in (b"", SMALL, LARGE):
        digest = await oci.push(REPOSITORY, content)
        for _ in range(3):
            is_whole(await oci.blob(REPOSITORY, digest), content)


@pytest.mark.parametrize("damaged", [b"", SMALL[:-1], SMALL + b"x"])
async def test_a_blob_of_another_length_is_not_served_and_healed_by_a_push(oci: Serving, damaged: bytes) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    [path] = oci.blob_files()
    path.write_bytes(damaged)
    answer = await oci.blob(REPOSITORY, digest)
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert not await oci.has(REPOSITORY, digest)
    await oci.push(REPOSITORY, SMALL)
    is_whole(await oci.blob(REPOSITORY, digest), SMALL)
    assert [path.read_bytes() for path in oci.blob_files()] == [SMALL]


async def test_a_small_blob_with_other_bytes_is_not_served_and_healed_by_a_push(oci: Serving) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    [path] = oci.blob_files()
    path.write_bytes(noise(len(SMALL), "other"))
    for asked in ({}, {"Range": "bytes=0-5"}):
        answer = await oci.blob(REPOSITORY, digest, asked)
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert not await oci.has(REPOSITORY, digest), "or the client would not push it again"
    assert (await oci.begin("lab/other", f"?mount={digest}&from={REPOSITORY}")).status == 202
    await oci.push(REPOSITORY, SMALL)
    is_whole(await oci.blob(REPOSITORY, digest), SMALL)
    assert await oci.has(REPOSITORY, digest)
    assert [path.read_bytes() for path in oci.blob_files()] == [SMALL]


async def test_unknown_query_parameters_change_nothing(oci: Serving) -> None:
    digest = await oci.push(REPOSITORY, SMALL)
    is_whole(await oci.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}?ns=docker.io&n=0&digest=x&&=&%ff"), SMALL)


async def test_a_manifest_is_no_blob_until_it_is_pushed_as_one(oci: Serving) -> None:
    content = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    await oci.put_manifest(REPOSITORY, "1", content, None)
    assert not await oci.has(REPOSITORY, digest_of(content))
    assert (await oci.blob(REPOSITORY, await oci.push(REPOSITORY, content))).body == content
