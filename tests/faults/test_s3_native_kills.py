"""kill -9 of the registry at each step of a native upload, whose parts clients put into the store themselves.

Beginning, listing, completing, proving, recording, settling, discarding, and the parts of a copy. The completion asked
again succeeds with the right bytes; or nobody asks again, the session expires, and nothing is left in the bucket.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import s3_scenarios as sc
from tests.faults import scenarios as s
from tests.faults.client import digest
from tests.faults.hold import etag
from tests.faults.s3 import MIB, Site, eventually, site_over, with_parts_in_the_store
from tests.faults.s3_deaths import Where, begun, died_at, dies_at_each_commit, expired, named
from tests.interop.native import store_put
from tests.support.content import key_of
from tests.support.faulty import open_uploads
from tests.support.objectstore import DEBIAN_PYTHON, ObjectStore
from tests.support.storefaults import Call

BY_PARTS = {"COPY_PART_BYTES": str(5 * MIB)}
"""What the scenarios upload is copied by parts, as above 5 GiB."""


@pytest.fixture(scope="module")
def shared(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_over(object_store, tmp_path_factory.mktemp("natively"), native=True) as site:
        yield site


@pytest.fixture(scope="module")
def shared_by_parts(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_over(object_store, tmp_path_factory.mktemp("by-parts"), native=True, env=BY_PARTS) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    shared.well()
    return shared


@pytest.fixture
def by_parts(shared_by_parts: Site) -> Site:
    shared_by_parts.well()
    return shared_by_parts


COMPLETION = [
    *((Call.LIST_PARTS, 1), (Call.LIST_PARTS, 2), (Call.COMPLETE, 1), (Call.GET, 1), (Call.GET, 2)),
    *((Call.COPY, 1), (Call.DELETE, 1)),
]
DEATHS = [
    *((sc.Natively, call, passing, where) for call, passing in COMPLETION for where in ("before", "after")),
    *((sc.NativelyMoved, call, 1, where) for call in (Call.COMPLETE, Call.GET) for where in ("before", "after")),
]
COPIES = [
    (sc.Natively, call, passing, where)
    for call, passing in ((Call.CREATE, 1), (Call.PART_COPY, 1), (Call.PART_COPY, 3), (Call.COMPLETE, 2))
    for where in ("before", "after")
]


@pytest.mark.one_in(5)
@pytest.mark.parametrize(("kind", "call", "passing", "where"), DEATHS, ids=named)
def test_after_a_death_in_a_native_completion_the_same_request_succeeds_and_only_the_blob_is_left(
    site: Site, kind: type[s.Scenario], call: Call, passing: int, where: Where
) -> None:
    """T09, T10, C07, H088, H170, H200: before the store hears of the call, and after it has done it."""
    scenario = begun(kind, site, call, passing, where)
    died_at(site, scenario, call, passing, where)
    scenario.check()
    site.in_order()
    scenario.retry()
    site.settled()


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("kind", "call", "passing", "where"), COPIES, ids=named)
def test_a_death_in_a_copy_by_parts_is_made_good_and_nothing_of_the_first_try_is_left(
    by_parts: Site, kind: type[s.Scenario], call: Call, passing: int, where: Where
) -> None:
    """T11, T09, H200: what is larger than one copy may be."""
    scenario = begun(kind, by_parts, "copy", call, passing, where)
    died_at(by_parts, scenario, call, passing, where)
    scenario.check()
    by_parts.in_order()
    scenario.retry()
    by_parts.settled()
    assert by_parts.bucket.objects()[key_of(digest(scenario.content))] == len(scenario.content)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [sc.Natively, sc.NativelyMoved], ids=named)
@pytest.mark.timeout(300)
def test_a_death_at_each_commit_of_a_native_completion_leaves_nothing_that_the_catalog_does_not_know(
    site: Site, kind: type[s.Scenario], when: str
) -> None:
    """T09, H087, H088, H200: parts are recorded before they are used, the blob when it is proven."""
    dies_at_each_commit(site, kind, when)


class Starting(sc.Natively):
    """The start of a native session, whose answer is lost with the registry."""

    def prepare(self) -> None:
        """Nothing is there before."""
        eventually(self.may_be_native, "clients are sent to the store")

    def act(self) -> None:
        self.begin()


@pytest.fixture(params=["header", "debian"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """A store that checks hashes, and a real one of the literal family."""
    found: ObjectStore = request.getfixturevalue("object_store" if request.param == "header" else "debian_store")
    return found


@pytest.mark.one_in(2)
@pytest.mark.timeout(200)
def test_native_sessions_that_nobody_ends_expire_and_leave_nothing_in_the_store(
    store: ObjectStore, tmp_path: Path
) -> None:
    """H065, H067, H178: parts in the store, deaths at the beginning, one assembled, and time passes."""
    with site_over(store, tmp_path, native=True) as site:
        given_up = sc.Natively(site.client, "given-up")
        given_up.begin()
        store_put(site.client, given_up.id, 1, given_up.parts[1], False)
        with_parts_in_the_store(site)
        unseen = begun(sc.NativelyMoved, site, "unseen")
        assert isinstance(unseen, sc.NativelyMoved)
        unseen.client.complete(unseen.id, unseen.temp, unseen.in_store).expect(200)
        if store.python != DEBIAN_PYTHON:  # the older one spoils some of its answers
            for where in ("before", "after"):
                died_at(site, begun(Starting, site, where), Call.CREATE, 1, where)
            died_at(site, begun(sc.Natively, site, "assembled"), Call.COMPLETE, 1, "after")
        assert site.bucket.uploads() and site.bucket.objects(), "there is something to be left behind"
        assert len(open_uploads(site.data)) >= 2
        site.in_order()
        expired(site)
        assert site.bucket.uploads() == [] and site.bucket.objects("docker/") == {}


@pytest.mark.timeout(200)
def test_buffered_sessions_on_a_literal_store_expire_and_leave_nothing_there(
    debian_store: ObjectStore, tmp_path: Path
) -> None:
    """H178, H183: an upload in sequence and one in parts."""
    with site_over(debian_store, tmp_path) as site:
        parted = begun(sc.InParts, site, "literal")
        assert isinstance(parted, sc.InParts)
        assert (
            parted.client.send(parted.id, 1, parted.parts[1]).expect(200).headers["ETag"]
            == f'"{etag(parted.parts[1])}"'
        )
        with_parts_in_the_store(site)
        sliced = begun(sc.Sliced, site, "literal")
        site.client.patch(sliced.location, sliced.content[: 20 * MIB], 0).expect(202)
        expired(site)
        assert site.bucket.uploads() == [] and site.bucket.objects("docker/") == {}
