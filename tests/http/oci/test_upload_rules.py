"""The rules of an upload session, one after the other, as they are seen on the wire (oci.md 2.3)."""

import re

import pytest

from tests.http.client import Answer
from tests.http.oci.conftest import Serve
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import Serving, closing

REPOSITORY = "lab/tools"
CONTENT = noise(5000, "rules")
DIGEST = digest_of(CONTENT)
LOCATION = re.compile(
    rf"/v2/{REPOSITORY}/blobs/uploads/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})\?_state=\d+"
)


def ranged(start: int, stop: int) -> dict[str, str]:
    """The Content-Range of the bytes `start` up to, not including, `stop`."""
    return {"Content-Range": f"{start}-{stop - 1}"}


def stands(answer: Answer, status: int, range_: str) -> None:
    """The answer tells where the session stands, with all three headers."""
    assert (answer.status, answer.headers["Range"]) == (status, range_)
    found = LOCATION.fullmatch(answer.location)
    assert found is not None
    assert answer.headers["Docker-Upload-UUID"] == found.group(1)


async def begun(oci: Serving, length_bytes: int) -> str:
    """A session that holds the first bytes of CONTENT; its newest Location."""
    answer = await oci.patch(await oci.session(REPOSITORY), CONTENT[:length_bytes])
    assert answer.status == 202
    return answer.location


# Rule 1: the answer to POST


async def test_rule_1_post_answers_202_with_a_path_and_the_sessions_id(oci: Serving) -> None:
    """C06: a push stays with us; a path can lead nowhere else."""
    answer = await oci.begin(REPOSITORY)
    stands(answer, 202, "0-0")
    assert answer.body == b""


