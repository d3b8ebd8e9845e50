"""A store that is ill: what happens once nobody notices, what lasts is said clearly, and nothing is lost or half there.

Ill at each kind of call: putting, creating, parts, completing, copying, looking, reading, removing, aborting.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.client import LOST, Answer, digest, noise, with_digest
from tests.faults.hold import Hold, cut, etags
from tests.faults.s3 import (
    BUSY_S,
    MIB,
    SOON_S,
    Site,
    eventually,
    in_the_end,
    in_time,
    is_unavailable,
    pushed,
    site_over,
    with_parts_in_the_store,
)
from tests.faults.s3_deaths import named
from tests.support import storefaults as f
from tests.support.objectstore import ObjectStore
from tests.support.server import ROOT
from tests.support.storefaults import LASTING, ONCE, Call

REPOSITORY = "ill/store"
SMALL, SLICED_BYTES, PART = 3000, 34 * MIB, 5 * MIB
"""What is put as it is; what goes up in slices of 16 MiB; a part that goes up as one."""


@pytest.fixture(scope="module")
def shared(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_over(object_store, tmp_path_factory.mktemp("ill")) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The registry as it should be, before the test and after it."""
    shared.well()
    yield shared
    shared.well()


EACH = (
    *(Call.PUT, Call.CREATE, Call.PART, Call.COMPLETE, Call.COPY, Call.GET),
    *(Call.DELETE, Call.ABORT, Call.LIST_UPLOADS),
)


def whole_life(site: Site, name: str) -> dict[str, bytes]:
    """Everything that a registry does with a store, each with success; the blobs that are there at the end."""
    client = site.client
    small, sliced, parted, moved = (
        noise((name, number), size) for number, size in enumerate((SMALL, SLICED_BYTES, 3 * PART, 2 * PART))
    )
    pushed(client, REPOSITORY, small)
    pushed(client, REPOSITORY, sliced, 9 * MIB)
    upload_id = client.start(digest(parted), REPOSITORY, size=len(parted), part_size=PART)
    client.send_all(upload_id, cut(parted, PART))
    client.complete(upload_id, digest(parted), etags(cut(parted, PART))).expect(200)
    temp = f"uploads/temp-{name}"
    upload_id = client.start(temp, REPOSITORY)
    client.send_all(upload_id, cut(moved, PART))
    client.complete(upload_id, temp, etags(cut(moved, PART))).expect(200)
    client.move(temp, digest(moved)).expect(200)
    upload_id = client.start(f"{temp}-given-up", REPOSITORY, size=2 * PART, part_size=PART)
    client.send_all(upload_id, {1: noise((name, "given up"), PART)})
    with_parts_in_the_store(site)
    client.abort(upload_id).expect(200)
    return {digest(content): content for content in (small, sliced, parted, moved)}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("what", ONCE)
def test_what_happens_once_at_each_kind_of_call_no_client_notices(site: Site, what: str) -> None:
    """H181, H200: tried again inside; no answer is worse, no byte is other, and nothing is left behind."""
    rules = {call: site.proxy.on(ONCE[what], call, times=1) for call in EACH}
    blobs = whole_life(site, what.lower().replace(" ", "-"))
    for name, content in blobs.items():
        assert site.client.blob(REPOSITORY, name).expect(200).body == content
    site.settled()
    assert [call for call, rule in rules.items() if not rule.struck] == []
    site.server.restart()  # what was in memory is read from the store now
    for name, content in blobs.items():
        assert site.client.blob(REPOSITORY, name).expect(200).body == content


@pytest.mark.parametrize("what", ["answer lost", "answer short", "reset"])
def test_an_upload_of_one_request_that_the_store_begins_twice_leaves_none_under_its_digest(
    site: Site, what: str
) -> None:
    """H180: it goes to the digest's own key, where no other than the one that is known may be taken away."""
    rule = site.proxy.on(ONCE[what], Call.CREATE, times=1)
    content = noise(("in one", what), SLICED_BYTES)
    target = with_digest(f"/v2/{REPOSITORY}/blobs/uploads/", digest(content))
    in_the_end(lambda: site.client.request("POST", target, content), 201)
    rule.reached()
    assert site.client.blob(REPOSITORY, digest(content)).expect(200).body == content
    site.settled()


class Way:
    """A way of pushing: up to the request that the store lets down, and that request, which can be repeated."""

    calls: tuple[Call, ...] = ()

    def __init__(self, client: Hold, name: str) -> None:
        self.client = client
        self.content = noise((type(self).__name__, name), self.size_bytes)
        self.prepare()

    size_bytes = SMALL

    def prepare(self) -> None:
        """Up to that request."""

    def ask(self) -> Answer:
        """That request."""
        raise NotImplementedError


