"""Modes and what the log says: chosen by themselves, told once, with the keys that people look for."""

import asyncio
import logging

import pytest

from handlers.hold.modes import Herald
from handlers.services import HoldSettings
from tests.http.hold.client import BEARER, OLD, TEMP, TOKEN, XRPC, Casing, Hold, error_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import digest_of
from tests.http.reachable import Reachable, reachable
from tests.support.server import Server

CONTENT = b"first part, second part"
DIGEST = digest_of(CONTENT)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the hold logs."""
    caplog.set_level(logging.INFO, "holdfast.hold")
    return caplog


def lines(told: pytest.LogCaptureFixture) -> list[str]:
    """The hold's own lines."""
    return [record.getMessage() for record in told.records if record.name == "holdfast.hold"]


@pytest.mark.only_with_directory("the words of a folder; a store has its own in test_pages_s3")
async def test_a_hold_says_what_it_can_do(hold: Hold) -> None:
    """H033, H034, H040, H041, H043, H046, H157."""
    said = (await hold.call("GET", "/capabilities")).json()
    assert (said["multipart"], said["storage"], said["signed_urls"]) == ("buffered", "filesystem", True)
    assert (said["min_part_size"], said["max_parts"]) == (1, 10_000)
    assert said["suggested_part_size"] >= 5 * 1024 * 1024
    assert (await hold.call("HEAD", "/capabilities")).status == 200


async def test_uploads_in_parts_can_be_switched_off(opened: Open, casing: Casing) -> None:
    """M03, M04: 404, and a client falls back to one PUT."""
    hold = await opened(multipart="off")
    assert (await hold.call("GET", "/capabilities")).json()["multipart"] == "none"
    assert error_of(await hold.start(TEMP, casing)) == (404, "NotFound")
    url = (await hold.post("/put-presigned-url", {"digest": DIGEST})).json()["url"]
    assert (await hold.put(url, CONTENT)).status == 200


async def test_who_may_not_write_is_told_that_first(opened: Open, casing: Casing) -> None:
    """H036, M04: the right to write, then the switch, then the request itself."""
    hold = await opened(multipart="off", hold_token=TOKEN)
    assert error_of(await hold.start("nonsense", casing))[0] == 401
    assert error_of(await hold.as_caller(BEARER).start("nonsense", casing))[0] == 404


async def test_without_signed_urls_parts_are_sent_with_the_clients_own_authority(opened: Open, casing: Casing) -> None:
    """H017, H044, H045, H046, H048, H123: buffered, at the hold's own endpoint."""
    hold = await opened(disable_presigned_urls="on", hold_token=TOKEN)
    assert (await hold.call("GET", "/capabilities")).json()["signed_urls"] is False
    trusted = hold.as_caller(BEARER)
    upload_id = await trusted.begin(casing=casing)
    said = (await trusted.ask_url(upload_id, 1, casing)).json()
    assert said["url"].startswith(f"{hold.url}/multipart-parts/{upload_id}/1?did=")
    assert "X-Amz" not in said["url"]
    assert error_of(await hold.put(said["url"], CONTENT)) == (401, "AuthRequired")
    answer = await trusted.put(said["url"], CONTENT, trusted.headers)
    part = {"part_number": 1, "etag": answer.headers["ETag"]}
    assert (await trusted.complete(upload_id, DIGEST, [part], casing)).status == 200


async def test_a_plain_url_holds_to_what_was_said_of_the_part(opened: Open) -> None:
    """H044, M07, M09."""
    hold = await opened(disable_presigned_urls="on")
    sha256 = DIGEST.removeprefix("sha256:")
    upload_id = await hold.begin()
    said = (await hold.ask_url(upload_id, 1, size=len(CONTENT), sha256=sha256)).json()
    assert said["headers"] == {"x-amz-content-sha256": sha256}
    assert error_of(await hold.put(said["url"], CONTENT + b"!")) == (400, "InvalidPartSize")
    assert error_of(await hold.put(said["url"], CONTENT[::-1], said["headers"])) == (400, "PartMismatch")
    assert (await hold.parts(upload_id)).json()["parts"] == []
    assert (await hold.put(said["url"], CONTENT, said["headers"])).status == 200


def test_the_start_says_that_a_directory_needs_no_urls_of_s3(told: pytest.LogCaptureFixture) -> None:
    """H046, H133: and says nothing about switches that nobody touched."""
    Herald(HoldSettings()).announce()
    (line,) = lines(told)
    assert "filesystem" in line and "DISABLE" not in line and "enabled" not in line


def test_the_start_names_the_variable_that_switched_signed_urls_off(told: pytest.LogCaptureFixture) -> None:
    """H131, H132, H133, H045: and never says that they are enabled."""
    Herald(HoldSettings(presigned=False)).announce()
    disabled, mode, driver = lines(told)
    assert "disabled" in disabled and "DISABLE_PRESIGNED_URLS=true" in disabled
    assert "buffered mode" in mode and "DISABLE_PRESIGNED_URLS=true" in mode
    assert "filesystem" in driver
    assert not [line for line in lines(told) if "enabled" in line]


def test_with_a_store_that_clients_reach_the_start_says_so_and_later_what_has_changed(
    told: pytest.LogCaptureFixture,
) -> None:
    """H130, H046, H047: once each, and why."""
    store = Reachable()
    herald = Herald(HoldSettings(storage="s3", direct=store))
    herald.announce()
    herald.look()
    assert lines(told) == ["presigned URLs enabled (S3): clients send parts straight to the store"]
    store.why_not_native = "the store does not answer"
    for _ in range(2):
        herald.look()
    assert lines(told)[1:] == ["using buffered mode: the store does not answer"]
    assert told.records[-1].levelno == logging.WARNING
    store.why_not_native = "its address leads nowhere"
    herald.look()
    store.why_not_native = ""
    herald.look()
    assert lines(told)[2:] == ["using buffered mode: its address leads nowhere", lines(told)[0]]


