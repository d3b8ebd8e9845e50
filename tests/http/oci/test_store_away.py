"""A store that goes away and comes back: what still works, what is refused and how, and that nothing is lost by it."""

import logging
import time

import pytest

from backends.base import Direct
from handlers.readiness import STORE_AWAY, Readiness
from stores import trouble_with
from tests.http.client import Answer, Body
from tests.http.hold.client import TEMP, Hold
from tests.http.oci.conftest import Serve
from tests.http.oci.content import artifact, digest_of, noise
from tests.http.oci.serving import Serving, closing
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.stage import until

REPOSITORY = "lab/tools"
LARGE, SMALL, NEXT = noise(200_000, "large"), noise(300, "small"), noise(150_000, "next")
IMAGE = "application/vnd.oci.image.manifest.v1+json"
SOON_S = 15.0


@pytest.fixture
def away(own_store: ObjectStore) -> Bucket:
    """A bucket whose store may be stopped."""
    return own_store.new_bucket()


async def ask(oci: Serving, method: str, target: str, body: Body = None) -> Answer:
    """Ask on a connection of its own; a 503 is no breach of a law here."""
    connection = await oci.connect()
    try:
        return await connection.ask(method, target, body)
    finally:
        await connection.close()


async def refused_for_now(oci: Serving, method: str, target: str, body: Body = None) -> Answer:
    """Ask for what needs the store: within seconds 503, with a word on when to try again."""
    began_s = time.monotonic()
    answer = await ask(oci, method, target, body)
    assert answer.status == 503, (answer.status, answer.body)
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - began_s < SOON_S
    assert "docker/registry" not in str(answer.body) and "holdfast/" not in str(answer.body), "words for users"
    return answer


def readiness(oci: Serving) -> Readiness:
    rooms = oci.rooms
    return Readiness(
        rooms.services.repositories, rooms.folder.spool, store=lambda: trouble_with(rooms.backend), fresh_s=0
    )


async def test_while_the_store_is_away_memory_and_spool_serve_and_the_rest_is_asked_to_wait(
    serve: Serve, away: Bucket, own_store: ObjectStore
) -> None:
    """H047: and what was received goes on from there once it is back, which nobody has to say."""
    oci = await serve(**away.settings(small_blob_bytes="64KiB"))
    large, small = await oci.push(REPOSITORY, LARGE), await oci.push(REPOSITORY, SMALL)
    await oci.push(REPOSITORY, b"{}")
    assert (await oci.put_manifest(REPOSITORY, "v1", artifact(1), IMAGE)).status == 201
    for _ in range(2):
        assert (await oci.blob(REPOSITORY, small)).body == SMALL
    assert (await oci.blob(REPOSITORY, large)).body == LARGE
    assert await readiness(oci).reason() == ""
    location = await oci.session(REPOSITORY)

    own_store.kill()
    answer = await refused_for_now(oci, "GET", f"/v2/{REPOSITORY}/blobs/{large}")
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    for reference in ("v1", digest_of(artifact(1))):
        assert (await oci.manifest(REPOSITORY, reference)).status == 200
    assert (await oci.blob(REPOSITORY, small)).body == SMALL
    assert (await oci.blob(REPOSITORY, large, method="HEAD")).status == 200
    patched = await ask(oci, "PATCH", location, NEXT)
    assert patched.status == 202
    await refused_for_now(oci, "PUT", closing(patched.location, digest_of(NEXT)), b"")
    assert (await oci.ask("GET", location)).headers["Range"] == f"0-{len(NEXT) - 1}"
    hold = Hold(oci)
    started = await hold.start(TEMP)
    assert (started.status, started.json()["mode"]) == (200, "buffered")
    await hold.close()
    assert own_store.netloc in await readiness(oci).reason()
    assert await readiness(oci).told() == STORE_AWAY

    own_store.start()
    await until(lambda: trouble_with(oci.rooms.backend) == "")
    assert await readiness(oci).reason() == ""
    assert (await oci.ask("PUT", closing(patched.location, digest_of(NEXT)), b"")).status == 201
    for content in (LARGE, NEXT):
        assert (await oci.blob(REPOSITORY, digest_of(content))).body == content


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What somebody who reads warnings alone has been told."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_server_starts_while_its_store_is_away_says_so_and_finds_it_when_it_is_there(
    serve: Serve, away: Bucket, own_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    """H046, H047: one line, no 500, and native uploads once it is found out that they work."""
    caplog.set_level(logging.INFO, "holdfast")
    own_store.kill()
    oci = await serve(**away.settings())
    (warning,) = warnings(caplog)
    assert warning.startswith(f"the store http://{own_store.netloc} does not answer yet")
    assert "left alone" not in caplog.text and "not asked yet" not in caplog.text
    assert "ClientConnector" not in caplog.text and "ssl:default" not in caplog.text
    backend = oci.rooms.backend
    assert isinstance(backend, Direct) and backend.why_not_native == "the store does not answer"
    assert "store" in await readiness(oci).reason()
    await refused_for_now(oci, "POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(LARGE)}", LARGE)
    assert not oci.rooms.services.hold.native

    own_store.start()
    await until(lambda: oci.rooms.services.hold.native)
    await oci.push(REPOSITORY, LARGE)
    assert (await oci.blob(REPOSITORY, digest_of(LARGE))).body == LARGE


