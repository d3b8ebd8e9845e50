"""Completing: the list against what is stored, ETags in every spelling, the digest of the whole, what comes of it."""

import asyncio

import pytest

from model.errors import StorageFailed
from tests.http.client import Answer
from tests.http.hold.client import OLD, TEMP, XRPC, Casing, Hold, Json, error_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import ALGORITHMS, digest_of, noise
from tests.http.oci.serving import until
from tests.support.content import key_of

PIECES = [noise(2_000, "a"), noise(2_000, "b"), noise(700, "c")]
CONTENT = b"".join(PIECES)
DIGEST = digest_of(CONTENT)


async def sent(hold: Hold, casing: Casing = OLD, **more: object) -> tuple[str, list[Json]]:
    """A session with all its parts."""
    upload_id = await hold.begin(DIGEST if more else TEMP, casing, **more)
    return upload_id, [await hold.send(upload_id, n, piece, casing) for n, piece in enumerate(PIECES, 1)]


@pytest.fixture(params=[{}, {"size": len(CONTENT), "part_size": 2_000}], ids=["undeclared", "declared"])
def declared(request: pytest.FixtureRequest) -> Json:
    """Whether the client said at the start how large the whole is."""
    more: Json = request.param
    return more


async def test_the_parts_become_a_blob_like_any_other(hold: Hold, casing: Casing, declared: Json) -> None:
    """H025, H026, H027, H079, H112, H172, H173, H174, H175, H176, H191, T01: under its digest, where others look."""
    upload_id, parts = await sent(hold, casing, **declared, repository="lab/app")
    answer = await hold.complete(upload_id, DIGEST, parts, casing)
    assert (answer.status, answer.json()["status"], answer.json()["digest"]) == (200, "completed", DIGEST)
    assert (await hold.oci.blob("lab/app", DIGEST)).body == CONTENT
    assert [stored.read_bytes() for stored in hold.oci.blob_files()] == [CONTENT]

    async def under_its_digest() -> bool:
        return [stored.key for stored in hold.oci.blob_files()] == [key_of(DIGEST)]

    await until(under_its_digest)
    assert hold.oci.spooled() == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_digest_may_be_of_either_algorithm(hold: Hold, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    upload_id = await hold.begin(digest)
    parts = [await hold.send(upload_id, n, piece) for n, piece in enumerate(PIECES, 1)]
    assert (await hold.complete(upload_id, digest, parts)).status == 200
    assert (await hold.blob(digest)).body == CONTENT


async def test_the_final_digest_may_be_said_at_the_end_only(hold: Hold, casing: Casing, declared: Json) -> None:
    """H075, T01: begun under a temporary name, completed under the digest, with no move."""
    upload_id = await hold.begin(TEMP, casing, **declared)
    parts = [await hold.send(upload_id, n, piece, casing) for n, piece in enumerate(PIECES, 1)]
    assert (await hold.complete(upload_id, DIGEST, parts, casing)).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT


async def test_a_client_that_says_no_digest_at_the_end_gets_the_one_it_began_with(hold: Hold) -> None:
    """M13: the library's clients list their parts, and that is all."""
    upload_id = await hold.begin(DIGEST)
    tokens = [
        {"partNumber": n, "token": (await hold.send(upload_id, n, piece))["etag"]} for n, piece in enumerate(PIECES, 1)
    ]
    answer = await hold.post("/complete-multipart", {"uploadID": upload_id, "completedParts": tokens})
    assert answer.status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT


@pytest.mark.parametrize("spell", ["{}", '"{}"', 'W/"{}"', "W/{}", "&quot;{}&quot;", ' "{}" '])
async def test_an_etag_may_come_back_quoted_unquoted_or_weak(hold: Hold, casing: Casing, spell: str) -> None:
    """H085, H086, H087, M13, T08."""
    upload_id, parts = await sent(hold, casing)
    for part in parts:
        part["etag"] = spell.format(part["etag"].strip('"'))
    assert (await hold.complete(upload_id, DIGEST, parts, casing)).status == 200


async def refused(hold: Hold, casing: Casing, upload_id: str, parts: list[Json]) -> Answer:
    """A completion whose list is wrong; after it the right one must succeed."""
    answer = await hold.complete(upload_id, DIGEST, parts, casing)
    assert error_of(answer) == (400, "MissingParts")
    assert (await hold.blob(DIGEST)).status == 404
    return answer


async def test_a_part_that_never_came_is_named(hold: Hold, casing: Casing, declared: Json) -> None:
    """H090, H173, H184: and the session waits for it."""
    upload_id = await hold.begin(DIGEST, casing, **declared)
    parts = [await hold.send(upload_id, n, PIECES[n - 1], casing) for n in (1, 3)]
    listed = [parts[0], {"part_number": 2, "etag": "x"}, parts[1]]
    answer = await refused(hold, casing, upload_id, listed)
    assert any("part 2 is missing" in problem for problem in answer.json()["problems"])
    listed[1] = await hold.send(upload_id, 2, PIECES[1], casing)
    assert (await hold.complete(upload_id, DIGEST, listed, casing)).status == 200


async def test_every_problem_of_a_list_is_named_in_one_answer(hold: Hold, casing: Casing, declared: Json) -> None:
    """H090: wrong ETag, wrong order, twice, unknown, not listed."""
    upload_id, parts = await sent(hold, casing, **declared)
    one, two, three = parts
    wrong = [
        ([one, {**two, "etag": "0" * 64}, three], "part 2 has another ETag"),
        ([two, one, three], "part 1 is listed behind part 2"),
        ([one, two, two, three], "part 2 is listed twice"),
        ([one, two, three, {"part_number": 4, "etag": "x"}], "part 4"),
        ([one, three], "part 2 is stored, but not listed"),
        ([one, two], "part 3 is stored, but not listed"),
        ([], "no parts are listed"),
    ]
    for listed, problem in wrong:
        answer = await refused(hold, casing, upload_id, listed)
        assert any(problem in each for each in answer.json()["problems"]), answer.json()
    everything = await refused(hold, casing, upload_id, [{**two, "etag": "0" * 64}, one, one])
    assert len(everything.json()["problems"]) >= 4
    assert (await hold.complete(upload_id, DIGEST, parts, casing)).status == 200


@pytest.mark.parametrize(
    "listed",
    ["x", [7], [{}], [{"part_number": 1}], [{"part_number": "1", "etag": "x"}], [{"part_number": 1.0, "etag": "x"}]],
)
async def test_what_is_no_list_of_parts_is_refused(hold: Hold, listed: object) -> None:
    """H026, T04."""
    upload_id, parts = await sent(hold)
    answer = await hold.post("/complete-multipart", {"digest": DIGEST, "upload_id": upload_id, "parts": listed})
    assert error_of(answer) == (400, "InvalidRequest")
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200


async def test_a_part_below_the_minimum_is_named_unless_it_is_the_last(opened: Open) -> None:
    """H095, H096, H100, H150."""
    hold = await opened(min_part_bytes="2001")
    upload_id, parts = await sent(hold)
    answer = await refused(hold, OLD, upload_id, parts)
    assert len(answer.json()["problems"]) == 2
    parts[:2] = [await hold.send(upload_id, n, PIECES[n - 1] + b"x") for n in (1, 2)]
    content = PIECES[0] + b"x" + PIECES[1] + b"x" + PIECES[2]
    assert (await hold.complete(upload_id, digest_of(content), parts)).status == 200


async def test_the_wrong_digest_of_the_whole_ends_the_session(hold: Hold, casing: Casing, declared: Json) -> None:
    """H080, T10: nothing is kept of it."""
    upload_id, parts = await sent(hold, casing, **declared)
    wrong = digest_of(b"something else")
    assert error_of(await hold.complete(upload_id, wrong, parts, casing)) == (400, "CompletionFailed")
    assert hold.oci.spooled() == [] and hold.oci.blob_files() == []
    assert (await hold.blob(wrong)).status == (await hold.blob(DIGEST)).status == 404
    assert error_of(await hold.complete(upload_id, DIGEST, parts, casing)) == (410, "InvalidUploadId")


@pytest.mark.parametrize("digest", ["sha256:abc", "../x", "uploads/temp-../x", 7, ["x"]])
async def test_a_completion_under_anything_but_a_digest_or_temporary_name_is_refused(
    hold: Hold, casing: Casing, digest: object
) -> None:
    """H076."""
    upload_id, parts = await sent(hold, casing)
    said = casing.spelled({"upload_id": upload_id, "digest": digest, "parts": parts})
    assert error_of(await hold.post(casing.complete, said)) == (400, "InvalidDigest")
    assert (await hold.complete(upload_id, DIGEST, parts, casing)).status == 200


async def test_another_temporary_name_than_that_of_the_start_is_refused(hold: Hold) -> None:
    upload_id, parts = await sent(hold)
    assert error_of(await hold.complete(upload_id, "uploads/temp-other", parts)) == (400, "InvalidRequest")
    assert (await hold.complete(upload_id, TEMP, parts)).status == 200


async def test_a_completion_whose_answer_was_lost_succeeds_again(hold: Hold, casing: Casing, declared: Json) -> None:
    """H027: the same question has the same answer."""
    upload_id, parts = await sent(hold, casing, **declared)
    first = await hold.complete(upload_id, DIGEST, parts, casing)
    again = await hold.complete(upload_id, DIGEST, parts, casing)
    assert (first.status, first.json()) == (again.status, again.json()) == (200, first.json())
    other = XRPC if casing is OLD else OLD
    assert (await hold.complete(upload_id, DIGEST, parts, other)).status == 200


async def test_what_is_stored_is_answered_so_whatever_the_log_can_still_learn(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H113: the size in the log's last line is asked for when the blob is stored already."""
    upload_id, parts = await sent(hold)

    async def fails(*_: object) -> int:
        raise StorageFailed("the disk does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(type(hold.oci.rooms.services.blobs), "size", fails)
        assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT


async def test_a_finished_session_cannot_become_something_else(hold: Hold) -> None:
    """H114."""
    upload_id, parts = await sent(hold)
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    assert error_of(await hold.complete(upload_id, digest_of(b"other"), parts)) == (409, "UploadFinished")


async def test_two_completions_at_once_both_succeed_and_make_one_blob(hold: Hold) -> None:
    """H060, H114."""
    upload_id, parts = await sent(hold)
    answers = await asyncio.gather(*[hold.complete(upload_id, DIGEST, parts) for _ in range(4)])
    assert {answer.status for answer in answers} == {200}
    assert len(hold.oci.blob_files()) == 1


async def test_nothing_is_visible_before_completion(hold: Hold) -> None:
    """H080."""
    await sent(hold, repository="lab/app")
    assert (await hold.blob(DIGEST)).status == 404
    assert not await hold.oci.has("lab/app", DIGEST)


async def test_a_blob_without_a_repository_belongs_to_its_caller_who_may_mount_it(hold: Hold) -> None:
    upload_id, parts = await sent(hold)
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    assert not await hold.oci.has("lab/app", DIGEST)
    answer = await hold.oci.begin("lab/app", f"?mount={DIGEST}")
    assert (answer.status, answer.digest) == (201, DIGEST)
    assert (await hold.oci.blob("lab/app", DIGEST)).body == CONTENT
    assert b"_hold" not in (await hold.oci.ask("GET", "/v2/_catalog")).body
    assert len(hold.oci.blob_files()) == 1


async def test_hundreds_of_parts_make_one_blob(hold: Hold) -> None:
    """H101, H150."""
    count = 400
    upload_id = await hold.begin(DIGEST, size=count * 1024, part_size=1024)
    pieces = [noise(1024, number) for number in range(count)]
    url = f"/multipart-parts/{upload_id}"
    parts: list[Json] = []
    for number, piece in enumerate(pieces, 1):
        answer = await hold.call("PUT", f"{url}/{number}", piece)
        parts.append({"part_number": number, "etag": answer.headers["ETag"]})
    content = b"".join(pieces)
    assert (await hold.complete(upload_id, digest_of(content), parts)).status == 200
    assert (await hold.blob(digest_of(content), method="HEAD")).headers["Content-Length"] == str(len(content))
