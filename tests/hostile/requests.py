"""Requests whose method, target, query, headers or ranges are hostile, one row each."""

from tests.hostile.rows import Headers, Row, quoted, zeros

DIGEST = "sha256:" + zeros(64)
IMAGE = "application/vnd.oci.image.manifest.v1+json"
TOOLS = "/v2/lab/tools"

TARGETS = [
    Row("nothing there", "GET", "/index.html", 404),
    Row("no registry path", "GET", "/etc/passwd", 404),
    Row("git folder", "GET", "/.git/config", 404),
    Row("version 1", "GET", "/v1/_ping", 404),
    Row("version 3", "GET", "/v3/", 404),
    Row("double slash first", "GET", "//v2/", 404),
    Row("double slash last", "GET", "/v2//", 404),
    Row("dot", "GET", "/v2/./", 404),
    Row("parent", "GET", "/v2/../v2/", 404),
    Row("parents", "GET", "/v2/../../../../etc/passwd", 404),
    Row("quoted parents", "GET", "/v2/%2e%2e/%2e%2e/etc/passwd", 404),
    Row("NUL", "GET", "/v2/%00", 404),
    Row("NUL before", "GET", "/%00/v2/", 404),
    Row("no endpoint", "GET", "/v2/lab/tools", 404),
    Row("no endpoint, word alone", "GET", "/v2/manifests", 404),
    Row("no repository, manifests", "GET", "/v2/manifests/1", 404),
    Row("no repository, tags", "GET", "/v2/tags/list", 404),
    Row("empty repository", "GET", "/v2//manifests/1", 404),
    Row("no reference", "GET", f"{TOOLS}/manifests/", 404),
    Row("no digest", "GET", f"{TOOLS}/blobs/", 404),
    Row("no referrers digest", "GET", f"{TOOLS}/referrers/", 404),
    Row("tags without list", "GET", f"{TOOLS}/tags/", 404),
    Row("tags of another word", "GET", f"{TOOLS}/tags/all", 404),
    Row("slash in a tag", "GET", f"{TOOLS}/manifests/a/b", 404),
    Row("quoted slash in a tag", "GET", f"{TOOLS}/manifests/a%2fb", 404),
    Row("file beside a blob", "GET", f"{TOOLS}/blobs/{DIGEST}/data", 404),
    Row("reserved extension", "GET", "/v2/_oci/ext/discover", 404),
    Row("unknown repository, manifest", "GET", "/v2/no/such/manifests/1", 404, "MANIFEST_UNKNOWN"),
    Row("unknown repository, blob", "GET", f"/v2/no/such/blobs/{DIGEST}", 404, "BLOB_UNKNOWN"),
    Row("unknown repository, tags", "GET", "/v2/no/such/tags/list", 404, "NAME_UNKNOWN"),
    Row("unknown repository, delete", "DELETE", "/v2/no/such/manifests/1", 404),
    Row("blob of another repository", "GET", "/v2/other/blobs/{blob}", 404, "BLOB_UNKNOWN"),
    Row("manifest of another repository", "GET", "/v2/other/manifests/{manifest}", 404, "MANIFEST_UNKNOWN"),
    Row("absent blob, HEAD", "HEAD", f"{TOOLS}/blobs/{{absent}}", 404),
    Row("absent blob, DELETE", "DELETE", f"{TOOLS}/blobs/{{absent}}", 404, "BLOB_UNKNOWN"),
    Row(
        "session that never was",
        "GET",
        f"{TOOLS}/blobs/uploads/{zeros(8)}-0000-0000-0000-{zeros(12)}",
        404,
        "BLOB_UPLOAD_UNKNOWN",
    ),
    Row("session with a path", "GET", f"{TOOLS}/blobs/uploads/..%2f..%2fcatalog.sqlite3", 404),
    Row("session with parents", "PATCH", f"{TOOLS}/blobs/uploads/%2e%2e", 404, "BLOB_UPLOAD_UNKNOWN", (), b"x"),
    Row(
        "session with NUL", "PUT", f"{TOOLS}/blobs/uploads/a%00b?digest={DIGEST}", 404, "BLOB_UPLOAD_UNKNOWN", (), b"x"
    ),
    Row("session of 4000 characters", "DELETE", f"{TOOLS}/blobs/uploads/{'a' * 4000}", 404, "BLOB_UPLOAD_UNKNOWN"),
    Row("a target too long", "GET", f"/v2/{'a' * 9000}/tags/list", 414),
    Row("a query too long", "GET", f"{TOOLS}/tags/list?last={'a' * 9000}", 414),
]

