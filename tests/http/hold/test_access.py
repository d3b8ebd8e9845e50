"""Who may write: this machine, or who proves the operator's secret; what a body claims proves nothing."""

import pytest

from auth.policy import Action, Decision, Policy
from auth.principals import Principal
from tests.http.client import Answer
from tests.http.hold.client import BEARER, FROM_AFAR, TEMP, TOKEN, Casing, Hold, error_of
from tests.http.hold.conftest import Open
from tests.http.oci.content import digest_of

DIGEST = digest_of(b"all of it")
WRONG = {"Authorization": f"Bearer {TOKEN[:-1]}"}


@pytest.fixture
async def guarded(opened: Open) -> Hold:
    """A hold with a secret."""
    return await opened(hold_token=TOKEN)


async def everything(hold: Hold, casing: Casing, upload_id: str) -> list[Answer]:
    """Every call that writes, once."""
    part = {"part_number": 1, "etag": "x"}
    return [
        await hold.start(TEMP, casing),
        await hold.ask_url(upload_id, 1, casing),
        await hold.call("PUT", f"/multipart-parts/{upload_id}/1", b"all of it"),
        await hold.call("PUT", f"/xrpc/io.atcr.hold.uploadPart?uploadId={upload_id}&partNumber=1", b"all of it"),
        await hold.parts(upload_id),
        await hold.complete(upload_id, DIGEST, [part], casing),
        await hold.abort(upload_id, casing),
        await hold.move(TEMP, DIGEST),
        await hold.post("/put-presigned-url", {"digest": DIGEST}),
    ]


@pytest.mark.parametrize("headers", [{}, FROM_AFAR, WRONG, {"Authorization": "Basic b3BlbiBzZXNhbWU="}], ids=str)
async def test_with_a_secret_whoever_does_not_prove_it_writes_nothing(
    guarded: Hold, casing: Casing, headers: dict[str, str]
) -> None:
    """H020, H036, H145, H146, H147, H148, H151, T06: asked on every call, whatever the body claims; T04."""
    trusted = guarded.as_caller(BEARER)
    upload_id = await trusted.begin(casing=casing)
    part = await trusted.send(upload_id, 1, b"all of it", casing)
    answers = await everything(guarded.as_caller(headers), casing, upload_id)
    assert [error_of(answer) for answer in answers] == [(401, "AuthRequired")] * len(answers)
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert (await trusted.complete(upload_id, DIGEST, [part], casing)).status == 200


async def test_who_proves_the_secret_writes_from_anywhere(guarded: Hold, casing: Casing) -> None:
    """H145, H151."""
    trusted = guarded.as_caller({**BEARER, **FROM_AFAR})
    upload_id = await trusted.begin(casing=casing, repository="lab/app")
    part = await trusted.send(upload_id, 1, b"all of it", casing)
    assert (await trusted.complete(upload_id, DIGEST, [part], casing)).status == 200
    assert (await guarded.oci.blob("lab/app", DIGEST)).body == b"all of it"


async def test_a_signed_url_is_all_that_its_holder_needs(guarded: Hold) -> None:
    """H017, H147: the client of the AppView knows no secret."""
    trusted = guarded.as_caller(BEARER)
    upload_id = await trusted.begin()
    url = await trusted.part_url(upload_id, 1)
    assert (await guarded.put(url, b"all of it", FROM_AFAR)).status == 200


async def test_without_a_secret_only_this_machine_writes(hold: Hold, casing: Casing) -> None:
    """H020, H036, H050, H145, H151, T06."""
    upload_id = await hold.begin(casing=casing)
    answers = await everything(hold.as_caller(FROM_AFAR), casing, upload_id)
    assert [error_of(answer) for answer in answers] == [(403, "Forbidden")] * len(answers)
    assert all("HOLD_TOKEN" in answer.json()["message"] for answer in answers)
    assert (await hold.parts(upload_id)).status == 200


@pytest.mark.parametrize(
    ("version", "host", "status"),
    [
        ("1.1", "localhost:5000", 200),
        ("1.1", "registry.example.org", 403),
        ("1.0", "127.0.0.1", 403),
        ("1.1", "[::1]", 200),
        ("1.1", "127.0.0.1.example.org", 403),
    ],
)
async def test_a_proxy_that_adds_no_header_lends_nobody_its_place(
    hold: Hold, version: str, host: str, status: int
) -> None:
    """H145, H151, T06: it is told by its old protocol, or by the outside's name for the server."""
    connection = await hold.connect()
    said = b'{"digest": "uploads/temp-1"}'
    head = f"POST /start-multipart HTTP/{version}\r\nHost: {host}\r\nContent-Length: {len(said)}\r\n\r\n"
    await connection.send_raw(head.encode() + said)
    assert (await connection.answer("POST")).status == status


async def test_a_trusted_proxy_is_no_caller_of_this_machine(opened: Open) -> None:
    """T06: not even when it forgot its headers."""
    hold = await opened(trusted_proxies="127.0.0.0/8")
    assert error_of(await hold.start(TEMP)) == (403, "Forbidden")


async def test_a_refusal_is_there_before_the_body_is_looked_at(guarded: Hold) -> None:
    """H036: nothing is done before it is known who asks."""
    for path in ("/start-multipart", "/complete-multipart", "/move"):
        assert error_of(await guarded.call("POST", path, b"no json"))[0] == 401