async def test_rule_1_post_without_the_last_slash_or_with_a_content_type_is_the_same(oci: Serving) -> None:
    stands(await oci.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads", b""), 202, "0-0")
    headers = {"Content-Type": "application/json"}  # as crane sends it
    stands(await oci.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", headers), 202, "0-0")
    stands(await oci.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/"), 202, "0-0")


# Rule 2: Locations


async def test_rule_2_every_location_ever_given_out_stays_valid(oci: Serving) -> None:
    """C01, C02, C04: no answer makes an earlier Location worthless."""
    location, locations = await oci.session(REPOSITORY), []
    for start in range(0, 4000, 1000):
        locations.append(location)
        location = (await oci.patch(location, CONTENT[start : start + 1000])).location
        locations.append((await oci.patch(location, b"x", ranged(9000, 9001))).location)
    for old in [*locations, location, location.partition("?")[0], closing(location, DIGEST)]:
        for method in ("GET", "HEAD"):
            stands(await oci.ask(method, old), 204, "0-3999")
    assert (await oci.ask("DELETE", locations[0])).status == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PUT", "DELETE"])
async def test_rule_2_a_session_belongs_to_one_repository(oci: Serving, method: str) -> None:
    location = await begun(oci, 1000)
    elsewhere = closing(location.replace(REPOSITORY, "lab/other"), DIGEST)
    answer = await oci.ask(method, elsewhere, b"" if method in ("PATCH", "PUT") else None)
    assert answer.status == 404
    if method != "HEAD":
        assert answer.code == "BLOB_UPLOAD_UNKNOWN"
    stands(await oci.status(location), 204, "0-999")


@pytest.mark.parametrize("upload", ["unknown", "00000000-0000-0000-0000-000000000000", "..", "%2e%2e", "%00"])
async def test_rule_2_an_unknown_session_is_unknown(oci: Serving, upload: str) -> None:
    answer = await oci.ask("GET", f"/v2/{REPOSITORY}/blobs/uploads/{upload}")
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


# Rule 3: with Content-Range


@pytest.mark.parametrize("written", ["1000-1999", "bytes 1000-1999/*", "bytes 1000-1999/5000", "bytes=1000-1999"])
async def test_rule_3_a_chunk_that_continues_the_session_is_taken(oci: Serving, written: str) -> None:
    location = await begun(oci, 1000)
    answer = await oci.patch(location, CONTENT[1000:2000], {"Content-Range": written})
    stands(answer, 202, "0-1999")


async def test_rule_3_with_content_range_the_location_may_be_an_old_one(oci: Serving) -> None:
    first = await oci.session(REPOSITORY)
    bare = first.partition("?")[0]
    for start in range(0, 5000, 1000):
        location = bare if start % 2000 else first
        answer = await oci.patch(location, CONTENT[start : start + 1000], ranged(start, start + 1000))
        stands(answer, 202, f"0-{start + 999}")
    assert (await oci.put(first, DIGEST)).status == 201


@pytest.mark.parametrize("start", [0, 999, 1001, 4000])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_3_a_chunk_that_does_not_continue_is_416(oci: Serving, method: str, start: int) -> None:
    location = closing(await begun(oci, 1000), DIGEST)
    answer = await oci.ask(method, location, CONTENT[start : start + 500], ranged(start, start + 500))
    stands(answer, 416, "0-999")
    assert answer.code == "BLOB_UPLOAD_INVALID"


@pytest.mark.parametrize("written", ["", "0", "-", "0-", "-5", "5-1", "a-b", "bytes", "0-999, 1000-1999", "0-9" * 40])
async def test_rule_3_a_malformed_content_range_is_416(oci: Serving, written: str) -> None:
    location = await begun(oci, 1000)
    answer = await oci.patch(location, CONTENT[1000:2000], {"Content-Range": written})
    stands(answer, 416, "0-999")


@pytest.mark.parametrize("length", [0, 999, 1001])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_3_lengths_that_contradict_each_other_add_nothing(oci: Serving, method: str, length: int) -> None:
    location = await begun(oci, 1000)
    body = CONTENT[1000 : 1000 + length]
    answer = await oci.ask(method, closing(location, DIGEST), body, ranged(1000, 2000))
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    stands(await oci.status(location), 204, "0-999")


async def test_rule_3_a_chunked_body_as_long_as_its_range_is_taken(oci: Serving) -> None:
    location = await begun(oci, 1000)
    answer = await oci.patch(location, [CONTENT[1000:1500], CONTENT[1500:2000]], ranged(1000, 2000))
    stands(answer, 202, "0-1999")


@pytest.mark.parametrize(("sent_bytes", "kept_bytes"), [(500, 500), (1500, 1000), (4000, 1000)])
async def test_rule_3_a_chunked_body_of_another_length_keeps_what_fits(
    oci: Serving, sent_bytes: int, kept_bytes: int
) -> None:
    location = await begun(oci, 1000)
    answer = await oci.patch(location, [CONTENT[1000 : 1000 + sent_bytes]], ranged(1000, 2000))
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    stands(await oci.status(location), 204, f"0-{1000 + kept_bytes - 1}")
    rest = CONTENT[1000 + kept_bytes :]
    assert (await oci.put(location, DIGEST, rest, ranged(1000 + kept_bytes, 5000))).status == 201


# Rule 4: without Content-Range


async def test_rule_4_the_newest_location_appends(oci: Serving) -> None:
    """C09, H003: no Content-Range is needed, and each PATCH is answered for itself."""
    location = await begun(oci, 1000)
    stands(await oci.patch(location, CONTENT[1000:3000]), 202, "0-2999")


async def test_rule_4_after_a_lost_answer_the_former_location_goes_back(oci: Serving) -> None:
    location = await begun(oci, 1000)
    assert (await oci.patch(location, b"?" * 3000)).status == 202  # this answer is lost
    stands(await oci.patch(location, CONTENT[1000:2000]), 202, "0-1999")
    stands(await oci.patch(location, CONTENT[1000:]), 202, "0-4999")
    assert (await oci.put(location, DIGEST)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_4_a_whole_put_to_the_first_location_begins_again(oci: Serving) -> None:
    # containerd sends the same PUT again, with the whole body, when its connection broke.
    first = await oci.session(REPOSITORY)
    await oci.patch(first, CONTENT[:3000])
    assert (await oci.put(first, DIGEST, CONTENT)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


@pytest.mark.parametrize("body", [b"", []], ids=["counted", "chunked"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_4_an_empty_body_never_cuts(oci: Serving, method: str, body: bytes | list[bytes]) -> None:
    first = await oci.session(REPOSITORY)
    await oci.patch(first, CONTENT)
    if method == "PATCH":
        stands(await oci.patch(first, body), 202, "0-4999")
    assert (await oci.put(first, DIGEST, body)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


@pytest.mark.parametrize("state", ["", "?_state=4000", "?_state=", "?_state=x", "?_state=-1", "?other=1"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_4_a_location_that_does_not_tell_or_tells_too_much_is_416(
    oci: Serving, method: str, state: str
) -> None:
    location = (await begun(oci, 1000)).partition("?")[0] + state
    answer = await oci.ask(method, closing(location, DIGEST), CONTENT[1000:])
    stands(answer, 416, "0-999")
    assert (await oci.put(answer.location, DIGEST, CONTENT[1000:])).status == 201


async def test_rule_4_a_put_that_tells_nothing_does_not_close_what_its_client_may_not_know(oci: Serving) -> None:
    location = await begun(oci, 5000)
    stands(await oci.put(location.partition("?")[0], DIGEST), 416, "0-4999")
    assert (await oci.put(location, DIGEST)).status == 201


async def test_rule_4_a_location_without_state_is_good_for_the_first_byte(oci: Serving) -> None:
    location = (await oci.session(REPOSITORY)).partition("?")[0]
    assert (await oci.put(location, DIGEST, CONTENT)).status == 201


# Rule 5: 416


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_5_a_416_leaves_the_session_alone_and_says_where_to_go_on(oci: Serving, method: str) -> None:
    """C04, C05: the refusal itself says where to go on."""
    location = await begun(oci, 2000)
    answer = await oci.ask(method, closing(location, DIGEST), CONTENT, ranged(0, 5000))
    stands(answer, 416, "0-1999")
    assert answer.location.endswith("?_state=2000")
    stands(await oci.patch(answer.location, CONTENT[2000:]), 202, "0-4999")
    assert (await oci.put(answer.location, DIGEST)).status == 201


# Rule 6: Range


async def test_rule_6_nothing_received_is_0_0_to_those_who_write_and_0_minus_1_to_those_who_ask(oci: Serving) -> None:
    post = await oci.begin(REPOSITORY)
    stands(post, 202, "0-0")
    stands(await oci.patch(post.location, b""), 202, "0-0")
    stands(await oci.patch(post.location, []), 202, "0-0")
    stands(await oci.status(post.location), 204, "0--1")
    stands(await oci.ask("HEAD", post.location), 204, "0--1")
    stands(await oci.patch(post.location, b"x", ranged(1, 2)), 416, "0--1")


async def test_rule_6_the_range_of_a_patch_is_exact_to_the_byte(oci: Serving) -> None:
    location, sent = await oci.session(REPOSITORY), 0
    for length in (1, 1, 2, 1021, 1, 1023):
        answer = await oci.patch(location, CONTENT[sent : sent + length])
        sent, location = sent + length, answer.location
        stands(answer, 202, f"0-{sent - 1}")
        stands(await oci.status(location), 204, f"0-{sent - 1}")


# Rule 10: the closing PUT


@pytest.mark.parametrize("query", ["", "&digest=", "&digest=sha256:short", "&digest=md5:" + "0" * 32])
async def test_rule_10_a_put_without_a_good_digest_keeps_the_session(oci: Serving, query: str) -> None:
    location = await begun(oci, 2000)
    answer = await oci.ask("PUT", location + query, CONTENT[2000:])
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    stands(await oci.status(location), 204, "0-1999")
    assert (await oci.put(location, DIGEST, CONTENT[2000:])).status == 201


async def test_rule_10_a_put_that_does_not_match_ends_the_session(oci: Serving) -> None:
    location = await begun(oci, 2000)
    answer = await oci.put(location, DIGEST, b"not the rest")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await oci.status(location)).status == 404
    assert oci.spooled() == []
    assert oci.blob_files() == []


async def test_rule_10_success_makes_the_blob_visible_and_ends_the_session(oci: Serving) -> None:
    """C03, C08: the Location is opaque; the digest is added to what it is."""
    location = await begun(oci, 5000)
    answer = await oci.put(location, DIGEST)
    assert (answer.status, answer.location, answer.digest) == (201, f"/v2/{REPOSITORY}/blobs/{DIGEST}", DIGEST)
    assert (await oci.status(location)).status == 404
    assert [path.read_bytes() for path in oci.blob_files()] == [CONTENT]


# Rule 11: the PUT whose answer was lost


@pytest.mark.parametrize("body", [b"", CONTENT, [CONTENT], None], ids=["empty", "whole", "chunked", "none"])
async def test_rule_11_a_put_whose_answer_was_lost_succeeds_again(oci: Serving, body: bytes | list[bytes]) -> None:
    location = await begun(oci, 5000)
    first = await oci.put(location, DIGEST)
    again = await oci.put(location, DIGEST, body)
    assert (again.status, again.location, again.digest) == (201, first.location, DIGEST)
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_11_a_put_to_an_unknown_session_is_404_when_the_blob_is_not_there(oci: Serving) -> None:
    location = await begun(oci, 5000)
    await oci.ask("DELETE", location)
    answer = await oci.put(location, DIGEST)
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_rule_11_a_blob_of_another_repository_is_no_lost_answer(oci: Serving) -> None:
    location = await begun(oci, 5000)
    await oci.put(location, DIGEST)
    answer = await oci.put(location.replace(REPOSITORY, "lab/other"), DIGEST)
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


# Rules 12 and 13: see test_pushing_blobs.py; here what is particular


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_rule_12_nothing_at_all_is_a_blob(oci: Serving, algorithm: str) -> None:
    digest = digest_of(b"", algorithm)
    location = await oci.session(REPOSITORY)
    stands(await oci.patch(location, b""), 202, "0-0")
    assert (await oci.put(location, digest)).status == 201
    answer = await oci.blob(REPOSITORY, digest)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


async def test_rule_13_sha512_may_be_named_first_by_the_put(oci: Serving) -> None:
    location = await begun(oci, 3000)
    digest = digest_of(CONTENT, "sha512")
    answer = await oci.put(location, digest, CONTENT[3000:])
    assert (answer.status, answer.digest) == (201, digest)
    assert (await oci.blob(REPOSITORY, digest)).body == CONTENT


# Rule 16 and 17


async def test_rule_16_no_least_chunk_length_is_asked_for(oci: Serving) -> None:
    assert "OCI-Chunk-Min-Length" not in (await oci.begin(REPOSITORY)).headers


async def test_rule_17_cancelling_is_204_and_a_second_time_404(oci: Serving) -> None:
    location = await begun(oci, 1000)
    assert (await oci.ask("DELETE", location)).status == 204
    assert oci.spooled() == []
    again = await oci.ask("DELETE", location)
    assert (again.status, again.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_rule_17_a_refusal_reaches_a_client_that_is_still_sending(oci: Serving) -> None:
    location = await begun(oci, 1000)
    body = bytes(8 << 20)
    answer = await oci.patch(location, body, ranged(7, 7 + len(body)))
    stands(answer, 416, "0-999")


async def test_cancelling_is_part_of_pushing_and_needs_no_right_to_delete(serve: Serve) -> None:
    oci = await serve(delete_enabled="off")
    assert (await oci.ask("DELETE", await oci.session(REPOSITORY))).status == 204
