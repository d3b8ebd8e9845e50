"""The library behind oras: artifacts of any type, attached to subjects, discovered, pulled, copied and deleted."""

from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient, GoClientFailed
from tests.interop.layouts import Layout
from tests.interop.wire import Registry

SBOM = "application/vnd.example.sbom+json"
SIGNATURE = "application/vnd.example.signature"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files to push: one small, one of two megabytes."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.txt").write_text("some notes")
    (folder / "data.bin").write_bytes(layouts.filler(str(tmp_path), 2_000_000))
    return sorted(folder.iterdir())


def test_files_come_back_as_they_went(
    goclient: GoClient, registry: Registry, repo: str, files: list[Path], tmp_path: Path
) -> None:
    digest = goclient("oras-push", registry.ref(repo, "1"), "application/vnd.example.set", *files)
    assert goclient("oras-pull", registry.ref(repo, "1"), tmp_path / "back") == digest

    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        path.name: path.read_bytes() for path in files
    }
    assert registry.manifest(repo, "1").json()["artifactType"] == "application/vnd.example.set"


def test_an_artifact_may_hold_no_file_at_all(goclient: GoClient, registry: Registry, repo: str, tmp_path: Path) -> None:
    digest = goclient("oras-attach", *subject(goclient, registry, repo, tmp_path), SIGNATURE)

    assert registry.manifest(repo, digest).status == 200


def test_what_is_attached_is_discovered(
    goclient: GoClient, registry: Registry, repo: str, files: list[Path], tmp_path: Path
) -> None:
    target = subject(goclient, registry, repo, tmp_path)
    sbom = goclient("oras-attach", *target, SBOM, files[1])
    signature = goclient("oras-attach", *target, SIGNATURE, files[1])

    assert {found["digest"] for found in goclient("oras-discover", *target)} == {sbom, signature}
    (only,) = goclient("oras-discover", *target, SBOM)
    assert (only["digest"], only["artifactType"]) == (sbom, SBOM)
    # The registry answered the referrers API itself, so no fallback tag was made.
    assert registry.tags(repo) == ["1"]


def test_attachments_may_have_attachments(
    goclient: GoClient, registry: Registry, repo: str, files: list[Path], tmp_path: Path
) -> None:
    target = subject(goclient, registry, repo, tmp_path)
    sbom = goclient("oras-attach", *target, SBOM, files[1])
    signature = goclient("oras-attach", f"{registry.netloc}/{repo}@{sbom}", SIGNATURE, files[1])

    (found,) = goclient("oras-discover", f"{registry.netloc}/{repo}@{sbom}")
    assert found["digest"] == signature

    goclient("oras-copy", registry.ref(repo, "1"), registry.ref(f"{repo}/mirror", "1"))
    assert registry.manifest(f"{repo}/mirror", signature).status == 200


def test_an_image_is_copied_from_a_layout_and_back(
    goclient: GoClient, registry: Registry, repo: str, layout: Layout, tmp_path: Path
) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    assert goclient("oras-copy", f"oci:{layout.path}:1", registry.ref(repo, "1")) == made["digest"]
    assert goclient("oras-copy", registry.ref(repo, "1"), f"oci:{tmp_path}/back:1") == made["digest"]

    kept = {path.name for path in (tmp_path / "back" / "blobs" / "sha256").iterdir()}
    assert kept == {path.name for path in (layout.path / "blobs" / "sha256").iterdir()}


def test_a_deleted_attachment_is_no_longer_discovered(
    goclient: GoClient, registry: Registry, repo: str, files: list[Path], tmp_path: Path
) -> None:
    target = subject(goclient, registry, repo, tmp_path)
    sbom = goclient("oras-attach", *target, SBOM, files[1])
    goclient("oras-delete", f"{registry.netloc}/{repo}@{sbom}")

    assert goclient("oras-discover", *target) == []
    with pytest.raises(GoClientFailed, match="not found"):
        goclient("oras-pull", f"{registry.netloc}/{repo}@{sbom}", tmp_path / "back")


def subject(goclient: GoClient, registry: Registry, repo: str, folder: Path) -> tuple[str]:
    """Push an artifact to attach others to; returns its reference as the arguments of a subcommand."""
    (folder / "subject").write_text(repo)
    goclient("oras-push", registry.ref(repo, "1"), "application/vnd.example.subject", folder / "subject")
    return (registry.ref(repo, "1"),)
