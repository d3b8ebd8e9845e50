"""Which path means what: names that look like endpoints, percent signs, methods, and what leads nowhere."""

import pytest

from tests.http.oci.content import IMAGE, artifact, digest_of
from tests.http.oci.serving import Serving

CONTENT = artifact("paths")
DIGEST = digest_of(CONTENT)
ENCODED = DIGEST.replace(":", "%3A")


@pytest.mark.parametrize(
    "repository",
    [
        *("blobs", "uploads", "manifests", "tags", "referrers", "list", "v2", "v2/v2", "tags/list", "blobs/uploads"),
        *("a/blobs", "a/blobs/uploads", "manifests/latest", "a/tags/list", "a/manifests/b", "referrers/a", "x/blobs/y"),
        *("a", "0", "a.b_c__d-e---f", "a/b/c/d/e/f/g", "a" * 255, "/".join(["ab"] * 85)),
    ],
)
async def test_a_repository_may_be_called_like_an_endpoint(oci: Serving, repository: str) -> None:
    blob = await oci.push(repository, b"{}")
    assert (await oci.put_manifest(repository, "latest", CONTENT, IMAGE)).status == 201
    for tag in ("list", "uploads", "blobs"):
        assert (await oci.put_manifest(repository, tag, CONTENT, IMAGE)).status == 201
    assert (await oci.blob(repository, blob)).body == b"{}"
    assert (await oci.manifest(repository, "list")).body == CONTENT
    listed = (await oci.tags(repository)).json()
    assert listed == {"name": repository, "tags": ["blobs", "latest", "list", "uploads"]}
    assert await oci.referrers(repository, DIGEST) == []
    location = await oci.session(repository)
    assert location.startswith(f"/v2/{repository}/blobs/uploads/")
    assert (await oci.patch(location, b"x")).status == 202
    assert (await oci.ask("DELETE", location)).status == 204
    assert (await oci.ask("GET", "/v2/_catalog")).json()["repositories"] == [repository]
    assert (await oci.delete(repository, "manifests", DIGEST)).status == 202
    assert (await oci.delete(repository, "blobs", blob)).status == 202


