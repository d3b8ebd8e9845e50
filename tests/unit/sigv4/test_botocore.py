"""Wherever botocore can sign, ours signs the same: presigned URLs as sets of arguments, headers to the letter."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from sigv4.authorization import signed_headers
from sigv4.canonical import canonical_query, canonical_request, encoded_path
from sigv4.places import Place, Style, place
from sigv4.presigning import BACK_DATED_S, Form, presign
from sigv4.signing import Credentials, Scope, signature
from tests.unit.sigv4.samples import BODY, BODY_SHA256, DATED_S, DAY_S, EXAMPLE, NOW_S, REGION, STAMP, signature_of

TOKEN = "FwoGZXIvYXdz+/EXAMPLE//token=="
BORROWED = Credentials(EXAMPLE.key_id, EXAMPLE.secret, TOKEN)
KEYS = [
    "plain",
    "a b+c&d=e?f#g%h",
    "sha256:ab/é/日本",
    "//odd//../and/./so",
    "~tilde-._!*'();@$,[]",
    "%41%2F",
    "/lead/",
]


@pytest.fixture(autouse=True)
def _at_the_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", at_the_stamp)


def at_the_stamp() -> datetime:
    return datetime.fromtimestamp(DATED_S, UTC)


def theirs(endpoint: str, style: Style, credentials: Credentials) -> Any:
    """botocore's S3 client there."""
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret,
        aws_session_token=credentials.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style.value}),
    )


@pytest.fixture(
    scope="module",
    params=[
        ("http://127.0.0.1:9000", Style.PATH, EXAMPLE),
        ("https://s3.example.org", Style.PATH, BORROWED),
        ("https://s3.example.org", Style.VIRTUAL, EXAMPLE),
        ("https://s3.example.org:8443", Style.VIRTUAL, BORROWED),
        ("http://[::1]:9000", Style.PATH, EXAMPLE),
    ],
    ids=["path", "path, default port, token", "virtual", "virtual, port, token", "IPv6"],
)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Place, Credentials]]:
    """Their client and our place and credentials for the same store."""
    endpoint, style, credentials = request.param
    client = theirs(endpoint, style, credentials)
    yield client, place(endpoint, "examplebucket", style), credentials
    client.close()


def the_same(ours: str, other: str) -> bool:
    """Whether two URLs ask for the same with the same signature; the order of arguments is free."""
    one, two = urlsplit(ours), urlsplit(other)
    arguments = sorted(parse_qsl(one.query, keep_blank_values=True)), sorted(parse_qsl(two.query, True))
    return one[:3] == two[:3] and arguments[0] == arguments[1]


