"""buildah: an image is built from files, and from an image of the registry, and pushed."""

from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry

PLAIN = "--tls-verify=false"


def build(sandbox: Sandbox, name: str, lines: list[str], files: dict[str, bytes]) -> None:
    context = sandbox.folder / f"context-{len(list(sandbox.folder.iterdir()))}"
    context.mkdir()
    (context / "Containerfile").write_text("\n".join(lines))
    for path, data in files.items():
        (context / path).write_bytes(data)
        (context / path).chmod(0o755)
    # chroot: a `RUN` needs neither cgroups nor a network namespace.
    sandbox.run("buildah", "bud", PLAIN, "--isolation", "chroot", "--tag", name, context)


def test_an_image_built_from_nothing_is_pushed(sandbox: Sandbox, registry: Registry, repo: str) -> None:
    name = registry.ref(repo, "1")
    build(sandbox, name, ["FROM scratch", "COPY data /data", 'CMD ["/data"]'], {"data": layouts.filler(repo, 100_000)})
    sandbox.run("buildah", "push", PLAIN, name)

    manifest = registry.manifest(repo, "1").json()
    assert registry.blob(repo, manifest["config"]["digest"]).json()["config"]["Cmd"] == ["/data"]
    assert len(manifest["layers"]) == 1


def test_an_image_is_built_on_one_of_the_registry(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    """The base is pulled, a command runs in it, and the push sends the new layer beside the old ones."""
    base = layout.name(layouts.runnable_image(layout, repo))
    sandbox.run("buildah", "pull", layout.ref())
    name = registry.ref(f"{repo}/base", "1")
    sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), f"docker://{name}")
    built = registry.ref(repo, "1")
    build(sandbox, built, [f"FROM {name}", 'RUN ["/bin/busybox", "touch", "/made-here"]'], {})
    sandbox.run("buildah", "push", PLAIN, built)

    assert registry.manifest(f"{repo}/base", "1").digest == base["digest"]
    layers = registry.manifest(repo, "1").json()["layers"]
    assert len(layers) == 3
    for layer in layers:
        assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]
