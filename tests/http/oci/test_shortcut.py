"""The short way answers exactly as the usual way does, and only what it may."""

import pytest

from auth.policy import Action, Decision
from auth.principals import Principal
from tests.http.oci.content import EMPTY_CONFIG, IMAGE, artifact, digest_of
from tests.http.oci.serving import Serving

REPOSITORY = "lab/hot"
MANIFEST = artifact("hot")
SMALL = b"a small config"
VARYING = {"Date", "X-Request-Id"}


async def warmed(oci: Serving) -> None:
    """A manifest and a small blob that are in memory."""
    await oci.push(REPOSITORY, b"{}")
    await oci.push(REPOSITORY, SMALL)
    assert (await oci.put_manifest(REPOSITORY, "v1", MANIFEST, IMAGE)).status == 201
    for _ in range(3):
        await oci.manifest(REPOSITORY, "v1")
        await oci.blob(REPOSITORY, digest_of(SMALL))


def short_answers(oci: Serving) -> list[str]:
    """What was answered the short way, taken down from now on."""
    taken: list[str] = []
    real = oci.server.shortcut
    assert real is not None

    def watched(message, peer):
        answer = real(message, peer)
        if answer is not None:
            taken.append(message.path)
        return answer

    oci.server.shortcut = watched
    return taken


TARGETS = [
    f"/v2/{REPOSITORY}/manifests/v1",
    f"/v2/{REPOSITORY}/manifests/{digest_of(MANIFEST)}",
    f"/v2/{REPOSITORY}/blobs/{digest_of(SMALL)}",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", TARGETS, ids=["tag", "digest", "blob"])
async def test_both_ways_say_the_same_and_tell_the_observers_the_same(oci: Serving, method: str, target: str) -> None:
    await warmed(oci)
    await oci.ask(method, target)
    taken = short_answers(oci)
    short = await oci.ask(method, target, headers={"User-Agent": "a node", "X-Request-Id": "mine"})
    usual = await oci.ask(method, f"{target}?a=b", headers={"User-Agent": "a node", "X-Request-Id": "mine"})
    assert taken == [target]
    assert (short.status, short.body) == (usual.status, usual.body)
    said = [{name: value for name, value in answer.headers.items() if name not in VARYING} for answer in (short, usual)]
    assert said[0] == said[1]
    assert short.headers["X-Request-Id"] == usual.headers["X-Request-Id"] == "mine"
    one, other = oci.records[-2:]
    told = [
        (r.request_id, r.method, r.path, r.remote, r.agent, r.who, r.endpoint, r.status, r.sent_bytes)
        for r in (one, other)
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1"},
        {"If-None-Match": f'"{digest_of(SMALL)}"'},
        {"If-Range": '"x"', "Range": "bytes=0-1"},
        {"Authorization": "Basic eDp5"},
        {"Connection": "close"},
        {"Content-Length": "0"},
    ],
)
async def test_what_is_not_plain_goes_the_usual_way(oci: Serving, headers: dict[str, str]) -> None:
    await warmed(oci)
    taken = short_answers(oci)
    assert (await oci.ask("GET", TARGETS[2], headers=headers)).status in (200, 206, 304)
    assert taken == [] or "Content-Length" in headers


async def test_what_the_policy_does_not_allow_is_not_answered_the_short_way(oci: Serving) -> None:
    await warmed(oci)

    def closed(principal: Principal, action: Action, repository: str) -> Decision:
        return Decision.HIDE

    object.__setattr__(oci.rooms.services, "policy", closed)
    taken = short_answers(oci)
    assert (await oci.ask("GET", TARGETS[0])).status == 404
    assert taken == []


async def test_what_was_deleted_or_moved_is_not_remembered(oci: Serving) -> None:
    await warmed(oci)
    taken = short_answers(oci)
    other = artifact("other")
    assert (await oci.put_manifest(REPOSITORY, "v1", other, IMAGE)).status == 201
    assert (await oci.manifest(REPOSITORY, "v1")).body == other
    assert (await oci.delete(REPOSITORY, "manifests", digest_of(other))).status == 202
    assert (await oci.manifest(REPOSITORY, "v1")).status == 404
    assert (await oci.delete(REPOSITORY, "blobs", digest_of(SMALL))).status == 202
    assert (await oci.blob(REPOSITORY, digest_of(SMALL))).status == 404
    assert taken == []
    assert EMPTY_CONFIG["digest"] in (await oci.manifest(REPOSITORY, digest_of(MANIFEST))).body.decode()


async def test_many_in_one_segment_are_answered_in_order(oci: Serving) -> None:
    await warmed(oci)
    taken = short_answers(oci)
    connection = await oci.connect()
    one = f"GET {TARGETS[0]} HTTP/1.1\r\nHost: x\r\nX-Request-Id: "
    usual = f"GET {TARGETS[0]}?a=b HTTP/1.1\r\nHost: x\r\nX-Request-Id: "
    heads = [f"{one if number % 3 else usual}{number}\r\n\r\n" for number in range(300)]
    await connection.send_raw("".join(heads).encode())
    for number in range(300):
        answer = await connection.answer("GET")
        assert (answer.headers["X-Request-Id"], answer.body) == (str(number), MANIFEST)
    assert len(taken) == 200
