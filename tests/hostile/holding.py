"""Requests to the hold API and to signed URLs that are hostile: bodies, fields, paths, queries, methods, headers.

In bodies and targets `{part}` is the id of a fresh upload in parts, `{blob}` and `{absent}` are digests.
"""

import json
from typing import Any, Final

from tests.hostile.rows import Row, quoted, zeros

START, PART_URL, COMPLETE, ABORT = "/start-multipart", "/part-presigned-url", "/complete-multipart", "/abort-multipart"
XRPC = "/xrpc/io.atcr.hold."
POSTS: Final = (
    *(START, PART_URL, COMPLETE, ABORT, "/put-presigned-url", "/get-presigned-url", "/head-presigned-url"),
    *(f"{XRPC}{name}" for name in ("initiateUpload", "getPartUploadUrl", "completeUpload", "abortUpload")),
)
SMALL_BYTES: Final = 64 * 1024
JSON_TYPE: Final = (("Content-Type", "application/json"),)

_BODIES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a blank": b" ",
    "a word": b"nothing",
    "a string": b'"x"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a list of objects": b'[{"did": "x"}]',
    "half an object": b'{"digest": "x"',
    "two objects": b"{}{}",
    "something behind": b"{} x",
    "a comma at the end": b'{"digest": "x",}',
    "a comment": b'{/* */"digest": "x"}',
    "single quotes": b"{'digest': 'x'}",
    "NUL": b'{"digest": "\0"}',
    "NUL before": b"\0{}",
    "a raw newline in a string": b'{"digest": "a\nb"}',
    "not a number": b'{"digest": NaN}',
    "infinity": b'{"size": Infinity}',
    "minus infinity": b'{"size": -Infinity}',
    "a number of 5,000 digits": b'{"size": ' + b"9" * 5000 + b"}",
    "a number of a million digits": b'{"size": ' + b"9" * 1_000_000 + b"}",
    "UTF-16": '{"digest": "x"}'.encode("utf-16"),
    "UTF-32": '{"digest": "x"}'.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "no UTF-8": b'{"digest": "\xff\xfe"}',
    "overlong UTF-8": b'{"digest": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"digest": "\xed\xa0\x80"}',
    "lists in lists": b"[" * 100_000,
    "closed lists in lists": b"[" * 100_000 + b"]" * 100_000,
    "objects in objects": b'{"a":' * 100_000,
    "closed objects in objects": b'{"digest":' * 100_000 + b"1" + b"}" * 100_000,
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3\xab\xae\5\0\x43\xbf\xa6\xa3\2\0\0\0",
    "a form": b"digest=x&did=y",
    "XML": b"<digest>x</digest>",
}


def _refused_with(post: str, body: bytes) -> int:
    """413 for what no call needs that lists no parts."""
    return 413 if len(body) > SMALL_BYTES and not post.endswith(("complete-multipart", "completeUpload")) else 400


BODIES: Final = [
    Row(f"{post.rpartition('/')[2]}: {what}", "POST", post, _refused_with(post, body), "", JSON_TYPE, body)
    for post in POSTS
    for what, body in _BODIES.items()
] + [Row(f"{post.rpartition('/')[2]}: 3 MiB", "POST", post, 413, "", (), b" " * (3 << 20)) for post in POSTS]

