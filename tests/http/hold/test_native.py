"""Native uploads: clients put parts straight into a real, signature-verifying store, in each family of servers."""

import logging

import pytest

from admin import rendering
from admin.operations import Answer, Desk, perform
from model.units import MIB
from multipart.refusals import NativeNotConfigured
from tests.http.client import Connection
from tests.http.hold.client import OLD, TEMP, XRPC, Casing, Hold, error_of
from tests.http.hold.conftest import Open
from tests.http.hold.natively import ask_store, is_at, put_parts, sha256, through_us
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import until as eventually
from tests.support.objectstore import NOWHERE, RULES, Bucket, Rule
from tests.support.stage import until
from tests.support.stores import StoreOf

PIECES = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(17, 3)]
CONTENT = b"".join(PIECES)
DIGEST = digest_of(CONTENT)
REPOSITORY = "lab/app"


@pytest.fixture
async def native(opened: Open, bucket: Bucket) -> Hold:
    """A hold over a store of the header family."""
    return await opened(**bucket.settings())


async def settled(hold: Hold, bucket: Bucket) -> None:
    """Nothing of an upload is left but the blob, as the listing of the store says."""
    key = f"docker/registry/v2/blobs/sha256/{DIGEST[7:9]}/{DIGEST[7:]}/data"
    await until(lambda: bucket.objects() == {key: len(CONTENT)} and bucket.uploads() == [])


@pytest.mark.parametrize(("casing", "hashed"), [(OLD, False), (XRPC, True)], ids=["old-plain", "xrpc-hashed"])
@pytest.mark.parametrize("rule", RULES)
async def test_parts_go_straight_to_the_store_in_every_family(
    opened: Open, object_store_of: StoreOf, rule: Rule, casing: Casing, hashed: bool
) -> None:
    """H017, H040-H042, H078, H085-H088, H105, H179, M07, M09, M12: with and without the hash as a header."""
    store = object_store_of(rule)
    bucket = store.new_bucket()
    hold = await opened(**bucket.settings())
    assert (await hold.call("GET", "/capabilities")).json()["multipart"] == "both"
    before = through_us(hold.oci)
    answer = await hold.start(TEMP, casing, repository=REPOSITORY)
    assert answer.json()["mode"] == "native"
    upload_id = answer.json()[casing.read("upload_id")]
    parts = await put_parts(hold, upload_id, PIECES, casing, hashed=hashed)
    assert len((await hold.parts(upload_id)).json()["parts"]) == 3
    answer = await hold.complete(upload_id, DIGEST, parts, casing)
    assert (answer.status, answer.json().get("digest")) == (200, DIGEST), answer.body
    assert through_us(hold.oci) - before < 12_000, "about 1 KB for each request"
    assert (await hold.oci.blob(REPOSITORY, DIGEST)).body == CONTENT
    again = await hold.complete(upload_id, DIGEST, parts, casing)
    assert (again.status, again.json()) == (answer.status, answer.json())
    await settled(hold, bucket)


async def test_a_body_that_is_not_what_was_announced_is_refused_by_the_store(native: Hold) -> None:
    """M07, C07."""
    upload_id = await native.begin()
    said = (await native.ask_url(upload_id, 1, sha256=sha256(PIECES[0]))).json()
    assert said["headers"] == {"x-amz-content-sha256": sha256(PIECES[0])}
    wrong = await ask_store(said["url"], "PUT", PIECES[0][::-1], said["headers"])
    assert wrong.status == 400
    assert (await native.parts(upload_id)).json()["parts"] == []


async def test_an_upload_that_breaks_in_the_middle_goes_on_through_us(native: Hold, bucket: Bucket) -> None:
    """H048: part by part, in the same session; H018: at our own endpoint, with our ETag."""
    upload_id = await native.begin(repository=REPOSITORY)
    (first,) = await put_parts(native, upload_id, PIECES[:1])
    listed = [first]
    for number, piece in enumerate(PIECES[1:], 2):
        said = (await native.ask_url(upload_id, number, mode="buffered")).json()
        assert said["mode"] == "buffered" and is_at(said["url"], native.url)
        stored = await native.put(said["url"], piece, said["headers"])
        assert stored.headers["ETag"] == f'"{sha256(piece)}"'
        listed.append({"part_number": number, "etag": stored.headers["ETag"]})
    assert (await native.complete(upload_id, DIGEST, listed)).status == 200
    assert (await native.oci.blob(REPOSITORY, DIGEST)).body == CONTENT
    await settled(native, bucket)


