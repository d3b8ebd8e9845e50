"""A whole pull: manifests first, then every blob they name, into an OCI layout or, of a single file, into that file."""

import asyncio
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.download import Download
from clients.job import Job
from clients.journal import write_durably
from clients.layouts import MANIFEST_TYPES, REF_NAME
from clients.problems import Problem
from clients.references import Reference
from clients.together import together
from model.descriptors import INDEX_TYPES, Descriptor, Manifest, parse_manifest
from model.digests import Digest
from model.errors import RegistryError

ACCEPT: Final = ", ".join(sorted(MANIFEST_TYPES))
FOR_ALL: Final = 0o644
"""A layout is for other programs, and may be for other people; the umask has the last word."""


class NotPullable(Problem):
    """What was asked for cannot be had in this form; the person has to ask for something else."""


@dataclass(frozen=True)
class Pulled:
    """A manifest, exactly as the registry has it."""

    content: bytes = field(repr=False)
    digest: Digest
    manifest: Manifest


async def pull_layout(job: Job, reference: Reference, folder: Path, platform: str | None) -> Digest:
    """Bring an image, or an index with all its images, into an OCI layout; what is there already stays.

    Raises:
        NotPullable: a file has the folder's name.
        Problem: not everything could be had; the layout's index does not name it then.
    """
    if _is_other(folder):
        raise NotPullable(
            f"{folder} is a file, not a folder", "say --output FILE to pull a single file, or another name"
        )
    top = await _manifest(job, reference.wanted, reference.digest)
    if platform is not None:
        top = await _of_platform(job, top, platform)
    manifests, blobs = await _reached(job, top)
    await _all_blobs(job, {digest: _blob_path(folder, digest) for digest in blobs}, blobs)
    tag = None if reference.digest else reference.wanted
    await asyncio.to_thread(_named, folder, manifests, tag)
    return top.digest


async def pull_file(job: Job, reference: Reference, path: Path, platform: str | None) -> Digest:
    """Bring the only layer of an artifact or SIF into a file; the digest of its manifest.

    Raises:
        NotPullable: it has more or fewer layers, or something else has the file's name.
        Problem: it cannot be had, or not now.
    """
    top = await _manifest(job, reference.wanted, reference.digest)
    if platform is not None or top.manifest.media_type in INDEX_TYPES:
        top = await _of_platform(job, top, platform)
    layers = top.manifest.layers
    if len(layers) != 1:
        wanted = f"{reference.name}{'@' if reference.digest else ':'}{reference.wanted}"
        raise NotPullable(f"{wanted} has {len(layers)} layers, not one", "pull it into a folder instead")
    layer = layers[0]
    if _exists(path) and not await Download(job, layer, path).is_there():
        raise NotPullable(f"{path} is there already, and is something else", "move it away, or choose another name")
    await _all_blobs(job, {layer.digest: path}, {layer.digest: layer})
    return top.digest


async def _manifest(job: Job, reference: str, digest: Digest | None) -> Pulled:
    """Fetch a manifest and make sure it is the one that was asked for."""
    path = f"/v2/{job.repository}/manifests/{reference}"
    answer = await job.insistence.until_done(
        f"fetching {reference}", lambda: job.peer.call("GET", path, headers={"Accept": ACCEPT})
    )
    if answer.status != 200:
        raise answer.refusal(f"cannot pull {job.repository}{'@' if digest else ':'}{reference}")
    told = answer.headers.get("Docker-Content-Digest", "")
    found = Digest.of(answer.body, digest.algorithm if digest else "sha256")
    if (digest is not None and found != digest) or (
        told.startswith("sha256:") and digest is None and str(found) != told
    ):
        raise Problem(f"the registry sent another manifest than {digest or told}", "try again; then ask its owner")
    try:
        return Pulled(answer.body, found, parse_manifest(answer.body, answer.headers.get("Content-Type")))
    except RegistryError as error:
        raise Problem(f"{reference} is no manifest that can be pulled: {error.message}") from error