LONG: Final = "x" * 60_000
_NO_TEXT: Final[dict[str, Any]] = {"zero": 0, "true": True, "list": [], "object": {}, "fraction": 0.5, "huge": 10**400}
_NO_NUMBER: Final[dict[str, Any]] = {
    "minus": -1,
    "fraction": 1.5,
    "whole fraction": 1.0,
    "true": True,
    "text": "1",
    "list": [1],
    "object": {"1": 1},
    "beyond 64 bits": 1 << 64,
    "huge": 10**400,
    "empty": "",
    "Arabic": "٣",
}
_NO_DIGEST: Final[dict[str, Any]] = {
    **_NO_TEXT,
    "a word": "x",
    "half": "sha256:",
    "short": "sha256:ab",
    "upper": "sha256:" + "A" * 64,
    "MD5": "md5:" + zeros(32),
    "NUL": "sha256:\0" + zeros(63),
    "newline": f"sha256:{zeros(64)}\n",
    "long": LONG,
    "surrogate": "\ud800",
    "parent": "uploads/temp-../../etc",
    "up": "uploads/temp-..",
    "slash": "uploads/temp-a/b",
    "root": "/etc/passwd",
    "no id": "uploads/temp-",
    "another folder": "docker/temp-1",
    "too long an id": "uploads/temp-" + "x" * 129,
    "NUL in an id": "uploads/temp-\0",
    "URL": "http://x/",
    "Kelvin": "uploads/temp-\u212a",
    "blank": " ",
}
_NO_ID: Final[dict[str, Any]] = {**_NO_TEXT, "empty": "", "null": None, "long": LONG}
_STRANGE_ID: Final[dict[str, Any]] = {
    "parent": "../../catalog.sqlite3",
    "NUL": "\0",
    "newline": "a\nb",
    "escape": "\x1b[31m",
    "surrogate": "\udfff",
    "percent": "%00",
    "wildcard": "*",
    "SQL": "' OR 1=1 --",
    "format": "{0}%s",
    "root": "/etc/passwd",
    "Kelvin": "\u212a",
}
_NO_DID: Final[dict[str, Any]] = {
    **_NO_TEXT,
    "newline": "a\nX-Injected: 1",
    "escape": "\x1b[31m",
    "surrogate": "\ud800",
}
_NO_REPOSITORY: Final[dict[str, Any]] = {
    **_NO_TEXT,
    "hidden": "_hold/anonymous",
    "another hidden": "_hold/hold",
    "parent": "../x",
    "upper": "Lab",
    "NUL": "a\0b",
}
_NO_HASH: Final[dict[str, Any]] = {**_NO_TEXT, "short": "ab", "no hex": "g" * 64, "long": LONG, "NUL": "\0" * 64}
_NO_PARTS: Final[dict[str, Any]] = {
    "none": [],
    "null": None,
    "text": "[]",
    "object": {},
    "number": 1,
    "nulls": [None],
    "lists": [[]],
    "empty": [{}],
    "no etag": [{"part_number": 1}],
    "no number": [{"etag": "x"}],
    "unknown": [{"part_number": 1, "etag": "x"}],
    "zeroth": [{"part_number": 0, "etag": "x"}],
    "beyond": [{"part_number": 10**30, "etag": "x"}],
    "etag of a list": [{"part_number": 1, "etag": []}],
    "true": [{"part_number": True, "etag": "x"}],
    "long etag": [{"part_number": 1, "etag": LONG}],
    "twice": [{"part_number": 1, "etag": "x"}] * 2,
    "too many": [{"part_number": 1, "etag": "x"}] * 10_001,
    "a great many": [{"part_number": number, "etag": "x" * 64} for number in range(1, 10_001)],
    "surrogate": [{"part_number": 1, "etag": "\ud800"}],
}