async def test_a_client_may_ask_for_the_way_through_us_from_the_start(native: Hold) -> None:
    """H048."""
    answer = await native.start(TEMP, mode="buffered")
    assert answer.json()["mode"] == "buffered"
    assert is_at(await native.part_url(answer.json()["upload_id"], 1), native.url)
    assert error_of(await native.start(TEMP, mode="teleported")) == (400, "InvalidRequest")


@pytest.mark.parametrize("casing", [OLD, XRPC], ids=["old", "xrpc"])
async def test_what_hashes_to_something_else_never_becomes_visible(
    native: Hold, bucket: Bucket, casing: Casing
) -> None:
    """T01, T10, C07: a clear error, and nothing of it stays in the store."""
    other = digest_of(b"something else")
    upload_id = await native.begin(TEMP, casing, repository=REPOSITORY)
    parts = await put_parts(native, upload_id, PIECES, casing)
    assert error_of(await native.complete(upload_id, other, parts, casing)) == (400, "CompletionFailed")
    assert not await native.oci.has(REPOSITORY, other) and not await native.oci.has(REPOSITORY, DIGEST)
    await until(lambda: bucket.objects() == {} and bucket.uploads() == [])


async def test_parts_that_the_store_does_not_have_are_named(native: Hold) -> None:
    """H088, H090: what a client says about parts that we never saw counts for nothing."""
    upload_id = await native.begin(repository=REPOSITORY)
    parts = await put_parts(native, upload_id, PIECES[:2])
    invented = {"part_number": 3, "etag": '"0123456789abcdef0123456789abcdef"'}
    answer = await native.complete(upload_id, DIGEST, [*parts, invented])
    assert error_of(answer) == (400, "MissingParts")
    assert any("part 3" in problem for problem in answer.json()["problems"])
    mistaken = [parts[0], {**parts[1], "etag": parts[0]["etag"]}]
    assert error_of(await native.complete(upload_id, DIGEST, mistaken)) == (400, "MissingParts")


async def test_an_upload_that_is_given_up_leaves_nothing_in_the_store(native: Hold, bucket: Bucket) -> None:
    """H028, H067, H115."""
    upload_id = await native.begin()
    await put_parts(native, upload_id, PIECES)
    assert len(bucket.uploads()) == 1
    assert (await native.abort(upload_id)).status == 200
    await until(lambda: bucket.uploads() == [] and bucket.objects() == {})


async def test_a_whole_blob_is_put_into_the_store_under_a_temporary_name_and_moved(
    native: Hold, bucket: Bucket
) -> None:
    """H030, H031, H078: by what old clients do; nobody sees it before it was proven."""
    for hashed in (False, True):
        said = {"digest": TEMP, "repository": REPOSITORY, **({"sha256": sha256(CONTENT)} if hashed else {})}
        to = (await native.post("/put-presigned-url", said)).json()
        assert to["mode"] == "native" and not is_at(to["url"], native.url)
        assert (await ask_store(to["url"], "PUT", CONTENT, to["headers"])).status == 200
        if not hashed:
            assert not await native.oci.has(REPOSITORY, DIGEST)
        assert (await native.move(TEMP, DIGEST)).status == 200
        assert (await native.oci.blob(REPOSITORY, DIGEST)).body == CONTENT
        assert (await native.move(TEMP, DIGEST)).status == 200
    await settled(native, bucket)


async def test_a_whole_blob_under_its_digest_always_comes_through_us(native: Hold) -> None:
    """H031: nobody else would tell us that it is there."""
    to = (await native.post("/put-presigned-url", {"digest": DIGEST, "repository": REPOSITORY})).json()
    assert to["mode"] == "buffered" and is_at(to["url"], native.url)
    assert (await native.put(to["url"], CONTENT)).status == 200
    assert (await native.oci.blob(REPOSITORY, DIGEST)).body == CONTENT