async def _of_platform(job: Job, top: Pulled, platform: str | None) -> Pulled:
    """The image of an index that is for `os/architecture[/variant]`; without one, its only image."""
    if top.manifest.media_type not in INDEX_TYPES:
        return top
    rows = [(_platform(row), Digest.parse(row["digest"])) for row in json.loads(top.content)["manifests"]]
    fitting = [digest for named, digest in rows if platform is None or named == platform or _short(named) == platform]
    if not fitting or (platform is None and len(fitting) != 1):
        told = ", ".join(named or "(no platform)" for named, _ in rows) or "none"
        asked = f"there is no image for {platform}" if platform else "there are several images"
        raise NotPullable(f"{asked}; the index has: {told}", "choose one with --platform OS/ARCHITECTURE")
    return await _manifest(job, str(fitting[0]), fitting[0])


def _platform(row: dict[str, Any]) -> str:
    said = row.get("platform")
    words = [said.get(name) for name in ("os", "architecture", "variant")] if isinstance(said, dict) else []
    return "/".join(str(word) for word in words if word)


def _short(platform: str) -> str:
    return "/".join(platform.split("/")[:2])


async def _reached(job: Job, top: Pulled) -> tuple[list[Pulled], dict[Digest, Descriptor]]:
    """Every manifest that `top` leads to, itself last, and every blob they name."""
    manifests: dict[Digest, Pulled] = {}
    blobs: dict[Digest, Descriptor] = {}

    async def visit(each: Pulled) -> None:
        blobs.update({blob.digest: blob for blob in each.manifest.blobs})
        for child in each.manifest.children:
            if child.media_type not in MANIFEST_TYPES:
                blobs[child.digest] = child
            elif child.digest not in manifests:
                await visit(await _manifest(job, str(child.digest), child.digest))
        manifests[each.digest] = each

    await visit(top)
    return list(manifests.values()), blobs


async def _all_blobs(job: Job, paths: dict[Digest, Path], blobs: dict[Digest, Descriptor]) -> None:
    turns = asyncio.Semaphore(job.parallel)

    async def one(blob: Descriptor) -> None:
        async with turns:
            await Download(job, blob, paths[blob.digest]).run()

    for blob in blobs.values():
        job.progress.expect(blob.size_bytes)
    async with together() as group:
        for blob in blobs.values():
            group.create_task(one(blob))


def _blob_path(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / digest.algorithm / digest.hex


def _exists(path: Path) -> bool:
    return path.exists()


def _is_other(folder: Path) -> bool:
    return folder.exists() and not folder.is_dir()


def _named(folder: Path, manifests: list[Pulled], tag: str | None) -> None:
    """Put the manifests into a layout and let its index name the last; whatever had the same name loses it."""
    for each in manifests:
        path = _blob_path(folder, each.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, each.content, FOR_ALL)
    top = manifests[-1]
    row: dict[str, Any] = {"mediaType": top.manifest.media_type, "digest": str(top.digest), "size": len(top.content)}
    if tag is not None:
        row["annotations"] = {REF_NAME: tag}
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        kept = [each for each in _entries(folder) if not _replaced(each, row)]
        index = {"schemaVersion": 2, "manifests": [*kept, row]}
        write_durably(folder / "index.json", json.dumps(index).encode(), FOR_ALL)
        write_durably(folder / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}', FOR_ALL)
    finally:
        os.close(opened)


def _replaced(old: dict[str, Any], new: dict[str, Any]) -> bool:
    names = [(row.get("annotations") or {}).get(REF_NAME) for row in (old, new)]
    return names[0] == names[1] and (names[0] is not None or old.get("digest") == new["digest"])


def _entries(folder: Path) -> list[dict[str, Any]]:
    """What the index of a layout lists; nothing where there is none yet.

    Raises:
        NotPullable: there is one that is none.
    """
    path = folder / "index.json"
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_bytes())["manifests"]
        return [row for row in rows if isinstance(row, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise NotPullable(f"{path} is not that of an OCI layout", "choose another folder") from error