# The operation, its method, what it takes besides bucket and key, as our parameters, as our headers.
OPERATIONS = {
    "get": ("get_object", "GET", {}, {}, {}),
    "get with overrides": (
        *("get_object", "GET", {"ResponseContentType": "a/b; c=d", "ResponseContentDisposition": 'x; y="ü z"'}),
        {"response-content-type": "a/b; c=d", "response-content-disposition": 'x; y="ü z"'},
        {},
    ),
    "head": ("head_object", "HEAD", {}, {}, {}),
    "delete": ("delete_object", "DELETE", {}, {}, {}),
    "put": ("put_object", "PUT", {}, {}, {}),
    "put with signed headers": (
        *("put_object", "PUT", {"ContentType": "text/plain", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, {}),
        {"Content-Type": "text/plain", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    ),
    "upload a part": (
        *("upload_part", "PUT", {"PartNumber": 7, "UploadId": "up/load+id="}),
        {"partNumber": "7", "uploadId": "up/load+id="},
        {},
    ),
    "upload a part of that length": (
        *("upload_part", "PUT", {"PartNumber": 7, "UploadId": "u", "ContentLength": 21}),
        {"partNumber": "7", "uploadId": "u"},
        {"Content-Length": "21"},
    ),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("operation", "method", "said", "parameters", "headers"), OPERATIONS.values(), ids=OPERATIONS)
def test_a_presigned_url_is_botocores(
    pair: tuple[Any, Place, Credentials],
    key: str,
    operation: str,
    method: str,
    said: dict[str, Any],
    parameters: dict[str, str],
    headers: dict[str, str],
) -> None:
    """M10, M11, M12: uploadId and partNumber are signed arguments; region, host and style are what they should be."""
    client, where, credentials = pair
    asked = {"Bucket": "examplebucket", "Key": key, **said}
    expected = client.generate_presigned_url(operation, asked, ExpiresIn=900)
    life_s = 900 - BACK_DATED_S
    ours = presign(
        *(credentials, where, method, f"/{key}", parameters),
        region=REGION,
        now_s=NOW_S,
        lifetime_s=life_s,
        headers=headers,
    )
    assert the_same(ours.url, expected)


class TheirHashedSigner(botocore.auth.S3SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer of URLs, taught to sign a hash (it has no way of being told one)."""

    def payload(self, request: Any) -> str:
        return BODY_SHA256


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", [Form.HASH_IN_HEADER, Form.HASH])
def test_a_url_with_a_hash_is_what_botocore_would_sign_if_it_could(form: Form, key: str) -> None:
    """M09: the hash is the payload line, and the header is signed."""
    where = place("http://127.0.0.1:9000", "examplebucket")
    extra = {"X-Amz-Content-Sha256": BODY_SHA256} if form is Form.HASH else {}
    request = AWSRequest(
        "PUT",
        f"http://127.0.0.1:9000{where.prefix}{encoded_path('/' + key)}?{canonical_query(extra.items())}",
        headers={"X-Amz-Content-Sha256": BODY_SHA256},
    )
    TheirHashedSigner(TheirCredentials(EXAMPLE.key_id, EXAMPLE.secret), "s3", REGION, DAY_S).add_auth(request)
    life_s = DAY_S - BACK_DATED_S
    ours = presign(
        *(EXAMPLE, where, "PUT", f"/{key}"),
        region=REGION,
        now_s=NOW_S,
        lifetime_s=life_s,
        form=form,
        payload_sha256=BODY_SHA256,
    )
    assert the_same(ours.url, request.url)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("by", [EXAMPLE, BORROWED], ids=["own", "borrowed"])
def test_a_request_signed_in_its_header_is_botocores(key: str, by: Credentials) -> None:
    where = place("http://s3.example.org:9000", "examplebucket")
    parameters = {"partNumber": "7", "uploadId": "up/load+id= é"}
    url = f"{where.root}{where.prefix}{encoded_path('/' + key)}?{canonical_query(parameters.items())}"
    further = {"Content-Type": "  text/plain;   charset=utf-8 ", "x-amz-meta-a": "b"}
    request = AWSRequest("PUT", url, headers=further, data=BODY)
    botocore.auth.S3SigV4Auth(TheirCredentials(by.key_id, by.secret, by.token), "s3", REGION).add_auth(request)
    ours = signed_headers(
        *(by, where, "PUT", f"/{key}", parameters),
        region=REGION,
        now_s=DATED_S,
        payload=BODY_SHA256,
        headers=further,
    )
    assert ours["authorization"] == request.headers["Authorization"]


@settings(deadline=None, max_examples=60)
@given(
    arguments=st.dictionaries(st.text("ab-.~ é=&/+%", min_size=1, max_size=4), st.text(max_size=6), max_size=5),
    body=st.binary(max_size=8),
)
def test_a_url_of_another_service_with_the_hash_of_its_body_is_botocores(
    arguments: dict[str, str], body: bytes
) -> None:
    """The vectors of other services sign an explicit hash in a URL; ours are built of the same pieces."""
    query = canonical_query(arguments.items())
    request = AWSRequest("POST", f"https://example.amazonaws.com/one/two?{query}")
    signer = botocore.auth.SigV4QueryAuth(TheirCredentials(EXAMPLE.key_id, EXAMPLE.secret), "service", REGION, 3600)
    digest = botocore.auth.sha256(body).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", at_the_stamp)
        patch.setattr(signer, "payload", lambda request: digest)
        signer.add_auth(request)
    signed = [
        (name, value)
        for name, value in parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
        if name != "X-Amz-Signature"
    ]
    canonical = canonical_request(
        "POST", "/one/two", canonical_query(signed), [("host", "example.amazonaws.com")], digest
    )
    assert signature_of(request.url) == signature(EXAMPLE.secret, STAMP, Scope(STAMP[:8], REGION, "service"), canonical)
