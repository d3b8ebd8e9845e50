"""A registry in this process: its rooms on a folder, content put straight into them, its face and its admin socket."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from admin.operations import Desk, Serving, perform
from config import Config, load
from handlers.admin import serve_admin
from handlers.readiness import Readiness
from model.descriptors import parse_manifest
from model.digests import Digest
from rooms import Rooms, open_rooms
from tests.support.driver import DRIVER

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"architecture":"amd64","os":"linux"}'
ENVIRON = {"HOLDFAST_CONFIG": os.devnull}


def config_of(data_dir: Path, **settings: str) -> Config:
    """A configuration that nothing on this machine has a say in; settings as text, by name."""
    store = {} if "storage_driver" in settings else DRIVER.settings(data_dir)
    return load({"data_dir": str(data_dir), **store, **settings}, ENVIRON)


async def put_blob(rooms: Rooms, repository: str, content: bytes) -> Digest:
    """Make `content` a blob of the repository."""
    digest = Digest.of(content)
    source = rooms.folder.spool / f"{digest.hex}.data"
    source.write_bytes(content)
    await rooms.services.blobs.commit(repository, digest, source, len(content))
    return digest


async def put_image(rooms: Rooms, repository: str, tag: str, *layers: bytes) -> Digest:
    """Make an image of these layers in the repository; its manifest's digest."""
    parts = [
        f'{{"mediaType":"application/octet-stream","digest":"{await put_blob(rooms, repository, each)}",'
        f'"size":{len(each)}}}'
        for each in (CONFIG, *layers)
    ]
    content = (
        f'{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{parts[0]},"layers":[{",".join(parts[1:])}]}}'
    ).encode()
    digest = Digest.of(content)
    await rooms.services.manifests.put(repository, content, parse_manifest(content, IMAGE), digest, [tag])
    return digest


@dataclass
class StillTransport:
    """The HTTP server, as far as the status asks it."""

    open_connections: int = 3


@dataclass
class Running:
    """A registry whose admin socket answers."""

    rooms: Rooms
    readiness: Readiness
    transport: StillTransport = field(default_factory=StillTransport)


@asynccontextmanager
async def running(config: Config, before: Callable[[Path], None] = lambda data_dir: None) -> AsyncIterator[Running]:
    """Rooms with the admin socket in front of them; `before` is called when the folder is there and the socket not."""
    async with open_rooms(config) as rooms:
        before(config.data_dir)
        registry = Running(rooms, Readiness(rooms.services.repositories, rooms.folder.spool))
        began_s = rooms.clock.monotonic_s()
        serving = Serving(["127.0.0.1:5000"], began_s, lambda: registry.transport, registry.readiness)
        async with serve_admin(config.data_dir, partial(perform, Desk(rooms, serving))):
            yield registry