METHODS = [
    *(
        Row(f"{method} {target}", method, target, 405, "UNSUPPORTED")
        for method in ("TRACE", "OPTIONS", "PROPFIND", "MKCOL", "QUERY")
        for target in ("/v2/", f"{TOOLS}/manifests/1", f"{TOOLS}/blobs/{{blob}}", f"{TOOLS}/tags/list")
    ),
    *(Row(f"the method {method[:9]}", method, "/v2/", 400) for method in ("GETT", "get", "Get", "GET,HEAD", "X" * 100)),
    Row("POST of a manifest", "POST", f"{TOOLS}/manifests/1", 405, "UNSUPPORTED", (), b"{}"),
    Row("PATCH of a manifest", "PATCH", f"{TOOLS}/manifests/1", 405, "UNSUPPORTED", (), b"{}"),
    Row("PUT of a blob", "PUT", f"{TOOLS}/blobs/{{blob}}", 405, "UNSUPPORTED", (), b"x"),
    Row("POST of a blob", "POST", f"{TOOLS}/blobs/{{blob}}", 405, "UNSUPPORTED", (), b"x"),
    Row("PUT of tags", "PUT", f"{TOOLS}/tags/list", 405, "UNSUPPORTED", (), b"x"),
    Row("DELETE of tags", "DELETE", f"{TOOLS}/tags/list", 405, "UNSUPPORTED"),
    Row("POST of the catalog", "POST", "/v2/_catalog", 405, "UNSUPPORTED"),
    Row("DELETE of referrers", "DELETE", f"{TOOLS}/referrers/{DIGEST}", 405, "UNSUPPORTED"),
    Row("GET of all uploads", "GET", f"{TOOLS}/blobs/uploads/", 405, "UNSUPPORTED"),
    Row("DELETE of all uploads", "DELETE", f"{TOOLS}/blobs/uploads/", 405, "UNSUPPORTED"),
    Row("POST to a session", "POST", "{upload}", 405, "UNSUPPORTED"),
    Row("POST to the ping", "POST", "/v2/", 405, "UNSUPPORTED"),
    Row("POST of health", "POST", "/healthz", 405),
    Row("DELETE of metrics", "DELETE", "/metrics", 405),
]

