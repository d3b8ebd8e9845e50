"""kill -9 of the registry at each call to its store, and between them: before the store hears of it, and after.

Slices, completion, settling, discarding. After the next start what was answered is there and the client comes to its
end; or it never comes back, the upload expires, and the bucket holds exactly the blobs.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import s3_scenarios as sc
from tests.faults import scenarios as s
from tests.faults.s3 import Site, site_over, with_parts_in_the_store
from tests.faults.s3_deaths import Where, begun, died_at, dies_at_each_commit, expired, named
from tests.support.objectstore import ObjectStore
from tests.support.storefaults import Call


@pytest.fixture(scope="module")
def shared(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_over(object_store, tmp_path_factory.mktemp("kills")) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    shared.well()
    return shared


CALLS: dict[type[s.Scenario], tuple[tuple[Call, int], ...]] = {
    s.OnePut: ((Call.PUT, 1),),
    s.OnePost: ((Call.PUT, 1),),
    sc.Sliced: (
        *((Call.CREATE, 1), (Call.PART, 1), (Call.PART, 2), (Call.PART, 3), (Call.COMPLETE, 1)),
        *((Call.COPY, 1), (Call.DELETE, 1)),
    ),
    sc.InParts: (
        *((Call.CREATE, 1), (Call.PART, 1), (Call.PART, 3), (Call.COMPLETE, 1)),
        *((Call.COPY, 1), (Call.DELETE, 1)),
    ),
    sc.InPartsWithoutASize: ((Call.CREATE, 1), (Call.PART, 2), (Call.COMPLETE, 1), (Call.COPY, 1)),
    sc.Moved: ((Call.CREATE, 1), (Call.COMPLETE, 1), (Call.COPY, 1), (Call.DELETE, 1)),
    sc.OtherBytes: ((Call.PART, 4),),
    sc.InSmallParts: ((Call.PUT, 1),),
    sc.GivenUp: ((Call.ABORT, 1),),
}
DEATHS = [
    (kind, call, passing, where)
    for kind, calls in CALLS.items()
    for call, passing in calls
    for where in ("before", "after")
]
LATE = [(sc.Sliced, Call.PART, 2), (sc.InParts, Call.CREATE, 1), (sc.InParts, Call.PART, 2), (sc.InParts, Call.COPY, 1)]
"""Requests that reach the store when the registry that sent them is dead and another has taken up its work."""


@pytest.mark.one_in(5)
@pytest.mark.parametrize(("kind", "call", "passing", "where"), DEATHS, ids=named)
def test_after_a_death_at_a_call_what_was_answered_is_there_and_the_client_comes_to_its_end(
    site: Site, kind: type[s.Scenario], call: Call, passing: int, where: Where
) -> None:
    """T09, T10, H171, H181, H183, H200: and the bucket holds exactly the blobs afterwards."""
    scenario = begun(kind, site, call, passing, where)
    died_at(site, scenario, call, passing, where)
    scenario.check()
    site.in_order()
    scenario.retry()
    site.settled()


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("kind", "call", "passing"), LATE, ids=named)
def test_a_request_of_the_dead_that_reaches_the_store_late_changes_nothing(
    site: Site, kind: type[s.Scenario], call: Call, passing: int
) -> None:
    """T09, H200: it was sent, and arrives when the next process has taken up the work."""
    scenario = begun(kind, site, "late", call, passing)
    died_at(site, scenario, call, passing, "before", late=True)
    scenario.check()
    scenario.retry()
    site.settled()
    assert site.client.has_whole(scenario.repository, scenario.content)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", [sc.Sliced, sc.InParts, sc.InPartsWithoutASize, sc.Moved, sc.GivenUp], ids=named)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.timeout(300)
def test_a_death_at_each_commit_of_the_catalog_leaves_nothing_that_it_does_not_know(
    site: Site, kind: type[s.Scenario], when: str
) -> None:
    """T09, H087, H200: every row is written before what it speaks of, and removed after that is gone."""
    dies_at_each_commit(site, kind, when)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_what_the_dead_began_and_nobody_ends_expires_and_leaves_nothing(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """H065, H066, H171, H178, H183, H200: deaths at each call, no client ever comes back, and time passes."""
    with site_over(object_store, tmp_path) as site:
        for kind, call, passing, where in DEATHS:
            scenario = begun(kind, site, "left", call, passing, where)
            died_at(site, scenario, call, passing, where)
        site.in_order()
        expired(site)


def test_an_upload_in_sequence_that_is_cancelled_leaves_nothing_in_the_store(site: Site) -> None:
    """H183: slices of it are there when it ends, and none afterwards."""
    scenario = begun(sc.Sliced, site, "cancelled")
    site.client.patch(scenario.location, scenario.content[: 20 << 20], 0).expect(202)
    with_parts_in_the_store(site)
    site.client.request("DELETE", scenario.location).expect(204)
    site.settled()


@pytest.mark.parametrize("ending", ["abort", "expiry"])
def test_an_upload_in_parts_that_ends_without_a_blob_leaves_nothing_in_the_store(site: Site, ending: str) -> None:
    """H183."""
    scenario = sc.InParts(site.client, ending)
    scenario.prepare()
    site.client.send_all(scenario.id, {1: scenario.parts[1], 2: scenario.parts[2]})
    with_parts_in_the_store(site)
    if ending == "abort":
        site.client.abort(scenario.id).expect(200)
    else:
        expired(site)
    site.settled()
