"""Connections that break in the middle: what real clients do about it, and that they get on with this registry."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.cutting import Flow, Relay, relay
from tests.interop.goprogram import GoClient
from tests.interop.layouts import Descriptor, Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry

LARGE_BYTES = 12_000_000
CUT_AFTER_BYTES = 5_000_000


@pytest.fixture
def large(layout: Layout, repo: str) -> Descriptor:
    """An image with one layer of LARGE_BYTES, in the layout under `1`."""
    return layout.name(layouts.image(layout, {"large": layouts.filler(repo, LARGE_BYTES)}), "1")


@pytest.fixture
def down(registry: Registry) -> Iterator[Relay]:
    with relay(registry.netloc, Flow.DOWN, CUT_AFTER_BYTES) as cutting:
        yield cutting


@pytest.fixture
def up(registry: Registry) -> Iterator[Relay]:
    with relay(registry.netloc, Flow.UP, CUT_AFTER_BYTES) as cutting:
        yield cutting


def test_regclient_goes_on_with_a_range(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, large: Descriptor, down: Relay, tmp_path: Path
) -> None:
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    copied = goclient("regclient-copy", f"{down.netloc}/{repo}:1", f"ocidir://{tmp_path}/back:1")

    assert copied == large["digest"]
    assert down.cuts_left <= 0
    assert len(down.requests_with("\nrange: bytes=")) == 1
    assert whole(tmp_path / "back" / "blobs" / "sha256")


def test_regclient_goes_on_with_an_upload(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, large: Descriptor, up: Relay
) -> None:
    """Its whole PUT breaks; it asks how far the registry is and sends the rest in chunks."""
    copied = goclient("regclient-copy", f"ocidir://{layout.path}:1", f"{up.netloc}/{repo}:1")

    assert copied == large["digest"]
    assert up.cuts_left <= 0
    (layer,) = registry.manifest(repo, "1").json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_crane_begins_an_upload_again(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, large: Descriptor, up: Relay
) -> None:
    goclient("crane-push", layout.path, f"{up.netloc}/{repo}:1")

    assert up.cuts_left <= 0
    assert registry.manifest(repo, "1").digest == large["digest"]
    (layer,) = registry.manifest(repo, "1").json()["layers"]
    assert layouts.sha256(registry.blob(repo, layer["digest"]).body) == layer["digest"]


def test_an_upload_that_skopeo_gave_up_does_not_hinder_the_next(
    sandbox: Sandbox, registry: Registry, repo: str, layout: Layout, large: Descriptor, up: Relay
) -> None:
    push = ("skopeo", "copy", "--preserve-digests", "--dest-tls-verify=false", layout.ref("1"))
    first = sandbox.run(*push, f"docker://{up.netloc}/{repo}:1", check=False)
    assert first.returncode != 0
    sandbox.run(*push, f"docker://{up.netloc}/{repo}:1")

    assert registry.manifest(repo, "1").digest == large["digest"]


def whole(folder: Path) -> bool:
    """Whether every file named by a sha256 has it."""
    named = [path for path in folder.iterdir() if len(path.name) == 64]
    return bool(named) and all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in named)
