"""containerd and its `ctr`, with a daemon of the test's own: push is POST and one PUT, pull starts with HEAD."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.cutting import Flow, relay
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry

CONFIG = """
version = 2
root = "{folder}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd.sock"
[debug]
address = "/run/containerd-debug.sock"
"""


class Ctr:
    """`ctr` bound to the daemon."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.words = ("ctr", "--address", "/run/containerd.sock", "--namespace", "holdfast-interop")

    def __call__(self, *command: str | Path) -> str:
        """What the command prints. An error between ctr and its own daemon is not ours: then once more."""
        tried = self.sandbox.run(*self.words, *command, check=False)
        if tried.returncode == 0:
            return tried.stdout
        if "rpc error: code = Internal" not in tried.stderr:
            raise AssertionError(f"ctr ended with {tried.returncode}: {tried.stderr.strip()[-2000:]}")
        return self.sandbox.run(*self.words, *command).stdout


@pytest.fixture
def ctr(sandbox: Sandbox) -> Iterator[Ctr]:
    folder = sandbox.folder / "containerd"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    ctr = Ctr(sandbox)
    with sandbox.daemon("containerd", "--config", folder / "config.toml") as daemon:
        sandbox.wait_for(daemon, *ctr.words, "version")
        yield ctr


def imported(ctr: Ctr, layout: Layout, name: str) -> None:
    """Bring the layout's one image or index into containerd under `name`."""
    archive = ctr.sandbox.folder / "image.tar"
    ctr.sandbox.run("tar", "-C", layout.path, "-cf", archive, ".")
    base, _, _ = name.rpartition(":")
    ctr("images", "import", "--no-unpack", "--all-platforms", "--base-name", base, archive)


def remote(sandbox: Sandbox, layout: Layout, name: str) -> None:
    sandbox.run("skopeo", "copy", "--all", "--dest-tls-verify=false", layout.ref("1"), f"docker://{name}")


def test_a_pushed_image_is_the_one_imported(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo), "1")
    imported(ctr, layout, registry.ref(repo, "1"))
    ctr("images", "push", "--plain-http", registry.ref(repo, "1"))

    assert registry.manifest(repo, "1").digest == made["digest"]
    for layer in registry.manifest(repo, "1").json()["layers"]:
        assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_a_pushed_index_brings_its_platforms(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    imported(ctr, layout, registry.ref(repo, "1"))
    ctr("images", "push", "--plain-http", registry.ref(repo, "1"))

    assert registry.manifest(repo, "1").digest == made["digest"]
    children = registry.manifest(repo, "1").json()["manifests"]
    assert [registry.manifest(repo, child["digest"]).status for child in children] == [200, 200]


def test_an_image_is_pulled_unpacked_and_run(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.runnable_image(layout, repo), "1")
    name = registry.ref(repo, "1")
    remote(ctr.sandbox, layout, name)
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", name)

    assert ctr("run", "--rm", "--snapshotter", "native", name, "one").strip() == layouts.GREETING


def test_an_index_is_pulled_for_every_platform(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    name = registry.ref(repo, "1")
    remote(ctr.sandbox, layout, name)
    ctr("content", "fetch", "--plain-http", "--all-platforms", name)
    held = set(ctr("content", "ls", "--quiet").split())

    wanted = {made["digest"]}
    for child in json.loads(layout.read(made))["manifests"]:
        manifest = json.loads(layout.read(child))
        wanted |= {child["digest"], manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])}
    assert wanted <= held


def test_the_registry_may_stand_in_for_another(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    """A mirror in hosts.toml: containerd adds `ns=` with the other's name to every request."""
    made = layout.name(layouts.small_image(layout, repo), "1")
    remote(ctr.sandbox, layout, registry.ref(repo, "1"))
    hosts = ctr.sandbox.folder / "hosts"
    (hosts / "elsewhere.test").mkdir(parents=True)
    (hosts / "elsewhere.test" / "hosts.toml").write_text(
        f'server = "https://elsewhere.test"\n[host."{registry.url}"]\ncapabilities = ["pull", "resolve"]\n'
    )
    name = f"elsewhere.test/{repo}:1"
    ctr("images", "pull", "--hosts-dir", hosts, "--snapshotter", "native", name)

    assert made["digest"] in ctr("images", "ls", f"name=={name}")


def test_an_index_is_pulled_for_this_platform(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    name = registry.ref(repo, "1")
    remote(ctr.sandbox, layout, name)
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", name)

    assert made["digest"] in ctr("images", "ls", f"name=={name}")


def test_a_broken_download_goes_on_with_a_range(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.image(layout, {"large": layouts.filler(repo, 12_000_000)}), "1")
    remote(ctr.sandbox, layout, registry.ref(repo, "1"))
    with relay(registry.netloc, Flow.DOWN, after_bytes=5_000_000) as cutting:
        name = f"{cutting.netloc}/{repo}:1"
        ctr("images", "pull", "--plain-http", "--snapshotter", "native", name)

    assert made["digest"] in ctr("images", "ls", f"name=={name}")
    assert len(cutting.requests_with("\nrange: bytes=")) == 1


def test_a_broken_upload_does_not_hinder_the_next(ctr: Ctr, registry: Registry, repo: str, layout: Layout) -> None:
    """This containerd gives up when its PUT breaks; whoever typed the command types it again."""
    made = layout.name(layouts.image(layout, {"large": layouts.filler(repo, 12_000_000)}), "1")
    with relay(registry.netloc, Flow.UP, after_bytes=5_000_000) as cutting:
        name = f"{cutting.netloc}/{repo}:1"
        imported(ctr, layout, name)
        push = (*ctr.words, "images", "push", "--plain-http", name)
        assert ctr.sandbox.run(*push, check=False).returncode != 0
        ctr.sandbox.run(*push)

    assert registry.manifest(repo, "1").digest == made["digest"]
    (layer,) = registry.manifest(repo, "1").json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]
