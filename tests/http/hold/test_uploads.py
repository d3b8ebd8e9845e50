"""Starting, URLs of parts, sending them, listing them and giving up: in every spelling, and mixed."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.http.client import Connection
from tests.http.hold.client import GO, OLD, TEMP, XRPC, Casing, Hold, Json, error_of, target_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import digest_of, noise

KIB = 1024
DIGEST = digest_of(b"whatever")


async def test_a_session_has_an_id_and_an_end(hold: Hold, casing: Casing) -> None:
    """H010, H011, H012, H013, H040, H041, H043, H061, H152, H189, T05."""
    said = (await hold.start(TEMP, casing)).json()
    assert len(said[casing.read("upload_id")]) >= 20
    expires = datetime.strptime(said[casing.read("expires_at")], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert 23.9 < (expires - datetime.now(UTC)).total_seconds() / 3600 <= 24
    assert said["mode"] == "buffered"


async def test_ids_are_all_different_and_cannot_be_guessed(hold: Hold) -> None:
    """H061, H152."""
    ids = [await hold.begin() for _ in range(20)]
    assert len(set(ids)) == 20
    assert len({each[:8] for each in ids}) == 20


async def test_a_session_for_a_blob_that_is_here_already_is_a_session(hold: Hold, casing: Casing) -> None:
    await hold.oci.push("lab/app", b"whatever")
    assert await hold.begin(DIGEST, casing, repository="lab/app")


async def test_who_says_the_size_is_told_how_to_cut(hold: Hold) -> None:
    """H100, H102, M04, M05: in the words of both kinds of clients."""
    said = (await hold.start(DIGEST, size=100_000_000)).json()
    assert said["part_size"] == said["partSize"] == 32 * KIB * KIB
    assert said["total_parts"] == said["totalParts"] == 3
    camel = (await hold.start(DIGEST, XRPC, size=10_000, part_size=3_000)).json()
    assert (camel["partSize"], camel["totalParts"]) == (3_000, 4)


@pytest.mark.only_with_directory("what goes on to a store while it arrives needs no room for the whole")
async def test_what_the_disk_has_no_room_for_is_refused_at_the_start(hold: Hold) -> None:
    """H103, H148: not after hours."""
    answer = await hold.start(DIGEST, size=2**60)
    assert error_of(answer) == (507, "StorageFull")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize(
    "digest", ["../../etc/passwd", "uploads/temp-../x", "uploads/temp-", "sha256:abc", "", "/etc", 7, None, ["x"], {}]
)
async def test_a_start_with_anything_but_a_digest_or_temporary_name_is_refused(
    hold: Hold, casing: Casing, digest: object
) -> None:
    """H076, T04: path traversal ends here."""
    answer = await hold.post(casing.start, casing.spelled({"did": "did:plc:a", "digest": digest}))
    assert error_of(answer) == (400, "InvalidDigest")
    assert hold.oci.spooled() == []


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"repository": "Not A Name"}, "InvalidRepository"),
        ({"repository": "_hold/anonymous"}, "InvalidRepository"),
        ({"repository": "../x"}, "InvalidRepository"),
        ({"repository": 5}, "InvalidRequest"),
        ({"did": "a b"}, "InvalidRequest"),
        ({"size": -1}, "InvalidSize"),
        ({"size": 1.5}, "InvalidSize"),
        ({"size": True}, "InvalidSize"),
        ({"size": "17"}, "InvalidSize"),
        ({"size": 10**30}, "InvalidSize"),
        ({"size": 10, "part_size": 0}, "InvalidPartSize"),
        ({"size": 10**12, "part_size": 5_000_000}, "InvalidPartSize"),
    ],
    ids=str,
)
async def test_a_start_that_makes_no_sense_is_refused(hold: Hold, casing: Casing, more: dict[str, object], name: str):
    """H101, H150, T04."""
    answer = await hold.start(DIGEST, casing, **more)
    assert error_of(answer) == (400, name)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"null", b'"x"', b"{", b"\xff", b"[" * 50_000, b'{"a": NaN}'])
async def test_what_is_no_json_object_is_refused(hold: Hold, casing: Casing, body: bytes) -> None:
    """H035, T04."""
    for path in (casing.start, casing.part_url, casing.complete, casing.abort):
        answer = await hold.call("POST", path, body, {"Content-Type": "application/json"})
        assert error_of(answer) == (400, "InvalidRequest")


async def test_json_is_understood_whatever_its_type_is_said_to_be(hold: Hold) -> None:
    """H035."""
    answer = await hold.call(
        "POST", "/start-multipart", f'{{"digest":"{TEMP}"}}'.encode(), {"Content-Type": "text/plain"}
    )
    assert answer.status == 200


async def test_a_part_has_a_url_that_lives_for_a_quarter_of_an_hour(hold: Hold, casing: Casing) -> None:
    """H014, H015, H016, H017, H024, H037, H098, H099, H147, H190, M07, M08, M10, T05."""
    upload_id = await hold.begin(casing=casing)
    said = (await hold.ask_url(upload_id, 1, casing)).json()
    assert target_of(said["url"], hold.url).startswith(f"/multipart-parts/{upload_id}/1?")
    assert "did=did" in said["url"] and "X-Amz-Signature=" in said["url"]
    assert (said["method"], said["headers"]) == ("PUT", {})
    expires = datetime.strptime(said[casing.read("expires_at")], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert 14 * 60 < (expires - datetime.now(UTC)).total_seconds() <= 15 * 60


async def test_a_part_is_answered_with_its_etag(hold: Hold, casing: Casing) -> None:
    """H018, H021, H022, H023, H038, H062, H089, T08: the SHA-256 of the part, quoted."""
    content = noise(5000, "part")
    answer = await hold.put(await hold.part_url(await hold.begin(casing=casing), 1, casing), content)
    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{digest_of(content).removeprefix("sha256:")}"'
    assert answer.json() == {"part_number": 1, "etag": answer.headers["ETag"], "size": 5000}


async def test_a_part_goes_up_without_a_url_by_the_callers_own_authority(hold: Hold) -> None:
    """H019, H020, H048, H146."""
    upload_id = await hold.begin()
    answer = await hold.call("PUT", f"/multipart-parts/{upload_id}/1?did=did:plc:tester", b"bytes")
    assert answer.status == 200
    assert (
        await hold.complete(upload_id, digest_of(b"bytes"), [{"part_number": 1, "etag": answer.headers["ETag"]}])
    ).status == 200


@pytest.mark.parametrize("in_headers", [False, True])
async def test_a_part_goes_up_through_the_lexicons_name(hold: Hold, in_headers: bool) -> None:
    """H019, T05: uploadPart, with its two parameters in the query or in headers."""
    upload_id = await hold.begin(casing=XRPC)
    target, headers = "/xrpc/io.atcr.hold.uploadPart", {"X-Upload-Id": upload_id, "X-Part-Number": "2"}
    if not in_headers:
        target, headers = f"{target}?uploadId={upload_id}&partNumber=2", {}
    answer = await hold.call("PUT", target, b"bytes", headers)
    assert answer.status == 200
    assert answer.json() == {"partNumber": 2, "etag": answer.headers["ETag"], "size": 5}


@pytest.mark.parametrize("number", [0, -1, 10_001, 1.5, True, "1", None, 2**70])
async def test_a_number_that_no_part_can_have_gets_no_url(hold: Hold, casing: Casing, number: object) -> None:
    """H097, H101, H150, M07."""
    answer = await hold.ask_url(await hold.begin(casing=casing), number, casing)
    assert error_of(answer) == (400, "InvalidPartNumber")


@pytest.mark.parametrize("word", ["0", "-1", "10001", "01", "x", "1.0", "%31x"])
async def test_a_number_that_no_part_can_have_is_not_taken(hold: Hold, word: str) -> None:
    """H019, H037, H101."""
    answer = await hold.call("PUT", f"/multipart-parts/{await hold.begin()}/{word}", b"bytes")
    assert error_of(answer) == (400, "InvalidPartNumber")


async def test_parts_number_from_1_to_10000(hold: Hold) -> None:
    """H097, H101."""
    upload_id = await hold.begin()
    for number in (1, 10_000):
        assert (await hold.put(await hold.part_url(upload_id, number), b"x")).status == 200


async def test_a_part_behind_the_declared_end_gets_no_url(hold: Hold) -> None:
    """H101, M07."""
    upload_id = await hold.begin(DIGEST, size=10_000, part_size=4_000)
    assert (await hold.ask_url(upload_id, 3)).status == 200
    assert error_of(await hold.ask_url(upload_id, 4)) == (400, "InvalidPartNumber")


async def test_a_url_says_how_long_its_part_is_where_that_is_known(hold: Hold) -> None:
    """M07, M10: too much or too little is refused before a byte of it is read."""
    upload_id = await hold.begin(DIGEST, size=10_000, part_size=4_000)
    url = await hold.part_url(upload_id, 3)
    assert "length=2000" in url
    for length in (1_999, 2_001):
        assert (await hold.put(url, bytes(length))).status == 400
    assert (await hold.put(url, bytes(2_000))).status == 200
    assert error_of(await hold.ask_url(upload_id, 3, size=1_999)) == (400, "InvalidPartSize")


async def test_a_client_may_say_how_long_its_part_will_be(hold: Hold) -> None:
    """M07: the library's clients say it, and the hash as well."""
    url = await hold.part_url(await hold.begin(), 1, size=5)
    for body in (b"four", b"sixsix", [b"f", b"ive"]):
        assert (await hold.put(url, body)).status == 400
    assert (await hold.put(url, b"fives")).status == 200