class Small(Way):
    """A PUT with everything, of a few bytes."""

    calls = (Call.PUT,)

    def prepare(self) -> None:
        self.location = self.client.open(REPOSITORY)

    def ask(self) -> Answer:
        return self.client.finish(self.location, digest(self.content), self.content)


class InOne(Way):
    """A POST with digest and body."""

    calls = (Call.PUT,)

    def ask(self) -> Answer:
        target = with_digest(f"/v2/{REPOSITORY}/blobs/uploads/", digest(self.content))
        return self.client.request("POST", target, self.content)


class Sliced(Way):
    """The closing PUT of a session that was filled by PATCHes."""

    calls = (Call.CREATE, Call.PART, Call.COMPLETE)
    size_bytes = SLICED_BYTES

    def prepare(self) -> None:
        self.location = self.client.open(REPOSITORY)
        for start in range(0, self.size_bytes, 9 * MIB):
            answer = self.client.patch(self.location, self.content[start : start + 9 * MIB], start).expect(202)
            self.location = answer.location

    def ask(self) -> Answer:
        return self.client.finish(self.location, digest(self.content))


class InParts(Way):
    """The completion of an upload in parts."""

    calls = (Call.CREATE, Call.PART, Call.COMPLETE)
    size_bytes = 3 * PART

    def prepare(self) -> None:
        self.upload_id = self.client.start(digest(self.content), REPOSITORY, size=self.size_bytes, part_size=PART)
        self.client.send_all(self.upload_id, cut(self.content, PART))

    def ask(self) -> Answer:
        return self.client.complete(self.upload_id, digest(self.content), etags(cut(self.content, PART)))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("what", LASTING)
@pytest.mark.parametrize(
    ("way", "call"),
    [(way, call) for way in (Small, InOne, Sliced, InParts) for call in way.calls],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else value.__name__,
)
def test_what_lasts_is_said_soon_and_the_same_request_succeeds_when_it_is_over(
    site: Site, way: type[Way], call: Call, what: str
) -> None:
    """503, or 507 of a full store, in the protocol's shape; the session is as it was."""
    rule = site.proxy.on(LASTING[what], call)
    pushing = way(site.client, f"{what} {call}")
    answer = in_time(pushing.ask, within_s=BUSY_S)
    rule.reached()
    is_unavailable(site, answer, status=507 if what == "full" else 503)
    assert not site.client.has_whole(REPOSITORY, pushing.content)
    site.in_order()
    site.proxy.drop(rule)
    in_the_end(pushing.ask, 200, 201)
    assert site.client.has_whole(REPOSITORY, pushing.content)
    site.settled()


BEHIND = (Call.COPY, Call.DELETE, Call.ABORT, Call.LIST_PARTS, Call.LIST_UPLOADS)
"""What nobody waits for: settling, and removing what is not needed any more."""


@pytest.mark.one_in(7)
@pytest.mark.parametrize("what", LASTING)
@pytest.mark.parametrize("call", BEHIND, ids=named)
def test_what_is_done_in_the_background_waits_and_nobody_else_does(site: Site, call: Call, what: str) -> None:
    """H183: seen at once, read meanwhile, aborted at once; put in order when the store is well."""
    rule = site.proxy.on(LASTING[what], call)
    parted = InParts(site.client, f"background {what} {call}")
    in_the_end(parted.ask, 200)
    given_up = InParts(site.client, f"given up {what} {call}")
    with_parts_in_the_store(site)
    given_up.client.abort(given_up.upload_id).expect(200)
    rule.reached()
    for _ in range(2):
        answer = in_the_end(lambda: site.client.blob(REPOSITORY, digest(parted.content)), 200)
        assert answer.body == parted.content
    site.in_order()
    site.proxy.drop(rule)
    site.settled()
    assert site.client.has_whole(REPOSITORY, parted.content)


