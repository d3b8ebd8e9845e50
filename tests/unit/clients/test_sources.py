"""What can be pushed, as it is found on the disk: layouts, archives in both forms, SIFs, files; and what cannot."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clients.plans import NotPushable, Plan
from clients.reading import KEPT_OPEN, Disk, Slice
from clients.sources import plan_of
from model.digests import Digest
from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.unit.clients.steps import some_file


def plan(source: Path, ref: str | None = None, tag: str | None = None, media_type: str | None = None) -> Plan:
    return plan_of(source, ref=ref, tag=tag, media_type=media_type)


def pushed(of: Plan) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """The manifests of a plan, with blobs hashed as a push would do it."""
    digests = {}
    for blob in of.blobs:
        content = blob.bytes.read(1 << 30)
        digests[blob.bytes.key] = Digest.of(content)
        assert blob.digest in (None, Digest.of(content))
    return [(json.loads(each.content), each.tags) for each in of.manifests(digests)]


def tarred(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar of files; a member that is text is a symbolic link to that name."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def saved(path: Path, *layers: bytes, **images: list[str]) -> Path:
    """An archive as `docker save` used to write it: the second layer is a link, as for layers that are shared."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    members: dict[str, bytes | str] = {"c.json": config}
    for number, layer in enumerate(layers):
        members[f"l{number}/layer.tar"] = f"../m{number}/layer.tar" if number == 1 else layer
        members[f"m{number}/layer.tar"] = layer
    names = [f"l{number}/layer.tar" for number in range(len(layers))]
    listed = [{"Config": "c.json", "RepoTags": tags, "Layers": names} for tags in images.values() or [["x:1"]]]
    return tarred(path, members | {"manifest.json": json.dumps(listed).encode()})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def test_a_layout_is_pushed_with_children_before_parents_and_the_tag_on_the_top(layout: Layout) -> None:
    index = layout.name(layouts.two_platforms(layout, "x"), "there")
    found = pushed(plan(layout.path, tag="here"))
    assert [tags for _, tags in found] == [(), (), ("here",)]
    assert {f"sha256:{digest['digest'].removeprefix('sha256:')}" for digest in found[2][0]["manifests"]} <= {
        f"sha256:{path.name}" for path in (layout.path / "blobs/sha256").iterdir()
    }
    assert plan(layout.path).manifests({})[-1].digest == Digest.parse(index["digest"])


def test_the_same_layout_in_a_tar_is_the_same_push(layout: Layout, tmp_path: Path) -> None:
    """Today's `docker save`: its manifest.json beside the layout changes nothing."""
    layout.name(layouts.two_platforms(layout, "x"), "1")
    files: dict[str, bytes | str] = {
        p.relative_to(layout.path).as_posix(): p.read_bytes() for p in layout.path.rglob("*") if p.is_file()
    }
    archive = tarred(
        tmp_path / "image.tar", {f"./{name}": data for name, data in files.items()} | {"manifest.json": b"[]"}
    )
    assert pushed(plan(archive, tag="1")) == pushed(plan(layout.path, tag="1"))


def test_an_image_of_several_is_chosen_by_name_or_digest(layout: Layout) -> None:
    one = layout.name(layouts.small_image(layout, "a"), "one")
    layout.name(layouts.small_image(layout, "b"), "two")
    assert [tags for _, tags in pushed(plan(layout.path, ref="one"))] == [("one",)]
    assert plan(layout.path, ref=one["digest"], tag="t").manifests({})[0].digest == Digest.parse(one["digest"])
    assert [tags for _, tags in pushed(plan(layout.path))] == [("one",), ("two",)]
    with pytest.raises(NotPushable, match=r"has several images: one, two\nchoose one with --ref NAME"):
        plan(layout.path, tag="x")
    with pytest.raises(NotPushable, match=r"'three' is in it nowhere; .* has one, two"):
        plan(layout.path, ref="three")


def test_what_refers_to_an_image_goes_with_it_without_a_tag(layout: Layout) -> None:
    image = layout.name(layouts.small_image(layout, "a"), "one")
    layout.name(layouts.artifact(layout, "application/x", {"sig": b"signed"}, subject=image), "sig")
    assert [tags for _, tags in pushed(plan(layout.path, tag="t"))] == [("t",), ()]


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
def test_a_layout_that_is_not_whole_is_not_pushed(layout: Layout, harm: str) -> None:
    image = layout.name(layouts.small_image(layout, "a"), "one")
    layer = json.loads(layout.read(image))["layers"][0]["digest"].removeprefix("sha256:")
    blobs = layout.path / "blobs/sha256"
    if harm == "gone":
        (blobs / layer).unlink()
    elif harm == "short":
        (blobs / layer).write_bytes(b"short")
    else:
        (blobs / image["digest"].removeprefix("sha256:")).write_bytes(b"{}")
    with pytest.raises(NotPushable, match="is incomplete" if harm == "gone" else "is damaged"):
        plan(layout.path)