async def test_a_url_whose_hash_was_announced_takes_no_other_bytes(hold: Hold) -> None:
    """M07, M09, G19: the hash is signed, must be sent, and must be true."""
    upload_id = await hold.begin()
    announced = digest_of(b"these bytes").removeprefix("sha256:")
    said = (await hold.ask_url(upload_id, 1, sha256sum=announced)).json()
    headers = {name.lower(): value for name, value in said["headers"].items()}
    assert headers == {"x-amz-content-sha256": announced}
    assert (await hold.put(said["url"], b"these bytes")).status in (400, 403)
    assert (await hold.put(said["url"], b"those bytes", said["headers"])).status in (400, 403)
    assert (await hold.parts(upload_id)).json()["parts"] == []
    assert (await hold.put(said["url"], b"these bytes", said["headers"])).status == 200


async def test_a_url_is_good_for_its_part_alone(hold: Hold) -> None:
    """H024, H147, M10: session, number, length and everything else in it is signed."""
    upload_id, other = await hold.begin(), await hold.begin()
    url = await hold.part_url(upload_id, 1, size=5)
    changed = [
        url.replace(f"{upload_id}/1?", f"{upload_id}/2?"),
        url.replace(upload_id, other),
        url.replace("length=5", "length=4"),
        url.replace("did%3Aplc%3Atester", "did%3Aplc%3Aother"),
        url + "&length=4",
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ]
    for each in changed:
        assert each != url
        assert (await hold.put(each, b"fives")).status in (400, 403)
    assert (await hold.put(url, b"fives", method="POST")).status in (403, 405)
    elsewhere = await Connection.open(hold.oci.host, hold.oci.port)
    elsewhere._host = "elsewhere.example"
    assert (await elsewhere.ask("PUT", target_of(url, hold.url), b"fives")).status == 403
    await elsewhere.close()
    assert (await hold.parts(upload_id)).json()["parts"] == []


