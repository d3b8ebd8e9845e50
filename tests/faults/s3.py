"""A registry over a real S3 store, with a proxy between them that breaks what a test names, and patient clients.

The registry's own requests go through the proxy; clients that are sent to the store go there directly. So what the
proxy counts is what passes through us.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.client import Answer, Client, digest
from tests.faults.hold import SMALL_PARTS, Hold
from tests.support.content import check_bucket, check_catalog, left_over, stored_keys
from tests.support.faultproxy import FaultProxy
from tests.support.faulty import FaultyServer, check_log, open_uploads
from tests.support.objectstore import NOWHERE, Bucket, ObjectStore
from tests.support.waiting import PATIENCE_S, eventually, rest

__all__ = ["PATIENCE_S", "eventually"]

MIB: Final = 1024 * 1024
SOON_S: Final = 20.0
"""By then a client has its answer from a registry whose store is dead or ill."""
BUSY_S: Final = 45.0
"""By then, where the store asks to be asked less: it is asked again for up to 30 s; or a body has to get through first.
"""


@dataclass
class Site:
    """The registry, its store, and what is between them."""

    store: ObjectStore
    bucket: Bucket
    proxy: FaultProxy
    server: FaultyServer

    @property
    def client(self) -> Hold:
        return Hold(self.server.port)

    @property
    def data(self) -> Path:
        return self.server.data

    def well(self) -> None:
        """No fault any more, the registry runs, and it has noticed both."""
        self.proxy.clear()
        self.server.order.unlink(missing_ok=True)
        if not self.store.alive:
            self.store.start()
        if not self.server.runs:
            self.server.start()
        eventually(lambda: self.client.request("GET", "/readyz").status == 200, "the registry is ready")

    def in_order(self) -> None:
        """What holds at every moment."""
        check_catalog(self.data)
        check_bucket(self.data, self.bucket)

    def settled(self) -> None:
        """Wait until nothing is in the making: the bucket has blobs under their digests, and nothing else at all.

        Sessions that are open may have something there, so there must be none.
        """
        assert open_uploads(self.data) == set()
        eventually(lambda: left_over(self.data, self.bucket) == [], "", told=lambda: left_over(self.data, self.bucket))
        assert stored_keys(self.data) <= set(self.bucket.objects())
        self.in_order()
        assert list((self.data / "spool").iterdir()) == []


@contextlib.contextmanager
def site_over(
    store: ObjectStore,
    folder: Path,
    *,
    native: bool = False,
    flags: Sequence[str] = SMALL_PARTS,
    env: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """A registry over a bucket of its own; `native`: clients are sent to the store itself."""
    with FaultProxy(store.netloc) as proxy:
        bucket = store.new_bucket()
        outside = store.url if native else NOWHERE
        told = bucket.env(s3_endpoint=proxy.url, s3_external_endpoint=outside) | dict(env or {})
        server = FaultyServer(folder / "data", flags=flags, env=told)
        with server:
            yield Site(store, bucket, proxy, server)
        check_log(server.log())


def with_parts_in_the_store(site: Site) -> None:
    """Wait until an unfinished upload has something there, so that its end is a matter of the store."""
    eventually(lambda: any(site.bucket.parts(each) for each in site.bucket.uploads()), "a part of it is in the store")


def in_time(ask: Callable[[], Answer], *, within_s: float = SOON_S) -> Answer:
    """The answer, which has to come soon."""
    began_s = time.monotonic()
    answer = ask()
    took_s = time.monotonic() - began_s
    assert took_s < within_s, f"{answer.status} only after {took_s:.1f} s"
    return answer


def is_unavailable(site: Site, answer: Answer, *, status: int = 503) -> None:
    """It says "come again" in its protocol's shape, and nothing about where the store is or who we are to it."""
    answer.expect(status)
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    said = answer.body.decode()
    for secret in (site.store.secret, site.store.key_id, site.proxy.netloc, site.bucket.name, str(site.data)):
        assert secret not in said
    if answer.headers["Content-Type"].startswith("application/json"):
        told = json.loads(said)
        assert "errors" in told or "error" in told
    else:
        assert "<Code>" in said


def in_the_end(ask: Callable[[], Answer], *statuses: int) -> Answer:
    """What a patient client gets: it comes again as long as it is told to."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask()).status in (503, 507) and time.monotonic() < deadline:
        rest()
    return answer.expect(*statuses)


def pushed(client: Client, repository: str, content: bytes, piece_bytes: int = 0) -> str:
    """Push a blob, in one PUT or by PATCHes of `piece_bytes`; its digest."""
    if not piece_bytes:
        return client.push(repository, content)
    location = client.open(repository)
    for start in range(0, len(content), piece_bytes):
        location = client.patch(location, content[start : start + piece_bytes], start).expect(202).location
    client.finish(location, digest(content)).expect(201)
    return digest(content)
