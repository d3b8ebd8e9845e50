"""The memory in front of the catalog: bounded, exact after a drop, and never filled from a read that is out of date."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.hot import ENTRY_BYTES, Hot, Key, Kind, Shelf

TAG: Key = (Kind.TAG, "a", "latest")


def known(hot: Hot, key: Key, value: object = "value", value_bytes: int = 0) -> bool:
    """Remember something read just now."""
    return hot.keep(key, value, hot.generation(key[1]), value_bytes)


def test_what_was_kept_is_found() -> None:
    hot = Hot(10_000)
    assert hot.get(TAG) is None
    assert known(hot, TAG)
    assert hot.get(TAG) == "value"
    assert hot.get((Kind.TAG, "b", "latest")) is None
    assert hot.get((Kind.MANIFEST, "a", "latest")) is None


def test_what_was_dropped_is_not_found() -> None:
    hot = Hot(10_000)
    known(hot, TAG)
    hot.drop([TAG])
    assert hot.get(TAG) is None
    assert hot.used_bytes == 0
    assert known(hot, TAG, "new")
    assert hot.get(TAG) == "new"


def test_a_read_that_began_before_a_drop_is_not_kept() -> None:
    hot = Hot(10_000)
    generation = hot.generation("a")
    hot.drop([TAG])
    assert not hot.keep(TAG, "old", generation)
    assert hot.get(TAG) is None


def test_a_drop_of_another_key_of_the_repository_counts_as_well() -> None:
    """One read may fill several entries, so the whole repository is the unit of doubt."""
    hot = Hot(10_000)
    generation = hot.generation("a")
    hot.drop([(Kind.MANIFEST, "a", "sha256:0")])
    assert not hot.keep(TAG, "old", generation)


def test_dropping_everything_of_a_repository_leaves_the_others() -> None:
    hot = Hot(10_000)
    other: Key = (Kind.TAG, "b", "latest")
    known(hot, TAG)
    known(hot, other)
    generation = hot.generation("a")
    hot.drop([(Kind.EVERYTHING, "a", "")])
    assert hot.get(TAG) is None
    assert hot.get(other) == "value"
    assert not hot.keep(TAG, "old", generation)
    assert known(hot, TAG, "new")
    assert hot.get(TAG) == "new"


def test_the_least_recently_used_goes_first() -> None:
    hot = Hot(3 * ENTRY_BYTES)
    keys: list[Key] = [(Kind.TAG, "a", str(number)) for number in range(4)]
    for key in keys[:3]:
        known(hot, key)
    hot.get(keys[0])
    known(hot, keys[3])
    assert [hot.get(key) is not None for key in keys] == [True, False, True, True]


def test_a_value_larger_than_the_whole_is_not_kept() -> None:
    hot = Hot(10_000)
    known(hot, TAG)
    assert not known(hot, (Kind.BODY, "", "x"), b"large", 10_000)
    assert hot.get(TAG) == "value"


def test_keeping_again_counts_once() -> None:
    hot = Hot(10_000)
    known(hot, TAG, "old", 500)
    known(hot, TAG, "new", 700)
    assert hot.used_bytes == ENTRY_BYTES + 700
    assert hot.get(TAG) == "new"


def test_a_memory_of_no_bytes_keeps_nothing() -> None:
    hot = Hot(0)
    assert not known(hot, TAG)
    assert hot.get(TAG) is None


def test_a_shelf_shows_one_kind() -> None:
    hot = Hot(10_000)
    tags: Shelf[str] = Shelf(hot, Kind.TAG)
    assert tags.keep("a", "latest", "sha256:1", hot.generation("a"))
    assert tags.get("a", "latest") == "sha256:1"
    assert Shelf[str](hot, Kind.BLOB).get("a", "latest") is None


KEYS: list[Key] = [(kind, repository, "x") for kind in (Kind.TAG, Kind.BLOB) for repository in "ab"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sampled_from(KEYS), st.integers(0, 900)),
        st.tuples(st.just("get"), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("drop"), st.sampled_from([*KEYS, (Kind.EVERYTHING, "a", "")]), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 3000))
def test_it_never_exceeds_its_bound_nor_finds_what_is_older_than_the_last_word(
    steps: list[tuple[str, Key, int]], limit_bytes: int
) -> None:
    hot, last = Hot(limit_bytes), {}
    for number, (step, key, size_bytes) in enumerate(steps):
        if step == "keep" and known(hot, key, number, size_bytes):
            last[key] = number
        elif step == "drop":
            last = {other: value for other, value in last.items() if not gone(other, key)}
            hot.drop([key])
        assert hot.used_bytes <= limit_bytes
        for other in KEYS:
            assert hot.get(other) in {None, last.get(other)}


def gone(key: Key, dropped: Key) -> bool:
    """Whether a drop takes a key away."""
    return key == dropped or (dropped[0] is Kind.EVERYTHING and key[1] == dropped[1])


@pytest.mark.parametrize("entries", [10, 1000])
def test_what_is_counted_is_what_is_there(entries: int) -> None:
    hot = Hot(1 << 20)
    for number in range(entries):
        known(hot, (Kind.BODY, "", str(number)), b"x" * number, number)
    assert len(hot) == entries
    assert hot.used_bytes == entries * ENTRY_BYTES + sum(range(entries))
    hot.drop([(Kind.BODY, "", str(number)) for number in range(entries)])
    assert (len(hot), hot.used_bytes) == (0, 0)
