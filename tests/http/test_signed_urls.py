"""Signed URLs to ourselves: all the authority that a download needs, refused for whatever is not as it was signed."""

import hashlib
import logging
import os
import re
from pathlib import Path

import pytest

from admin.operations import Desk, perform
from model.errors import NameUnknown
from tests.http.client import Connection
from tests.http.oci.conftest import Serve
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import Serving, serving
from tests.http.signing import ask, refused, sign, signer_at, target_of
from tests.support.inside import put_image
from tests.support.stage import until

BLOB = noise(300_000)
DIGEST = digest_of(BLOB)
PATH = f"/signed/blobs/{DIGEST}"
REPOSITORY = "lab/tools"
HIDDEN = "_hold/anonymous"
MISMATCH, DENIED = (403, "SignatureDoesNotMatch"), (403, "AccessDenied")


@pytest.fixture
async def oci(serve: Serve) -> Serving:
    made = await serve()
    await made.push(REPOSITORY, BLOB)
    return made


def download(oci: Serving, method: str = "GET", **how) -> str:
    return target_of(sign(oci, method, PATH, {"repository": REPOSITORY}, **how))


async def test_a_signed_url_gives_what_the_oci_face_gives(oci: Serving) -> None:
    """M10, D7: ranges and conditions included, with the same headers."""
    target = download(oci)
    for asked in (
        {},
        {"Range": "bytes=5-9"},
        {"Range": "bytes=-7"},
        {"Range": "bytes=0-0,299999-"},
        {"Range": "bytes=400000-"},
        {"If-None-Match": f'"{DIGEST}"'},
        {"If-Range": '"other"', "Range": "bytes=5-9"},
    ):
        theirs = await oci.blob(REPOSITORY, DIGEST, asked)
        ours = await ask(oci, "GET", target, headers=asked)
        assert ours.status == theirs.status
        if ours.status == 416:
            assert refused(ours, target) == (416, "InvalidRange")
            assert ours.headers["Content-Range"] == theirs.headers["Content-Range"]
            continue
        told = (
            {"X-Request-Id", "Date", "Content-Type"} if "0-0," in asked.get("Range", "") else {"X-Request-Id", "Date"}
        )
        same = [{k: v for k, v in each.headers.items() if k not in told} for each in (ours, theirs)]
        assert same[0] == same[1]
        if "0-0," not in asked.get("Range", ""):  # there the boundary differs
            assert ours.body == theirs.body


async def test_a_head_needs_a_url_signed_for_head(oci: Serving) -> None:
    """H032: as with S3, the method is part of the signature."""
    get, head = download(oci), download(oci, "HEAD")
    answer = await ask(oci, "HEAD", head)
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(BLOB)))
    assert answer.headers["Docker-Content-Digest"] == DIGEST
    assert (await ask(oci, "HEAD", get)).status == 403
    assert refused(await ask(oci, "GET", head), head) == MISMATCH
    assert (await ask(oci, "GET", get)).body == BLOB


async def test_it_needs_no_authorization_and_ignores_any_that_comes(serve: Serve) -> None:
    """H147: also of callers from elsewhere, and where the hold API asks for a secret."""
    oci = await serve(hold_token="correct-horse-battery")
    await oci.push(REPOSITORY, BLOB)
    target = download(oci)
    for authorization in (
        "Bearer wrong",
        "Bearer correct-horse-battery",
        "Basic eDp5",
        "AWS4-HMAC-SHA256 x",
        "\xff",
        "",
    ):
        headers = {"Authorization": authorization, "X-Forwarded-For": "192.0.2.1"}
        answer = await ask(oci, "GET", target, headers=headers)
        assert (answer.status, answer.body) == (200, BLOB)
    await until(lambda: [record.who for record in oci.records if record.endpoint == "signed-blob"] == ["url"] * 6)