_GOOD: Final[dict[str, dict[str, Any]]] = {
    START: {"did": "did:x:y", "digest": "{absent}", "repository": "lab/hold", "size": 10_000_000},
    PART_URL: {"did": "did:x:y", "digest": "{absent}", "upload_id": "{part}", "part_number": 1},
    COMPLETE: {"did": "did:x:y", "digest": "{absent}", "upload_id": "{part}", "parts": []},
    ABORT: {"did": "did:x:y", "digest": "{absent}", "upload_id": "{part}"},
    "/put-presigned-url": {"did": "did:x:y", "digest": "{absent}", "repository": "lab/hold"},
    "/get-presigned-url": {"did": "did:x:y", "digest": "{blob}", "repository": "lab/tools"},
    "/head-presigned-url": {"did": "did:x:y", "digest": "{blob}", "repository": "lab/tools"},
}
_FIELDS: Final[list[tuple[str, str, dict[str, Any], int]]] = [
    *((post, "digest", _NO_DIGEST, 400) for post in _GOOD),
    *((post, "did", _NO_DID, 400) for post in (START, PART_URL, "/put-presigned-url", "/get-presigned-url")),
    *((post, "upload_id", _NO_ID, 400) for post in (PART_URL, COMPLETE, ABORT)),
    *((post, "upload_id", _STRANGE_ID, 404) for post in (PART_URL, COMPLETE, ABORT)),
    *((post, "repository", _NO_REPOSITORY, 400) for post in (START, "/put-presigned-url", "/get-presigned-url")),
    (START, "size", _NO_NUMBER, 400),
    (START, "part_size", {**_NO_NUMBER, "zero": 0, "tiny": 1}, 400),
    (PART_URL, "part_number", {**_NO_NUMBER, "zero": 0, "null": None, "beyond": 10_001}, 400),
    (PART_URL, "size", _NO_NUMBER, 400),
    (PART_URL, "sha256", _NO_HASH, 400),
    ("/put-presigned-url", "sha256", _NO_HASH, 400),
    (COMPLETE, "parts", _NO_PARTS, 400),
]


def _sent(good: dict[str, Any], field: str, value: object) -> bytes:
    return json.dumps({**good, field: value}).encode()


FIELDS: Final = [
    Row(f"{post[1:]}, {field}: {what}", "POST", post, status, "", JSON_TYPE, _sent(_GOOD[post], field, value))
    for post, field, values, status in _FIELDS
    for what, value in values.items()
]

_TWICE: Final = {
    "two spellings that differ": b'{"digest": "{absent}", "Digest": "{blob}"}',
    "three spellings that differ": b'{"upload_id": "{part}", "uploadId": "{part}", "UploadID": "x"}',
    "a key twice, the last is none": b'{"digest": "{absent}", "digest": 5}',
}
TWICE: Final = [Row(f"start: {what}", "POST", START, 400, "", (), body) for what, body in _TWICE.items()]

_NUMBERS: Final = (
    "0",
    "-1",
    "10001",
    "1e3",
    "1.0",
    "01",
    "+1",
    "0x1",
    quoted("٣"),
    "%00",
    "%201",
    "9" * 50,
    "a",
    "1;2",
)
_IDS: Final = ("..", ".", "%2e%2e", "..%2f..%2fcatalog.sqlite3", "%00", "%0a", "*", "x" * 5000, quoted("й"), "%ff", "~")
PARTS: Final = [
    *(Row(f"part {n[:20]}", "PUT", f"/multipart-parts/{{part}}/{n}", 400, "", (), b"x") for n in _NUMBERS),
    *(
        Row(f"part of {name[:30]}", "PUT", f"/multipart-parts/{name}/1", 404, "", (), b"x")
        for name in _IDS
        if "%2f" not in name and name != "%ff"
    ),
    Row("part of a quoted path", "PUT", "/multipart-parts/..%2f..%2fcatalog.sqlite3/1", 404, "", (), b"x"),
    Row("part of no UTF-8", "PUT", "/multipart-parts/%ff/1", 400, "", (), b"x"),
    Row("part of nothing", "PUT", "/multipart-parts//1", 404, "", (), b"x"),
    Row("no part", "PUT", "/multipart-parts/{part}/", 404, "", (), b"x"),
    Row("more than a part", "PUT", "/multipart-parts/{part}/1/2", 404, "", (), b"x"),
    Row("parts of nothing", "GET", "/multipart-parts/", 404),
    Row("parts of nobody", "GET", "/multipart-parts/x", 404),
    Row("uploadPart without anything", "PUT", f"{XRPC}uploadPart", 400, "", (), b"x"),
    Row("uploadPart of NUL", "PUT", f"{XRPC}uploadPart?uploadId=%00&partNumber=1", 404, "", (), b"x"),
    Row("uploadPart number", "PUT", f"{XRPC}uploadPart?uploadId={{part}}&partNumber=" + "9" * 100, 400, "", (), b"x"),
    Row("uploadPart twice", "PUT", f"{XRPC}uploadPart?uploadId={{part}}&uploadId=x&partNumber=1", 400, "", (), b"x"),
]