QUERIES = [
    Row("a thousand parameters more than anybody needs", "GET", f"{TOOLS}/tags/list?{'&'.join(['a=1'] * 1500)}", 414),
    Row("as many without values", "PUT", f"{TOOLS}/manifests/1?{'&' * 3000}b", 414, "", (), b"{}"),
    Row("an algorithm that is none", "POST", f"{TOOLS}/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
    Row("an algorithm with NUL", "POST", f"{TOOLS}/blobs/uploads/?digest-algorithm=sha256%00", 400, "DIGEST_INVALID"),
    Row("an algorithm of OpenSSL", "POST", f"{TOOLS}/blobs/uploads/?digest-algorithm=shake_128", 400, "DIGEST_INVALID"),
    Row("an empty mount", "POST", f"{TOOLS}/blobs/uploads/?mount=&from=lab/tools", 400, "DIGEST_INVALID"),
    Row("a closing PUT without digest", "PUT", "{upload}", 400, "DIGEST_INVALID", (), b"x"),
    Row("a closing PUT with an empty digest", "PUT", "{upload}?digest=", 400, "DIGEST_INVALID", (), b"x"),
    Row("a last digest that is none", "PUT", "{upload}?digest={blob}&digest=x", 400, "DIGEST_INVALID", (), b"x"),
    Row("a tag parameter at a tag", "PUT", f"{TOOLS}/manifests/1?tag=2", 400, "", (), b"{}"),
    Row(
        "101 tags",
        "PUT",
        f"{TOOLS}/manifests/{{manifest}}?{'&'.join(f'tag=t{n}' for n in range(101))}",
        414,
        "",
        (),
        b"{}",
    ),
    Row("a state ahead", "PATCH", "{upload}?_state=5", 416, "BLOB_UPLOAD_INVALID", (), b"x"),
    Row("a state far ahead", "PATCH", "{upload}?_state=" + "9" * 18, 416, "BLOB_UPLOAD_INVALID", (), b"x"),
    Row(
        "another's bytes for a digest",
        "POST",
        f"{TOOLS}/blobs/uploads/?digest={DIGEST}",
        400,
        "DIGEST_INVALID",
        (),
        b"x",
    ),
]

_UPLOAD_RANGES = {
    "word": "abc",
    "unit alone": "bytes",
    "one number": "1",
    "no end": "0-",
    "no start": "-4",
    "backwards": "5-2",
    "sign": "+0-4",
    "minus": "-1-4",
    "hex": "0x0-0x4",
    "fraction": "0.0-4.0",
    "list": "0-1,2-4",
    "spaces": "0 - 4",
    "other unit": "items 0-4/*",
    "unknown range": "bytes */5",
    "beyond any number": "0-" + "9" * 30,
    "both beyond": f"{'9' * 25}-{'9' * 26}",
    "Arabic digits": quoted("٠-٤"),
    "latin-1": "0\xad4",
    "total that is none": "0-4/x",
    "empty": "",
    "not where it stands": "1-5",
    "far from where it stands": "1000000-1000004",
}
UPLOAD_RANGES = [
    *(
        Row(
            f"Content-Range, {what}, {method}",
            method,
            target,
            416,
            "BLOB_UPLOAD_INVALID",
            (("Content-Range", text),),
            b"hello",
        )
        for what, text in _UPLOAD_RANGES.items()
        for method, target in (("PATCH", "{upload}"), ("PUT", f"{{upload}}?digest={DIGEST}"))
    ),
    Row(
        "Content-Range longer than the body",
        "PATCH",
        "{upload}",
        400,
        "SIZE_INVALID",
        (("Content-Range", "0-9"),),
        b"hello",
    ),
    Row(
        "Content-Range shorter than the body",
        "PATCH",
        "{upload}",
        400,
        "SIZE_INVALID",
        (("Content-Range", "0-1"),),
        b"hello",
    ),
    Row("Content-Range without a body", "PATCH", "{upload}", 400, "SIZE_INVALID", (("Content-Range", "0-4"),), b""),
    Row(
        "two Content-Ranges",
        "PATCH",
        "{upload}",
        400,
        "",
        (("Content-Range", "0-4"), ("Content-Range", "0-9")),
        b"hello",
    ),
]

_DOWNLOADS = {
    "first byte": ("bytes=0-0", 206),
    "open end": ("bytes=4999-", 206),
    "last byte": ("bytes=-1", 206),
    "more than all from the end": ("bytes=-99999", 206),
    "end behind the end": ("bytes=0-99999", 206),
    "upper case unit": ("BYTES=0-1", 206),
    "two": ("bytes=0-1,5-6", 206),
    "behind the end": ("bytes=5000-", 416),
    "far behind the end": ("bytes=999999999999999999-", 416),
    "backwards": ("bytes=500-0", 416),
    "none from the end": ("bytes=-0", 416),
    "two behind the end": ("bytes=5000-5001,6000-", 416),
    "word": ("bytes=abc", 200),
    "no numbers": ("bytes=-", 200),
    "nothing": ("bytes=", 200),
    "commas": ("bytes=,,,", 200),
    "other unit": ("items=0-1", 200),
    "no equals": ("bytes 0-1", 200),
    "hex": ("bytes=0x0-0x1", 200),
    "sign": ("bytes=+1-2", 200),
    "two minus": ("bytes=--1", 200),
    "three numbers": ("bytes=1-2-3", 200),
    "beyond any number": (f"bytes={'9' * 40}-", 200),
    "Arabic digits": (f"bytes={quoted('٠')}-", 200),
    "latin-1 digits": ("bytes=\xb2-\xb3", 200),
    "a hundred ranges": ("bytes=" + ",".join(f"{at}-{at}" for at in range(100)), 200),
    "a thousand times the whole": ("bytes=" + ",".join(["0-"] * 1000), 200),
    "overlapping beyond the blob": ("bytes=0-4000,1-4500", 200),
}
DOWNLOAD_RANGES = [
    *(
        Row(f"Range, {what}", "GET", f"{TOOLS}/blobs/{{blob}}", status, "", (("Range", text),))
        for what, (text, status) in _DOWNLOADS.items()
    ),
    Row(
        "Range, two headers",
        "GET",
        f"{TOOLS}/blobs/{{blob}}",
        206,
        "",
        (("Range", "bytes=0-1"), ("Range", "bytes=5-6")),
    ),
]


def _ping(name: str, status: int, *headers: tuple[str, str]) -> Row:
    return Row(name, "GET", "/v2/", status, "", headers)


_MANY: Headers = tuple((f"X-Number-{number}", "x") for number in range(200))
HEADERS = [
    _ping("a header of 100 KiB", 431, ("X-Long", "a" * 100_000)),
    _ping("a header name of 100 KiB", 431, ("X" * 100_000, "a")),
    _ping("200 headers", 431, *_MANY),
    _ping("a NUL in a value", 400, ("X-Bad", "a\0b")),
    _ping("a bare carriage return", 400, ("X-Bad", "a\rX-Injected: 1")),
    _ping("a folded header", 400, ("X-Bad", "a\r\n b")),
    _ping("a space before the colon", 400, ("X-Bad ", "a")),
    _ping("a space in a name", 400, ("X Bad", "a")),
    _ping("an empty name", 400, ("", "a")),
    _ping("a name in latin-1", 400, ("X-B\xe4d", "a")),
    _ping("a NUL in a name", 400, ("X-B\0d", "a")),
    _ping("a name in brackets", 400, ("X-(Bad)", "a")),
    _ping("a second Host", 400, ("Host", "another")),
    _ping("a value in latin-1", 200, ("User-Agent", "\xe4\xf6\xfc\xff")),
    _ping("a value in UTF-8", 200, ("User-Agent", "\xe2\x98\x83")),
    _ping("a request id with an escape sequence", 400, ("X-Request-Id", "\x1b[31mred")),
    _ping("a request id with quoted line ends", 200, ("X-Request-Id", "a%0d%0aX-Injected: 1")),
    _ping("a request id of 10 KiB", 200, ("X-Request-Id", "a" * 10_000)),
    _ping("a request id with latin-1 line ends", 200, ("X-Request-Id", "a\x85X-Injected: 1")),
    _ping("an agent with quotes", 200, ("User-Agent", 'a" 500 0B 0ms "')),
    _ping("an agent with an escape sequence", 400, ("User-Agent", "\x1b]0;x\x07")),
    _ping("a proxy's words", 200, ("X-Forwarded-For", "1.2.3.4, evil"), ("X-Forwarded-Proto", "javascript")),
    _ping("a host that is none", 200, ("X-Forwarded-Host", "evil/../x")),
    _ping("credentials that are none", 200, ("Authorization", "Basic !!!!")),
    _ping("a token of 8 KiB", 200, ("Authorization", "Bearer " + "x" * 8000)),
    _ping("an upgrade", 200, ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")),
    Row("an upgrade to a socket", "GET", "/v2/", 200, "", (("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x"))),
    Row("a condition that is none", "GET", f"{TOOLS}/blobs/{{blob}}", 200, "", (("If-None-Match", '"""",,,W/'),)),
    Row("a thousand conditions", "GET", f"{TOOLS}/blobs/{{blob}}", 200, "", (("If-None-Match", '"x",' * 1000),)),
    Row("an Accept of 10 KiB", "GET", f"{TOOLS}/manifests/1", 200, "", (("Accept", "a/b," * 2500),)),
    Row("an Accept that is none", "GET", f"{TOOLS}/manifests/1", 200, "", (("Accept", ";;q=q"),)),
    Row("an encoding nobody has", "GET", f"{TOOLS}/manifests/1", 200, "", (("Accept-Encoding", "*;q=0"),)),
]

ROWS = [*TARGETS, *METHODS, *QUERIES, *UPLOAD_RANGES, *DOWNLOAD_RANGES, *HEADERS]
