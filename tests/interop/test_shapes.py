"""Shapes that other tools than image clients leave in a registry: signatures, attestations, build caches and so on.

The tools themselves are not here; what they write is, byte by byte, and real clients carry it in and out.
"""

import json

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient
from tests.interop.layouts import Descriptor, Layout
from tests.interop.wire import Registry

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION_SIGNATURE = "application/vnd.cncf.notary.signature"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"


@pytest.fixture
def image(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> Descriptor:
    """An image in the registry, tagged `1`, for others to be about."""
    made = layout.name(layouts.small_image(layout, repo), "1")
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    return made


def test_a_cosign_signature_lies_under_a_tag_named_after_its_image(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, image: Descriptor
) -> None:
    """An image manifest whose layer is what was signed; the signature itself is an annotation of the layer."""
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": image["digest"]}}}).encode()
    annotations = {"dev.cosignproject.cosign/signature": "MEUCIQ=="}
    layer = layout.blob(payload, SIMPLE_SIGNING, annotations=annotations)
    config = layout.json({"architecture": "", "os": "", "rootfs": {"diff_ids": []}}, layouts.IMAGE_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": layouts.IMAGE_MANIFEST, "config": config, "layers": [layer]}
    tag = image["digest"].replace(":", "-") + ".sig"
    signature = layout.name(layout.json(manifest, layouts.IMAGE_MANIFEST), "sig")
    goclient("oras-copy", f"oci:{layout.path}:sig", registry.ref(repo, tag))

    assert registry.manifest(repo, tag).body == layout.read(signature)
    assert registry.manifest(repo, tag).json()["layers"][0]["annotations"] == annotations
    assert registry.tags(repo) == sorted(["1", tag])


@pytest.mark.parametrize("kind", [SIGSTORE_BUNDLE, NOTATION_SIGNATURE], ids=["cosign-bundle", "notation"])
def test_a_signature_is_found_by_asking_what_refers_to_the_image(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, image: Descriptor, kind: str
) -> None:
    signature = layout.name(layouts.artifact(layout, kind, {"signature": b"it is I"}, subject=image), "sig")
    goclient("oras-copy", f"oci:{layout.path}:sig", f"{registry.netloc}/{repo}@{signature['digest']}")

    for found in (
        goclient("oras-discover", registry.ref(repo, "1"), kind),
        registry.referrers(repo, image["digest"], f"?artifactType={kind.replace('+', '%2B')}"),
    ):
        assert [(one["digest"], one["artifactType"]) for one in found] == [(signature["digest"], kind)]


def test_an_old_notation_signature_is_told_by_its_config(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, image: Descriptor
) -> None:
    """No artifactType in the manifest: the registry takes the config's media type for it."""
    subject = {name: image[name] for name in ("mediaType", "digest", "size")}
    manifest = {
        "schemaVersion": 2,
        "mediaType": layouts.IMAGE_MANIFEST,
        "config": layout.blob(b"{}", NOTATION_SIGNATURE),
        "layers": [layout.blob(b"jws", "application/jose+json")],
        "subject": subject,
        "annotations": {"io.cncf.notary.x509chain.thumbprint#S256": "[]"},
    }
    signature = layout.name(layout.json(manifest, layouts.IMAGE_MANIFEST), "sig")
    goclient("oras-copy", f"oci:{layout.path}:sig", f"{registry.netloc}/{repo}@{signature['digest']}")

    (found,) = registry.referrers(repo, image["digest"], f"?artifactType={NOTATION_SIGNATURE}")
    assert (found["digest"], found["annotations"]) == (signature["digest"], manifest["annotations"])


def test_a_build_cache_is_an_index_of_blobs(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    """BuildKit's registry cache: the children of the index are layers and a config, not manifests."""
    layers = [layout.blob(layouts.filler(f"{repo} {n}", 5_000), layouts.IMAGE_LAYER) for n in range(2)]
    config = layout.json({"layers": [], "records": []}, CACHE_CONFIG)
    for child in (*layers, config):
        assert registry.put_blob(repo, layout.read(child), child["digest"]).status == 201
    cache = layouts.index(layout, [*layers, config])

    assert registry.put_manifest(repo, "cache", layout.read(cache), layouts.IMAGE_INDEX).status == 201
    assert goclient("crane-digest", registry.ref(repo, "cache"))["digest"] == cache["digest"]
    assert registry.manifest(repo, "cache").body == layout.read(cache)


def test_a_build_cache_with_an_absent_blob_is_refused(registry: Registry, repo: str, layout: Layout) -> None:
    config = layout.json({"layers": [], "records": []}, CACHE_CONFIG)
    cache = layouts.index(layout, [config])
    refused = registry.put_manifest(repo, "cache", layout.read(cache), layouts.IMAGE_INDEX)

    assert refused.status in (400, 404)
    assert refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_an_index_may_carry_attestations(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    """buildx puts provenance beside the image, as a child for the platform unknown/unknown."""
    image = layouts.small_image(layout, repo)
    statement = layout.json({"_type": "https://in-toto.io/Statement/v0.1"}, "application/vnd.in-toto+json")
    config = layout.json({"architecture": "unknown", "os": "unknown", "rootfs": {"diff_ids": []}}, layouts.IMAGE_CONFIG)
    attestation = layout.json(
        {"schemaVersion": 2, "mediaType": layouts.IMAGE_MANIFEST, "config": config, "layers": [statement]},
        layouts.IMAGE_MANIFEST,
        platform={"architecture": "unknown", "os": "unknown"},
        annotations={
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        },
    )
    whole = layout.name(layouts.index(layout, [image, attestation]), "1")
    goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, "1"))

    assert registry.manifest(repo, "1").digest == whole["digest"]
    assert registry.manifest(repo, attestation["digest"]).status == 200


def test_a_foreign_layer_need_not_be_in_the_registry(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout
) -> None:
    """Windows base layers: the descriptor says where else the bytes are, and no client pushes them here."""
    absent = layouts.filler(repo, 1_000)
    foreign: Descriptor = {
        "mediaType": layouts.FOREIGN_LAYER,
        "digest": layouts.sha256(absent),
        "size": len(absent),
        "urls": ["https://layers.example.org/base"],
    }
    config = layout.json({"architecture": "amd64", "os": "windows"}, layouts.IMAGE_CONFIG)
    own = layout.blob(layouts.filler(f"{repo} own", 1_000), layouts.IMAGE_LAYER)
    manifest = layout.json(
        {"schemaVersion": 2, "mediaType": layouts.IMAGE_MANIFEST, "config": config, "layers": [foreign, own]},
        layouts.IMAGE_MANIFEST,
    )
    layout.name(manifest, "1")
    goclient("crane-push", layout.path, registry.ref(repo, "1"))

    assert registry.manifest(repo, "1").digest == manifest["digest"]
    assert registry.blob(repo, foreign["digest"]).status == 404
    assert goclient("crane-digest", registry.ref(repo, "1"))["size"] == manifest["size"]
