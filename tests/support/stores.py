"""Fixtures: S3 servers that are shared by all tests of a run, and a fresh bucket for each test.

`bucket` is what most tests want. A test that stops its store takes `own_store`, so that nobody else notices.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.objectstore import Bucket, ObjectStore, Rule, debian_python

StoreOf = Callable[..., ObjectStore]

SMALL_PART_BYTES = 1
"""What the shared stores take as a part, so that tests about something else need not send megabytes."""


@pytest.fixture(scope="session")
def object_store_of() -> Iterator[StoreOf]:
    """`object_store_of(rule)`: the run's store of that family; `min_part=5242880` for one with S3's own limit."""
    with ExitStack() as stack:
        made: dict[tuple[Rule, int], ObjectStore] = {}

        def of(rule: Rule = "header", *, min_part: int = SMALL_PART_BYTES) -> ObjectStore:
            if (rule, min_part) not in made:
                made[rule, min_part] = stack.enter_context(ObjectStore(rule=rule, min_part=min_part))
            return made[rule, min_part]

        yield of


@pytest.fixture(scope="session")
def object_store(object_store_of: StoreOf) -> ObjectStore:
    """The run's store, of the header family (AWS, Ceph, Swift); parts may be as small as they like."""
    return object_store_of("header")


@pytest.fixture
def bucket(object_store: ObjectStore) -> Bucket:
    """A new bucket of the run's store."""
    return object_store.new_bucket()


@pytest.fixture
def own_store() -> Iterator[ObjectStore]:
    """A store for this test alone, to be stopped and started at will; of the header family, parts of any size."""
    with ObjectStore(min_part=SMALL_PART_BYTES) as store:
        yield store


@pytest.fixture
def roomy_store(tmp_path: Path) -> Iterator[ObjectStore]:
    """A store for this test alone, on the disk and not in memory: for objects of gigabytes; with S3's own limits."""
    with ObjectStore(folder=tmp_path) as store:
        yield store


@pytest.fixture(scope="session")
def debian_store() -> Iterator[ObjectStore]:
    """Debian's Swift 2.30: a real server of the literal family."""
    with ObjectStore(rule="header", min_part=SMALL_PART_BYTES, python=debian_python()) as store:
        yield store
