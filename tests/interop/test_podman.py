"""podman: images are pushed, pulled and run, lists of platforms are pushed whole, the registry is searched."""

import json
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry
from tests.support import needs

PLAIN = "--tls-verify=false"


def imported(sandbox: Sandbox, layout: Layout, name: str) -> None:
    """Bring the layout's image into podman's storage under `name`."""
    image = sandbox.run("podman", "pull", "--quiet", layout.ref()).stdout.strip()
    sandbox.run("podman", "tag", image, name)


def test_a_pushed_image_is_pulled_and_run(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    needs.tool("runc")
    layout.name(layouts.runnable_image(layout, repo))
    name = registry.ref(repo, "1")
    imported(sandbox, layout, name)
    sandbox.run("podman", "push", PLAIN, name)
    sandbox.run("podman", "rmi", "--all", "--force")
    sandbox.run("podman", "pull", PLAIN, name)
    said = sandbox.run("podman", "run", "--rm", "--network", "none", name).stdout

    assert said.strip() == layouts.GREETING


def test_running_an_image_that_is_not_here_pulls_it(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    layout.name(layouts.runnable_image(layout, repo))
    sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), f"docker://{registry.ref(repo, '1')}")
    name = registry.ref(repo, "1")
    said = sandbox.run("podman", "run", "--rm", PLAIN, "--network", "none", name, "/bin/busybox", "echo", "other words")

    assert said.stdout.strip() == "other words"


@pytest.mark.parametrize(
    ("form", "stored_as"), [("oci", layouts.IMAGE_MANIFEST), ("v2s2", layouts.DOCKER_MANIFEST)], ids=["oci", "docker"]
)
def test_an_image_is_pushed_in_the_format_asked_for(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, form: str, stored_as: str
) -> None:
    layout.name(layouts.small_image(layout, repo))
    name = registry.ref(repo, "1")
    imported(sandbox, layout, name)
    sandbox.run("podman", "push", PLAIN, "--format", form, "--digestfile", sandbox.folder / "digest", name)

    stored = registry.manifest(repo, "1")
    assert stored.headers["Content-Type"] == stored_as
    assert stored.digest == (sandbox.folder / "digest").read_text()


def test_a_list_of_platforms_is_pushed_with_its_images(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout
) -> None:
    for arch in ("amd64", "arm64"):
        layout.name(layouts.small_image(layout, repo, arch), arch)
    sandbox.run("podman", "manifest", "create", "list")
    for arch in ("amd64", "arm64"):
        sandbox.run("podman", "manifest", "add", "list", layout.ref(arch))
    sandbox.run("podman", "manifest", "push", PLAIN, "--all", "list", f"docker://{registry.ref(repo, '1')}")

    children = registry.manifest(repo, "1").json()["manifests"]
    assert sorted(child["platform"]["architecture"] for child in children) == ["amd64", "arm64"]
    assert [registry.manifest(repo, child["digest"]).status for child in children] == [200, 200]


def test_an_image_is_pulled_by_its_digest(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    made = layout.name(layouts.small_image(layout, repo))
    sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), f"docker://{registry.ref(repo, '1')}")
    name = f"{registry.netloc}/{repo}@{made['digest']}"
    sandbox.run("podman", "pull", PLAIN, name)
    told = json.loads(sandbox.run("podman", "image", "inspect", name).stdout)

    assert told[0]["Digest"] == made["digest"]


def test_repositories_and_tags_are_found(sandbox: Sandbox, registry: Registry, repo: str, layout: Layout) -> None:
    layout.name(layouts.small_image(layout, repo))
    for tag in ("1", "2"):
        name = registry.ref(f"{repo}/findable", tag)
        sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), f"docker://{name}")
    prefix = f"{registry.netloc}/{repo}"
    found = sandbox.run("podman", "search", PLAIN, "--limit", "1000", "--format", "{{.Name}}", f"{prefix}/find").stdout
    tags = sandbox.run("podman", "search", PLAIN, "--list-tags", f"{prefix}/findable").stdout.splitlines()[1:]

    assert found.split() == [f"{prefix}/findable"]
    assert [line.split()[-1] for line in tags] == ["1", "2"]


# Partial pulls need the overlay driver; below /run it lies on memory, whatever the machine's own filesystem is.
PARTIAL_PULLS = """
[storage]
driver = "overlay"
graphroot = "/run/graph"
runroot = "/run/containers/storage"
[storage.options]
pull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos = ""}
"""


def test_only_the_files_that_changed_are_pulled(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, tmp_path: Path
) -> None:
    """Layers in zstd:chunked form are read by several ranges in one request, for the files that are not here yet."""
    (sandbox.settings / "storage.conf").write_text(PARTIAL_PULLS)
    old = {f"file{number}": layouts.filler(f"{repo} {number}", 300_000) for number in range(10)}
    new = old | {f"file{number}": layouts.filler(f"{repo} new {number}", 200_000) for number in (2, 5, 9)}
    for tag, files, where in (("old", old, layout), ("new", new, Layout(tmp_path / "second"))):
        where.name(layouts.image(where, files))
        imported(sandbox, where, registry.ref(repo, tag))
        sandbox.run("podman", "push", PLAIN, "--compression-format", "zstd:chunked", registry.ref(repo, tag))
    sandbox.run("podman", "rmi", "--all", "--force")
    sandbox.run("podman", "pull", PLAIN, registry.ref(repo, "old"))
    said = sandbox.run("podman", "--log-level=debug", "pull", PLAIN, registry.ref(repo, "new")).stderr

    assert "Missing 600000 bytes out of 2700000" in said
    mounted = Path(sandbox.run("podman", "image", "mount", registry.ref(repo, "new")).stdout.strip())
    told = sandbox.run("sha256sum", *(mounted / name for name in new)).stdout.split()[::2]
    assert [f"sha256:{one}" for one in told] == [layouts.sha256(data) for data in new.values()]


def test_pulling_what_is_not_there_says_so(sandbox: Sandbox, registry: Registry, repo: str) -> None:
    tried = sandbox.run("podman", "pull", PLAIN, registry.ref(repo, "1"), check=False)

    assert tried.returncode != 0
    assert "unknown" in tried.stderr
