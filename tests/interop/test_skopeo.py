"""skopeo: copies between layouts and the registry in every form it knows, and the smaller verbs around them."""

import json
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry


def push(sandbox: Sandbox, registry: Registry, source: str, target: str, *flags: str) -> str:
    to = f"docker://{registry.netloc}/{target}"
    return sandbox.run("skopeo", "copy", "--dest-tls-verify=false", *flags, source, to).stderr


def pull(sandbox: Sandbox, registry: Registry, source: str, target: str, *flags: str) -> None:
    sandbox.run("skopeo", "copy", "--src-tls-verify=false", *flags, f"docker://{registry.netloc}/{source}", target)


def blobs_below(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs" / "sha256").iterdir()}


def test_an_image_comes_back_as_it_went(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    image = layout.name(layouts.small_image(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1")
    pull(sandbox, registry, f"{repo}:1", f"oci:{sandbox.folder}/back:latest")

    assert registry.manifest(repo, "1").body == layout.read(image)
    assert blobs_below(sandbox.folder / "back") == blobs_below(layout.path)


def test_an_index_is_copied_whole(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    index = layout.name(layouts.two_platforms(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--all", "--preserve-digests")
    pull(sandbox, registry, f"{repo}:1", f"oci:{sandbox.folder}/back:latest", "--all", "--preserve-digests")

    assert registry.manifest(repo, "1").digest == index["digest"]
    assert registry.manifest(repo, "1").headers["Content-Type"] == layouts.IMAGE_INDEX
    assert blobs_below(sandbox.folder / "back") == blobs_below(layout.path)


def test_an_image_is_copied_from_repository_to_repository(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    index = layout.name(layouts.two_platforms(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--all")
    here = f"docker://{registry.netloc}/{repo}"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    sandbox.run("skopeo", "copy", "--all", "--preserve-digests", *plain, f"{here}:1", f"{here}-copy:2")

    assert registry.manifest(f"{repo}-copy", "2").digest == index["digest"]


def test_one_platform_of_an_index_is_pulled(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.two_platforms(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--all")
    flags = ("--override-arch", "arm64", "--override-os", "linux")
    command = ("skopeo", *flags, "inspect", "--tls-verify=false", f"docker://{registry.netloc}/{repo}:1")
    told = json.loads(sandbox.run(*command).stdout)

    assert told["Architecture"] == "arm64"
    assert told["RepoTags"] == ["1"]
    assert len(told["Layers"]) == 2


def test_docker_schema_2_is_stored_and_served_as_such(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.small_image(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--format", "v2s2")
    pull(sandbox, registry, f"{repo}:1", f"dir:{sandbox.folder}/back")

    stored = registry.manifest(repo, "1")
    assert stored.headers["Content-Type"] == layouts.DOCKER_MANIFEST
    assert (sandbox.folder / "back" / "manifest.json").read_bytes() == stored.body


def test_a_docker_manifest_list_is_stored_and_served_as_such(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.two_platforms(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--all", "--format", "v2s2")
    pull(sandbox, registry, f"{repo}:1", f"dir:{sandbox.folder}/back", "--all")

    stored = registry.manifest(repo, "1")
    assert stored.headers["Content-Type"] == layouts.DOCKER_LIST
    assert (sandbox.folder / "back" / "manifest.json").read_bytes() == stored.body


def test_layers_are_recompressed_on_their_way_in(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    """The compressed size is not known beforehand, so skopeo streams these layers in chunked transfer coding."""
    layout.name(layouts.small_image(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--dest-compress-format", "zstd")
    pull(sandbox, registry, f"{repo}:1", f"oci:{sandbox.folder}/back:latest")

    layers = registry.manifest(repo, "1").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    for layer in layers:
        held = registry.blob(repo, layer["digest"]).body
        assert layouts.sha256(held) == layer["digest"]
        assert held.startswith(b"\x28\xb5\x2f\xfd")  # zstd's magic number


def test_a_layer_that_another_repository_has_is_mounted(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    image = layout.name(layouts.small_image(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1")
    said = push(sandbox, registry, layout.ref(), f"{repo}-twin:1", "--debug")
    pull(sandbox, registry, f"{repo}-twin:1", f"oci:{sandbox.folder}/back:latest")

    assert said.count("mount OK") == 2
    assert registry.manifest(f"{repo}-twin", "1").digest == image["digest"]
    assert blobs_below(sandbox.folder / "back") == blobs_below(layout.path)


def test_an_encrypted_image_is_kept_and_given_back(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    """The layers have types and annotations that no registry knows; whoever has the key gets the old bytes."""
    layout.name(layouts.small_image(layout, repo))
    private, public = sandbox.folder / "key.pem", sandbox.folder / "key.pub"
    sandbox.run("openssl", "genrsa", "-out", private, "2048")
    sandbox.run("openssl", "rsa", "-in", private, "-pubout", "-out", public)
    push(sandbox, registry, layout.ref(), f"{repo}:1", "--encryption-key", f"jwe:{public}")
    layers = registry.manifest(repo, "1").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {f"{layouts.IMAGE_LAYER}+encrypted"}
    assert all("org.opencontainers.image.enc.keys.jwe" in layer["annotations"] for layer in layers)

    pull(sandbox, registry, f"{repo}:1", f"oci:{sandbox.folder}/back:latest", "--decryption-key", str(private))
    assert len(blobs_below(sandbox.folder / "back") & blobs_below(layout.path)) >= len(layers)


def test_a_large_layer_survives_the_trip(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.image(layout, {"large": layouts.filler(repo, 40_000_000)}))
    push(sandbox, registry, layout.ref(), f"{repo}:1")
    pull(sandbox, registry, f"{repo}:1", f"oci:{sandbox.folder}/back:latest")

    assert blobs_below(sandbox.folder / "back") == blobs_below(layout.path)


def test_tags_are_listed_in_order(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.small_image(layout, repo))
    for tag in ("b", "v10", "A", "v9"):
        push(sandbox, registry, layout.ref(), f"{repo}:{tag}")
    told = sandbox.run("skopeo", "list-tags", "--tls-verify=false", f"docker://{registry.netloc}/{repo}").stdout

    assert json.loads(told)["Tags"] == ["A", "b", "v10", "v9"]


def test_deleting_a_tag_deletes_its_manifest(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    """skopeo resolves the tag and deletes by digest, so every tag of that manifest goes with it."""
    image = layout.name(layouts.small_image(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}:1")
    push(sandbox, registry, layout.ref(), f"{repo}:same")
    sandbox.run("skopeo", "delete", "--tls-verify=false", f"docker://{registry.netloc}/{repo}:1")

    assert [registry.manifest(repo, name).status for name in ("1", "same", image["digest"])] == [404, 404, 404]


def test_inspecting_what_is_not_there_says_so(sandbox: Sandbox, registry: Registry, repo: str) -> None:
    tried = sandbox.run("skopeo", "inspect", "--tls-verify=false", f"docker://{registry.netloc}/{repo}:1", check=False)

    assert tried.returncode != 0
    assert "unknown" in tried.stderr


@pytest.mark.parametrize("kind", ["dir", "docker"])
def test_many_images_are_synchronised(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, kind: str
) -> None:
    index = layout.name(layouts.two_platforms(layout, repo))
    push(sandbox, registry, layout.ref(), f"{repo}/app:1", "--all")
    push(sandbox, registry, layout.ref(), f"{repo}/app:2", "--all")
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    everything = ("skopeo", "sync", "--all", "--preserve-digests", *plain)
    source = f"{registry.netloc}/{repo}/app"
    if kind == "dir":
        sandbox.run(*everything, "--src", "docker", "--dest", "dir", source, sandbox.folder / "tree")
        source = str(sandbox.folder / "tree")
    sandbox.run(*everything, "--src", kind, "--dest", "docker", source, f"{registry.netloc}/{repo}/mirror")

    mirrored = f"{repo}/mirror/app"
    assert registry.tags(mirrored) == ["1", "2"]
    assert {registry.manifest(mirrored, tag).digest for tag in ("1", "2")} == {index["digest"]}
