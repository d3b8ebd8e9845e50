"""Parts as values: sizes, offsets, ETags, and what is wrong with a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.units import GIB, KIB, MIB
from multipart.parts import (
    MAX_PARTS,
    Layout,
    ListedPart,
    StoredPart,
    normal_etag,
    problems,
    require_number,
    suggested_part_size,
)
from multipart.refusals import PROBLEMS_TOLD, PartNumberInvalid, PartsInvalid, PartSizeInvalid

SHA = "ab" * 32


def stored(*numbers: int, size_bytes: int = 10) -> dict[int, StoredPart]:
    return {number: StoredPart(number, size_bytes, SHA) for number in numbers}


def said(*numbers: int, etag: str = SHA) -> list[ListedPart]:
    return [ListedPart(number, etag) for number in numbers]


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 40))
def test_parts_cover_the_whole_without_gap_or_overlap(size_bytes: int, part_size_bytes: int) -> None:
    """H096, H097: numbered from 1; the last may be smaller."""
    part_size_bytes = max(part_size_bytes, -(-size_bytes // MAX_PARTS), 1)
    layout = Layout(size_bytes, part_size_bytes)
    assert layout.span(1).start == 0
    assert layout.span(layout.count).stop == size_bytes
    for number in {1, layout.count // 2 or 1, layout.count - 1 or 1}:
        if number < layout.count:
            assert layout.span(number).length == part_size_bytes
            assert layout.span(number).stop == layout.span(number + 1).start


@given(st.integers(0, 300 * 1024 * GIB))
def test_the_suggested_part_size_fits_any_upload(size_bytes: int) -> None:
    """H100, H101, H102: also what 10,000 parts of 5 MiB could not hold."""
    part_size_bytes = suggested_part_size(size_bytes)
    assert part_size_bytes >= 32 * MIB
    assert part_size_bytes % MIB == 0
    assert Layout(size_bytes, part_size_bytes).count <= MAX_PARTS


@pytest.mark.parametrize(("size_bytes", "part_size_bytes"), [(-1, 10), (10, 0), (10, -5), (1 << 63, 1 << 60)])
def test_sizes_that_mean_nothing_are_refused(size_bytes: int, part_size_bytes: int) -> None:
    with pytest.raises(PartSizeInvalid):
        Layout(size_bytes, part_size_bytes)


def test_more_than_ten_thousand_parts_are_refused_with_a_size_that_would_do() -> None:
    """H101."""
    with pytest.raises(PartSizeInvalid) as refused:
        Layout(10_001 * 5 * MIB, 5 * MIB)
    assert refused.value.detail["suggested"] == 32 * MIB
    assert Layout(10_000 * 5 * MIB, 5 * MIB).count == MAX_PARTS


@pytest.mark.parametrize("number", [-1, 0, 4, 10_001])
def test_a_number_outside_the_layout_is_refused(number: int) -> None:
    with pytest.raises(PartNumberInvalid):
        Layout(30, 10).span(number)


def test_without_a_layout_numbers_go_to_ten_thousand() -> None:
    """H101."""
    for number in (0, -1, 10_001):
        with pytest.raises(PartNumberInvalid):
            require_number(number)
    require_number(1)
    require_number(10_000)


@pytest.mark.parametrize(
    "spelled",
    [SHA, f'"{SHA}"', f'W/"{SHA}"', f'w/"{SHA}"', f"&quot;{SHA}&quot;", f' "{SHA}" ', SHA.upper(), f'W/ "{SHA}"'],
)
def test_an_etag_is_understood_however_it_is_spelled(spelled: str) -> None:
    """H085, H086, H087."""
    assert normal_etag(spelled) == SHA
    assert problems(said(1, etag=spelled), stored(1), None, min_part_bytes=5) == []


def test_an_etag_is_given_out_in_quotes() -> None:
    """H022, H089."""
    assert StoredPart(1, 5, SHA).etag == f'"{SHA}"'


def test_a_list_that_is_what_is_stored_is_right() -> None:
    assert problems(said(1, 2, 3), stored(1, 2, 3), None, min_part_bytes=10) == []
    assert problems(said(1, 2, 3), stored(1, 2, 3), Layout(30, 10), min_part_bytes=10) == []


def test_every_problem_of_a_list_is_named() -> None:
    """H090: missing, unknown, wrong ETag, wrong order, duplicates and gaps, in one answer."""
    list_ = [*said(2), *said(1, etag="0" * 64), *said(5, 5), *said(7)]
    told = "; ".join(problems(list_, stored(1, 2, 5, 6), None, min_part_bytes=5))
    assert "part 1 is listed behind part 2" in told
    assert "part 1 has another ETag" in told
    assert "part 5 is listed twice" in told
    assert "part 7 is missing" in told
    assert "part 3 is missing" in told
    assert "part 4 is missing" in told
    assert "part 6 is stored, but not listed" in told


def test_a_part_stored_behind_the_last_listed_one_is_a_problem() -> None:
    """H090."""
    assert problems(said(1, 2), stored(1, 2, 9), None, min_part_bytes=1) == ["part 9 is stored, but not listed"]


def test_no_parts_at_all_are_a_problem() -> None:
    assert problems([], {}, None, min_part_bytes=1) == ["no parts are listed"]


def test_a_declared_size_wants_all_its_parts() -> None:
    assert problems(said(1, 2), stored(1, 2), Layout(30, 10), min_part_bytes=1) == ["part 3 is missing"]


def test_only_the_last_part_may_be_small() -> None:
    """H095, H096: unless the size was declared, when the part size was checked at the start."""
    told = problems(said(1, 2, 3), stored(1, 2, 3), None, min_part_bytes=5 * KIB)
    assert [each.split(" has")[0] for each in told] == ["part 1", "part 2"]
    assert problems(said(1), stored(1, size_bytes=0), None, min_part_bytes=5 * KIB) == []


def test_a_long_list_of_problems_is_cut() -> None:
    refused = PartsInvalid([f"part {number} is missing" for number in range(250)])
    assert len(refused.detail["problems"]) == PROBLEMS_TOLD + 1  # type: ignore[arg-type]
    assert refused.message.endswith("and 150 more")