async def test_an_expired_url_is_refused_and_the_log_has_the_time(
    oci: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """G19: what differs is in the server's log, by the request's id; the client is told what to do."""
    target = download(oci, lifetime_s=60, age_s=1000)
    answer = await ask(oci, "GET", target, headers={"X-Request-Id": "expired-1"})
    assert refused(answer, target) == DENIED
    assert b"expired" in answer.body
    [line] = [record.getMessage() for record in caplog.records if record.name == "holdfast.signed"]
    assert line.startswith("request expired-1: signed URL refused: clock: ")


async def test_a_url_from_the_future_is_refused(oci: Serving) -> None:
    assert (await ask(oci, "GET", download(oci, age_s=-3600))).status == 403


TAMPERED = {
    "another digest": lambda target: target.replace(DIGEST.partition(":")[2], "0" * 64),
    "another repository": lambda target: target.replace("lab%2Ftools", "lab%2Fother"),
    "a longer life": lambda target: re.sub("X-Amz-Expires=[0-9]+", "X-Amz-Expires=90000", target),
    "one more parameter": lambda target: f"{target}&owner=hold",
    "one parameter less": lambda target: target.replace("&repository=lab%2Ftools", "").replace(
        "repository=lab%2Ftools&", ""
    ),
    "another signature": lambda target: re.sub("X-Amz-Signature=[0-9a-f]{64}", "X-Amz-Signature=" + "0" * 64, target),
    "another key": lambda target: re.sub("X-Amz-Credential=[A-Za-z0-9]+", "X-Amz-Credential=AKIAIOSFODNN7", target),
    "another region": lambda target: target.replace("holdfast", "us-east-1"),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=list(TAMPERED))
async def test_a_url_that_was_changed_is_refused(oci: Serving, caplog: pytest.LogCaptureFixture, change) -> None:
    """G19: in the log it is said which element differs, but neither signature nor secret."""
    target = download(oci)
    changed = change(target)
    assert changed != target
    answer = await ask(oci, "GET", changed)
    assert refused(answer, changed) in (MISMATCH, (400, "AuthorizationQueryParametersError"))
    [line] = [record.getMessage() for record in caplog.records if record.name == "holdfast.signed"]
    key = oci.rooms.services.signer.keys.current
    for secret in (key.secret, *re.findall("X-Amz-Signature=([^&]+)", target + "&" + changed)):
        assert secret not in line + answer.body.decode()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("X-Amz-Signature=", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature=0&X-Amz-Signature=1", "AuthorizationQueryParametersError"),
        ("x-amz-signature=0", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature=0&X-Amz-Nonsense=1", "AuthorizationQueryParametersError"),
    ],
)
async def test_what_is_no_signature_is_malformed(oci: Serving, query: str, code: str) -> None:
    assert refused(await ask(oci, "GET", f"{PATH}?repository=lab%2Ftools&{query}")) == (400, code)


async def test_nobody_gets_in_without_a_signature(oci: Serving) -> None:
    for method, target in (("GET", f"{PATH}?repository=lab/tools"), ("PUT", PATH), ("PUT", "/signed/uploads/temp-1")):
        assert refused(await ask(oci, method, target, b"x" if method == "PUT" else None)) == DENIED
    assert (await ask(oci, "HEAD", f"{PATH}?repository=lab/tools")).status == 403


async def test_refusals_below_signed_have_one_shape_whatever_is_wrong(oci: Serving) -> None:
    assert refused(await ask(oci, "GET", "/signed/")) == (404, "NoSuchKey")
    assert refused(await ask(oci, "GET", "/signed/nothing/x")) == (404, "NoSuchKey")
    answer = await ask(oci, "DELETE", PATH)
    assert (refused(answer), answer.headers["Allow"]) == ((405, "MethodNotAllowed"), "GET, HEAD, PUT")
    elsewhere = target_of(sign(oci, "GET", f"/signed/blobs/sha256:{'1' * 64}", {"repository": REPOSITORY}))
    assert refused(await ask(oci, "GET", elsewhere)) == (404, "NoSuchKey")
    nonsense = target_of(sign(oci, "GET", "/signed/blobs/nonsense", {"repository": REPOSITORY}))
    assert refused(await ask(oci, "GET", nonsense)) == (400, "InvalidDigest")
    nowhere = target_of(sign(oci, "GET", PATH, {}))
    assert refused(await ask(oci, "GET", nowhere)) == (400, "InvalidRequest")


async def test_a_part_url_that_is_refused_is_refused_in_xml_and_a_plain_one_in_json(oci: Serving) -> None:
    part = target_of(sign(oci, "PUT", "/multipart-parts/abc/1", {}, age_s=5000))
    assert refused(await ask(oci, "PUT", part, b"x"), part) == DENIED
    unknown = target_of(sign(oci, "PUT", "/multipart-parts/abc/1", {}))
    assert refused(await ask(oci, "PUT", unknown, b"x"), unknown) == (404, "NoSuchUpload")
    plain = await ask(oci, "PUT", "/multipart-parts/abc/1", b"x")
    assert (plain.status, set(plain.json())) == (404, {"error", "message"})


async def test_a_fault_of_ours_is_told_in_the_words_of_the_protocol(
    oci: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*asked: object) -> None:
        raise RuntimeError("a secret of the program")

    monkeypatch.setattr(type(oci.rooms.services.blobs), "content", broken)
    monkeypatch.setattr(type(oci.rooms.services.blobs), "holders", broken)
    target = download(oci)
    xml = await ask(oci, "GET", target)
    assert refused(xml, target) == (500, "InternalError")
    hold = await ask(oci, "GET", f"/xrpc/com.atproto.sync.getBlob?cid={DIGEST}")
    assert (hold.status, hold.json()["error"]) == (500, "InternalServerError")
    plain = await ask(oci, "GET", f"/v2/{REPOSITORY}/blobs/{DIGEST}")
    assert (plain.status, plain.code) == (500, "UNKNOWN")
    for answer in (xml, hold, plain):
        assert b"a secret of the program" not in answer.body
        assert answer.headers["X-Request-Id"] in answer.body.decode()
    assert caplog.text.count("a secret of the program") >= 3


async def test_a_rotated_key_counts_until_its_urls_end_and_a_revoked_one_not_at_all(oci: Serving) -> None:
    """M10: the secret is ours alone, and can be changed without breaking what is under way."""
    keys = oci.rooms.services.signer.keys
    before = download(oci)
    keys.rotate()
    after = download(oci)
    assert (await ask(oci, "GET", before)).status == (await ask(oci, "GET", after)).status == 200
    keys.rotate(revoke=True)
    assert refused(await ask(oci, "GET", before), before) == MISMATCH
    assert refused(await ask(oci, "GET", after), after) == MISMATCH


async def test_a_restart_keeps_urls_good(tmp_path: Path) -> None:
    """T09: the keys are in the data folder, for nobody else to read."""
    async with serving(tmp_path / "data") as oci:
        await oci.push(REPOSITORY, BLOB)
        target, port = download(oci, base="http://registry:5000"), oci.port
    file = tmp_path / "data" / "signing-keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    async with serving(tmp_path / "data") as oci:
        assert oci.port != port
        assert (await ask(oci, "GET", target, host="registry:5000")).body == BLOB


async def test_a_url_holds_for_the_host_it_was_signed_for(oci: Serving) -> None:
    """M11: the Host is part of the signature; letter case and the scheme's own port make no difference."""
    target = download(oci, base="http://registry.example.org")
    for host in ("registry.example.org", "Registry.Example.ORG:80"):
        assert (await ask(oci, "GET", target, host=host)).status == 200
    assert refused(await ask(oci, "GET", target, host="evil.example.org"), target) == MISMATCH
    for host in ("registry.example.org/x", "a b", "a@b", ""):
        assert refused(await ask(oci, "GET", target, host=host), target) == (400, "InvalidRequest")


async def test_with_a_public_url_the_host_of_the_request_does_not_matter(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """M11: behind a proxy that rewrites Host, the URL is good for the name clients use and for no other."""
    oci = await serve(public_url="https://registry.example.org:443/")
    await oci.push(REPOSITORY, BLOB)
    asked = await ask(oci, "POST", "/get-presigned-url", b'{"digest": "%s"}' % DIGEST.encode())
    url = asked.json()["url"]
    assert url.startswith(f"https://registry.example.org/signed/blobs/{DIGEST}?") or "sha256%3A" in url
    target = "/" + url.removeprefix("https://registry.example.org/")
    for host in (None, "", "registry.example.org", "10.0.0.7:5000", "not a host"):
        assert (await ask(oci, "GET", target, host=host)).body == BLOB
    other = download(oci, base="http://evil.example.org")
    assert refused(await ask(oci, "GET", other, host="evil.example.org"), other) == MISMATCH
    [line] = [record.getMessage() for record in caplog.records if record.name == "holdfast.signed"]
    assert "refused: host: " in line
    assert "evil.example.org" in line


FORWARDED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "registry.example.org",
}


async def test_a_trusted_proxy_says_what_host_the_client_asked(serve: Serve) -> None:
    """M11: and who asked, in the access log."""
    oci = await serve(trusted_proxies="127.0.0.0/8")
    await oci.push(REPOSITORY, BLOB)
    asked = await ask(oci, "POST", "/get-presigned-url", b'{"digest": "%s"}' % DIGEST.encode(), FORWARDED)
    url = asked.json()["url"]
    assert url.startswith("https://registry.example.org/signed/")
    target = "/" + url.removeprefix("https://registry.example.org/")
    assert (await ask(oci, "GET", target, headers=FORWARDED)).body == BLOB
    assert refused(await ask(oci, "GET", target), target) == MISMATCH
    told = lambda: [record.remote for record in oci.records if record.endpoint == "signed-blob"]  # noqa: E731
    await until(lambda: told() == ["192.0.2.7", "127.0.0.1"])


async def test_an_untrusted_forwarder_says_nothing(oci: Serving) -> None:
    asked = await ask(oci, "POST", "/get-presigned-url", b'{"digest": "%s"}' % DIGEST.encode(), FORWARDED)
    assert asked.json()["url"].startswith(f"http://{oci.host}:{oci.port}/signed/")
    target = download(oci, base="https://registry.example.org")
    assert refused(await ask(oci, "GET", target, headers=FORWARDED), target) == MISMATCH
    assert {record.remote for record in oci.records} == {"127.0.0.1"}


async def test_a_path_may_be_written_in_the_other_ways_that_clients_have(oci: Serving) -> None:
    """s3-sigv4 1.9: decoded, then encoded by the rules; a whole URL as the target means its path."""
    target = download(oci)
    colon = target.replace("%3A", ":").replace("%3a", ":").partition("?")
    for path in (colon[0], colon[0].replace("sha256:", "sha256%3A"), colon[0].replace("sha256:", "sha256%3a")):
        assert (await ask(oci, "GET", f"{path}?{colon[2]}")).status == 200
    assert (await ask(oci, "GET", f"http://elsewhere{target}")).status == 200
    for path in (f"//signed/blobs/{DIGEST}", f"/signed/./blobs/{DIGEST}", f"/signed/x/../blobs/{DIGEST}"):
        assert (await ask(oci, "GET", f"{path}?{colon[2]}")).status == 404


async def test_the_log_has_the_path_and_never_the_query(oci: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    target = download(oci)
    await ask(oci, "GET", target)
    await ask(oci, "GET", target + "x")
    await until(lambda: [record.endpoint for record in oci.records].count("signed-blob") == 2)
    assert not [record.path for record in oci.records if "?" in record.path]
    assert "X-Amz-Signature" not in caplog.text
    assert target.partition("X-Amz-Signature=")[2] not in caplog.text + repr(oci.records)


async def test_a_signature_means_nothing_to_the_oci_face(oci: Serving) -> None:
    """oci.md 1.0: unknown parameters are ignored."""
    answer = await oci.blob(REPOSITORY, f"{DIGEST}?X-Amz-Signature=0")
    assert answer.status == 200


async def test_a_hidden_repository_is_reached_by_urls_and_spelled_by_nobody(oci: Serving) -> None:
    """H079: what a caller of the hold API has without a repository's name is its own."""
    mine = noise(70_001)
    digest = digest_of(mine)
    put = sign(oci, "PUT", f"/signed/blobs/{digest}", {"repository": HIDDEN})
    assert (await ask(oci, "PUT", target_of(put), mine)).status == 200
    get = target_of(sign(oci, "GET", f"/signed/blobs/{digest}", {"repository": HIDDEN}))
    for _ in range(3):  # it is in memory by then
        assert (await ask(oci, "GET", get)).body == mine
    for target in (f"/v2/{HIDDEN}/blobs/{digest}", f"/v2/%5Fhold/anonymous/blobs/{digest}"):
        answer = await oci.ask("GET", target)
        assert (answer.status, answer.code) == (400, "NAME_INVALID")
    assert (await oci.begin("lab/b", f"?mount={digest}&from={HIDDEN}")).status == 400
    afar = await oci.ask("POST", f"/v2/lab/b/blobs/uploads/?mount={digest}", b"", {"X-Forwarded-For": "192.0.2.1"})
    assert afar.status == 202
    assert (await oci.begin("lab/b", f"?mount={digest}")).status == 201
    assert (await oci.blob("lab/b", digest)).body == mine


async def test_a_hidden_repository_is_in_no_list_but_the_operators(oci: Serving) -> None:
    for repository in ("0/first", HIDDEN, REPOSITORY):
        await put_image(oci.rooms, repository, "1", b"small")
    first = await oci.ask("GET", "/v2/_catalog?n=1")
    assert first.json()["repositories"] == ["0/first"]
    hidden = await oci.ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))
    assert hidden.json()["repositories"] == []
    assert "_hold" not in hidden.headers["Link"]
    last = await oci.ask("GET", hidden.headers["Link"].partition(">")[0].removeprefix("<"))
    assert last.json()["repositories"] == [REPOSITORY]
    assert (await oci.ask("GET", "/v2/_catalog")).json()["repositories"] == ["0/first", REPOSITORY]
    desk = Desk(oci.rooms, None)
    listed = await perform(desk, "repo.list", {})
    assert HIDDEN in [row["name"] for row in listed["repositories"]]
    assert (await perform(desk, "repo.delete", {"name": HIDDEN}))["manifests"] == 1
    with pytest.raises(NameUnknown):
        await perform(desk, "repo.delete", {"name": HIDDEN})


