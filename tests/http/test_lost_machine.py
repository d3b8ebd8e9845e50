"""A machine that is lost, and another in its place: its names come from the bucket, where the bytes are already."""

import asyncio
import shutil
from pathlib import Path

import pytest

import cli
from admin.commands import COMMANDS
from admin.operations import Desk, perform
from rooms import open_rooms
from store.refusals import CannotStart
from store.values import SmallBlob
from tests.support.inside import ENVIRON, config_of, put_image
from tests.support.objectstore import NOWHERE, Bucket, ObjectStore

LAYER = b"a layer" * 100


def restore(data: Path, bucket: Bucket) -> int:
    """`registry.py restore`, with nothing but the settings."""
    environ = {**ENVIRON, **bucket.env(s3_external_endpoint=NOWHERE)}
    return cli.run(["restore", "--data", str(data)], serve=lambda config: 0, more=COMMANDS, environ=environ)


async def test_one_command_brings_everything_back_on_a_real_store(
    tmp_path: Path, object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under a prefix, since the copies have to be found below it as the blobs are."""
    bucket = object_store.new_bucket(prefix="site/images")
    settings = bucket.settings(s3_external_endpoint=NOWHERE)
    lost, here = tmp_path / "lost", tmp_path / "here"
    async with open_rooms(config_of(lost, **settings)) as rooms:
        digest = await put_image(rooms, "lab/tools", "v1", LAYER)
        told = await perform(Desk(rooms), "catalog.backup", {})
    assert told["bucket"] is True
    shutil.rmtree(lost)

    assert await asyncio.to_thread(restore, here, bucket) == 0
    assert "bucket:catalog-" in capsys.readouterr().out
    async with open_rooms(config_of(here, **settings)) as rooms:
        tags = rooms.services.tags
        assert await tags.resolve("lab/tools", "v1") == digest
        manifest = await rooms.services.manifests.get("lab/tools", "v1")
        assert b"layers" in manifest.content
        held = await rooms.services.blobs.content("lab/tools", type(digest).of(LAYER))
        assert held == SmallBlob(LAYER)


async def test_another_bucket_is_refused_at_the_start(tmp_path: Path, object_store: ObjectStore) -> None:
    right, wrong = object_store.new_bucket(), object_store.new_bucket()
    async with open_rooms(config_of(tmp_path, **right.settings(s3_external_endpoint=NOWHERE))) as rooms:
        await put_image(rooms, "lab/tools", "v1", LAYER)
    with pytest.raises(CannotStart, match="s3_bucket"):
        async with open_rooms(config_of(tmp_path, **wrong.settings(s3_external_endpoint=NOWHERE))):
            pass