async def test_a_claim_proves_nothing_and_refuses_nothing(hold: Hold, casing: Casing) -> None:
    """H024, H151, T03: who one is does not depend on the did in the body, whether it is there or not."""
    upload_id = await hold.begin(casing=casing)
    part = await hold.send(upload_id, 1, b"all of it", casing)
    answer = await hold.complete(upload_id, DIGEST, [part], casing, did="did:plc:somebody-else")
    assert answer.status == 200


async def test_a_session_is_its_openers(guarded: Hold, casing: Casing) -> None:
    """H152: bound to who opened it, though another may write as well."""
    rooms = guarded.oci.rooms
    foreign = await rooms.services.sessions.parted.open("_hold/somebody", owner="somebody", target=TEMP)
    guarded.ids.add(foreign.id)
    trusted = guarded.as_caller(BEARER)
    answers = [
        await trusted.ask_url(foreign.id, 1, casing),
        await trusted.call("PUT", f"/multipart-parts/{foreign.id}/1", b"x"),
        await trusted.parts(foreign.id),
        await trusted.complete(foreign.id, DIGEST, [{"part_number": 1, "etag": "x"}], casing),
        await trusted.abort(foreign.id, casing),
    ]
    assert [error_of(answer) for answer in answers] == [(403, "Forbidden")] * len(answers)


async def test_a_temporary_name_is_its_openers(guarded: Hold) -> None:
    """H152: two callers may use the same one, and never meet."""
    sessions = guarded.oci.rooms.services.sessions.parted
    foreign = await sessions.open("_hold/somebody", owner="somebody", target=TEMP)
    guarded.ids.add(foreign.id)
    assert (await guarded.as_caller(BEARER).move(TEMP, DIGEST)).status == 404


async def test_what_may_be_known_without_writing_is_open(guarded: Hold) -> None:
    """H033, H034."""
    await guarded.oci.push("lab/app", b"all of it")
    assert (await guarded.call("GET", "/capabilities")).status == 200
    assert (await guarded.blob(DIGEST)).body == b"all of it"
    assert (await guarded.post("/get-presigned-url", {"digest": DIGEST})).status == 200


def decide_by(hold: Hold, policy: Policy) -> None:
    """Let another policy decide from now on."""
    object.__setattr__(hold.oci.rooms.services, "policy", policy)


async def test_the_policy_is_asked_about_the_sessions_repository_on_every_call(hold: Hold, casing: Casing) -> None:
    """H020, H036, H145, H146, H147, T06: a signed URL is asked about as well."""
    upload_id = await hold.begin(casing=casing, repository="lab/app")
    url = await hold.part_url(upload_id, 1, casing)
    part = await hold.send(upload_id, 1, b"all of it", casing)
    whole = await hold.begin("uploads/temp-whole", casing, repository="lab/app")
    whole_part = await hold.send(whole, 1, b"all of it", casing)
    assert (await hold.complete(whole, "uploads/temp-whole", [whole_part], casing)).status == 200
    usual = hold.oci.rooms.services.policy

    def not_there(principal: Principal, action: Action, repository: str) -> Decision:
        closed = action is Action.HOLD and repository == "lab/app"
        return Decision.CLOSED if closed else usual(principal, action, repository)

    decide_by(hold, not_there)
    answers = [
        await hold.start(TEMP, casing, repository="lab/app"),
        await hold.ask_url(upload_id, 1, casing),
        await hold.call("PUT", f"/multipart-parts/{upload_id}/1", b"x"),
        await hold.call("PUT", f"/xrpc/io.atcr.hold.uploadPart?uploadId={upload_id}&partNumber=1", b"x"),
        await hold.parts(upload_id),
        await hold.complete(upload_id, DIGEST, [part], casing),
        await hold.abort(upload_id, casing),
        await hold.move("uploads/temp-whole", DIGEST),
        await hold.post("/put-presigned-url", {"digest": DIGEST, "repository": "lab/app"}),
    ]
    assert [error_of(answer) for answer in answers] == [(403, "Forbidden")] * len(answers)
    assert (await hold.put(url, b"x")).status == 403
    assert (await hold.start(TEMP, casing)).status == 200
    decide_by(hold, usual)
    assert (await hold.complete(upload_id, DIGEST, [part], casing)).status == 200


async def test_reading_asks_the_policy_about_the_repository_that_is_read(hold: Hold) -> None:
    """H151."""
    await hold.oci.push("lab/app", b"all of it")
    usual = hold.oci.rooms.services.policy

    def hidden(principal: Principal, action: Action, repository: str) -> Decision:
        return Decision.HIDE if repository == "lab/app" else usual(principal, action, repository)

    decide_by(hold, hidden)
    for more in ("", "&repository=lab/app"):
        assert (await hold.blob(DIGEST, more)).status == 404
        assert (await hold.blob(DIGEST, more, method="HEAD")).status == 404
    for said in ({"digest": DIGEST}, {"digest": DIGEST, "repository": "lab/app"}):
        assert (await hold.post("/get-presigned-url", said)).status == 404
        assert (await hold.post("/head-presigned-url", said)).status == 404
