"""Where the servers of a run keep content: in their data folder, or, with `--store s3`, each in a bucket of its own.

Everything that starts a server asks here what to tell it, so the same stories are told of both. On S3 the store is a
real one (`objectstore.py`), and uploads go through us: clients cannot reach the store by the address they would be
given, which the server finds out by itself.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from tests.support.objectstore import NOWHERE, Bucket, ObjectStore

Kind = Literal["filesystem", "s3"]
VARIABLE: Final = "HOLDFAST_TEST_STORE"

NAMES_ONLY: Final = "about the protocol and the catalog: content plays no part in it"
BYTES_ONLY: Final = "about bytes on a connection: nothing is stored"
OWN_STORE: Final = "brings a store of its own, and runs once"
ONCE_IS_ENOUGH: Final[Mapping[str, str]] = {
    **dict.fromkeys(("test_receiving", "test_receiving_crowds", "test_receiving_endings"), BYTES_ONLY),
    **dict.fromkeys(("test_receiving_refusals", "test_sending", "test_whole_bodies"), BYTES_ONLY),
    **dict.fromkeys(
        ("test_access", "test_catalog", "test_errors", "test_nonsense", "test_paths", "test_ping"), NAMES_ONLY
    ),
    **dict.fromkeys(("test_admin", "test_admin_commands", "test_keys", "test_referrers", "test_shortcut"), NAMES_ONLY),
    **dict.fromkeys(("test_datasets", "test_manifests", "test_tags", "test_pages", "test_shapes"), NAMES_ONLY),
    **dict.fromkeys(("test_links", "test_lost_machine", "test_native", "test_push_pull_s3"), OWN_STORE),
    **dict.fromkeys(("test_redirects", "test_settling_s3", "test_store_start"), OWN_STORE),
}
"""Files that a run on S3 leaves out, and why; single tests say it by their mark."""


class Driver:
    """What this run was told, the store it asks, and whose bucket is whose."""

    def __init__(self) -> None:
        self.kind: Kind = "filesystem"
        self._store: ObjectStore | None = None
        self._buckets: dict[Path, Bucket] = {}

    @property
    def on_s3(self) -> bool:
        """Whether content goes to S3 in this run."""
        return self.kind == "s3"

    def bucket(self, data: Path) -> Bucket | None:
        """The bucket of the server over that data folder, made when first asked for; None: content is in a folder."""
        if not self.on_s3:
            return None
        if self._store is None:
            self._store = ObjectStore(min_part=1).start()
        data = data.resolve()
        if data not in self._buckets:
            about = re.sub(r"[^a-z0-9]+", "-", data.name.lower())[:30].strip("-")
            self._buckets[data] = self._store.new_bucket(f"{about or 'data'}-{secrets.token_hex(6)}")
        return self._buckets[data]

    def moved(self, before: Path, after: Path) -> None:
        """A data folder is elsewhere now; its content is where it was."""
        if before.resolve() in self._buckets:
            self._buckets[after.resolve()] = self._buckets.pop(before.resolve())

    def settings(self, data: Path) -> dict[str, str]:
        """What the configuration of a server over that folder needs, by the settings' names."""
        bucket = self.bucket(data)
        return bucket.settings(s3_external_endpoint=NOWHERE) if bucket else {}

    def env(self, data: Path) -> dict[str, str]:
        """The same as environment variables, also for commands on that folder."""
        bucket = self.bucket(data)
        return bucket.env(s3_external_endpoint=NOWHERE) if bucket else {}

    def close(self) -> None:
        """End the store of the run."""
        if self._store is not None:
            self._store.__exit__(None, None, None)


DRIVER: Final = Driver()


def environ(data: Path, more: Mapping[str, str]) -> dict[str, str]:
    """An environment for a command on that folder: `more`, and where content lies."""
    return {**more, **DRIVER.env(data)}


def told() -> str:
    """What the environment says that content is to go to."""
    return os.environ.get(VARIABLE, "filesystem")
