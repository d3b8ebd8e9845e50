"""regctl's library: anonymous mounts, real chunks with Content-Range, sha512, tags deleted by name, referrers."""

from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient, GoClientFailed
from tests.interop.layouts import Layout
from tests.interop.wire import Registry


@pytest.mark.parametrize("make", [layouts.small_image, layouts.two_platforms], ids=["image", "index"])
def test_what_was_pushed_is_pulled(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path, make: layouts.Maker
) -> None:
    made = layout.name(make(layout, repo), "1")
    assert goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, "1")) == made["digest"]
    back = f"ocidir://{tmp_path}/back:1"
    assert goclient("regclient-copy", registry.ref(repo, "1"), back) == made["digest"]


def test_a_blob_sent_in_chunks_arrives_whole(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    """Each chunk is a PATCH with a Content-Range; the last is shorter than the others."""
    made = layout.name(layouts.image(layout, {"large": layouts.filler(repo, 1_000_000)}), "1")
    goclient("regclient-copy-chunked", f"ocidir://{layout.path}:1", registry.ref(repo, "1"), "150000")

    stored = registry.manifest(repo, "1")
    assert stored.digest == made["digest"]
    (layer,) = stored.json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_a_copy_between_repositories_is_whole(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path
) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, "1"))
    twin = registry.ref(f"{repo}/twin", "1")
    assert goclient("regclient-copy", registry.ref(repo, "1"), twin) == made["digest"]
    assert goclient("regclient-copy", twin, f"ocidir://{tmp_path}/back:1") == made["digest"]


def test_a_blob_is_pushed_and_read_by_its_sha512(
    goclient: GoClient, registry: Registry, repo: str, tmp_path: Path
) -> None:
    data = layouts.filler(repo, 70_000)
    (tmp_path / "blob").write_bytes(data)
    digest = goclient("regclient-blob-sha512", tmp_path / "blob", registry.ref(repo, "1"))

    assert digest.startswith("sha512:")
    assert registry.blob(repo, digest).body == data


def test_a_tag_is_deleted_alone(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo), "1")
    for tag in ("1", "2"):
        goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, tag))
    goclient("regclient-tag-delete", registry.ref(repo, "1"))

    assert goclient("regclient-tags", registry.ref(repo)) == ["2"]
    assert registry.manifest(repo, made["digest"]).status == 200


def test_a_manifest_is_deleted_with_its_tags(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo), "1")
    for tag in ("1", "2"):
        goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, tag))
    goclient("regclient-manifest-delete", f"{registry.netloc}/{repo}@{made['digest']}")

    with pytest.raises(GoClientFailed):
        goclient("regclient-copy", registry.ref(repo, "2"), f"ocidir://{layout.path}:again")


def test_what_refers_to_an_image_travels_with_it(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path
) -> None:
    image = layout.name(layouts.small_image(layout, repo), "1")
    goclient("regclient-copy", f"ocidir://{layout.path}:1", registry.ref(repo, "1"))
    made = {}
    for kind in ("application/vnd.example.sbom", "application/vnd.example.signature"):
        one = layout.name(layouts.artifact(layout, kind, {"it": kind.encode()}, subject=image), kind.rpartition(".")[2])
        source = f"ocidir://{layout.path}:{kind.rpartition('.')[2]}"
        goclient("regclient-copy", source, f"{registry.netloc}/{repo}@{one['digest']}")
        made[kind] = one["digest"]

    assert set(goclient("regclient-referrers", registry.ref(repo, "1"))) == set(made.values())
    for kind, digest in made.items():
        assert goclient("regclient-referrers", registry.ref(repo, "1"), kind) == [digest]

    goclient("regclient-copy-referrers", registry.ref(repo, "1"), registry.ref(f"{repo}/mirror", "1"))
    assert set(goclient("regclient-referrers", registry.ref(f"{repo}/mirror", "1"))) == set(made.values())