@pytest.mark.parametrize(
    "name",
    [
        *("A", "Lab/tools", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a._b", ".", "..", "a/../b", "a/./b"),
        *(
            "../../etc",
            "%2e%2e",
            "a%2f..%2fb",
            "a%00",
            "a%20b",
            "a b%0a",
            "caf%C3%A9",
            "a:b",
            "a@b",
            "a~",
            "_a",
            "_oci",
        ),
        *("a" * 256, "a\\b", "%61%2", "%", "a+b", "a%2Fb%2F", "xn--%C3%BC"),
    ],
)
async def test_what_is_no_name_is_refused_and_leaves_nothing(oci: Serving, name: str) -> None:
    if " " in name:
        name = name.replace(" ", "%20")
    for method, target in (
        ("GET", f"/v2/{name}/tags/list"),
        ("GET", f"/v2/{name}/manifests/latest"),
        ("POST", f"/v2/{name}/blobs/uploads/"),
        ("GET", f"/v2/{name}/blobs/{DIGEST}"),
        ("GET", f"/v2/{name}/referrers/{DIGEST}"),
    ):
        answer = await oci.ask(method, target, b"" if method == "POST" else None)
        assert (answer.status, answer.code) == (400, "NAME_INVALID"), target
    assert oci.spooled() == []


async def test_a_path_that_is_not_utf_8_names_nothing(oci: Serving) -> None:
    answer = await oci.ask("GET", "/v2/%ff%fe/tags/list")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


async def test_percent_signs_in_a_path_are_read(oci: Serving) -> None:
    await oci.push("lab/tools", b"{}")
    await oci.put_manifest("lab/tools", "latest", CONTENT, IMAGE)
    for path in (
        "lab%2Ftools/manifests/latest",
        "lab/tools/manifests/l%61test",
        "lab/tools/manifests/sha256%3A" + DIGEST[7:],
    ):
        assert (await oci.ask("GET", f"/v2/{path}")).body == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1/", "/v3/", "/V2/", "/v2/_catalog/", "/v2/_oci/ext", "/v2/a", "/v2/a/b/c", "/v2/tags/list", "/v2//"),
        *("/v2/a/tags/list/", "/v2/a/tags/", "/v2/a/manifests/", "/v2/a/blobs/", "/v2/a/manifests", "/v2/manifests/x"),
        *("/v2/a/_x/y", "/v2/blobs/uploads/", "/favicon.ico", "//v2/", "/v2/../v2/", "/%00"),
    ],
)
async def test_a_path_without_an_endpoint_is_unknown(oci: Serving, path: str) -> None:
    answer = await oci.ask("GET", path)
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("target", ["*", "v2/", "http:/v2/"])
async def test_a_target_that_is_no_path_is_refused(oci: Serving, target: str) -> None:
    answer = await oci.ask("GET", target)
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/v2/", "GET, HEAD"),
        ("/v2/_catalog", "GET, HEAD"),
        (f"/v2/a/blobs/{DIGEST}", "DELETE, GET, HEAD"),
        ("/v2/a/blobs/uploads/", "POST"),
        ("/v2/a/blobs/uploads/x", "DELETE, GET, HEAD, PATCH, PUT"),
        ("/v2/a/manifests/latest", "DELETE, GET, HEAD, PUT"),
        ("/v2/a/tags/list", "GET, HEAD"),
        (f"/v2/a/referrers/{DIGEST}", "GET, HEAD"),
    ],
)
async def test_a_method_that_an_endpoint_has_not_is_405_and_told_which_it_has(
    oci: Serving, target: str, allowed: str
) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        if method not in allowed.split(", "):
            answer = await oci.ask(method, target, b"" if method in ("POST", "PUT", "PATCH") else None)
            assert (answer.status, answer.headers["Allow"]) == (405, allowed)
            if method != "HEAD":
                assert answer.code == "UNSUPPORTED"


async def test_a_request_may_name_the_whole_url(oci: Serving) -> None:
    # RFC 9112 section 3.2.2: a server must accept the absolute form, which clients send to proxies.
    await oci.push("lab/tools", b"{}")
    base = f"http://{oci.host}:{oci.port}"
    assert (await oci.ask("GET", f"{base}/v2/")).body == b"{}"
    assert (await oci.ask("GET", f"{base}/v2/lab/tools/tags/list?n=1")).status == 200


@pytest.mark.parametrize("given", ["abc-123", "A.b_c", "x" * 64])
async def test_a_request_keeps_its_id(oci: Serving, given: str) -> None:
    assert (await oci.ask("GET", "/v2/", headers={"X-Request-Id": given})).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a;b", "ü"])
async def test_an_id_that_cannot_be_written_down_is_replaced(oci: Serving, given: str) -> None:
    answer = await oci.ask("GET", "/v2/", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] not in ("", given)


@pytest.mark.parametrize(
    "target", ["/v2/lab/tools/tags/list", "/v2/_catalog", "/v2/", "/v2/lab/tools/manifests/latest"]
)
@pytest.mark.parametrize("query", ["ns=docker.io", "&&&", "=", "a=b=c", "%", "%zz=%ff", "n", "last"])
async def test_unknown_and_odd_query_parameters_are_ignored(oci: Serving, target: str, query: str) -> None:
    await oci.push("lab/tools", b"{}")
    await oci.put_manifest("lab/tools", "latest", CONTENT, IMAGE)
    answer = await oci.ask("GET", f"{target}?{query}")
    assert answer.status == (400 if query == "n" and ("list" in target or "catalog" in target) else 200)


async def test_more_parameters_than_any_client_sends_are_414(oci: Serving) -> None:
    for query in ("&" * 2000, "a=1&" * 1500):
        assert (await oci.ask("GET", f"/v2/_catalog?{query}")).status == 414
