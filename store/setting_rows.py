"""Facts that the catalog keeps by name from one start to the next, such as which object store there is."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from model.errors import Unavailable
from store.catalog import Catalog
from store.transactions import Transaction

STORE_SERVER: Final = "store_server"
"""Name and version of the object store, as it says them itself."""
REGISTRY_ID: Final = "registry_id"
"""Which registry this is, in a bucket: random, made at its first start there, and the same in all its copies."""
LOOK_S: Final = 60.0
"""How often it is looked whether the store is found to be another."""

_log: Final = logging.getLogger("holdfast.store")


def get(tx: Transaction, key: str) -> str | None:
    """What is known by that name."""
    row = tx.one("SELECT value FROM setting WHERE key = ?", (key,))
    return None if row is None else str(row[0])


def put(tx: Transaction, key: str, value: str) -> str | None:
    """Know `value` by that name from now on; what it was before."""
    former = get(tx, key)
    tx.execute(
        "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
    return former


def put_once(tx: Transaction, key: str, value: str) -> str:
    """Know `value` by that name, unless something is known by it already; what is known then."""
    tx.execute("INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (key, value))
    return get(tx, key) or value


async def note_store(catalog: Catalog, server: str) -> None:
    """Keep name and version of the object store, and log one line when it is another than last time (G12).

    An empty name, of a store that does not say it, changes nothing. Raises: StorageFull, StorageFailed.
    """
    if not server or await catalog.read(get, STORE_SERVER) == server:
        return
    former = await catalog.run(put, STORE_SERVER, server)
    if former is None:
        _log.info("the object store says that it is %s", server)
    elif former != server:
        _log.warning("the object store says that it is %s now; it was %s", server, former)


async def keep_noting(catalog: Catalog, told: Callable[[], str]) -> None:
    """For ever: note the store by what it was last found to be, also when it is another while this server runs."""
    noted = ""
    while True:
        server = told()
        if server != noted:
            try:
                await note_store(catalog, server)
                noted = server
            except Unavailable as error:
                _log.warning("which object store there is could not be noted, it is tried again: %s", error)
        await asyncio.sleep(LOOK_S)