async def test_a_url_needs_no_authority_beside_it_and_minds_none(hold: Hold) -> None:
    """H147."""
    url = await hold.part_url(await hold.begin(), 1)
    assert (await hold.put(url, b"x", {"Authorization": "Bearer nonsense"})).status == 200


async def test_urls_are_made_for_the_outside(opened: Open) -> None:
    """H017, M11: whatever name the request came by, the URL has the one that clients use."""
    hold = await opened(public_url="https://registry.example.org:5000")
    url = await hold.part_url(await hold.begin(), 1)
    outside = "https://registry.example.org:5000"
    assert url.startswith(f"{outside}/multipart-parts/")
    assert (await hold.ask("PUT", target_of(url, outside), b"x")).status == 200


async def test_how_long_urls_live_is_a_setting(opened: Open) -> None:
    """H098."""
    hold = await opened(signed_url_minutes="120", download_url_hours="2")
    await hold.oci.push("lab/app", b"x")
    urls = [
        await hold.part_url(await hold.begin(), 1),
        (await hold.post("/put-presigned-url", {"digest": DIGEST})).json()["url"],
        (await hold.post("/get-presigned-url", {"digest": digest_of(b"x")})).json()["url"],
    ]
    lives = [int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0]) for url in urls]
    assert all(7200 <= each <= 7260 for each in lives), lives


