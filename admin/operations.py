"""What the operator can do to a registry: one function each, named in one table, the same whether a server runs or not.

A function takes the desk and strings, calls the rooms, and returns what can be written as JSON; sizes are in bytes,
times in seconds or RFC 3339. Long lists are made in threads, so that listing holds nobody up. Whoever gets here may do
everything, so no policy is asked.
"""

import asyncio
import inspect
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from admin import copies
from config import Config
from model import names
from model.clock import rfc3339
from model.errors import Invalid, ManifestUnknown, NameUnknown, Unsupported, UploadUnknown
from model.version import VERSION
from multipart.parted import PartedSession
from multipart.session import Session
from multipart.spool import storage_error
from rooms import Rooms
from store import backups, blob_rows, setting_rows, store_objects
from store.bucket_copies import registry_id
from store.opening import translated
from store.values import RepositorySize
from stores import store_settings

log = logging.getLogger("holdfast.admin")

Answer = dict[str, Any]


class Transport(Protocol):
    """What is asked of the HTTP server."""

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        ...


class Readiness(Protocol):
    """What is asked of the readiness check."""

    async def reason(self) -> str:
        """Why the server is not ready; empty when it is."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """The running server around the rooms."""

    listening: Sequence[str]
    began_monotonic_s: float
    transport: Callable[[], Transport]
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class Desk:
    """What the operations work on; `serving` is None when a command has opened a stopped registry."""

    rooms: Rooms
    serving: Serving | None = None


async def perform(desk: Desk, name: str, parameters: Mapping[str, str]) -> Answer:
    """Do the operation `name`.

    Raises:
        Unsupported: there is none of that name.
        Invalid: it does not take these parameters.
        RegistryError: it cannot be done; says why.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise Unsupported(f"this server (version {VERSION}) has no operation {name[:100]!r}")
    try:
        inspect.signature(operation).bind(desk, **parameters)
    except TypeError as error:
        raise Invalid(f"{name}: {error}") from error
    return await operation(desk, **parameters)


async def repo_list(desk: Desk, prefix: str = "") -> Answer:
    """Every repository whose name begins with `prefix`, with what it holds."""
    sizes = await desk.rooms.services.repositories.list_sizes()
    return await asyncio.to_thread(_listed, [size for size in sizes if size.name.startswith(prefix)])


def _listed(sizes: Sequence[RepositorySize]) -> Answer:
    return {"repositories": [_size(size) for size in sizes], "total": _total(sizes)}


def _size(size: RepositorySize) -> Answer:
    return {
        "name": size.name,
        "manifests": size.manifests,
        "tags": size.tags,
        "unique_bytes": size.unique_bytes,
        "shared_bytes": size.shared_bytes,
    }


def _total(sizes: Sequence[RepositorySize]) -> Answer:
    """The sums that mean something: shared bytes are in several rows, so theirs does not."""
    return {
        "repositories": len(sizes),
        "manifests": sum(size.manifests for size in sizes),
        "tags": sum(size.tags for size in sizes),
        "unique_bytes": sum(size.unique_bytes for size in sizes),
    }


async def repo_show(desk: Desk, name: str) -> Answer:
    """What one repository holds, and how many uploads are open in it. NameUnknown when there is none."""
    names.known_repository(name)
    sizes = await desk.rooms.services.repositories.list_sizes()
    size = next((size for size in sizes if size.name == name), None)
    if size is None:
        raise NameUnknown("there is no such repository", name=name)
    uploads = sum(session.row.repository == name for session in _sessions(desk))
    return {**_size(size), "uploads": uploads}


async def repo_delete(desk: Desk, name: str) -> Answer:
    """Remove a repository with all tags and manifests; says what it held."""
    held = await repo_show(desk, name)
    await desk.rooms.services.repositories.delete(name)
    log.info("repository %s deleted: %d manifests, %d tags", name, held["manifests"], held["tags"])
    return held


async def tag_list(desk: Desk, repository: str) -> Answer:
    """The tags of a repository, in byte order. NameUnknown when there is none."""
    page = await desk.rooms.services.tags.page(names.repository(repository))
    return {"repository": repository, "tags": page.names}


async def tag_copy(desk: Desk, repository: str, source: str, target: str) -> Answer:
    """Point `target` at what `source` points at; says what it pointed at before."""
    tags = desk.rooms.services.tags
    former = await _digest(desk, names.repository(repository), names.tag(target))
    await tags.copy(repository, names.tag(source), target)
    log.info("tag %s of %s copied to %s", source, repository, target)
    digest = await _digest(desk, repository, target)
    return {"repository": repository, "source": source, "tag": target, "digest": digest, "former_digest": former}


