"""What we push, others pull and run; what others save or push, we push and pull: docker, podman, skopeo, oras."""

import hashlib
from pathlib import Path

import pytest

from tests.http.pushing import Client
from tests.interop import layouts
from tests.interop.goprogram import GoClient
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.test_docker import Docker, docker, loaded
from tests.interop.wire import Registry

__all__ = ["docker"]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "home")


def test_an_archive_of_docker_save_is_pulled_and_run(
    docker: Docker, sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, client: Client
) -> None:
    layout.name(layouts.runnable_image(layout, repo))
    loaded(docker, sandbox, layout, "saved:1")
    archive = sandbox.folder / "saved.tar"
    docker("save", "--output", str(archive), "saved:1")
    client.run("push", archive, registry.ref(repo, "1"))

    docker("rmi", "saved:1")
    docker("pull", registry.ref(repo, "1"))
    assert docker("run", "--rm", "--network", "none", registry.ref(repo, "1")).strip() == layouts.GREETING


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_podman_saves_goes_up_in_every_form(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, client: Client, form: str
) -> None:
    layout.name(layouts.runnable_image(layout, repo))
    sandbox.run("skopeo", "copy", layout.ref(), "containers-storage:example.org/saved:1")
    saved = sandbox.folder / "saved"
    sandbox.run("podman", "save", "--format", form, "--output", saved, "example.org/saved:1")
    client.run("push", saved, registry.ref(repo, "1"))

    ran = sandbox.run("podman", "run", "--rm", "--network", "none", "--tls-verify=false", registry.ref(repo, "1"))
    assert ran.stdout.strip() == layouts.GREETING


def test_a_file_of_ours_is_pulled_by_oras_under_its_name(
    goclient: GoClient, registry: Registry, repo: str, client: Client, tmp_path: Path
) -> None:
    data = layouts.filler(repo, 3_000_000)
    (tmp_path / "model.bin").write_bytes(data)
    out, _ = client.run("push", tmp_path / "model.bin", registry.ref(repo, "1"))
    assert goclient("oras-pull", registry.ref(repo, "1"), tmp_path / "back") == out.strip().partition("@")[2]
    assert (tmp_path / "back/model.bin").read_bytes() == data


def test_a_file_of_oras_is_pulled_by_us(
    goclient: GoClient, registry: Registry, repo: str, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    digest = goclient("oras-push", registry.ref(repo, "1"), "application/x", tmp_path / "notes.txt")
    out, _ = client.run("pull", registry.ref(repo, "1"), "--output", tmp_path / "back.txt")
    assert out.strip().endswith(digest)
    assert (tmp_path / "back.txt").read_text() == "some notes"


def test_a_layout_of_ours_is_read_by_skopeo(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, client: Client, tmp_path: Path
) -> None:
    layout.name(layouts.two_platforms(layout, repo), "1")
    client.run("push", layout.path, registry.ref(repo, "1"))
    client.run("pull", registry.ref(repo, "1"), tmp_path / "back")
    inspected = sandbox.run("skopeo", "inspect", "--raw", f"oci:{tmp_path / 'back'}:1").stdout
    assert f"sha256:{hashlib.sha256(inspected.encode()).hexdigest()}" == registry.manifest(repo, "1").digest