async def test_a_body_of_unsaid_length_is_a_part_as_well(hold: Hold) -> None:
    """H021."""
    upload_id = await hold.begin()
    answer = await hold.put(await hold.part_url(upload_id, 1), [b"in ", b"chunks"])
    assert (answer.status, answer.json()["size"]) == (200, 9)


async def test_a_part_whose_sender_vanished_is_not_there_and_can_be_sent_again(hold: Hold) -> None:
    """H001, H002, H003: nobody else is held up, and nothing is half there."""
    upload_id = await hold.begin()
    url = target_of(await hold.part_url(upload_id, 1), hold.url)
    sender = await hold.connect()
    await sender.send_head("PUT", url, {"Content-Length": "100000"})
    await sender.send_raw(bytes(50_000))
    sender.vanish()
    assert (await hold.parts(upload_id)).json()["parts"] == []
    part = await hold.send(upload_id, 1, b"whole")
    assert (await hold.complete(upload_id, digest_of(b"whole"), [part])).status == 200


@pytest.mark.only_with_directory("looks for the part in the spool, which it leaves for the store")
@pytest.mark.parametrize("more", [{}, {"size": 9_000, "part_size": 4_000}], ids=["undeclared", "declared"])
async def test_a_part_lies_on_the_disk_when_it_is_answered(hold: Hold, more: Json) -> None:
    """H021, H176, H205, H207, T07: at its place in the whole, where that is known, and never in memory alone."""
    upload_id = await hold.begin(DIGEST, **more)
    piece = noise(4_000, "second")
    await hold.send(upload_id, 2, piece)
    contents = [path.read_bytes() for path in hold.oci.spooled()]
    assert [content for content in contents if content[4_000 if more else 0 :][:4_000] == piece]


async def test_every_use_puts_the_end_of_a_session_off(hold: Hold, casing: Casing) -> None:
    """H061, H064: counted from the last use, and asking for a URL is one."""
    sessions = hold.oci.rooms.services.sessions
    upload_id = await hold.begin(casing=casing)
    session = sessions.parted.find(upload_id, None)
    opened_at_s = session.touched_at_s
    session.touched_at_s -= 23 * 3600
    assert (await hold.ask_url(upload_id, 1, casing)).status == 200
    assert session.touched_at_s >= opened_at_s
    assert await sessions.expire() == 0


async def test_a_session_that_nobody_uses_for_a_day_is_gone_with_its_parts(hold: Hold, casing: Casing) -> None:
    """H064, H065, H066, H115, H149, H178, H185: and is told so."""
    sessions = hold.oci.rooms.services.sessions
    upload_id = await hold.begin(casing=casing)
    url = await hold.part_url(upload_id, 2, casing)
    part = await hold.send(upload_id, 1, b"idle", casing)
    sessions.parted.find(upload_id, None).touched_at_s -= 25 * 3600
    assert await sessions.expire() == 1
    assert hold.oci.spooled() == []
    for answer in (
        await hold.ask_url(upload_id, 2, casing),
        await hold.call("PUT", f"/multipart-parts/{upload_id}/2", b"x"),
        await hold.complete(upload_id, digest_of(b"idle"), [part], casing),
        await hold.abort(upload_id, casing),
        await hold.parts(upload_id),
    ):
        assert error_of(answer) == (410, "InvalidUploadId")
        assert "idle" in answer.json()["message"]
    assert (await hold.put(url, b"x")).status == 410


async def test_what_was_given_up_is_told_so(hold: Hold, casing: Casing) -> None:
    """H028: distinct from expired and from unknown."""
    upload_id = await hold.begin(casing=casing)
    assert (await hold.abort(upload_id, casing)).status == 200
    answer = await hold.abort(upload_id, casing)
    assert error_of(answer) == (410, "InvalidUploadId")
    assert "aborted" in answer.json()["message"]