QUERIES: Final = [
    Row("move without anything", "POST", "/move", 400),
    Row("move from a digest", "POST", "/move?from={blob}&to={blob}", 400),
    Row("move to a temporary name", "POST", "/move?from=uploads/temp-1&to=uploads/temp-2", 400),
    Row("move from nowhere", "POST", "/move?from=uploads/temp-1&to={absent}", 404),
    Row("move up", "POST", "/move?from=uploads/temp-..%2f..&to={absent}", 400),
    Row("move from NUL", "POST", "/move?from=uploads/temp-%00&to={absent}", 400),
    Row("move to what differs", "POST", "/move?from=uploads/temp-1&to={absent}&to={blob}", 400),
    Row("move with a thousand parameters", "POST", f"/move?{'&'.join(['a=1'] * 1500)}", 414),
    Row("getBlob of nothing", "GET", "/xrpc/com.atproto.sync.getBlob", 400),
    Row("getBlob of NUL", "GET", "/xrpc/com.atproto.sync.getBlob?cid=%00", 400),
    Row("getBlob of no UTF-8", "GET", "/xrpc/com.atproto.sync.getBlob?cid=%ff%fe", 400),
    Row("getBlob of a temporary name", "GET", "/xrpc/com.atproto.sync.getBlob?cid=uploads/temp-1", 404),
    Row("getBlob of what is not there", "GET", "/xrpc/com.atproto.sync.getBlob?cid={absent}", 404),
    Row("getBlob in a hidden place", "GET", "/xrpc/com.atproto.sync.getBlob?cid={blob}&repository=_hold/hold", 400),
    Row(
        "getBlob behind its end",
        "GET",
        "/xrpc/com.atproto.sync.getBlob?cid={blob}",
        416,
        "",
        (("Range", "bytes=9999-"),),
    ),
    Row("an unknown call", "POST", "/xrpc/io.atcr.hold.dropEverything", 404),
    Row("no call", "GET", "/xrpc/", 404),
    Row("a call with NUL", "POST", "/xrpc/io.atcr.hold.%00", 404),
    Row("a call in another case", "POST", "/xrpc/IO.ATCR.HOLD.initiateUpload", 404),
]

_WRONG: Final = {
    **dict.fromkeys((*POSTS, "/move"), "POST"),
    **dict.fromkeys(("/capabilities", "/xrpc/com.atproto.sync.getBlob", "/multipart-parts/x"), "GET, HEAD"),
    **dict.fromkeys(("/multipart-parts/x/1", f"{XRPC}uploadPart"), "PUT"),
    "/signed/blobs/{blob}": "GET, HEAD, PUT",
    "/signed/uploads/temp-1": "PUT",
}
METHODS: Final = [
    Row(f"{method} {path}", method, path, 405, allowed)
    for path, allowed in _WRONG.items()
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "GET", "POST", "PROPFIND")
    if method not in allowed.split(", ")
]
"""In `code` stands what Allow must say."""

_SIGNED: Final = "/signed/blobs/{blob}?repository=lab%2Ftools&"
_ARGUMENTS: Final = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": "hf0123456789abcdef%2F20260101%2Fholdfast%2Fs3%2Faws4_request",
    "X-Amz-Date": "20260101T000000Z",
    "X-Amz-Expires": "900",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": zeros(64),
}


def _query(**other: str) -> str:
    changed = {name.replace("_", "-"): value for name, value in other.items()}
    return _SIGNED + "&".join(f"{name}={value}" for name, value in {**_ARGUMENTS, **changed}.items())


