"""What an upload session does when its clients vanish, hang, come back or never do (rules 7 to 9, 15)."""

import pytest

from tests.http.client import Connection
from tests.http.oci.conftest import Serve
from tests.http.oci.content import IMAGE, artifact, digest_of, noise
from tests.http.oci.serving import Serving, closing, until
from tests.unit.multipart.harness import HandClock

REPOSITORY = "lab/tools"
CONTENT = noise(300_000, "interrupted")
DIGEST = digest_of(CONTENT)
HALF = 200_000


async def hanging(oci: Serving, method: str, location: str, *, chunked: bool = False) -> Connection:
    """A client that announces CONTENT, sends the first half and falls silent; its bytes have arrived."""
    connection = await oci.connect()
    if chunked:
        await connection.send_head(method, location, {"Transfer-Encoding": "chunked"})
        await connection.send_raw(b"%x\r\n" % len(CONTENT))
    else:
        await connection.send_head(method, location, {"Content-Length": str(len(CONTENT))})
    await connection.send_raw(CONTENT[:HALF])
    await oci.holds(location, HALF)
    return connection


SENDING = [("PATCH", False), ("PATCH", True), ("PUT", False), ("PUT", True)]
BY_SENDING = pytest.mark.parametrize(("method", "chunked"), SENDING, ids=["patch", "stream", "put", "put-stream"])