def test_the_old_form_of_docker_save_becomes_an_image_of_plain_layers(tmp_path: Path) -> None:
    archive = saved(tmp_path / "image.tar", b"first layer", b"second layer")
    [(manifest, tags)] = pushed(plan(archive, tag="t"))
    assert tags == ("t",)
    assert [row["mediaType"] for row in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar"] * 2
    assert manifest["layers"][1]["digest"] == f"sha256:{hashlib.sha256(b'second layer').hexdigest()}"
    assert all(blob.bytes.path == archive for blob in plan(archive).blobs)


def test_a_compressed_layer_in_an_archive_is_hashed_as_it_is(tmp_path: Path) -> None:
    layer = gzip.compress(b"layer")
    [(manifest, _)] = pushed(plan(saved(tmp_path / "image.tar", layer)))
    assert manifest["layers"][0]["mediaType"].endswith("tar+gzip")


def test_an_image_of_several_in_an_archive_is_chosen_by_name(tmp_path: Path) -> None:
    archive = saved(tmp_path / "image.tar", b"layer", a=["x:1"], b=["x:2"])
    assert pushed(plan(archive, ref="x:2"))
    with pytest.raises(NotPushable, match="has several images: x:1, x:2"):
        plan(archive)
    with pytest.raises(NotPushable, match="has no image x:3: x:1, x:2"):
        plan(archive, ref="x:3")


def test_an_archive_that_was_cut_short_is_not_pushed(tmp_path: Path) -> None:
    archive = saved(tmp_path / "image.tar", b"layer" * 10_000)
    with archive.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(NotPushable, match=r"ends in the middle of|is a broken tar archive"):
        plan(archive)


def test_an_archive_without_its_layers_is_not_pushed(tmp_path: Path) -> None:
    listed = json.dumps([{"Config": "c", "RepoTags": None, "Layers": ["gone"]}]).encode()
    config = json.dumps({"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}).encode()
    with pytest.raises(NotPushable, match="is incomplete: gone is not in it"):
        plan(tarred(tmp_path / "image.tar", {"manifest.json": listed, "c": config}))


@pytest.mark.parametrize("name", ["image.tar.gz", "image"])
def test_a_compressed_archive_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    plain = saved(tmp_path / "plain.tar", b"layer")
    packed = tmp_path / name
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(NotPushable, match=rf"compressed archive.*\nunpack it first \(gunzip -k {name}\)"):
        plan(packed)
    [(manifest, _)] = pushed(plan(packed, media_type="application/gzip"))
    assert manifest["artifactType"] == "application/gzip"


def test_a_compressed_file_that_is_no_archive_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.gz").write_bytes(gzip.compress(b"weights"))
    assert pushed(plan(tmp_path / "model.gz"))[0][0]["artifactType"] == "application/octet-stream"


def test_a_sif_has_the_types_that_singularity_looks_for(tmp_path: Path) -> None:
    (tmp_path / "x.sif").write_bytes(b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + bytes(200))
    [(manifest, _)] = pushed(plan(tmp_path / "x.sif"))
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.sylabs.sif.layer.v1.sif"
    assert layer["annotations"] == {"org.opencontainers.image.title": "x.sif"}
    assert manifest["config"]["mediaType"] == "application/vnd.sylabs.sif.config.v1+json"
    assert manifest["config"]["digest"] == str(Digest.of(b"{}"))
    assert "artifactType" not in manifest


def test_any_other_file_is_an_artifact_with_the_empty_config(tmp_path: Path) -> None:
    [(manifest, tags)] = pushed(plan(some_file(tmp_path / "data.bin", 1000)))
    assert manifest["artifactType"] == manifest["layers"][0]["mediaType"] == "application/octet-stream"
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": str(Digest.of(b"{}")),
        "size": 2,
        "data": "e30=",
    }
    assert tags == ("latest",)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert pushed(plan(tmp_path / "empty"))[0][0]["layers"][0]["size"] == 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("nothing", "is not there"),
        ("folder", "is a folder, but no OCI layout"),
        ("layout with type", "--type is for files"),
        ("file with ref", "--ref chooses from layouts and archives"),
        ("broken index", "is not that of an OCI layout"),
        ("empty layout", "holds no image"),
    ],
)
def test_what_cannot_be_pushed_says_why(tmp_path: Path, layout: Layout, what: str, told: str) -> None:
    source = {"nothing": tmp_path / "nothing", "folder": tmp_path}.get(what, layout.path)
    if what == "file with ref":
        source = some_file(tmp_path / "file", 10)
    if what == "broken index":
        (layout.path / "index.json").write_text('{"manifests": [{"digest": "x"}]}')
    with pytest.raises(NotPushable, match=told):
        plan(source, ref="x" if "ref" in what else None, media_type="a/b" if "type" in what else None)


async def test_more_files_than_may_be_open_can_be_read(tmp_path: Path) -> None:
    """An index of many images has many blobs; only some of their files stay open."""
    disk = Disk(2)
    try:
        paths = [some_file(tmp_path / str(number), 10, seed=number) for number in range(KEPT_OPEN + 30)]
        for path in [*paths, *paths]:
            assert await disk.read(Slice(path, 0, 10), 0, 10, hashlib.sha256()) == path.read_bytes()
            assert len(os.listdir("/proc/self/fd")) < KEPT_OPEN + 60
    finally:
        disk.close()