async def test_there_is_an_end_to_how_many_sessions_one_caller_has(opened: Open, casing: Casing) -> None:
    """H103, H148, H149, T04."""
    hold = await opened(max_uploads_per_caller="2")
    ids = [await hold.begin(casing=casing) for _ in range(2)]
    answer = await hold.start(TEMP, casing)
    assert error_of(answer) == (429, "RateLimitExceeded")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await hold.abort(ids[0], casing)).status == 200
    assert (await hold.start(TEMP, casing)).status == 200


async def test_there_is_an_end_to_how_large_an_upload_is(opened: Open, casing: Casing) -> None:
    """H103, H148."""
    hold = await opened(max_upload_bytes="10000")
    assert error_of(await hold.start(TEMP, casing, size=10_001)) == (413, "PayloadTooLarge")
    upload_id = await hold.begin(casing=casing)
    await hold.send(upload_id, 1, bytes(6_000), casing)
    assert error_of(await hold.call("PUT", f"/multipart-parts/{upload_id}/2", bytes(6_000))) == (413, "PayloadTooLarge")


async def test_parts_go_up_whatever_keeps_the_content(opened: Open, casing: Casing) -> None:
    """H049, H050."""
    hold = await opened(storage_driver="memory")
    upload_id = await hold.begin(casing=casing)
    parts = [await hold.send(upload_id, n, piece, casing) for n, piece in ((1, b"one"), (2, b"two"))]
    assert (await hold.complete(upload_id, digest_of(b"onetwo"), parts, casing)).status == 200
    assert (await hold.blob(digest_of(b"onetwo"))).body == b"onetwo"


async def test_a_part_sent_again_takes_the_place_of_the_earlier(hold: Hold) -> None:
    """H068, H021."""
    upload_id = await hold.begin()
    await hold.send(upload_id, 1, b"first try")
    part = await hold.send(upload_id, 1, b"second")
    assert (await hold.complete(upload_id, digest_of(b"second"), [part])).status == 200
    assert (await hold.blob(digest_of(b"second"))).body == b"second"


async def test_parts_go_up_in_any_order_and_at_the_same_time(hold: Hold, casing: Casing) -> None:
    """H060, H069, H097, H177, H209."""
    pieces = [noise(20 * KIB, number) for number in range(24)]
    content = b"".join(pieces)
    upload_id = await hold.begin(casing=casing)
    order = sorted(range(24), key=lambda number: (number * 7) % 24)
    parts = await asyncio.gather(*[hold.send(upload_id, number + 1, pieces[number], casing) for number in order])
    parts.sort(key=lambda part: part["part_number"])
    assert (await hold.complete(upload_id, digest_of(content), parts, casing)).status == 200
    assert (await hold.blob(digest_of(content))).body == content


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize(("begin", "go_on", "end"), [(OLD, XRPC, GO), (XRPC, GO, XRPC), (GO, OLD, XRPC)])
async def test_what_was_begun_in_one_spelling_ends_in_another(
    hold: Hold, begin: Casing, go_on: Casing, end: Casing, declared: bool
) -> None:
    """H032, H155, M06, T01, T05: one store of sessions behind all names, one id through all calls."""
    content = noise(5_000, "mixed")
    more = {"size": 5_000, "part_size": 2_000} if declared else {}
    upload_id = await hold.begin(digest_of(content), begin, **more)
    parts = [
        await hold.send(upload_id, number + 1, content[number * 2_000 : (number + 1) * 2_000], casing)
        for number, casing in enumerate((begin, go_on, end))
    ]
    answer = await hold.complete(upload_id, digest_of(content), parts, end)
    assert (answer.status, answer.json()["status"], answer.json()["digest"]) == (200, "completed", digest_of(content))
    assert (await hold.blob(digest_of(content))).body == content


async def test_who_comes_back_is_told_what_arrived(hold: Hold) -> None:
    """H064, H070, T09: after any interruption the missing parts are all that has to be sent."""
    upload_id = await hold.begin(DIGEST, size=10_000, part_size=4_000)
    sent = [await hold.send(upload_id, number, bytes(length)) for number, length in ((1, 4_000), (3, 2_000))]
    said = (await hold.parts(upload_id)).json()
    assert [{name: part[name] for name in ("part_number", "etag")} for part in said["parts"]] == sent
    assert [part["size"] for part in said["parts"]] == [4_000, 2_000]
    assert (said["digest"], said["size"], said["part_size"], said["total_parts"]) == (DIGEST, 10_000, 4_000, 3)


