"""crane's library: HEAD first, then one PATCH with the whole blob, and an empty PUT; strict about headers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient, GoClientFailed
from tests.interop.layouts import Layout
from tests.interop.wire import Registry


def blobs_below(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("make", [layouts.small_image, layouts.two_platforms], ids=["image", "index"])
def test_what_was_pushed_is_pulled(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path, make: layouts.Maker
) -> None:
    made = layout.name(make(layout, repo))
    assert goclient("crane-push", layout.path, registry.ref(repo, "1")) == made["digest"]
    assert goclient("crane-pull", registry.ref(repo, "1"), tmp_path / "back") == made["digest"]

    assert blobs_below(tmp_path / "back") == blobs_below(layout.path)


def test_a_layer_of_unknown_size_is_streamed(goclient: GoClient, registry: Registry, repo: str, tmp_path: Path) -> None:
    data = layouts.filler(repo, 3_000_000)
    (tmp_path / "layer").write_bytes(data)
    digest = goclient("crane-stream", tmp_path / "layer", registry.ref(repo, "1"))

    stored = registry.manifest(repo, "1")
    assert stored.digest == digest
    (layer,) = stored.json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_a_copy_between_repositories_is_whole(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path
) -> None:
    """Its layers are mounted; whether or not that works is told by the digest of what is pulled at the end."""
    made = layout.name(layouts.two_platforms(layout, repo))
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    goclient("crane-copy", registry.ref(repo, "1"), registry.ref(f"{repo}/copy", "2"))

    assert goclient("crane-pull", registry.ref(f"{repo}/copy", "2"), tmp_path / "back") == made["digest"]
    assert blobs_below(tmp_path / "back") == blobs_below(layout.path)


def test_many_clients_push_the_same_image_at_once(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout
) -> None:
    """Half of them into one repository, the others each into their own."""
    made = layout.name(layouts.image(layout, {"large": layouts.filler(repo, 5_000_000)}))
    refs = [registry.ref(repo, str(number)) for number in range(4)]
    refs += [registry.ref(f"{repo}/{number}", "1") for number in range(4)]
    with ThreadPoolExecutor(len(refs)) as clients:
        pushed = list(clients.map(lambda ref: goclient("crane-push", layout.path, ref), refs))

    assert pushed == [made["digest"]] * len(refs)
    assert [goclient("crane-digest", ref)["digest"] for ref in refs] == pushed
    (layer,) = registry.manifest(repo, "0").json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_a_tag_is_resolved_with_head(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo))
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    told = goclient("crane-digest", registry.ref(repo, "1"))

    assert {name: told[name] for name in ("mediaType", "digest", "size")} == {
        name: made[name] for name in ("mediaType", "digest", "size")
    }


def test_a_deleted_image_is_gone(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo))
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    goclient("crane-delete", f"{registry.netloc}/{repo}@{made['digest']}")

    with pytest.raises(GoClientFailed, match="404"):
        goclient("crane-digest", registry.ref(repo, "1"))


def test_long_lists_are_followed_page_by_page(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout
) -> None:
    image = layout.name(layouts.small_image(layout, repo))
    goclient("crane-push", layout.path, registry.ref(repo, "t00"))
    expected = [f"t{number:02}" for number in range(33)]
    for tag in expected:
        assert registry.put_manifest(repo, tag, layout.read(image), layouts.IMAGE_MANIFEST).status == 201

    assert goclient("crane-tags", f"{registry.netloc}/{repo}") == expected


def test_the_catalog_names_every_repository(goclient: GoClient, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.small_image(layout, repo))
    for name in ("a", "b/c"):
        goclient("crane-push", layout.path, registry.ref(f"{repo}/{name}", "1"))

    assert {f"{repo}/a", f"{repo}/b/c"} <= set(goclient("crane-catalog", registry.netloc))
