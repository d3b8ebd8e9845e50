"""Every error code has its status, in one shape, whichever way it comes about (oci.md 1.0)."""

from collections.abc import Callable

import pytest

from auth.policy import Action, Decision
from auth.principals import Principal
from tests.http.client import Answer
from tests.http.oci.conftest import Serve
from tests.http.oci.content import EMPTY_CONFIG, IMAGE, artifact, descriptor, digest_of, image, noise
from tests.http.oci.serving import Serving, until

REPOSITORY = "lab/tools"
CONTENT = artifact("errors")
DIGEST = digest_of(CONTENT)
BLOB = EMPTY_CONFIG["digest"]


async def upload_invalid(oci: Serving) -> Answer:
    return await oci.patch(await oci.session(REPOSITORY), b"x", {"Content-Range": "5-5"})


async def size_invalid(oci: Serving) -> Answer:
    return await oci.patch(await oci.session(REPOSITORY), b"x", {"Content-Range": "0-5"})


async def digest_invalid(oci: Serving) -> Answer:
    return await oci.put(await oci.session(REPOSITORY), DIGEST, b"x")


CASES = {
    "BLOB_UNKNOWN": (404, lambda oci: oci.blob(REPOSITORY, DIGEST)),
    "BLOB_UPLOAD_INVALID": (416, upload_invalid),
    "BLOB_UPLOAD_UNKNOWN": (404, lambda oci: oci.ask("GET", f"/v2/{REPOSITORY}/blobs/uploads/x")),
    "DIGEST_INVALID": (400, digest_invalid),
    "MANIFEST_BLOB_UNKNOWN": (
        400,
        lambda oci: oci.put_manifest(REPOSITORY, "1", image(descriptor(b"?", "text/plain"), []), IMAGE),
    ),
    "MANIFEST_INVALID": (400, lambda oci: oci.put_manifest(REPOSITORY, "1", b"{}", IMAGE)),
    "MANIFEST_UNKNOWN": (404, lambda oci: oci.manifest(REPOSITORY, "1")),
    "NAME_INVALID": (400, lambda oci: oci.tags("Upper")),
    "NAME_UNKNOWN": (404, lambda oci: oci.tags("no/such")),
    "SIZE_INVALID": (400, size_invalid),
    "UNSUPPORTED": (405, lambda oci: oci.ask("DELETE", "/v2/")),
    "PAGINATION_NUMBER_INVALID": (400, lambda oci: oci.tags(REPOSITORY, "?n=x")),
}


@pytest.mark.parametrize("code", CASES)
async def test_a_code_comes_with_its_status(oci: Serving, code: str) -> None:
    # The shape is checked for every answer there is, in serving.laws_of.
    status, provoke = CASES[code]
    answer = await provoke(oci)
    assert (answer.status, answer.code) == (status, code)


async def test_a_refused_head_says_how_long_its_error_would_be(oci: Serving) -> None:
    for target in (f"/v2/{REPOSITORY}/blobs/{DIGEST}", f"/v2/{REPOSITORY}/manifests/1", "/v2/Upper/tags/list"):
        got, head = await oci.ask("GET", target), await oci.ask("HEAD", target)
        assert (head.status, head.headers["Content-Length"]) == (got.status, str(len(got.body)))
        assert head.headers["Content-Type"] == "application/json"


async def test_what_a_client_sent_is_repeated_only_within_limits(oci: Serving) -> None:
    answer = await oci.tags("A" * 7000)
    assert answer.status == 400
    assert len(answer.body) < 1000


async def test_a_body_that_nobody_asked_for_does_not_hurt_the_next_request(oci: Serving) -> None:
    connection = await oci.connect()
    for method, target, status in (
        ("GET", "/v2/", 200),
        ("DELETE", f"/v2/{REPOSITORY}/manifests/1", 404),
        ("PUT", f"/v2/{REPOSITORY}/manifests/sha256:x", 400),
        ("PATCH", f"/v2/{REPOSITORY}/blobs/uploads/x", 404),
    ):
        for body in (b"GET /v2/ HTTP/1.1\r\n\r\n", [b"0\r\n\r\n", noise(20_000)]):
            answer = await connection.ask(method, target, body)
            assert answer.status == status
            if not answer.keeps_the_connection:
                connection = await oci.connect()


