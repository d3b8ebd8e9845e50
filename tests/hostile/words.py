"""Names, tags, digests and page sizes that are none, with the places each of them is tried in."""

from tests.hostile.rows import Row, quoted, zeros

DIGEST = "sha256:" + zeros(64)

NAMES = {
    "upper case": "LAB",
    "upper case in the middle": "lab/Tools",
    "double slash": "lab//tools",
    "slash at the end": "lab/tools/",
    "dash first": "-lab",
    "dash last": "lab-",
    "dot first": ".lab",
    "dot last": "lab.",
    "dash component": "lab/-",
    "underscore component": "lab/_",
    "hidden component": "lab/.git",
    "two dots": "a..b",
    "three underscores": "a___b",
    "dot and underscore": "a._b",
    "dash and underscore": "a-_b",
    "parent": "..",
    "parent first": "../lab",
    "parent inside": "lab/../tools",
    "parent last": "lab/..",
    "many parents": "lab/../../../../etc/passwd",
    "itself": "lab/./tools",
    "quoted parent": "%2e%2e/%2e%2e/etc",
    "quoted parent and slash": "lab%2f%2e%2e%2fother",
    "quoted twice": "lab/%252e%252e/tools",
    "overlong dots": "%c0%ae%c0%ae/lab",
    "NUL": "lab%00tools",
    "NUL last": "lab/tools%00",
    "newline": "lab%0atools",
    "newline last": "lab/tools%0a",
    "carriage return and newline": "lab%0d%0aX-Injected:%201",
    "tab": "lab%09tools",
    "space": "lab%20tools",
    "space first": "%20lab",
    "delete": "lab%7f",
    "escape": "%1b%5b31m",
    "backslash": "lab\\tools",
    "backslash parent": "..\\..\\lab",
    "quoted backslash": "lab%5ctools",
    "colon": "lab:tools",
    "drive": "c:/lab",
    "at": "lab@tools",
    "plus": "lab+tools",
    "comma": "lab,tools",
    "semicolon": "lab;tools",
    "matrix parent": "lab/..;/tools",
    "star": "lab*",
    "tilde": "~root",
    "dollar": "$(id)",
    "backquote": "`id`",
    "pipe": "lab|id",
    "brackets": "{lab}".replace("{", "%7b").replace("}", "%7d"),
    "less than": "%3cscript%3e",
    "quote": "lab'--",
    "double quote": "lab%22",
    "question": "lab%3ftools",
    "hash": "lab%23tools",
    "percent": "lab%25",
    "lone percent": "lab%",
    "half an escape": "lab%2",
    "no hex": "lab%zz",
    "IIS escape": "lab%u002e",
    "latin-1": "l%e4b",
    "umlaut": quoted("läb"),
    "Cyrillic": quoted("лаб"),
    "Chinese": quoted("实验"),
    "fullwidth": quoted("ｌａｂ"),
    "Kelvin": quoted("la\u212a"),
    "Arabic digits": quoted("lab٣"),
    "zero width": quoted("la\u200bb"),
    "right to left": quoted("lab\u202e"),
    "byte order mark": quoted("\ufefflab"),
    "combining": quoted("la\u0301b"),
    "emoji": quoted("lab/🐳"),
    "lone surrogate": quoted("lab\ud800"),
    "not UTF-8": "%ff%fe",
    "cut UTF-8": "lab%e2%82",
    "256 characters": "a" * 256,
    "long path": "/".join(["ab"] * 90),
    "4000 characters": "x" * 4000,
    "catalog": "_catalog",
    "extension": "_oci/ext",
    "upload-like": "lab/_uploads",
}

TAGS = {
    "dot first": ".hidden",
    "dash first": "-rf",
    "parent": "..",
    "129 characters": "a" * 129,
    "4000 characters": "a" * 4000,
    "space": "a%20b",
    "plus": "1.0+build",
    "at": "a@b",
    "comma": "a,b",
    "star": "*",
    "tilde": "~",
    "exclamation": "!",
    "NUL": "latest%00",
    "newline": "latest%0a",
    "carriage return and newline": "latest%0d%0aX-Injected:%201",
    "umlaut": quoted("ä"),
    "fullwidth": quoted("１"),
    "Arabic digit": quoted("٣"),
    "not UTF-8": "%ff",
    "percent": "%25",
    "lone percent": "a%",
    "backslash": "a\\b",
    "quote": "a'",
    "less than": "%3cb%3e",
    "braces": "%7b%7d",
}