_CHANGES: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "X_Amz_Algorithm": (("", "AWS4-HMAC-SHA1", "none", "%00", "AWS3", "%ff"), 400),
    "X_Amz_Credential": (("", "x", "%2F%2F%2F%2F", "a%2Fb%2Fc%2Fd%2Fe", "%00", "%ff", "x" * 3000), 400),
    "X_Amz_Date": (("", "now", "20261332T256161Z", "20260101T000000", "99999999T999999Z", "%00", quoted("٢٠٢٦")), 400),
    "X_Amz_Expires": (("", "0", "-1", "604801", "1e3", "9" * 400, "%00", quoted("٩"), "1.5"), 400),
    "X_Amz_SignedHeaders": (("", "x-y", ";", "Host", "host%3Bhost", "%00", "host%0Ax", ";".join("abc") * 300), 400),
    "X_Amz_Signature": (("", "x", "0" * 63, "0" * 65, "G" * 64, "%00" * 64, "A" * 64), 400),
}
SIGNED: Final = [
    *(
        Row(f"signed, {name}={value[:24]}", "GET", _query(**{name: value}), status)
        for name, (values, status) in _CHANGES.items()
        for value in values
    ),
    Row("signed by nobody", "GET", _query(), 403),
    Row("signed with a thousand parameters", "GET", _query() + "&a=1" * 1500, 400),
    Row("signed without a value", "GET", _SIGNED + "X-Amz-Signature", 400),
    Row("signed in another case", "GET", _SIGNED + "x-amz-signature=" + zeros(64), 400),
    Row("signed in escapes", "GET", _SIGNED + "X%2dAmz%2dSignature=" + zeros(64), 400),
    Row("half an escape", "GET", _query() + "&a=%2", 400),
    Row("signed for no blob", "GET", "/signed/blobs/?X-Amz-Signature=0", 404),
    Row("signed for a path", "GET", "/signed/blobs/..%2f..%2fetc%2fpasswd?X-Amz-Signature=0", 404),
    Row("signed for a folder", "GET", "/signed/../v2/?X-Amz-Signature=0", 404),
    Row("nothing below signed", "GET", "/signed/", 404),
    Row("not signed", "GET", "/signed/blobs/{blob}?repository=lab/tools", 403),
    Row("not signed, in a header", "GET", "/signed/blobs/{blob}", 403, "", (("Authorization", "AWS4-HMAC-SHA256 x"),)),
    Row("a temporary name up", "PUT", "/signed/uploads/..?X-Amz-Signature=0", 400, "", (), b"x"),
    Row("a part signed by nobody", "PUT", "/multipart-parts/{part}/1?" + _query().partition("&")[2], 403, "", (), b"x"),
    Row("a part signed with nonsense", "PUT", "/multipart-parts/{part}/1?X-Amz-Signature=%00", 400, "", (), b"x"),
    Row("a Host that is none", "GET", _query(), 400, "", (("Host", "a b"),)),
]

_CLAIMS: Final = {
    "from here": ("X-Forwarded-For", "127.0.0.1"),
    "from a list": ("X-Forwarded-For", ", ".join(["127.0.0.1"] * 900)),
    "from commas": ("X-Forwarded-For", "," * 8000),
    "from bytes": ("X-Forwarded-For", "\xff\xfe"),
    "Forwarded": ("Forwarded", 'for="[::1]";host="evil' * 100),
    "Forwarded backslashes": ("Forwarded", 'for="' + "\\" * 8000),
    "Via": ("Via", "1.1 x"),
    "a real address": ("X-Real-IP", "127.0.0.1"),
}
CLAIMS: Final = [
    Row(f"claims to come {what}", "POST", START, 403, "", (field,), json.dumps(_GOOD[START]).encode())
    for what, field in _CLAIMS.items()
]

ROWS: Final = [*BODIES, *FIELDS, *TWICE, *PARTS, *QUERIES, *METHODS, *SIGNED, *CLAIMS]