def test_a_store_that_clients_do_not_reach_at_the_start_is_told_with_the_reason(told: pytest.LogCaptureFixture) -> None:
    """H047: and nothing is said of signed URLs being on."""
    store = Reachable()
    store.why_not_native = "the store does no multipart uploads"
    Herald(HoldSettings(storage="s3", direct=store)).announce()
    assert lines(told) == ["using buffered mode: the store does no multipart uploads"]


def test_the_switch_says_the_same_with_a_store_that_could_do_more(told: pytest.LogCaptureFixture) -> None:
    """H044, H045, H131, H132: the line that says "enabled" never appears beside the one that names the variable."""
    store = Reachable()
    herald = Herald(HoldSettings(storage="s3", presigned=False, direct=store))
    herald.announce()
    store.why_not_native = "gone"
    herald.look()
    store.why_not_native = ""
    herald.look()
    disabled, mode = lines(told)
    assert "disabled" in disabled and "DISABLE_PRESIGNED_URLS=true" in disabled
    assert "buffered mode" in mode and "DISABLE_PRESIGNED_URLS=true" in mode


@pytest.mark.parametrize(
    ("settings", "why", "said"),
    [
        ({}, "", "both"),
        ({}, "nobody there", "buffered"),
        ({"disable_presigned_urls": "on"}, "", "buffered"),
        ({"multipart": "off"}, "", "none"),
    ],
)
async def test_what_a_hold_can_do_with_a_store_is_said_as_it_is_now(
    opened: Open, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], why: str, said: str
) -> None:
    """H033, H034, H044, H045."""
    store = reachable(monkeypatch)
    hold = await opened(storage_driver="memory", max_upload_bytes="1TiB", **settings)
    store.why_not_native = why
    capabilities = (await hold.call("GET", "/capabilities")).json()
    assert capabilities["multipart"] == said
    assert capabilities["max_upload_size"] == 1 << 40


@pytest.mark.parametrize("casing", [OLD, XRPC], ids=["old", "xrpc"])
async def test_an_upload_is_told_step_by_step_and_each_step_once(
    hold: Hold, casing: Casing, told: pytest.LogCaptureFixture
) -> None:
    """H113, H135, H136, H137, H139: the keys are those of the first hold."""
    upload_id = await hold.begin(DIGEST, casing, repository="lab/app")
    parts = [await hold.send(upload_id, n, piece, casing) for n, piece in ((1, CONTENT[:12]), (2, CONTENT[12:]))]
    assert (await hold.abort("nobody", casing)).status == 404
    for _ in range(2):  # an answer that was lost, and the same question again
        assert (await hold.complete(upload_id, DIGEST, parts, casing)).status == 200
    assert lines(told) == [
        f"started buffered upload: uploadID={upload_id} repository=lab/app digest={DIGEST} did=did:plc:tester",
        f"stored part: uploadID={upload_id} part=1 size=12",
        f"stored part: uploadID={upload_id} part=2 size=11",
        f"assembled parts: uploadID={upload_id} parts=2 totalSize=23",
        f"completed buffered upload: uploadID={upload_id} size=23 written=23 digest={DIGEST}",
    ]


async def test_what_many_ask_for_at_once_is_told_once(hold: Hold, told: pytest.LogCaptureFixture) -> None:
    """H137, H139."""
    upload_id = await hold.begin()
    parts = [await hold.send(upload_id, 1, CONTENT)]
    await asyncio.gather(*[hold.complete(upload_id, DIGEST, parts) for _ in range(8)])
    assert len([line for line in lines(told) if "assembled" in line]) == 1
    assert len([line for line in lines(told) if "completed" in line]) == 1


async def test_with_a_temporary_name_the_last_step_is_the_move(hold: Hold, told: pytest.LogCaptureFixture) -> None:
    """H110, H137, H139."""
    upload_id = await hold.begin()
    part = await hold.send(upload_id, 1, CONTENT)
    for _ in range(2):
        assert (await hold.complete(upload_id, TEMP, [part])).status == 200
    assert lines(told)[-1] == f"assembled parts: uploadID={upload_id} parts=1 totalSize=23"
    for _ in range(2):
        assert (await hold.move(TEMP, DIGEST)).status == 200
    assert lines(told)[-1] == f"completed buffered upload: uploadID={upload_id} size=23 written=23 digest={DIGEST}"
    assert len(lines(told)) == 4


async def test_no_line_holds_a_signature_or_a_secret(opened: Open, told: pytest.LogCaptureFixture) -> None:
    hold = await opened(hold_token=TOKEN)
    trusted = hold.as_caller(BEARER)
    upload_id = await trusted.begin()
    await trusted.send(upload_id, 1, CONTENT)
    everything = told.text + repr(hold.oci.records)
    assert "X-Amz-Signature" not in everything and TOKEN not in everything


@pytest.mark.only_with_directory("the words of a folder; a store has its own in test_pages_s3")
def test_a_real_server_tells_its_modes_once_and_an_upload_with_its_keys(tmp_path) -> None:
    """H046, H131, H132, H133."""
    with Server(tmp_path / "data", env={"DISABLE_PRESIGNED_URLS": "true"}) as server:
        log = server.log()
    assert log.count("DISABLE_PRESIGNED_URLS=true") == 2
    assert log.count("storage driver is filesystem") == 1