DIGESTS = {
    "no hex": "sha256:",
    "short": "sha256:" + zeros(63),
    "long": "sha256:" + zeros(65),
    "far too long": "sha256:" + zeros(4000),
    "letters": "sha256:" + "g" * 64,
    "upper case hex": "sha256:" + "A" * 64,
    "upper case algorithm": "SHA256:" + zeros(64),
    "sha1": "sha1:" + zeros(40),
    "md5": "md5:" + zeros(32),
    "sha384": "sha384:" + zeros(96),
    "blake3": "blake3:" + zeros(64),
    "sha512 of sha256's length": "sha512:" + zeros(64),
    "sha256 of sha512's length": "sha256:" + zeros(128),
    "no algorithm": ":" + zeros(64),
    "two colons": "sha256::" + zeros(64),
    "two digests": f"{DIGEST},{DIGEST}",
    "hex prefix": "sha256:0x" + zeros(62),
    "sign": "sha256:+" + zeros(63),
    "underscores": "sha256:" + "0_" * 32,
    "space first": "%20" + DIGEST,
    "space last": DIGEST + "%20",
    "newline last": DIGEST + "%0a",
    "NUL last": DIGEST + "%00",
    "NUL inside": "sha256:" + zeros(32) + "%00" + zeros(31),
    "Arabic digits": "sha256:" + quoted("٠" * 64),
    "fullwidth": "sha256:" + quoted("０" * 64),
    "fullwidth colon": "sha256" + quoted("：") + zeros(64) + ":",
    "plus algorithm": "sha256+b64u:" + zeros(64),
    "parents": "sha256:../../../../etc/passwd".replace("/", "%5c"),
    "canonical json": "sha256:%22%7d" + zeros(62),
    "not UTF-8": "sha256:%ff" + zeros(63),
}

COUNTS = {
    "negative": "-1",
    "word": "many",
    "fraction": "1.5",
    "exponent": "1e3",
    "hex": "0x10",
    "sign": "%2b5",
    "space": "%205",
    "Arabic digit": quoted("٣"),
    "beyond any": "9" * 30,
    "far beyond any": "9" * 5000,
    "empty": "",
    "NUL": "5%00",
    "list": "5,6",
    "underscore": "1_0",
    "infinity": "inf",
    "nothing": "NaN",
}

_BODY = b"{}"


def name_rows() -> list[Row]:
    """Every bad name at every endpoint that has one."""
    rows = []
    for what, name in NAMES.items():
        where = [
            ("GET", f"/v2/{name}/manifests/1"),
            ("HEAD", f"/v2/{name}/manifests/1"),
            ("PUT", f"/v2/{name}/manifests/1"),
            ("DELETE", f"/v2/{name}/manifests/1"),
            ("GET", f"/v2/{name}/blobs/{DIGEST}"),
            ("POST", f"/v2/{name}/blobs/uploads/"),
            ("PATCH", f"/v2/{name}/blobs/uploads/00000000-0000-0000-0000-000000000000"),
            ("GET", f"/v2/{name}/tags/list"),
            ("GET", f"/v2/{name}/referrers/{DIGEST}"),
            ("POST", f"/v2/lab/tools/blobs/uploads/?mount={{blob}}&from={name.replace('+', '%2b')}"),
        ]
        for method, target in where:
            body = _BODY if method in ("PUT", "PATCH") else b""
            if "#" in target or ("from=" in target and ("&" in name or ";" in name)):
                continue
            rows.append(
                Row(
                    f"name, {what}, {method} {target.split('/')[-2][:9]}", method, target, 400, "NAME_INVALID", (), body
                )
            )
    return rows


def tag_rows() -> list[Row]:
    """Every bad tag with every method, and as a tag parameter."""
    rows = []
    for what, tag in TAGS.items():
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            body = _BODY if method == "PUT" else b""
            rows.append(Row(f"tag, {what}, {method}", method, f"/v2/lab/tools/manifests/{tag}", 400, "", (), body))
        asked = tag.replace("+", "%2b")
        rows.append(
            Row(
                f"tag parameter, {what}", "PUT", f"/v2/lab/tools/manifests/{{manifest}}?tag={asked}", 400, "", (), _BODY
            )
        )
    return rows


def digest_rows() -> list[Row]:
    """Every bad digest wherever one is taken."""
    rows = []
    for what, digest in DIGESTS.items():
        asked = digest.replace("+", "%2b")
        where = [
            ("GET", f"/v2/lab/tools/blobs/{digest}"),
            ("HEAD", f"/v2/lab/tools/blobs/{digest}"),
            ("DELETE", f"/v2/lab/tools/blobs/{digest}"),
            ("GET", f"/v2/lab/tools/manifests/{digest}"),
            ("PUT", f"/v2/lab/tools/manifests/{digest}"),
            ("DELETE", f"/v2/lab/tools/manifests/{digest}"),
            ("GET", f"/v2/lab/tools/referrers/{digest}"),
            ("POST", f"/v2/lab/tools/blobs/uploads/?digest={asked}"),
            ("POST", f"/v2/lab/tools/blobs/uploads/?mount={asked}&from=lab/tools"),
            ("PUT", f"{{upload}}?digest={asked}"),
        ]
        for method, target in where:
            body = _BODY if method == "PUT" or "?digest" in target else b""
            word = target.rstrip("/").split("/")[-2 if "?" not in target else -1][:16]
            code = "" if what == "not UTF-8" else "DIGEST_INVALID"  # as a path it is no path at all
            rows.append(Row(f"digest, {what}, {method} {word}", method, target, 400, code, (), body))
    return rows


def count_rows() -> list[Row]:
    """Every bad page size on both lists."""
    return [
        Row(f"n, {what}, {target}", "GET", f"{target}?n={count}", 400, "PAGINATION_NUMBER_INVALID")
        for what, count in COUNTS.items()
        for target in ("/v2/_catalog", "/v2/lab/tools/tags/list")
    ]


ROWS = [*name_rows(), *tag_rows(), *digest_rows(), *count_rows()]
