"""The law of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.keys import UNFINISHED, KeyInvalid, checked, is_key, is_segment


@pytest.mark.parametrize("key", ["a", "a/b", "docker/registry/v2/blobs/sha256/ab/abc/data", "...", "-", "_", "A.b-c_9"])
def test_a_key_is_segments_of_plain_characters(key: str) -> None:
    assert checked(key) == key


@pytest.mark.parametrize("key", ["", "/", "a/", "/a", "a//b", ".", "a/..", "../a", "a b", "a\n", "é", "a:b", "a%2fb"])
def test_anything_else_is_refused(key: str) -> None:
    with pytest.raises(KeyInvalid):
        checked(key)


def test_a_name_for_unfinished_work_is_no_key() -> None:
    assert not is_key(f"a/b{UNFINISHED}")
    assert not is_key(f"a{UNFINISHED}/b")
    assert is_key(f"a/b{UNFINISHED}.not")


def test_lengths_are_limited() -> None:
    assert is_segment("a" * 200)
    assert not is_segment("a" * 201)
    assert not is_key("/".join(["a" * 100] * 11))


@given(st.text())
def test_a_key_never_leaves_its_root(text: str) -> None:
    if is_key(text):
        assert text.isascii()
        assert not text.startswith("/")
        assert not {"", ".", ".."} & set(text.split("/"))