async def tag_delete(desk: Desk, repository: str, tag: str) -> Answer:
    """Remove a tag; the manifest stays, under its digest. ManifestUnknown when there is none."""
    digest = await _digest(desk, names.repository(repository), names.tag(tag))
    await desk.rooms.services.manifests.delete_tag(repository, tag)
    log.info("tag %s of %s deleted", tag, repository)
    return {"repository": repository, "tag": tag, "digest": digest}


async def _digest(desk: Desk, repository: str, tag: str) -> str | None:
    """What a tag points at, if it is there."""
    try:
        return str(await desk.rooms.services.tags.resolve(repository, tag))
    except (ManifestUnknown, NameUnknown):
        return None


async def uploads_list(desk: Desk) -> Answer:
    """The open upload sessions of both kinds, oldest first; `bytes` is what they have stored.

    Of one in parts, `size_bytes` and `total_parts` are those that were declared, if they were. Where content is in an
    object store, `in_store` says what that has, what waits to be sent, and what hinders it; `proving` how far a whole
    has been read again that clients put there themselves.
    """
    sessions, now_s = _sessions(desk), desk.rooms.clock.now_s()
    afar = [_in_store(desk, session) for session in sessions]
    told = await asyncio.to_thread(lambda: [_upload(session, now_s) for session in sessions])
    return {"uploads": [{**upload, **more} for upload, more in zip(told, afar, strict=True)]}


def _in_store(desk: Desk, session: Session | PartedSession) -> Answer:
    """How far the object store has one session, where there is one."""
    objects = desk.rooms.objects
    upload = None if objects is None else objects.remote.of(session.id)
    proving = session.proving if isinstance(session, PartedSession) else None
    return {
        "mode": session.mode if isinstance(session, PartedSession) else "buffered",
        "in_store": None
        if upload is None
        else {
            "bytes": sum(part.size_bytes for part in upload.confirmed.values()),
            "waiting_bytes": upload.unsent_bytes,
            "trouble": "" if upload.failure is None else upload.failure.message,
        },
        "proving": None if proving is None else {"bytes": proving.done_bytes, "of_bytes": proving.total_bytes},
    }


def _sessions(desk: Desk) -> list[Session | PartedSession]:
    """All open upload sessions of both kinds, oldest first."""
    sessions = desk.rooms.services.sessions
    both: list[Session | PartedSession] = [*sessions.all(), *sessions.parted.all()]
    return sorted(both, key=lambda session: session.row.created_at_s)


def _upload(session: Session | PartedSession, now_s: float) -> Answer:
    """What there is to tell about one session. Blocks."""
    receiving, row = bool(session.receiving), session.row
    return {
        "id": session.id,
        "kind": row.kind,
        "repository": row.repository,
        **(_in_sequence(session) if isinstance(session, Session) else _in_parts(session)),
        "opened_at": rfc3339(row.created_at_s),
        "age_s": max(0, round(now_s - row.created_at_s)),
        "idle_s": 0 if receiving else max(0, round(now_s - session.touched_at_s)),
        "owner": row.owner,
        "target": row.target,
        "receiving": receiving,
    }


def _in_sequence(session: Session) -> Answer:
    size_bytes = _size_of(session.spool.path)
    held = session.offset_bytes if size_bytes is None else size_bytes
    return {"bytes": held, "size_bytes": None, "parts": None, "total_parts": None}


def _in_parts(session: PartedSession) -> Answer:
    layout = session.layout
    return {
        "bytes": session.stored_bytes,
        "size_bytes": None if layout is None else layout.size_bytes,
        "parts": len(session.parts),
        "total_parts": None if layout is None else layout.count,
    }


async def uploads_abort(desk: Desk, upload_id: str) -> Answer:
    """End an upload session of either kind and remove what it received. UploadUnknown when there is none."""
    sessions = desk.rooms.services.sessions
    found = next((session for session in _sessions(desk) if session.id == upload_id), None)
    if found is None:
        raise UploadUnknown("there is no such upload", id=upload_id[:100])
    if isinstance(found, PartedSession):
        size_bytes: int | None = found.stored_bytes
        await sessions.parted.abort(upload_id, None)
    else:
        size_bytes = await asyncio.to_thread(_size_of, found.spool.path)
        await sessions.cancel(found.row.repository, upload_id)
    log.info("upload %s in %s aborted", upload_id, found.row.repository)
    return {"id": upload_id, "repository": found.row.repository, "bytes": size_bytes or 0}


async def keys_rotate(desk: Desk, revoke: str = "") -> Answer:
    """Sign URLs with a new key from now on; `revoke` (anything but empty) ends those that were handed out before."""
    keys = desk.rooms.services.signer.keys
    try:
        made = await asyncio.to_thread(keys.rotate, revoke=bool(revoke))
    except OSError as error:
        raise storage_error(error, "writing the signing keys") from error
    former = [{"key": key.id, "accepted_until": rfc3339(key.accepted_until_s or 0)} for key in keys.former()]
    log.info("signed URLs are made with key %s now; %d former keys are accepted", made.id, len(former))
    return {"key": made.id, "former": former}


