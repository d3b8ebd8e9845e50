"""Helm charts as helm pushes them to an `oci://` registry."""

from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient
from tests.interop.wire import Registry


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "with-provenance"])
def test_a_chart_comes_back_as_it_went(
    goclient: GoClient, registry: Registry, repo: str, tmp_path: Path, signed: bool
) -> None:
    files = {"chart.tgz": layouts.tar({"bench/Chart.yaml": b"name: bench\nversion: 0.1.0+build.5\n"})}
    if signed:
        files["chart.tgz.prov"] = b"-----BEGIN PGP SIGNED MESSAGE-----"
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "back").mkdir()
    # A plus sign may not stand in a tag; helm writes it as an underscore.
    chart = registry.ref(f"{repo}/charts/bench", "0.1.0_build.5")
    pushed = goclient("helm-push", chart, *(tmp_path / name for name in files))

    assert goclient("helm-pull", chart, tmp_path / "back") == pushed
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == files
    config = registry.manifest(f"{repo}/charts/bench", "0.1.0_build.5").json()["config"]
    assert config["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