@BY_SENDING
async def test_rule_7_a_second_client_takes_over_from_one_that_hangs(oci: Serving, method: str, chunked: bool) -> None:
    location = closing(await oci.session(REPOSITORY), DIGEST)
    first = await hanging(oci, method, location, chunked=chunked)
    status = await oci.status(location)
    answer = await oci.patch(status.location, CONTENT[HALF:])
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(CONTENT) - 1}")
    left = await first.answer()
    assert (left.status, left.code) == (409, "BLOB_UPLOAD_INVALID")
    assert await first.ended() == b""
    assert (await oci.put(answer.location, DIGEST)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_7_the_newcomer_may_close_the_session_at_once(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    await hanging(oci, "PATCH", location)
    headers = {"Content-Range": f"{HALF}-{len(CONTENT) - 1}"}
    assert (await oci.put(location, DIGEST, CONTENT[HALF:], headers)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_7_a_newcomer_that_does_not_continue_stops_the_holder_and_gets_its_416(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    await hanging(oci, "PATCH", location)
    answer = await oci.patch(location, b"x", {"Content-Range": "5-5"})
    assert (answer.status, answer.headers["Range"]) == (416, f"0-{HALF - 1}")
    assert (await oci.patch(answer.location, CONTENT[HALF:])).headers["Range"] == f"0-{len(CONTENT) - 1}"


async def test_rule_7_containerds_second_put_begins_again_while_the_first_hangs(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    first = await hanging(oci, "PUT", closing(location, DIGEST))
    assert (await oci.put(location, DIGEST, CONTENT)).status == 201
    assert (await first.answer()).status == 409
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_7_cancelling_does_not_wait_for_one_that_hangs(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    first = await hanging(oci, "PATCH", location)
    assert (await oci.ask("DELETE", location)).status == 204
    assert (await first.answer()).status == 409
    assert oci.spooled() == []


async def test_rule_7_asking_for_the_status_disturbs_nobody(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    first = await hanging(oci, "PATCH", location)
    for method in ("GET", "HEAD"):
        assert (await oci.ask(method, location)).headers["Range"] == f"0-{HALF - 1}"
    await first.send_raw(CONTENT[HALF:])
    assert (await first.answer()).headers["Range"] == f"0-{len(CONTENT) - 1}"


@BY_SENDING
async def test_rule_8_what_a_vanished_client_sent_is_kept(oci: Serving, method: str, chunked: bool) -> None:
    location = closing(await oci.session(REPOSITORY), DIGEST)
    (await hanging(oci, method, location, chunked=chunked)).vanish()
    answer = await oci.patch((await oci.status(location)).location, CONTENT[HALF:])
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(CONTENT) - 1}")
    assert (await oci.put(answer.location, DIGEST)).status == 201
    assert (await oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_rule_8_a_vanished_client_is_no_failure_of_ours(oci: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """H002: the log does not look as if we had failed."""
    location = await oci.session(REPOSITORY)
    (await hanging(oci, "PATCH", location)).vanish()

    async def recorded() -> bool:
        await oci.status(location)
        return any(record.method == "PATCH" for record in oci.records)

    await until(recorded)
    [record] = [record for record in oci.records if record.method == "PATCH"]
    assert record.status < 500
    assert [line for line in caplog.records if line.levelname not in ("DEBUG", "INFO")] == []


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_rule_9_a_body_that_ends_too_early_is_kept_and_never_verified(oci: Serving, method: str) -> None:
    location = await oci.session(REPOSITORY)
    digest_of_half = digest_of(CONTENT[:HALF])
    (await hanging(oci, method, closing(location, digest_of_half))).vanish()
    # Had the short body been taken for whole, its digest would have matched.
    status = await oci.status(location)
    assert (status.status, status.headers["Range"]) == (204, f"0-{HALF - 1}")
    assert not await oci.has(REPOSITORY, digest_of_half)


async def test_rule_9_a_chunked_body_that_breaks_keeps_what_came_before(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    connection = await oci.connect()
    await connection.send_head("PATCH", location, {"Transfer-Encoding": "chunked"})
    await connection.send_raw(b"5\r\nhello\r\nthis is no length\r\n")
    answer = await connection.answer()
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    assert (await oci.status(location)).headers["Range"] == "0-4"


async def test_a_whole_blob_by_post_whose_client_vanishes_leaves_nothing(oci: Serving) -> None:
    connection = await oci.connect()
    target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={DIGEST}"
    await connection.send_head("POST", target, {"Content-Length": str(len(CONTENT))})
    await connection.send_raw(CONTENT[:HALF])

    async def begun() -> bool:
        await oci.ask("GET", "/v2/")
        return oci.spooled() != []

    async def gone() -> bool:
        await oci.ask("GET", "/v2/")
        return oci.spooled() == []

    await until(begun)
    connection.vanish()
    await until(gone)
    assert not await oci.has(REPOSITORY, DIGEST)


async def test_a_manifest_whose_client_vanishes_is_not_stored(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    whole = artifact("vanishes", annotations={"filler": "A" * 100_000})
    connection = await oci.connect()
    headers = {"Content-Type": IMAGE, "Content-Length": str(len(whole) + 1)}
    await connection.send_head("PUT", f"/v2/{REPOSITORY}/manifests/1", headers)
    await connection.send_raw(whole)
    connection.vanish()

    async def recorded() -> bool:
        await oci.ask("GET", "/v2/")
        return any(record.method == "PUT" and record.endpoint == "manifest" for record in oci.records)

    await until(recorded)
    [record] = [record for record in oci.records if record.endpoint == "manifest"]
    assert 400 <= record.status < 500
    assert (await oci.manifest(REPOSITORY, "1")).status == 404
    assert (await oci.manifest(REPOSITORY, digest_of(whole))).status == 404


@pytest.mark.only_with_directory("turns the clock, which the signatures for a store do not survive")
async def test_rule_15_idle_sessions_end_by_their_last_use(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """H064, H066: idle time counts, and how much of it is a setting."""
    clock = HandClock()
    monkeypatch.setattr("rooms.SystemClock", lambda: clock)
    oci = await serve(upload_expiry="1h")
    idle, used, asked = [await oci.session(REPOSITORY) for _ in range(3)]
    for _ in range(3):
        clock.time_s += 2400
        assert (await oci.patch(used, b"x", {"Content-Range": "0-0"})).status in (202, 416)
        await oci.status(asked)
        await oci.rooms.services.sessions.expire()
    assert (await oci.status(idle)).status == 404
    assert (await oci.status(used)).headers["Range"] == "0-0"
    assert (await oci.status(asked)).status == 404, "asking is no use"


async def test_too_many_open_sessions_are_refused_until_one_ends(serve: Serve) -> None:
    oci = await serve(max_uploads_per_repository="2")
    first, _ = await oci.session(REPOSITORY), await oci.session(REPOSITORY)
    answer = await oci.begin(REPOSITORY)
    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await oci.begin("lab/other")).status == 202
    await oci.ask("DELETE", first)
    assert (await oci.begin(REPOSITORY)).status == 202