async def catalog_backup(desk: Desk) -> Answer:
    """Take a copy of the catalog now."""
    try:
        path = await desk.rooms.catalog.backup()
    except OSError as error:
        raise storage_error(error, "copying the catalog") from error
    except Exception as error:  # SQLite's, which only the store knows by name
        raise translated(error) from error
    there = await copies.sent(desk.rooms.catalog, desk.rooms.backend, desk.rooms.ownership.is_proven)
    newest = await asyncio.to_thread(backups.newest, desk.rooms.catalog.data_dir)
    path = path if newest is None else newest  # the first one for a bucket is taken anew
    log.info("the catalog was copied to %s", path)
    answer = await catalog_copies(desk)
    taken: Answer = next(copy for copy in answer["copies"] if copy["path"] == str(path))
    return {**taken, **there}


async def catalog_copies(desk: Desk) -> Answer:
    """The copies of the catalog here and in the bucket, the newest first."""
    rooms = desk.rooms
    return await copies.listed(rooms.catalog.data_dir, rooms.backend, rooms.clock.now_s())


async def storage_known(desk: Desk) -> Answer:
    """What in an object store the catalog knows of, settled blobs apart: keys, and the store's ids of uploads."""
    catalog = desk.rooms.catalog
    rows = await catalog.read(store_objects.all_rows)
    unsettled = await catalog.read(blob_rows.unsettled)
    return {
        "keys": sorted({row.key for row in rows} | {key for _, key in unsettled}),
        "upload_ids": sorted({row.store_upload_id for row in rows if row.store_upload_id}),
        "content": await catalog.read(blob_rows.has_content),
        "registry": await catalog.read(setting_rows.get, setting_rows.REGISTRY_ID),
        "serving": desk.serving is not None,
    }


async def storage_take_over(desk: Desk) -> Answer:
    """Make the bucket this registry's, whosever it was. Unsupported where content is in none."""
    config, rooms = desk.rooms.config, desk.rooms
    if config.storage_driver != "s3":
        raise Unsupported(f"{config.said('storage_driver')}: there is no bucket to take over")
    try:
        former = await rooms.ownership.take_over()
    except OSError as error:
        raise storage_error(error, "taking the bucket over") from error
    return {
        "registry": await registry_id(rooms.catalog),
        "bucket": _bucket(config),
        "prefix": config.s3_path_prefix,
        "former": None if former is None else {"registry": former.id, "since": former.since},
    }


async def status(desk: Desk) -> Answer:
    """How the running server is; Unsupported when there is none."""
    if desk.serving is None:
        raise Unsupported("no server is running")
    config, serving, rooms = desk.rooms.config, desk.serving, desk.rooms
    usage = await asyncio.to_thread(shutil.disk_usage, config.storage_root)
    found = await rooms.services.repositories.count()
    counts = {"repositories": found.repositories, "manifests": found.manifests, "tags": found.tags}
    return {
        "running": True,
        "version": VERSION,
        "pid": os.getpid(),
        "uptime_s": max(0, round(rooms.clock.monotonic_s() - serving.began_monotonic_s)),
        "listening": list(serving.listening),
        "not_ready": await serving.readiness.reason(),
        "connections": serving.transport().open_connections,
        "uploads": len(_sessions(desk)),
        **counts,
        "data_dir": str(config.data_dir),
        "storage_root": str(config.storage_root),
        "bucket": _bucket(config),
        "catalog_bytes": await asyncio.to_thread(_size_of, rooms.catalog.path) or 0,
        "free_bytes": usage.free,
        "size_bytes": usage.total,
    }


def _bucket(config: Config) -> str | None:
    """Which bucket content is in; None when it is in none."""
    return f"{config.s3_bucket} at {store_settings(config).base_url}" if config.storage_driver == "s3" else None


def _size_of(path: Path) -> int | None:
    """How long a file is, if it is there. Blocks."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


OPERATIONS: Final[Mapping[str, Callable[..., Awaitable[Answer]]]] = {
    "repo.list": repo_list,
    "repo.show": repo_show,
    "repo.delete": repo_delete,
    "tag.list": tag_list,
    "tag.copy": tag_copy,
    "tag.delete": tag_delete,
    "uploads.list": uploads_list,
    "uploads.abort": uploads_abort,
    "keys.rotate": keys_rotate,
    "catalog.backup": catalog_backup,
    "catalog.copies": catalog_copies,
    "storage.known": storage_known,
    "storage.take-over": storage_take_over,
    "status": status,
}