# What a policy decides


PUBLIC, SECRET = "lab/public", "lab/secret"


def policy(decision: Decision) -> Callable[[Principal, Action, str], Decision]:
    """Everybody may do everything, but with `lab/secret`."""
    return lambda principal, action, repository: decision if repository == SECRET else Decision.ALLOW


async def guarded(serve: Serve, monkeypatch: pytest.MonkeyPatch, decision: Decision) -> Serving:
    """A registry with the blob `{}` and a manifest in a repository that is guarded from now on."""
    deciding = [policy(Decision.ALLOW)]
    monkeypatch.setattr("rooms.policy_of", lambda **_: lambda *asked: deciding[-1](*asked))
    oci = await serve()
    await oci.push(SECRET, b"{}")
    await oci.put_manifest(SECRET, "1", CONTENT, IMAGE)
    for _ in range(2):  # so that all of it is in memory
        assert (await oci.manifest(SECRET, "1")).status == 200
        assert (await oci.blob(SECRET, BLOB)).status == 200
    deciding.append(policy(decision))
    return oci


@pytest.mark.parametrize(
    ("decision", "status", "code"), [(Decision.DENY, 401, "UNAUTHORIZED"), (Decision.HIDE, 404, "NAME_UNKNOWN")]
)
async def test_what_the_policy_does_not_allow_is_refused_everywhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, decision: Decision, status: int, code: str
) -> None:
    oci = await guarded(serve, monkeypatch, decision)
    for method, target in (
        ("GET", "tags/list"),
        ("GET", "manifests/1"),
        ("GET", f"manifests/{DIGEST}"),
        ("GET", f"blobs/{BLOB}"),
        ("GET", f"referrers/{DIGEST}"),
        ("POST", "blobs/uploads/"),
        ("PUT", "manifests/2"),
        ("DELETE", "manifests/1"),
        ("DELETE", f"blobs/{BLOB}"),
    ):
        answer = await oci.ask(method, f"/v2/{SECRET}/{target}", b"" if method in ("POST", "PUT") else None)
        assert (answer.status, answer.code) == (status, code), target


async def test_a_mount_does_not_tell_what_hidden_repositories_hold(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    oci = await guarded(serve, monkeypatch, Decision.HIDE)
    for query in (f"?mount={BLOB}", f"?mount={BLOB}&from={SECRET}"):
        assert (await oci.begin(PUBLIC, query)).status == 202
    assert not await oci.has(PUBLIC, BLOB)


async def test_the_catalog_lists_what_may_be_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    oci = await guarded(serve, monkeypatch, Decision.HIDE)
    await oci.push("lab/zzz", b"{}")
    await oci.put_manifest("lab/zzz", "1", CONTENT, IMAGE)
    assert (await oci.ask("GET", "/v2/_catalog")).json() == {"repositories": ["lab/zzz"]}


async def test_a_pusher_that_left_is_told_apart_from_a_bad_request(oci: Serving) -> None:
    location = await oci.session("lab/left")
    connection = await oci.connect()
    await connection.send_head("PATCH", location, {"Content-Length": "1000"})
    await connection.send_raw(b"only this")
    await oci.holds(location, 9)
    connection.vanish()

    async def noticed() -> bool:
        await oci.ask("GET", "/v2/")
        return any(record.method == "PATCH" for record in oci.records)

    await until(noticed)
    (record,) = [record for record in oci.records if record.method == "PATCH"]
    assert (record.status, record.gone) == (499, True)


@pytest.mark.only_with_directory("a file is cut short under a reader; an object of S3 is never changed in its place")
async def test_a_stored_file_that_is_cut_short_while_it_is_sent_is_known_as_damaged_and_healed(oci: Serving) -> None:
    content = noise(30 << 20)
    digest = await oci.push("lab/cut", content)
    connection = await oci.connect()
    await connection.send("GET", f"/v2/lab/cut/blobs/{digest}")
    await connection._reader.readexactly(1)
    (file,) = oci.blob_files()
    file.write_bytes(content[: 1 << 20])
    await connection.ended()
    assert not await oci.has("lab/cut", digest)
    assert [record.error for record in oci.records if record.method == "GET" and record.error]
    await oci.push("lab/cut", content)
    assert (await oci.blob("lab/cut", digest)).body == content
