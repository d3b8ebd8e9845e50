"""Byte ranges: whatever the header, what is sent lies within the blob and is what RFC 9110 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import RangeNotSatisfiable
from model.ranges import MAX_RANGES, Span, announced, requested

SIZES = st.integers(min_value=0, max_value=10_000)
NUMBERS = st.integers(min_value=0, max_value=20_000).map(str) | st.just("")
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS).map("-".join), min_size=1, max_size=5).map(
    lambda all_: "bytes=" + ",".join(all_)
)


@given(st.text() | RANGES, SIZES)
def test_what_is_sent_lies_within_the_blob(header, size):
    try:
        spans = requested(header, size)
    except RangeNotSatisfiable as refused:
        assert refused.size_bytes == size
        return
    for span in spans or []:
        assert 0 <= span.start < span.stop <= size
    assert sum(span.length for span in spans or []) <= size


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=500-1499", [Span(500, 1500)]),
        ("bytes=500-", [Span(500, 3000)]),
        ("bytes=-500", [Span(2500, 3000)]),
        ("bytes=2000-5000", [Span(2000, 3000)]),
        ("bytes=-5000", [Span(0, 3000)]),
        ("bytes=0-0,10-19", [Span(0, 1), Span(10, 20)]),
        ("bytes=0-9, 4000-5000", [Span(0, 10)]),
        ("Bytes=0-9", [Span(0, 10)]),
    ],
)
def test_ranges_of_three_thousand_bytes(header, spans):
    assert requested(header, 3000) == spans


@pytest.mark.parametrize("header", ["bytes=500-0", "bytes=5000-10000", "bytes=3000-", "bytes=-0", "bytes=9000-,8000-"])
def test_nothing_of_the_blob_is_in_the_range(header):
    with pytest.raises(RangeNotSatisfiable):
        requested(header, 3000)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=a-b", "bytes=1", "bytes=-", "items=0-1", "bytes=0x1-2", "bytes=1_0-20",
     "bytes=+1-2",
          "bytes=" + ",".join("0-0" for _ in range(MAX_RANGES + 1)), "bytes=0-2999,0-2999", "bytes=" + "9" * 30 + "-"],
)  # fmt: skip
def test_what_cannot_be_read_or_asks_too_much_is_answered_whole(header):
    assert requested(header, 3000) is None


@given(st.text())
def test_a_content_range_is_two_offsets_or_malformed(header):
    span = announced(header)
    assert span is None or 0 <= span.start < span.stop


@pytest.mark.parametrize("header", ["0-1023", "bytes 0-1023/*", "bytes=0-1023", "bytes 0-1023/4096", " 0-1023 "])
def test_content_range_as_oci_and_as_http_write_it(header):
    assert announced(header) == Span(0, 1024)


@pytest.mark.parametrize(
    "header",
    ["", "0", "0-", "-1", "1-0", "a-b", "0-1-2", "bytes */5", "0-1023/x", "-1-5", "\N{ARABIC-INDIC DIGIT ONE}-2"],
)
def test_a_content_range_that_says_nothing_is_malformed(header):
    assert announced(header) is None
