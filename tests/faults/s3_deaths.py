"""Deaths of the registry at calls to its store and at commits while a client acts; sessions whose time has come."""

import contextlib
import re
import threading
from collections.abc import Iterator

from tests.faults import scenarios as s
from tests.faults.client import LOST
from tests.faults.s3 import Site, eventually
from tests.support.content import left_over
from tests.support.faulty import open_uploads
from tests.support.storefaults import Call, Held

Where = str


def named(value: object) -> str:
    """A case's name."""
    return value.__name__ if isinstance(value, type) else str(value).replace(" ", "-")


def begun(kind: type[s.Scenario], site: Site, *about: object) -> s.Scenario:
    """A scenario up to the request that dies; `about` makes its content its own."""
    name = re.sub("[^a-z0-9]+", "-", "-".join((kind.__name__, *map(str, about))).lower())
    scenario = kind(site.client, name)
    scenario.prepare()
    return scenario


@contextlib.contextmanager
def acting(scenario: s.Scenario) -> Iterator[None]:
    """The client does it, and is not surprised by a server that dies."""

    def act() -> None:
        with contextlib.suppress(*LOST):
            scenario.act()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def died_at(site: Site, scenario: s.Scenario, call: Call, passing: int, where: Where, *, late: bool = False) -> None:
    """The scenario is under way, the registry dies at that call, and runs again."""
    held = site.proxy.on(Held("before" if where == "before" else "after"), call, skip=passing - 1, times=1)
    with acting(scenario):
        held.reached()
        site.server.kill()
    if not late:
        held.release(break_off=True)
    site.server.start()
    site.proxy.clear()


def dies_at_each_commit(site: Site, kind: type[s.Scenario], when: str) -> None:
    """Scenario after scenario dies one commit later than the one before, until one is done first."""
    passing = 0
    while True:
        passing += 1
        scenario = begun(kind, site, "commit", when, passing)
        site.server.break_at("commit", when, passing=passing)
        with acting(scenario):
            pass
        eventually(lambda: not site.server.runs or left_over(site.data, site.bucket) == [], "it dies, or is done")
        survived = site.server.runs
        site.server.order.unlink(missing_ok=True)
        if survived:
            break
        site.server.start()
        scenario.check()
        site.in_order()
        scenario.retry()
        site.settled()
    assert passing > 3, "there are more steps than that"
    site.settled()


def expired(site: Site) -> None:
    """The time has come for every session that nobody uses."""
    site.server.terminate()
    with site.server.told(HOLDFAST_UPLOAD_EXPIRY="1s"):
        site.server.start()
        eventually(lambda: open_uploads(site.data) == set(), "they expire")
        site.settled()
        site.server.terminate()
    site.server.start()
