"""Manifests that are none, one row each: what is pushed, as what, and how it is refused."""

import gzip
import json
from typing import Any

from tests.hostile.rows import zeros

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + zeros(64), "size": 2}
MIB = 1024 * 1024


def image(**changes: Any) -> dict[str, Any]:
    """A manifest over a config that is nowhere, changed."""
    return {"schemaVersion": 2, "mediaType": IMAGE, "config": CONFIG, "layers": [], **changes}


def index(**changes: Any) -> dict[str, Any]:
    """An empty index, changed."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], **changes}


def but(document: dict[str, Any], without: str) -> dict[str, Any]:
    """The document without a key."""
    return {key: value for key, value in document.items() if key != without}


def anything(*values: Any) -> tuple[Any, ...]:
    """Values of any type."""
    return values


def text(document: object) -> bytes:
    """As JSON."""
    return json.dumps(document).encode()


def layer(**changes: Any) -> dict[str, Any]:
    """A manifest with one layer, changed."""
    return image(layers=[{**CONFIG, **changes}])


_SOUND = json.dumps(index())
_OPEN = _SOUND[:-1]

# name, content, the code it is refused with
NOT_JSON: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "MANIFEST_INVALID"),
    ("a space", b" ", "MANIFEST_INVALID"),
    ("a NUL", b"\0", "MANIFEST_INVALID"),
    ("not UTF-8", b"\xff\xfe\xfd", "MANIFEST_INVALID"),
    ("UTF-16", _SOUND.encode("utf-16"), "MANIFEST_INVALID"),
    ("UTF-16 without a mark", _SOUND.encode("utf-16-le"), "MANIFEST_INVALID"),
    ("UTF-16, the other end first", _SOUND.encode("utf-16-be"), "MANIFEST_INVALID"),
    ("UTF-32", _SOUND.encode("utf-32"), "MANIFEST_INVALID"),
    ("UTF-8 with a mark", b"\xef\xbb\xbf" + _SOUND.encode(), "MANIFEST_INVALID"),
    ("UTF-7", b"+AHs-+AH0-", "MANIFEST_INVALID"),
    ("latin-1", _OPEN.encode() + b', "a": "\xe4"}', "MANIFEST_INVALID"),
    ("a surrogate as bytes", _OPEN.encode() + b', "a": "\xed\xa0\x80"}', "MANIFEST_INVALID"),
    ("cut off", _SOUND[:-10].encode(), "MANIFEST_INVALID"),
    ("something behind", _SOUND.encode() + b"x", "MANIFEST_INVALID"),
    ("two of them", _SOUND.encode() * 2, "MANIFEST_INVALID"),
    ("a comma at the end", _OPEN.encode() + b",}", "MANIFEST_INVALID"),
    ("a comment", b"/* x */" + _SOUND.encode(), "MANIFEST_INVALID"),
    ("single quotes", _SOUND.replace('"', "'").encode(), "MANIFEST_INVALID"),
    ("NaN", _OPEN.encode() + b', "a": NaN}', "MANIFEST_INVALID"),
    ("Infinity", _OPEN.encode() + b', "a": Infinity}', "MANIFEST_INVALID"),
    ("minus Infinity", _OPEN.encode() + b', "a": [-Infinity]}', "MANIFEST_INVALID"),
    ("a raw line end in a string", _OPEN.encode() + b', "a": "\n"}', "MANIFEST_INVALID"),
    ("a number of 5000 digits", _OPEN.encode() + b', "a": ' + b"9" * 5000 + b"}", "MANIFEST_INVALID"),
    ("lists 100,000 deep", b"[" * 100_000 + b"]" * 100_000, "MANIFEST_INVALID"),
    ("lists 100,000 deep, open", b"[" * 100_000, "MANIFEST_INVALID"),
    ("objects 100,000 deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "MANIFEST_INVALID"),
    ("lists 900 deep inside", _OPEN.encode() + b', "a": ' + b"[" * 900 + b"]" * 900 + b"}", "MANIFEST_INVALID"),
    ("a list", b"[]", "MANIFEST_INVALID"),
    ("a string", b'"manifest"', "MANIFEST_INVALID"),
    ("a number", b"2", "MANIFEST_INVALID"),
    ("null", b"null", "MANIFEST_INVALID"),
    (
        "XML",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "MANIFEST_INVALID",
    ),
    ("gzip", gzip.compress(_SOUND.encode(), mtime=0), "MANIFEST_INVALID"),
    ("4 MiB and a byte", b"{" + b" " * (4 * MIB), "SIZE_INVALID"),
    ("16 MiB", b" " * (16 * MIB), "SIZE_INVALID"),
    ("100,000 layers", text(image(layers=[CONFIG] * 100_000)), "SIZE_INVALID"),
]

DOCUMENTS: list[tuple[str, Any, str]] = [
    ("an empty object", {}, "MANIFEST_INVALID"),
    ("schemaVersion missing", but(image(), "schemaVersion"), "MANIFEST_INVALID"),
    *(
        (f"schemaVersion {json.dumps(value)}", image(schemaVersion=value), "MANIFEST_INVALID")
        for value in anything(1, 3, -2, "2", None, True, [2], {"2": 2}, 2.5, 10**30)
    ),
    ("mediaType a number", image(mediaType=5), "MANIFEST_INVALID"),
    ("mediaType a list", image(mediaType=[IMAGE]), "MANIFEST_INVALID"),
    ("mediaType of a later schema", image(mediaType="application/vnd.oci.image.manifest.v9+json"), "MANIFEST_INVALID"),
    ("mediaType another than the header", image(mediaType=DOCKER), "MANIFEST_INVALID"),
    ("mediaType with NUL", image(mediaType=IMAGE + "\0"), "MANIFEST_INVALID"),
    ("mediaType a surrogate", image(mediaType="\ud800"), "MANIFEST_INVALID"),
    ("mediaType of 1 MiB", image(mediaType="x" * MIB), "MANIFEST_INVALID"),
    ("an image with manifests", image(manifests=[]), "MANIFEST_INVALID"),
    ("config missing", but(image(), "config"), "MANIFEST_INVALID"),
    *(
        (f"config {json.dumps(value)}", image(config=value), "MANIFEST_INVALID")
        for value in anything(None, [], "x", 5, {}, {"digest": CONFIG["digest"]}, {**CONFIG, "mediaType": None})
    ),
    *(
        (f"layers {json.dumps(value)}", image(layers=value), "MANIFEST_INVALID")
        for value in anything({}, "x", 5, True, [None], [[]], ["sha256"], [{}], [5], {"0": CONFIG})
    ),
    *(
        (f"size {json.dumps(value)[:40]}", layer(size=value), "MANIFEST_INVALID")
        for value in anything(-1, 2**63, 10**300, "2", 2.5, 1e300, True, None, [2], {})
    ),
    ("size missing", image(layers=[but(CONFIG, "size")]), "MANIFEST_INVALID"),
    *(
        (f"digest {json.dumps(value)[:40]}", layer(digest=value), "MANIFEST_INVALID")
        for value in anything(
            5, None, "", "sha256:", "sha256:" + "A" * 64, "md5:" + zeros(32), "x" * 10_000, "sha256:../../etc", "\ud800"
        )
    ),
    *(
        (f"subject {json.dumps(value)[:40]}", image(subject=value), "MANIFEST_INVALID")
        for value in anything([], {}, "x", 5, True, CONFIG["digest"], {**CONFIG, "digest": "x"}, {**CONFIG, "size": -1})
    ),
    *(
        (f"annotations {json.dumps(value)[:40]}", image(annotations=value), "MANIFEST_INVALID")
        for value in anything([], "x", 5, {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": {"b": "c"}})
    ),
    *(
        (f"artifactType {json.dumps(value)[:40]}", image(artifactType=value), "MANIFEST_INVALID")
        for value in anything(5, [], {}, True)
    ),
    ("a config that is not here", image(), "MANIFEST_BLOB_UNKNOWN"),
    ("a layer that is not here", layer(), "MANIFEST_BLOB_UNKNOWN"),
    (
        "20,000 layers that are not here",
        image(layers=[{**CONFIG, "size": n} for n in range(20_000)]),
        "MANIFEST_BLOB_UNKNOWN",
    ),
    (
        "a foreign layer without urls",
        layer(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar"),
        "MANIFEST_BLOB_UNKNOWN",
    ),
    ("a layer with urls that is not foreign", layer(urls=["http://x/"]), "MANIFEST_BLOB_UNKNOWN"),
    ("data instead of a blob", layer(data="e30="), "MANIFEST_BLOB_UNKNOWN"),
]

INDEXES: list[tuple[str, Any, str]] = [
    ("manifests missing", but(index(), "manifests"), "MANIFEST_INVALID"),
    *(
        (f"manifests {json.dumps(value)}", index(manifests=value), "MANIFEST_INVALID")
        for value in anything(None, {}, "x", 5, [None], [[]], [{}], ["x"])
    ),
    ("an index with layers", index(layers=[]), "MANIFEST_INVALID"),
    ("an index with a config", index(config=CONFIG), "MANIFEST_INVALID"),
    ("a child that is not here", index(manifests=[CONFIG]), "MANIFEST_BLOB_UNKNOWN"),
    ("an image called an index", image(), "MANIFEST_INVALID"),
]

CONTENT_TYPES = [
    "text/html",
    "application/json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/octet-stream",
    "multipart/form-data; boundary=x",
    "*/*",
    "x",
    "\xe4/\xff",
    "a" * 5000,
    f"{INDEX}, {IMAGE}",
    f'"{INDEX}"',
]

ROWS: list[tuple[str, bytes, str, str]] = [
    *((name, content, INDEX, code) for name, content, code in NOT_JSON),
    *((name, text(document), IMAGE, code) for name, document, code in DOCUMENTS),
    *((name, text(document), INDEX, code) for name, document, code in INDEXES),
    *((f"sent as {kind[:60]}", text(but(index(), "mediaType")), kind, "MANIFEST_INVALID") for kind in CONTENT_TYPES),
]
"""(name, content, Content-Type, the code it is refused with)"""