async def test_giving_up_takes_the_id_alone(hold: Hold, casing: Casing) -> None:
    """H028, H029, H115, H185, T03."""
    upload_id = await hold.begin(casing=casing)
    await hold.send(upload_id, 1, noise(50 * KIB), casing)
    assert hold.oci.spooled() != []
    assert (await hold.abort(upload_id, casing)).status == 200
    assert hold.oci.spooled() == []
    assert error_of(await hold.ask_url(upload_id, 1, casing)) == (410, "InvalidUploadId")


async def test_giving_up_may_say_everything(hold: Hold) -> None:
    """H029."""
    upload_id = await hold.begin()
    said = {"did": "did:plc:tester", "digest": TEMP, "upload_id": upload_id}
    assert (await hold.post("/abort-multipart", said)).status == 200


@pytest.mark.parametrize("upload_id", ["nonsense", "0f8b6a52-37c4-4c1d-9a53-5f1f8a0f7c11", "x" * 256, "../../x"])
async def test_an_unknown_session_is_told_so(hold: Hold, casing: Casing, upload_id: str) -> None:
    """H019, T04."""
    hold.ids.add(upload_id)
    answers = [
        await hold.ask_url(upload_id, 1, casing),
        await hold.complete(upload_id, DIGEST, [{"part_number": 1, "etag": "x"}], casing),
        await hold.abort(upload_id, casing),
        await hold.call("PUT", f"/xrpc/io.atcr.hold.uploadPart?uploadId={upload_id}&partNumber=1", b"x"),
    ]
    assert [error_of(answer) for answer in answers] == [(404, "InvalidUploadId")] * 4


@pytest.mark.parametrize("upload_id", ["", None, 7, True, ["x"], "x" * 257])
async def test_what_cannot_be_an_upload_id_is_refused(hold: Hold, casing: Casing, upload_id: object) -> None:
    """T04."""
    for path in (casing.part_url, casing.complete, casing.abort):
        said = {"upload_id": upload_id, "part_number": 1, "parts": [], "digest": DIGEST}
        assert error_of(await hold.post(path, casing.spelled(said))) == (400, "InvalidUploadId")


async def test_a_session_of_the_other_kind_is_unknown(hold: Hold, casing: Casing) -> None:
    """H019: what was opened below /v2/ takes no parts, and what takes parts is unknown there."""
    location = await hold.oci.session("lab/app")
    sequence = location.partition("?")[0].rpartition("/")[2]
    assert error_of(await hold.ask_url(sequence, 1, casing)) == (404, "InvalidUploadId")
    parted = await hold.begin(casing=casing, repository="lab/app")
    assert (await hold.oci.status(f"/v2/lab/app/blobs/uploads/{parted}")).status == 404


async def test_a_finished_session_takes_no_more(hold: Hold, casing: Casing) -> None:
    """H114."""
    upload_id = await hold.begin(casing=casing)
    url = await hold.part_url(upload_id, 2, casing)
    part = await hold.send(upload_id, 1, b"all", casing)
    assert (await hold.complete(upload_id, digest_of(b"all"), [part], casing)).status == 200
    assert error_of(await hold.ask_url(upload_id, 2, casing)) == (409, "UploadFinished")
    assert error_of(await hold.call("PUT", f"/multipart-parts/{upload_id}/2", b"x")) == (409, "UploadFinished")
    assert (await hold.put(url, b"x")).status == 409


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_call_that_is_not_there_says_which_are(hold: Hold, casing: Casing, method: str) -> None:
    answer = await hold.call(method, casing.start)
    assert error_of(answer) == (405, "MethodNotSupported")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/xrpc/io.atcr.hold.nothing", "/multipart-parts/", "/multipart-parts/a/1/2"])
async def test_a_path_that_is_not_there_is_told_in_the_holds_words(hold: Hold, path: str) -> None:
    """H037."""
    assert error_of(await hold.call("PUT", path, b"x")) == (404, "NotFound")
