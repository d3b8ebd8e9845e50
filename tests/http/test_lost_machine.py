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


def command(data: Path, bucket: Bucket, *words: str) -> int:
    """A command of `registry.py`, with nothing but the settings."""
    environ = {**ENVIRON, **bucket.env(s3_external_endpoint=NOWHERE)}
    return cli.run([*words, "--data", str(data)], serve=lambda config: 0, more=COMMANDS, environ=environ)


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
    assert [path.name for path in (lost / "backups").iterdir()] == [Path(told["path"]).name], (
        "one copy, and it is named"
    )
    assert any(key.endswith(Path(told["path"]).name) for key in bucket.objects("holdfast/catalog/"))
    shutil.rmtree(lost)

    assert await asyncio.to_thread(command, here, bucket, "restore") == 0
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


async def test_a_server_on_an_empty_folder_takes_no_pushes_into_a_lost_machines_bucket(
    tmp_path: Path, object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would fill the bucket with a second set of names; `restore` works right after the refusal all the same."""
    bucket = object_store.new_bucket(prefix="site")
    settings = bucket.settings(s3_external_endpoint=NOWHERE)
    lost, here = tmp_path / "lost", tmp_path / "here"
    async with open_rooms(config_of(lost, **settings)) as rooms:
        await put_image(rooms, "lab/tools", "v1", LAYER)
        await perform(Desk(rooms), "catalog.backup", {})
    with pytest.raises(CannotStart, match=r"another registry .* `registry\.py restore`"):
        async with open_rooms(config_of(here, **settings)):
            pass
    assert await asyncio.to_thread(command, here, bucket, "restore") == 0
    assert "is the catalog now" in capsys.readouterr().out
    async with open_rooms(config_of(here, **settings)) as rooms:
        assert (await rooms.services.tags.page("lab/tools")).names == ["v1"]


async def test_who_wants_to_begin_anew_there_takes_the_bucket_over(
    tmp_path: Path, object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = object_store.new_bucket()
    settings = bucket.settings(s3_external_endpoint=NOWHERE)
    former, here = tmp_path / "former", tmp_path / "here"
    async with open_rooms(config_of(former, **settings)) as rooms:
        await put_image(rooms, "lab/tools", "v1", LAYER)
    before = bucket.objects()
    with pytest.raises(CannotStart):
        async with open_rooms(config_of(here, **settings)):
            pass
    assert await asyncio.to_thread(command, here, bucket, "storage", "take-over") == 0
    told = capsys.readouterr().out
    assert f"The bucket {bucket.name} at {object_store.url} belongs to registry " in told
    assert "which does not start there any more" in told
    assert bucket.objects() == before
    async with open_rooms(config_of(here, **settings)) as rooms:
        assert rooms.ownership.is_proven()
        await put_image(rooms, "lab/tools", "v2", LAYER)
    with pytest.raises(CannotStart, match="another registry"):
        async with open_rooms(config_of(former, **settings)):
            pass
    async with open_rooms(config_of(former, **settings), own=False) as rooms:
        assert not rooms.ownership.is_proven(), "whoever only looks is let in, and does nothing there"


async def test_content_in_a_folder_cannot_be_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["storage", "take-over", "--data", str(tmp_path)]

    def run() -> tuple[int, str]:
        return cli.run(words, serve=lambda config: 0, more=COMMANDS, environ=ENVIRON), capsys.readouterr().err

    code, said = await asyncio.to_thread(run)
    assert (code, "there is no registry in" in said) == (2, True)
    async with open_rooms(config_of(tmp_path)):
        pass
    code, said = await asyncio.to_thread(run)
    assert (code, "there is no bucket to take over" in said) == (1, True)