@pytest.fixture(scope="module")
def shared_by_parts(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What is larger than one part of the uploads here is copied by parts, as above 5 GiB."""
    with site_over(object_store, tmp_path_factory.mktemp("by-parts"), env={"COPY_PART_BYTES": str(PART)}) as site:
        yield site


@pytest.mark.one_in(7)
@pytest.mark.parametrize(
    ("how", "what"), [*(("lasting", what) for what in LASTING), *(("once", what) for what in ONCE)], ids=named
)
def test_what_happens_at_a_part_of_a_copy_is_waited_for_and_the_copy_is_whole_afterwards(
    shared_by_parts: Site, how: str, what: str
) -> None:
    """T11, H200: read meanwhile where it is; no try is left behind."""
    site = shared_by_parts
    site.well()
    fault, skip, times = (LASTING[what], 0, None) if how == "lasting" else (ONCE[what], 1, 1)
    rule = site.proxy.on(fault, Call.PART_COPY, skip=skip, times=times)
    parted = InParts(site.client, f"copied by parts {how} {what}")
    in_the_end(parted.ask, 200)
    rule.reached()
    name = digest(parted.content)
    assert in_the_end(lambda: site.client.blob(REPOSITORY, name), 200).body == parted.content
    site.in_order()
    site.proxy.drop(rule)
    site.settled()
    assert site.client.has_whole(REPOSITORY, parted.content)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("what", ["500", "503 SlowDown", "403", "error in 200", "answer lost"])
def test_a_store_that_cannot_list_serves_and_takes_blobs_and_the_copies_wait(site: Site, what: str) -> None:
    """H200: a bucket's list is needed for copies of the catalog alone, and the operator is told."""
    rule = site.proxy.on(LASTING[what], Call.LIST)
    content = noise(("not listed", what), SMALL)
    name = pushed(site.client, REPOSITORY, content)
    told = backed_up(site)
    rule.reached()
    assert told["bucket"] is False and told["bucket_unknown"]
    assert in_the_end(lambda: site.client.blob(REPOSITORY, name), 200).body == content
    site.proxy.drop(rule)
    eventually(lambda: backed_up(site)["bucket"] is True, "the copy is in the bucket")
    assert site.bucket.objects("holdfast/catalog/")
    site.settled()


def backed_up(site: Site) -> dict[str, object]:
    """What `catalog backup` says."""
    command = [sys.executable, str(ROOT / "registry.py"), "catalog", "backup", "--json", "--data", str(site.data)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("what", ["500", "503 SlowDown", "reset", "403", "signature", "answer lost"])
def test_a_blob_that_cannot_be_read_is_unavailable_and_not_unknown(site: Site, what: str) -> None:
    """A 404 would make clients push it again, and a 200 that breaks off would look like the network."""
    content = noise(("read", what), 2 * MIB)
    name = pushed(site.client, REPOSITORY, content)
    site.settled()
    rule = site.proxy.on(LASTING[what], Call.GET, Call.HEAD)
    answer = in_time(
        lambda: site.client.blob(REPOSITORY, name), within_s=BUSY_S if LASTING[what] == f.SLOW_DOWN else SOON_S
    )
    is_unavailable(site, answer)
    site.proxy.drop(rule)
    assert in_the_end(lambda: site.client.blob(REPOSITORY, name), 200).body == content


@pytest.mark.parametrize("after_bytes", [0, MIB], ids=["at once", "in its middle"])
def test_a_store_that_always_breaks_off_gives_nobody_less_than_was_announced(site: Site, after_bytes: int) -> None:
    """Either all of it, in many pieces; or 503; or a connection that breaks off, and none that ends well too early."""
    content = noise(("always", after_bytes), 4 * MIB)
    name = pushed(site.client, REPOSITORY, content)
    site.settled()
    rule = site.proxy.on(f.Short(after_bytes), Call.GET)
    try:
        answer = in_time(lambda: site.client.blob(REPOSITORY, name), within_s=BUSY_S).expect(200, 503)
    except LOST:
        answer = None
    rule.reached(2)
    assert answer is None or answer.status == 503 or answer.body == content
    assert after_bytes < MIB or (answer is not None and answer.status == 200)
    site.proxy.drop(rule)
    assert in_the_end(lambda: site.client.blob(REPOSITORY, name), 200).body == content


def test_a_reader_does_not_notice_that_the_store_breaks_off_again_and_again(site: Site) -> None:
    """What is missing is asked for from where it broke off."""
    content = noise("breaks off", 8 * MIB)
    name = pushed(site.client, REPOSITORY, content)
    site.settled()
    rule = site.proxy.on(f.Short(after_bytes=3 * MIB), Call.GET, times=2)
    assert site.client.blob(REPOSITORY, name).expect(200).body == content
    assert rule.struck == 2


def test_a_slow_store_is_waited_for_while_bytes_move(site: Site) -> None:
    """Most of a second for each part and each read; nothing times out, and others are served."""
    content, other = noise("slow", 3 * PART), noise("meanwhile", 1000)
    rule = site.proxy.on(f.Slow(bytes_per_s=8 * MIB), Call.PART, Call.GET)
    with ThreadPoolExecutor(1) as threads:
        upload_id = site.client.start(digest(content), REPOSITORY, size=len(content), part_size=PART)
        pushing = threads.submit(site.client.send_all, upload_id, cut(content, PART))
        rule.reached()
        in_time(lambda: pushed_small(site.client, other), within_s=5).expect(201)
        pushing.result()
    site.client.complete(upload_id, digest(content), etags(cut(content, PART))).expect(200)
    assert site.client.blob(REPOSITORY, digest(content)).expect(200).body == content
    site.proxy.drop(rule)
    site.settled()


def pushed_small(client: Hold, content: bytes) -> Answer:
    return client.finish(client.open(REPOSITORY), digest(content), content)


def ready(site: Site) -> int:
    return site.client.request("GET", "/readyz").status


@pytest.mark.parametrize("dead", ["refuses", "is killed"])
def test_a_dead_store_costs_seconds_and_everybody_hears_when_it_is_back(
    own_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory, dead: str
) -> None:
    """H003, H047: 503 with Retry-After soon and then at once; PATCHes and parts are still taken."""
    with site_over(own_store, tmp_path_factory.mktemp("dead")) as site:
        client, seen = site.client, noise("seen", SMALL)
        pushed(client, REPOSITORY, seen)
        for _ in range(2):  # what is asked for again is kept in memory
            client.blob(REPOSITORY, digest(seen)).expect(200)
        large = noise("large", 2 * MIB)
        pushed(client, REPOSITORY, large)
        sliced, parted = Sliced(client, "dead"), InParts(client, "dead")
        if dead == "refuses":
            site.proxy.down()
        else:
            own_store.kill()
        small = Small(client, "dead")
        is_unavailable(site, in_time(small.ask, within_s=BUSY_S))
        is_unavailable(site, in_time(lambda: client.blob(REPOSITORY, digest(large)), within_s=20))
        eventually(lambda: ready(site) == 503, "it says that it is not ready")
        client.request("GET", "/healthz").expect(200)
        for ask in (small.ask, lambda: client.blob(REPOSITORY, digest(large))):
            is_unavailable(site, in_time(ask, within_s=3))
        assert client.blob(REPOSITORY, digest(seen)).expect(200).body == seen, "it is in memory"
        opened = client.open(REPOSITORY)
        client.patch(opened, noise("meanwhile", MIB), 0).expect(202)
        another = InParts(client, "begun while it is dead")
        ways: list[Way] = [sliced, parted, another]
        for way in ways:
            is_unavailable(site, in_time(way.ask, within_s=BUSY_S))
        if dead == "refuses":
            site.proxy.up()
        else:
            own_store.start()
        eventually(lambda: ready(site) == 200, "it notices by itself that the store is back", patience_s=30)
        for way in [small, *ways]:
            in_the_end(way.ask, 200, 201)
            assert client.has_whole(REPOSITORY, way.content)
        assert client.blob(REPOSITORY, digest(large)).expect(200).body == large
        in_the_end(lambda: client.request("DELETE", opened), 204)
        site.settled()


def test_a_store_that_hangs_is_noticed_by_who_reads_and_everybody_hears_when_it_goes_on(
    own_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Connections are made, and nothing answers."""
    with site_over(own_store, tmp_path_factory.mktemp("hangs")) as site:
        large = noise("hangs", 2 * MIB)
        name = pushed(site.client, REPOSITORY, large)
        site.settled()
        own_store.pause()
        is_unavailable(site, in_time(lambda: site.client.blob(REPOSITORY, name), within_s=BUSY_S))
        eventually(lambda: ready(site) == 503, "it says that it is not ready")
        is_unavailable(site, in_time(lambda: site.client.blob(REPOSITORY, name), within_s=5))
        own_store.go_on()
        eventually(lambda: ready(site) == 200, "it notices by itself that the store is back", patience_s=30)
        assert in_the_end(lambda: site.client.blob(REPOSITORY, name), 200).body == large


def test_a_registry_starts_while_its_store_is_dead_and_serves_when_that_is_back(
    own_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """H046: an order of starting that nobody has to think of."""
    with site_over(own_store, tmp_path_factory.mktemp("first")) as site:
        name = pushed(site.client, REPOSITORY, noise("before", 2 * MIB))
        site.settled()
        site.server.terminate()
        own_store.kill()
        site.server.start()
        assert ready(site) == 503
        is_unavailable(site, in_time(lambda: site.client.blob(REPOSITORY, name)))
        own_store.start()
        eventually(lambda: ready(site) == 200, "it notices by itself that the store is back", patience_s=30)
        assert site.client.has_whole(REPOSITORY, noise("before", 2 * MIB))


def test_wrong_keys_refuse_the_start_and_are_never_shown(site: Site) -> None:
    """G19: the operator is told which setting; nobody is told the secret."""
    from tests.support.faulty import start_fails
    from tests.support.server import free_port

    wrong = site.bucket.env(aws_secret_access_key="not-the-secret-at-all")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wrong.items():
            patch.setitem(os.environ, name, value)
        status, said = start_fails(site.data.parent / "other", port=free_port())
    assert status == 2
    assert "aws_secret_access_key" in said.lower()
    assert "not-the-secret-at-all" not in said