async def test_a_refusal_does_not_wait_for_the_body(oci: Serving) -> None:
    """H036: whoever asks first (Expect: 100-continue) hears the no without sending a byte."""
    target = target_of(sign(oci, "PUT", PATH, {"repository": REPOSITORY}, age_s=5000))
    connection = await Connection.open(oci.host, oci.port)
    await connection.send_head("PUT", target, [("Content-Length", str(1 << 40)), ("Expect", "100-continue")])
    answer = await connection.answer()
    assert refused(answer, target) == DENIED
    assert not answer.keeps_the_connection or answer.status == 403
    await connection.close()
    assert oci.spooled() == []


def test_the_hash_of_the_blob_is_what_these_tests_think() -> None:
    assert hashlib.sha256(BLOB).hexdigest() in DIGEST
    assert os.fspath(PATH).startswith("/signed/")


async def test_urls_of_two_servers_are_not_each_others(serve: Serve) -> None:
    one, other = await serve(), await serve()
    for oci in (one, other):
        await oci.push(REPOSITORY, BLOB)
    target = download(one, base="http://registry")
    assert (await ask(one, "GET", target, host="registry")).status == 200
    assert refused(await ask(other, "GET", target, host="registry"), target) == MISMATCH
    assert signer_at(one, 0).keys is one.rooms.services.signer.keys
