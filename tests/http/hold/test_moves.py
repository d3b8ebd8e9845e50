"""Temporary names: complete under one, invisible until the move to the digest, which verifies."""

import pytest

from tests.http.hold.client import OLD, TEMP, Casing, Hold, Json, error_of
from tests.http.oci.content import digest_of, noise

CONTENT = noise(3_000, "moved")
DIGEST = digest_of(CONTENT)


async def assembled(hold: Hold, casing: Casing = OLD, temp: str = TEMP, **more: object) -> tuple[str, list[Json]]:
    """Completed under a temporary name."""
    upload_id = await hold.begin(temp, casing, **more)
    parts = [await hold.send(upload_id, n + 1, CONTENT[n * 1_500 : (n + 1) * 1_500], casing) for n in range(2)]
    answer = await hold.complete(upload_id, temp, parts, casing)
    assert (answer.status, answer.json()["digest"]) == (200, DIGEST)
    return upload_id, parts


async def test_what_has_a_temporary_name_becomes_visible_by_a_move(hold: Hold, casing: Casing) -> None:
    """H030, H075, H078, H110."""
    await assembled(hold, casing)
    assert (await hold.blob(DIGEST)).status == 404
    assert hold.oci.blob_files() == []
    answer = await hold.move(TEMP, DIGEST)
    assert (answer.status, answer.json()["digest"]) == (200, DIGEST)
    assert (await hold.blob(DIGEST)).body == CONTENT
    assert hold.oci.spooled() == []


async def test_it_becomes_visible_in_the_repository_of_its_start(hold: Hold) -> None:
    await assembled(hold, repository="lab/app")
    assert not await hold.oci.has("lab/app", DIGEST)
    assert (await hold.move(TEMP, DIGEST)).status == 200
    assert (await hold.oci.blob("lab/app", DIGEST)).body == CONTENT


async def test_a_move_may_be_said_in_json(hold: Hold) -> None:
    """H030, H035."""
    await assembled(hold)
    assert (await hold.post("/move", {"from": TEMP, "to": DIGEST, "did": "did:plc:tester"})).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT


async def test_a_move_whose_answer_was_lost_succeeds_again(hold: Hold) -> None:
    """H030, H110."""
    await assembled(hold)
    assert [(await hold.move(TEMP, DIGEST)).status for _ in range(3)] == [200] * 3
    assert (await hold.blob(DIGEST)).body == CONTENT


async def test_a_completion_under_a_temporary_name_succeeds_again_before_and_after_the_move(hold: Hold) -> None:
    """H027."""
    upload_id, parts = await assembled(hold)
    assert (await hold.complete(upload_id, TEMP, parts)).status == 200
    assert (await hold.move(TEMP, DIGEST)).status == 200
    assert (await hold.complete(upload_id, TEMP, parts)).status == 200


async def test_a_move_to_what_the_bytes_are_not_is_refused_in_words(hold: Hold) -> None:
    """H030, H080, T10."""
    await assembled(hold)
    wrong = digest_of(b"other")
    answer = await hold.move(TEMP, wrong)
    assert answer.status == 400
    assert "digest" in answer.json()["message"]
    assert (await hold.blob(wrong)).status == (await hold.blob(DIGEST)).status == 404


async def test_a_move_before_completion_is_refused(hold: Hold) -> None:
    """H030, H110."""
    upload_id = await hold.begin()
    part = await hold.send(upload_id, 1, CONTENT)
    assert (await hold.move(TEMP, DIGEST)).status in (404, 409)
    assert (await hold.complete(upload_id, TEMP, [part])).status == 200
    assert (await hold.move(TEMP, DIGEST)).status == 200


async def test_a_move_of_what_was_never_there_is_refused(hold: Hold) -> None:
    """H030."""
    assert error_of(await hold.move("uploads/temp-nobody", DIGEST))[0] == 404


@pytest.mark.parametrize(
    ("source", "to"),
    [
        (DIGEST, DIGEST),
        (TEMP, TEMP),
        (TEMP, "sha256:abc"),
        (TEMP, "../../etc/passwd"),
        ("uploads/temp-../../etc/passwd", DIGEST),
        ("/etc/passwd", DIGEST),
        ("", DIGEST),
        (TEMP, ""),
    ],
)
async def test_a_move_leads_from_a_temporary_name_to_a_digest(hold: Hold, source: str, to: str) -> None:
    """H076."""
    await assembled(hold)
    assert error_of(await hold.move(source, to)) == (400, "InvalidDigest")
    assert (await hold.move(TEMP, DIGEST)).status == 200


async def test_a_move_without_a_word_says_which_is_missing(hold: Hold) -> None:
    for target in ("/move", f"/move?from={TEMP}", f"/move?to={DIGEST}"):
        assert (await hold.call("POST", target)).status == 400
    assert "to is missing" in (await hold.call("POST", f"/move?from={TEMP}")).json()["message"]


async def test_what_is_complete_under_a_temporary_name_takes_no_more_parts(hold: Hold) -> None:
    """H114."""
    upload_id = await hold.begin()
    url = await hold.part_url(upload_id, 2)
    part = await hold.send(upload_id, 1, CONTENT)
    assert (await hold.complete(upload_id, TEMP, [part])).status == 200
    assert (await hold.put(url, b"more")).status == 409
    assert error_of(await hold.call("PUT", f"/multipart-parts/{upload_id}/1", b"x"))[0] == 409
    assert (await hold.move(TEMP, DIGEST)).status == 200


async def test_the_digest_may_still_be_said_by_a_completion(hold: Hold) -> None:
    """T01: instead of a move."""
    upload_id, parts = await assembled(hold)
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT
    assert (await hold.move(TEMP, DIGEST)).status == 200


async def test_a_new_upload_under_the_same_temporary_name_takes_the_place_of_the_old(hold: Hold) -> None:
    """H068, H075."""
    upload_id = await hold.begin()
    assert (await hold.complete(upload_id, TEMP, [await hold.send(upload_id, 1, b"abandoned")])).status == 200
    await assembled(hold)
    assert (await hold.move(TEMP, DIGEST)).status == 200
    assert (await hold.blob(DIGEST)).body == CONTENT
    assert hold.oci.spooled() == []


async def test_what_is_assembled_can_still_be_given_up(hold: Hold) -> None:
    """H115."""
    upload_id, _ = await assembled(hold)
    assert (await hold.abort(upload_id)).status == 200
    assert hold.oci.spooled() == []
    assert (await hold.move(TEMP, DIGEST)).status in (404, 410)
