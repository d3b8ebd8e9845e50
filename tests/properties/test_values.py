"""Digests, names, references and manifests from hostile text: a value, or the one error that is promised."""

import hashlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model import names
from model.descriptors import OCI_INDEX, OCI_MANIFEST, parse_manifest
from model.digests import Digest
from model.errors import DigestInvalid, Invalid, ManifestInvalid, NameInvalid

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
MANIFEST_KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType", "size"]
)


@given(st.text())
@example("sha256:" + "A" * 64)
@example("sha256:" + "a" * 63)
@example("sha256:" + "a" * 64 + "\n")
@example("sha256:" + "\N{FULLWIDTH DIGIT ONE}" * 64)
@example("sha384:" + "a" * 96)
def test_text_is_a_digest_or_an_invalid_digest(text):
    try:
        assert str(Digest.parse(text)) == text
    except DigestInvalid:
        algorithm, _, encoded = text.partition(":")
        assert {"sha256": 64, "sha512": 128}.get(algorithm) != len(encoded) or set(encoded) - set("0123456789abcdef")


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_the_digest_of_content_parses_to_itself(content, algorithm):
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()


@given(st.text())
@example("../etc/passwd")
@example("a/../b")
@example("a//b")
@example("/a")
@example("a/")
@example("a\n")
@example("a" * 256)
@example("A")
def test_what_passes_for_a_repository_is_safe_in_a_path(text):
    try:
        name = names.repository(text)
    except NameInvalid:
        return
    assert name.isascii() and len(name) <= 255
    assert all(part and part[0].isalnum() and part[-1].isalnum() for part in name.split("/"))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-/")


@pytest.mark.parametrize("name", ["a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "blobs", "a/tags/list", "0/1"])
def test_the_grammar_of_repositories_is_the_one_of_the_specification(name):
    assert names.repository(name) == name


@pytest.mark.parametrize("name", ["", "a..b", "a___b", "a_.b", "-a", "a-", ".a", "a/_b", "ä", "a b", "a%2fb"])
def test_names_outside_the_grammar_are_refused(name):
    with pytest.raises(NameInvalid):
        names.repository(name)


@given(st.text())
@example("latest\n")
def test_a_reference_is_a_digest_or_a_tag_or_invalid(text):
    try:
        found = names.reference(text)
    except Invalid:
        return
    assert isinstance(found, Digest) == (":" in text)
    assert "/" not in str(found)


@given(st.dictionaries(MANIFEST_KEYS, JSON_VALUES) | JSON_VALUES)
def test_any_json_is_a_manifest_or_an_invalid_one(document):
    content = json.dumps(document).encode()
    try:
        manifest = parse_manifest(content, None)
    except ManifestInvalid:
        return
    assert document["schemaVersion"] == 2
    assert manifest.media_type


@given(st.binary(max_size=200))
@example("{}".encode("utf-16"))
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"a":' * 5000 + b"1" + b"}" * 5000)
@example(b'{"schemaVersion": NaN}')
@example(b'{"schemaVersion": 2, "schemaVersion": 1}')
@example(b'{"schemaVersion": 1' + b"0" * 5000 + b"}")
def test_any_bytes_are_a_manifest_or_an_invalid_one(content):
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, OCI_MANIFEST)


def blob(**more):
    return {"mediaType": "application/octet-stream", "digest": str(Digest.of(b"x")), "size": 1, **more}


def image(**more):
    return json.dumps({"schemaVersion": 2, "config": blob(), "layers": [], **more}).encode()


@pytest.mark.parametrize(
    "document",
    [
        {"config": blob(size=-1)},
        {"config": blob(size=True)},
        {"config": blob(size=1.5)},
        {"config": blob(size=2**63)},
        {"config": blob(digest="sha256:zz")},
        {"config": None},
        {"layers": {}},
        {"layers": [None]},
        {"subject": "sha256:" + "0" * 64},
        {"annotations": {"a": 1}},
        {"annotations": []},
        {"artifactType": 1},
        {"mediaType": OCI_INDEX},
        {"mediaType": 1},
        {"manifests": []},
        {"schemaVersion": 2.5},
        {"schemaVersion": True},
    ],
)
def test_each_wrong_field_is_named(document):
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(image(**document), OCI_MANIFEST)
    assert refused.value.message


def test_foreign_layers_need_not_be_here_but_only_with_urls():
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    far = blob(mediaType=kind, urls=["https://example.com/layer"], digest=str(Digest.of(b"far")))
    near = blob(mediaType=kind, digest=str(Digest.of(b"near")))
    manifest = parse_manifest(image(layers=[far, near]), OCI_MANIFEST)
    assert [entry.digest for entry in manifest.blobs] == [Digest.of(b"x"), Digest.of(b"near")]


def test_the_artifact_type_of_an_image_without_one_is_its_config_type():
    assert parse_manifest(image(), OCI_MANIFEST).artifact_type == "application/octet-stream"
    assert parse_manifest(image(artifactType="a/b"), OCI_MANIFEST).artifact_type == "a/b"
