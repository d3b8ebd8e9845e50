"""Docker's engine with its classic store, a daemon of the test's own: one chunked PATCH per layer, schema 2 only.

The engine is strict about the Range it is answered, from which it computes the size that it writes into the manifest,
and after each layer it wants a Content-Length from HEAD.
"""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.interop import layouts
from tests.interop.cutting import Flow, relay
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry

SOCKET = "/run/docker-of-the-test.sock"
# Debian's client by its full name: another one may stand before it on PATH.
DOCKER = ("/usr/bin/docker", "--host", f"unix://{SOCKET}")
Docker = Callable[..., str]


@pytest.fixture
def docker(sandbox: Sandbox) -> Iterator[Docker]:
    """`docker` bound to an engine without networks, which therefore touches no firewall and no interface."""
    folder = sandbox.folder / "docker"
    engine = (
        *("dockerd", "--host", f"unix://{SOCKET}", "--data-root", folder, "--exec-root", "/run/docker-exec"),
        *("--pidfile", "/run/docker-of-the-test.pid", "--storage-driver", "vfs", "--bridge=none"),
        *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
    )
    with sandbox.daemon(*engine) as daemon:
        sandbox.wait_for(daemon, *DOCKER, "version")
        yield lambda *command: sandbox.run(*DOCKER, *command).stdout


def loaded(docker: Docker, sandbox: Sandbox, layout: Layout, name: str) -> None:
    """Bring the layout's image into the engine under `name`."""
    archive = sandbox.folder / "image.tar"
    sandbox.run("skopeo", "copy", layout.ref(), f"docker-archive:{archive}:{name}")
    docker("load", "--quiet", "--input", archive)


def test_a_pushed_image_is_pulled_and_run(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.runnable_image(layout, repo))
    name = registry.ref(repo, "1")
    loaded(docker, sandbox, layout, name)
    docker("push", name)
    docker("rmi", name)
    docker("pull", name)

    assert docker("run", "--rm", "--network", "none", name).strip() == layouts.GREETING


def test_a_pushed_manifest_tells_the_true_size_of_each_layer(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.small_image(layout, repo))
    loaded(docker, sandbox, layout, registry.ref(repo, "1"))
    docker("push", registry.ref(repo, "1"))

    stored = registry.manifest(repo, "1")
    assert stored.headers["Content-Type"] == layouts.DOCKER_MANIFEST
    for layer in stored.json()["layers"]:
        held = registry.blob(repo, layer["digest"]).body
        assert (layouts.sha256(held), len(held)) == (layer["digest"], layer["size"])


def test_a_second_push_mounts_or_finds_its_layers(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.small_image(layout, repo))
    first, second = registry.ref(repo, "1"), registry.ref(f"{repo}/second", "1")
    loaded(docker, sandbox, layout, first)
    docker("push", first)
    assert docker("push", first).count("Layer already exists") == 2
    docker("tag", first, second)
    assert docker("push", second).count("Mounted from") == 2
    assert registry.manifest(f"{repo}/second", "1").digest == registry.manifest(repo, "1").digest


def test_the_platform_asked_for_is_pulled_from_an_index(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.two_platforms(layout, repo))
    name = registry.ref(repo, "1")
    sandbox.run("skopeo", "copy", "--all", "--dest-tls-verify=false", layout.ref(), f"docker://{name}")
    docker("pull", "--platform", "linux/arm64", name)

    assert json.loads(docker("image", "inspect", name))[0]["Architecture"] == "arm64"


def test_a_broken_download_goes_on_with_a_range(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    made = layout.name(layouts.image(layout, {"large": layouts.filler(repo, 12_000_000)}))
    sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), f"docker://{registry.ref(repo, '1')}")
    with relay(registry.netloc, Flow.DOWN, after_bytes=5_000_000) as cutting:
        said = docker("pull", f"{cutting.netloc}/{repo}:1")

    assert made["digest"] in said
    assert len(cutting.requests_with("\nrange: bytes=")) == 1


def test_a_broken_upload_begins_again(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.image(layout, {"large": layouts.filler(repo, 12_000_000)}))
    with relay(registry.netloc, Flow.UP, after_bytes=5_000_000) as cutting:
        loaded(docker, sandbox, layout, f"{cutting.netloc}/{repo}:1")
        docker("push", f"{cutting.netloc}/{repo}:1")

    assert len(cutting.requests_with("PATCH /v2/")) >= 2
    (layer,) = registry.manifest(repo, "1").json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]
