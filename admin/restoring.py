"""`restore`: a copy of the catalog in its place again, also on a machine that has nothing but settings.

a path              that file
bucket:NAME         the copy of that name in the bucket
NAME                here, or else in the bucket
nothing             where there is no catalog, or one without any name: the newest of the registry that the bucket
                    belongs to, or the newest there is
"""

import asyncio
from pathlib import Path

from admin.asking import NobodyAnswers, NotDone, ask_running, when_free
from admin.copies import IN_BUCKET, Answer, listed
from cli import UsageError
from config import Config
from model.clock import SystemClock
from model.errors import RegistryError
from store import backups
from store.bucket_copies import fetch
from store.folder import DataFolder
from store.opening import CATALOG_NAME
from store.refusals import CannotStart
from stores import open_backend


def there_are(config: Config) -> Answer:
    """What `restore --list` tells, whether a server runs or not, and also where there is no registry any more.

    Raises:
        UsageError: the store cannot be used as it is set up.
    """
    try:
        return ask_running(config, "catalog.copies")
    except NobodyAnswers:
        return _with_store(config)


def brought_back(config: Config, wanted: str | None) -> Answer:
    """Put a copy in the place of the catalog; without a name the newest, if there are no names now.

    Raises:
        NotDone: the server runs, or there is no such copy, or it cannot be read.
        UsageError: what was said makes no sense; nothing was changed.
    """
    if not config.data_dir.is_dir() and config.storage_driver != "s3":
        raise UsageError(f"there is no folder {config.data_dir}; name the registry's with --data")
    try:
        running = ask_running(config, "status")
    except NobodyAnswers:
        found = _chosen(config, wanted)
        replaced = when_free(config, lambda: _restored(config, found))
    else:
        raise NotDone(f"the server is running on {config.data_dir} (process {running['pid']}); stop it first")
    return {"restored": found, "replaced": str(replaced) if replaced else None}


def _chosen(config: Config, wanted: str | None) -> str:
    """Which copy is meant: a path, or `bucket:NAME`."""
    if wanted is None:
        return _newest(config)
    name = wanted.removeprefix(IN_BUCKET)
    if backups.taken_at_s(name) is None or Path(wanted).exists():
        return str(Path(wanted).absolute())
    if wanted == name:
        here = config.data_dir / backups.FOLDER_NAME / name
        if here.exists():
            return str(here)
    if config.storage_driver != "s3":
        raise NotDone(f"there is no copy {name}; `restore --list` shows what there is")
    return IN_BUCKET + name


def _newest(config: Config) -> str:
    catalog = config.data_dir / CATALOG_NAME
    if catalog.exists() and not backups.is_empty(catalog):
        raise UsageError("there is a catalog here; say which copy is to take its place, as `restore --list` shows them")
    answer = _with_store(config)
    if "bucket_unknown" in answer:
        raise NotDone(f"which copies are in the bucket is not known: {answer['bucket_unknown']}; try again")
    if not answer["copies"]:
        where = f"in {config.data_dir}" + (" nor in the bucket" if config.storage_driver == "s3" else "")
        raise NotDone(f"there is no copy of a catalog {where}")
    return str(_of_the_bucket(answer)[0]["path"])


def _of_the_bucket(answer: Answer) -> list[Answer]:
    """The copies of the registry that the bucket belongs to; all, where it says nothing or no copy does.

    Raises:
        NotDone: there are only those of others.
    """
    copies: list[Answer] = answer["copies"]
    owner = answer.get("bucket_registry")
    if owner is None or not any(copy["registry"] for copy in copies):
        return copies
    if own := [copy for copy in copies if copy["registry"] == owner]:
        return own
    raise NotDone(
        f"the bucket belongs to registry {owner}, and no copy is of that one; say which is meant, as"
        " `restore --list` shows them"
    )


def _with_store(config: Config) -> Answer:
    """The copies, asked for by ourselves."""

    async def ask() -> Answer:
        now_s = SystemClock().now_s()
        if config.storage_driver != "s3":
            return await listed(config.data_dir, None, now_s)
        async with open_backend(config, SystemClock(), look=False) as backend:
            return await listed(config.data_dir, backend, now_s)

    try:
        return asyncio.run(ask())
    except CannotStart as error:
        raise UsageError(str(error)) from error


def _restored(config: Config, found: str) -> Path | None:
    """Restore under the folder's lock, which is made if need be; where the former catalog went."""
    with DataFolder(config.data_dir, config.storage_root, blobs=config.storage_driver != "s3"):
        if not found.startswith(IN_BUCKET):
            return backups.restore(config.data_dir, Path(found), SystemClock())
        try:
            copy = asyncio.run(_fetched(config, found.removeprefix(IN_BUCKET)))
        except RegistryError as error:
            raise NotDone(f"{found} cannot be had: {error}; `restore --list` shows what there is") from error
        except OSError as error:
            raise NotDone(f"{found} cannot be kept in {config.data_dir}: {error.strerror}") from error
        return backups.restore(config.data_dir, copy, SystemClock())


async def _fetched(config: Config, name: str) -> Path:
    async with open_backend(config, SystemClock(), look=False) as backend:
        return await fetch(backend, name, config.data_dir)
