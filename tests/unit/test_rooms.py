"""The rooms below the handlers: what they leave behind, on disk and in the process."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from admin.operations import Desk, perform
from config import ConfigError
from model.clock import SystemClock
from model.errors import ManifestUnknown
from rooms import PASSING_NAME, open_rooms
from store.catalog import Catalog
from store.layout import BLOBS
from store.opening import CATALOG_NAME
from store.refusals import CatalogError, FolderError
from tests.support.inside import config_of, put_image


@pytest.mark.parametrize("driver", ["filesystem", "memory"])
async def test_closed_rooms_leave_no_thread(tmp_path: Path, driver: str) -> None:
    before = set(threading.enumerate())
    async with open_rooms(config_of(tmp_path, storage_driver=driver)) as rooms:
        await put_image(rooms, "a", "v1", b"layer")
        assert await rooms.services.repositories.list_sizes()
    names = {thread.name.rpartition("_")[0] for thread in set(threading.enumerate()) - before}
    assert names <= {"asyncio"}, "the loop's own threads are the loop's"


async def test_with_content_in_memory_names_go_as_it_does(tmp_path: Path) -> None:
    """H049, H120: another driver, the same way of uploading."""
    config = config_of(tmp_path, storage_driver="memory")
    for _ in range(2):
        async with open_rooms(config) as rooms:
            with pytest.raises(ManifestUnknown):
                await rooms.services.manifests.get("a", "v1")
            assert await rooms.services.repositories.list_sizes() == []
            digest = await put_image(rooms, "a", "v1", b"layer")
            assert (await rooms.services.manifests.get("a", "v1")).digest == digest
            copy = await perform(Desk(rooms, None), "catalog.backup", {})
            assert Path(copy["path"]).is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["docker", "lock", "signing-keys.json", "spool"]


async def test_what_a_killed_server_left_of_content_in_memory_is_gone_at_the_next_start(tmp_path: Path) -> None:
    config = config_of(tmp_path, storage_driver="memory")
    left = tmp_path / PASSING_NAME
    (left / "spool").mkdir(parents=True)
    (left / "spool" / "cut.data").write_bytes(b"half an upload")
    with closing(sqlite3.connect(left / CATALOG_NAME)) as damaged:
        damaged.execute("PRAGMA user_version = 9999")
    async with open_rooms(config) as rooms:
        assert rooms.services.sessions.all() == []
        assert list((left / "spool").iterdir()) == []
    assert not left.exists()


async def test_trying_things_out_in_memory_touches_nothing_that_is_kept(tmp_path: Path) -> None:
    kept, memory = config_of(tmp_path), config_of(tmp_path, storage_driver="memory")
    async with open_rooms(kept) as rooms:
        digest = await put_image(rooms, "a", "v1", b"layer")
        upload = await rooms.services.sessions.open("a")
    (tmp_path / "spool" / f"{upload.id}.data").touch()
    spooled = sorted((tmp_path / "spool").iterdir())
    async with open_rooms(memory) as rooms:
        await put_image(rooms, "b", "v1", b"other")
    assert sorted((tmp_path / "spool").iterdir()) == spooled
    async with open_rooms(kept) as rooms:
        assert (await rooms.services.manifests.get("a", "v1")).digest == digest
        assert [session.id for session in rooms.services.sessions.all()] == [upload.id]


async def test_a_storage_folder_without_any_blob_is_not_taken_for_the_catalogs_own(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "not mounted"
    async with open_rooms(config_of(data)) as rooms:
        await put_image(rooms, "a", "v1", b"layer")
    with pytest.raises(FolderError, match="none at all in"):
        async with open_rooms(config_of(data, storage_root_dir=str(elsewhere))):
            pass
    (elsewhere / BLOBS).mkdir(parents=True)
    async with open_rooms(config_of(data, storage_root_dir=str(elsewhere))) as rooms:
        assert (await rooms.services.tags.page("a", 10, None)).names == ["v1"], "the operator said to go on"


async def test_an_empty_registry_may_move_to_another_storage_folder(tmp_path: Path) -> None:
    async with open_rooms(config_of(tmp_path / "data")):
        pass
    async with open_rooms(config_of(tmp_path / "data", storage_root_dir=str(tmp_path / "new"))):
        pass


def test_a_catalog_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(tmp_path, SystemClock())
    catalog.open()
    catalog.close()

    def read_only(path: Path, *, durable: bool) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr("store.catalog.connect_writer", read_only)
    with pytest.raises(CatalogError, match="may write the file"):
        Catalog(tmp_path, SystemClock()).open()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"s3_bucket": ""}, "S3_BUCKET"),
        ({"s3_addressing_style": "virtual", "s3_endpoint": "http://127.0.0.1:9"}, "say path"),
        ({"aws_access_key_id": "half"}, "aws_secret_access_key is missing"),
        ({"s3_ca_file": "/nonexistent/ca.pem"}, "cannot be read"),
        ({"s3_ca_file": __file__}, "name another"),
    ],
    ids=["bucket", "virtual", "pair", "no file", "no certificate"],
)
async def test_what_is_wrong_with_the_settings_of_a_store_is_said_before_anything_is_made(
    tmp_path: Path, said: dict[str, str], told: str
) -> None:
    settings = {"storage_driver": "s3", "s3_bucket": "images", "s3_endpoint": "http://127.0.0.1:9", **said}
    with pytest.raises(ConfigError, match=told):
        async with open_rooms(config_of(tmp_path / "data", **settings)):
            pass
    assert not (tmp_path / "data").exists()
