"""Where bytes go in a session: rules 3, 4 and 5 of the upload rules, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import OffsetMismatch, SizeInvalid
from model.ranges import Span
from multipart.place import Place, Plan, plan

SIZES = st.integers(min_value=0, max_value=2**40)


def decide(place, *, length=None, offset=0):
    return plan(place, length_bytes=length, offset_bytes=offset, upload_id="u")


def test_rule_3_a_content_range_that_continues_is_taken_and_bounds_the_body():
    assert decide(Place(span=Span(10, 30)), length=20, offset=10) == Plan(10, 20)


@given(SIZES, SIZES)
def test_rule_3_a_content_range_that_starts_elsewhere_is_a_416_that_says_where(start, offset):
    if start == offset:
        return
    with pytest.raises(OffsetMismatch) as refused:
        decide(Place(span=Span(start, start + 1)), length=1, offset=offset)
    assert refused.value.offset_bytes == offset


def test_rule_3_a_content_range_of_another_length_than_the_body_is_refused_before_reading():
    with pytest.raises(SizeInvalid):
        decide(Place(span=Span(0, 10)), length=11)


def test_rule_3_a_content_range_that_cannot_be_read_is_a_416():
    with pytest.raises(OffsetMismatch):
        decide(Place(malformed=True), length=1)


def test_rule_3_the_location_does_not_matter_beside_a_content_range():
    assert decide(Place(span=Span(5, 6), location_offset=0), length=1, offset=5) == Plan(5, 1)


@given(SIZES, SIZES)
def test_rule_4_without_content_range_the_location_speaks(at, offset):
    if at > offset:
        with pytest.raises(OffsetMismatch):
            decide(Place(location_offset=at), offset=offset)
    else:
        assert decide(Place(location_offset=at), offset=offset) == Plan(at, None)


def test_rule_4_a_location_without_an_offset_is_fine_while_nothing_was_received():
    assert decide(Place(), offset=0) == Plan(0, None)


@given(st.integers(min_value=1))
def test_rule_4_a_location_without_an_offset_is_a_416_afterwards(offset):
    with pytest.raises(OffsetMismatch):
        decide(Place(), offset=offset)