async def test_nobody_is_sent_to_a_store_that_is_away(serve: Serve, away: Bucket, own_store: ObjectStore) -> None:
    """H042, H046, H047: a redirect, or a URL of the store's own, would lead nowhere; we say when to try again."""
    oci = await serve(**away.settings(s3_redirect="on", small_blob_bytes="0"))
    target = f"/v2/{REPOSITORY}/blobs/{await oci.push(REPOSITORY, LARGE)}"
    hold = oci.rooms.services.hold
    assert (await ask(oci, "GET", target)).status == 307
    assert hold.modes == "both"

    own_store.kill()
    await until(lambda: not hold.native)
    await refused_for_now(oci, "GET", target)
    assert hold.modes == "buffered"
    asked = Hold(oci)
    given = (await asked.post("/get-presigned-url", {"digest": digest_of(LARGE), "repository": REPOSITORY})).json()
    assert (given["mode"], given["url"].startswith(asked.url)) == ("buffered", True)
    await asked.close()
    assert hold.direct is not None and "store" in hold.direct.why_not_native

    own_store.start()
    await until(lambda: hold.native)
    assert (await ask(oci, "GET", target)).status == 307


async def test_a_store_that_hangs_costs_nobody_more_than_seconds(
    serve: Serve, away: Bucket, own_store: ObjectStore
) -> None:
    """Connections are made and nothing answers; the first small PUT finds out, the next knows."""
    oci = await serve(**away.settings())
    await oci.push(REPOSITORY, SMALL)
    own_store.pause()
    try:
        whole = f"/v2/{REPOSITORY}/blobs/uploads/?digest="
        await refused_for_now(oci, "POST", whole + digest_of(NEXT), NEXT)
        began_s = time.monotonic()
        await refused_for_now(oci, "POST", whole + digest_of(LARGE), LARGE)
        assert time.monotonic() - began_s < 5.0
    finally:
        own_store.go_on()
    await until(lambda: trouble_with(oci.rooms.backend) == "")
    await oci.push(REPOSITORY, NEXT)


async def test_a_server_starts_while_its_store_hangs_and_says_what_it_waits_for(
    serve: Serve, away: Bucket, own_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast")
    own_store.pause()
    try:
        began_s = time.monotonic()
        oci = await serve(**away.settings())
        assert time.monotonic() - began_s < 12.0
    finally:
        own_store.go_on()
    assert caplog.messages[0] == f"asking the store http://{own_store.netloc}, which does not answer at once"
    (warning,) = warnings(caplog)
    assert warning.startswith(f"the store http://{own_store.netloc} does not answer yet, and is waited for: no answer")
    await until(lambda: trouble_with(oci.rooms.backend) == "")
    await oci.push(REPOSITORY, LARGE)
