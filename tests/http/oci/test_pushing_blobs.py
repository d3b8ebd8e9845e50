"""Every way to push a blob that the official conformance suite knows, by sha256 and by sha512 (oci.md 5, case 3).

Each way is followed by HEAD, GET, DELETE and HEAD again, and has to leave nothing when the digest is wrong.
"""

from collections.abc import Awaitable, Callable

import pytest

from tests.http.client import Answer
from tests.http.oci.content import ALGORITHMS, digest_of, noise
from tests.http.oci.serving import Serving, closing

REPOSITORY = "conformance/blobs"
CHUNK_BYTES = 1024
CONTENT = noise(3 * CHUNK_BYTES + 100, "blob")
CHUNK_TYPE = ("Content-Type", "application/octet-stream")

Way = Callable[[Serving, bytes, str], Awaitable[Answer]]


def spans(content: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """The content in chunks, each with its headers; one empty chunk without a range for nothing."""
    if not content:
        return [(b"", {})]
    starts = range(0, len(content), CHUNK_BYTES)
    return [chunk_at(content, start) for start in starts]


def chunk_at(content: bytes, start: int) -> tuple[bytes, dict[str, str]]:
    chunk = content[start : start + CHUNK_BYTES]
    return chunk, dict([CHUNK_TYPE, ("Content-Range", f"{start}-{start + len(chunk) - 1}")])


async def post_only(oci: Serving, content: bytes, digest: str) -> Answer:
    return await oci.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", content, [CHUNK_TYPE])


async def post_then_put(oci: Serving, content: bytes, digest: str) -> Answer:
    return await oci.put(await oci.session(REPOSITORY), digest, content, [CHUNK_TYPE])


async def one_chunk(oci: Serving, content: bytes, digest: str) -> Answer:
    headers = {"Content-Range": f"0-{len(content) - 1}"} if content else {}
    answer = await oci.patch(await oci.session(REPOSITORY), content, headers)
    assert answer.status == 202
    return await oci.put(answer.location, digest)


async def stream(oci: Serving, content: bytes, digest: str) -> Answer:
    pieces = [content[:700], content[700:]] if content else []
    answer = await oci.patch(await oci.session(REPOSITORY), [piece for piece in pieces if piece], [CHUNK_TYPE])
    assert answer.status == 202
    assert answer.headers["Range"] == f"0-{max(len(content) - 1, 0)}"
    return await oci.put(answer.location, digest)


async def many_chunks(oci: Serving, content: bytes, digest: str) -> Answer:
    location, sent = await oci.session(REPOSITORY), 0
    for chunk, headers in spans(content):
        answer = await oci.patch(location, chunk, headers)
        sent, location = sent + len(chunk), answer.location
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{max(sent - 1, 0)}")
    return await oci.put(location, digest)


async def many_chunks_the_last_in_the_put(oci: Serving, content: bytes, digest: str) -> Answer:
    location = await oci.session(REPOSITORY)
    *first, (last, last_headers) = spans(content)
    for chunk, headers in first:
        answer = await oci.patch(location, chunk, headers)
        assert answer.status == 202
        location = answer.location
    return await oci.put(location, digest, last, last_headers)


async def out_of_order(oci: Serving, content: bytes, digest: str) -> Answer:
    """A chunk that skips ahead before any byte, then one that starts again at 0; each time GET tells where to go on."""
    location = await oci.session(REPOSITORY)
    location = await refused(oci, "PATCH", location, content, at=CHUNK_BYTES, held=0)
    for start in range(0, len(content), CHUNK_BYTES):
        if start > 0:
            location = await refused(oci, "PATCH", location, content, at=0, held=start)
        answer = await oci.patch(location, *chunk_at(content, start))
        assert answer.status == 202
        location = answer.location
    return await oci.put(location, digest)


async def out_of_order_the_last_in_the_put(oci: Serving, content: bytes, digest: str) -> Answer:
    """As `out_of_order` with a PUT; GET asks the Location it was sent to, with its `digest=`."""
    location, last = await oci.session(REPOSITORY), len(content) - len(content) % CHUNK_BYTES
    location = await refused(oci, "PUT", closing(location, digest), content, at=CHUNK_BYTES, held=0)
    for start in range(0, last, CHUNK_BYTES):
        answer = await oci.patch(location, *chunk_at(content, start))
        assert answer.status == 202
        location = await refused(oci, "PUT", closing(answer.location, digest), content, at=0, held=start + CHUNK_BYTES)
    return await oci.put(location, digest, *chunk_at(content, last))


async def refused(oci: Serving, method: str, location: str, content: bytes, *, at: int, held: int) -> str:
    """Send the chunk that is not next: 416; then the same URL says in answer to GET where the session stands."""
    chunk, headers = chunk_at(content, at)
    answer = await oci.ask(method, location, chunk, headers)
    assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
    status = await oci.status(location)
    assert (status.status, status.headers["Range"]) == (204, f"0-{held - 1}")
    assert (answer.location, answer.headers["Range"]) == (status.location, status.headers["Range"])
    return status.location


WAYS: list[Way] = [
    post_only,
    post_then_put,
    one_chunk,
    stream,
    many_chunks,
    many_chunks_the_last_in_the_put,
    out_of_order,
    out_of_order_the_last_in_the_put,
]


def name(way: Way) -> str:
    return way.__name__


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def check_life(oci: Serving, created: Answer, content: bytes, digest: str) -> None:
    """The blob can be found, read and deleted, and is gone then."""
    assert created.status == 201
    assert created.digest == digest
    assert created.location == f"/v2/{REPOSITORY}/blobs/{digest}"
    head = await oci.ask("HEAD", created.location)
    assert (head.status, head.headers["Content-Length"], head.digest) == (200, str(len(content)), digest)
    got = await oci.ask("GET", created.location)
    assert (got.status, got.body, got.digest) == (200, content, digest)
    assert (await oci.delete(REPOSITORY, "blobs", digest)).status == 202
    assert not await oci.has(REPOSITORY, digest)
    assert oci.spooled() == []


async def test_a_blob_that_nobody_pushed_is_unknown(oci: Serving, algorithm: str) -> None:
    answer = await oci.blob(REPOSITORY, digest_of(CONTENT, algorithm))
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_a_blob_lives_from_its_push_to_its_delete(oci: Serving, way: Way, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    await check_life(oci, await way(oci, CONTENT, digest), CONTENT, digest)


@pytest.mark.parametrize("way", WAYS[:6], ids=name)
@pytest.mark.parametrize("content", [b"", b"{}"], ids=["empty", "emptyJSON"])
async def test_the_smallest_blobs_can_be_pushed_every_way(
    oci: Serving, way: Way, content: bytes, algorithm: str
) -> None:
    digest = digest_of(content, algorithm)
    await check_life(oci, await way(oci, content, digest), content, digest)


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_a_wrong_digest_is_refused_and_leaves_nothing(oci: Serving, way: Way, algorithm: str) -> None:
    wrong = digest_of(b"something else", algorithm)
    answer = await way(oci, CONTENT, wrong)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert not await oci.has(REPOSITORY, wrong)
    assert not await oci.has(REPOSITORY, digest_of(CONTENT, algorithm))
    assert oci.blob_files() == []
    assert oci.spooled() == []


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_pushing_a_blob_that_is_there_succeeds_again(oci: Serving, way: Way, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    for _ in range(2):
        assert (await way(oci, CONTENT, digest)).status == 201
    assert (await oci.blob(REPOSITORY, digest)).body == CONTENT
    assert len(oci.blob_files()) == 1


async def test_a_cancelled_session_is_gone(oci: Serving, algorithm: str) -> None:
    location = await oci.session(REPOSITORY)
    assert (await oci.ask("DELETE", location)).status == 204
    answer = await oci.put(location, digest_of(CONTENT, algorithm), CONTENT)
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not await oci.has(REPOSITORY, digest_of(CONTENT, algorithm))


async def test_the_same_content_may_be_there_by_both_algorithms(oci: Serving) -> None:
    both = [await oci.push(REPOSITORY, CONTENT, algorithm) for algorithm in ALGORITHMS]
    for digest in both:
        answer = await oci.blob(REPOSITORY, digest)
        assert (answer.body, answer.digest) == (CONTENT, digest)


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:baddigeststring",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "blake3:" + "0" * 64,
        "0" * 64,
    ],
)
async def test_a_digest_that_cannot_be_checked_is_refused_at_once(oci: Serving, digest: str) -> None:
    whole = await oci.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", CONTENT)
    assert (whole.status, whole.code) == (400, "DIGEST_INVALID")
    location = await oci.session(REPOSITORY)
    closed = await oci.put(location, digest, CONTENT)
    assert (closed.status, closed.code) == (400, "DIGEST_INVALID")
    assert (await oci.status(location)).status == 204


async def test_a_post_that_only_announces_its_digest_opens_a_session(oci: Serving, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    begun = await oci.begin(REPOSITORY, f"?digest={digest}")
    assert (begun.status, begun.headers["Range"]) == (202, "0-0")
    assert (await oci.put(begun.location, digest, CONTENT)).status == 201


async def test_a_session_may_be_told_its_algorithm_beforehand(oci: Serving, algorithm: str) -> None:
    begun = await oci.begin(REPOSITORY, f"?digest-algorithm={algorithm}")
    assert begun.status == 202
    patched = await oci.patch(begun.location, CONTENT)
    assert (await oci.put(patched.location, digest_of(CONTENT, algorithm))).status == 201


async def test_a_session_may_be_closed_by_another_algorithm_than_it_was_told(oci: Serving) -> None:
    begun = await oci.begin(REPOSITORY, "?digest-algorithm=sha512")
    assert (await oci.put(begun.location, digest_of(CONTENT), CONTENT)).status == 201
    assert (await oci.blob(REPOSITORY, digest_of(CONTENT))).body == CONTENT


async def test_an_algorithm_that_we_do_not_know_is_refused(oci: Serving) -> None:
    answer = await oci.begin(REPOSITORY, "?digest-algorithm=md5")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_a_digest_may_be_percent_encoded(oci: Serving, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    created = await oci.put(await oci.session(REPOSITORY), digest.replace(":", "%3A"), CONTENT)
    assert (created.status, created.digest) == (201, digest)
    assert (await oci.blob(REPOSITORY, digest.replace(":", "%3a"))).body == CONTENT


async def test_the_last_digest_of_a_url_counts(oci: Serving) -> None:
    # containerd appends its digest to a Location that has one already.
    location = closing(await oci.session(REPOSITORY), digest_of(b"an earlier one"))
    assert (await oci.put(location, digest_of(CONTENT), CONTENT)).status == 201