async def test_downloads_are_fetched_from_the_store_where_that_is_wanted(opened: Open, bucket: Bucket) -> None:
    """G07, G08: whole, in ranges, and by links; with the type that the registry would say."""
    hold = await opened(**bucket.settings(s3_redirect="on"))
    await hold.oci.push(REPOSITORY, CONTENT)
    await settled(hold, bucket)
    connection = await Connection.open(hold.oci.host, hold.oci.port)
    sent_to = await connection.ask("GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}", headers={"Range": "bytes=5-9"})
    assert (sent_to.status, sent_to.digest) == (307, DIGEST)
    whole = await ask_store(sent_to.location, "GET")
    assert (whole.status, whole.body, whole.headers["Content-Type"]) == (200, CONTENT, "application/octet-stream")
    some = await ask_store(sent_to.location, "GET", headers={"Range": "bytes=5-9"})
    assert (some.status, some.body) == (206, CONTENT[5:10])
    await connection.close()
    for method in ("GET", "HEAD"):
        said = (await hold.post(f"/{method.lower()}-presigned-url", {"digest": DIGEST, "did": "did:x:y"})).json()
        answer = await ask_store(said["url"], method)
        assert (said["mode"], answer.status, answer.headers["Content-Length"]) == ("native", 200, str(len(CONTENT)))


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"disable_presigned_urls": "on"}, "DISABLE_PRESIGNED_URLS"), ({"s3_external_endpoint": NOWHERE}, NOWHERE)],
    ids=["switched-off", "out-of-reach"],
)
async def test_without_a_way_for_clients_everything_comes_through_us(
    opened: Open, bucket: Bucket, settings: dict[str, str], why: str
) -> None:
    """H044-H047, H051, H123, G07: by itself; and who insists is told what stands against it."""
    hold = await opened(**bucket.settings(**settings))
    assert (await hold.call("GET", "/capabilities")).json()["multipart"] == "buffered"
    upload_id = await hold.begin(repository=REPOSITORY)
    parts = [await hold.send(upload_id, number, piece) for number, piece in enumerate(PIECES, 1)]
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    assert (await hold.oci.blob(REPOSITORY, DIGEST)).body == CONTENT
    await settled(hold, bucket)
    insisting = await hold.start(TEMP, mode="native")
    assert error_of(insisting) == (400, "NotConfigured")
    assert why in insisting.json()["message"], NativeNotConfigured.__doc__


async def test_a_native_upload_is_told_step_by_step_with_the_stores_own_id(
    opened: Open, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """H134, H137, H138."""
    caplog.set_level(logging.INFO, "holdfast.hold")
    hold = await opened(**bucket.settings())
    upload_id = await hold.begin(DIGEST, repository=REPOSITORY)
    (there,) = bucket.uploads()
    parts = await put_parts(hold, upload_id, PIECES)
    assert (await hold.complete(upload_id, DIGEST, parts)).status == 200
    named = f"repository={REPOSITORY} digest={DIGEST} did=did:plc:tester"
    assert [record.getMessage() for record in caplog.records if record.name == "holdfast.hold"] == [
        f"started native upload: uploadID={upload_id} s3UploadID={there.upload_id} {named}",
        f"assembled parts: uploadID={upload_id} parts=3 totalSize={len(CONTENT)}",
        f"completed native upload: digest={DIGEST} uploadID={upload_id} parts=3 size={len(CONTENT)}"
        f" written={len(CONTENT)}",
    ]


async def test_the_operator_sees_which_way_uploads_go_and_what_the_store_has_of_them(native: Hold) -> None:
    """H013, H040, H061: `uploads list`."""
    native_id = await native.begin(TEMP, repository=REPOSITORY)
    await put_parts(native, native_id, PIECES[:1])
    assert (await native.parts(native_id)).status == 200  # the store has been asked
    started = await native.start(f"{TEMP}-2", mode="buffered", size=len(CONTENT), part_size=5 * MIB)
    buffered_id = started.json()["upload_id"]
    await native.send(buffered_id, 1, PIECES[0])
    desk = Desk(native.oci.rooms)

    async def told() -> Answer:
        return await perform(desk, "uploads.list", {})

    async def sent() -> bool:
        return bool((await told())["uploads"][1]["in_store"]["bytes"])

    await eventually(sent)
    rows = (await told())["uploads"]
    assert [(row["id"], row["mode"]) for row in rows] == [(native_id, "native"), (buffered_id, "buffered")]
    assert [row["in_store"] for row in rows] == [{"bytes": 5 * MIB, "waiting_bytes": 0, "trouble": ""}] * 2
    head, *lines = rendering.uploads(await told())
    assert head.split()[-4:] == ["MODE", "IN", "STORE", "WAITING"]
    assert [line.split()[-5:] for line in lines] == [
        ["native", "5.0", "MiB+", "0", "B"],
        ["buffered", "5.0", "MiB", "0", "B"],
    ]
