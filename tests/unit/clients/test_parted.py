"""The state of an upload in parts: what is where, and what is an error."""

import pytest

from clients.hold import Started
from clients.journal import Entry
from clients.parted import LEAST_PART_BYTES, MOST_PARTS, PartedUpload, own_part_size
from clients.problems import Closed
from model.ranges import Span

MIB = 1 << 20


def upload(size: int = 12 * MIB, part: int | None = 5 * MIB) -> PartedUpload:
    return PartedUpload.begun(Entry([]), size, Started("id", part, False), "uploads/temp-1")


def test_parts_are_numbered_from_1_and_the_last_may_be_smaller() -> None:
    """H096, H097."""
    begun = upload()
    assert begun.missing() == [1, 2, 3]
    assert [begun.span(number) for number in (1, 3)] == [Span(0, 5 * MIB), Span(10 * MIB, 12 * MIB)]


def test_the_list_is_in_order_whatever_order_the_parts_came_in() -> None:
    """H097, H087: ETags as they came."""
    begun = upload()
    for number in (3, 1, 2):
        begun.record(number, f'"e{number}"')
    assert begun.close() == ['"e1"', '"e2"', '"e3"']


def test_a_second_commit_and_a_part_after_it_are_errors() -> None:
    """H114."""
    begun = upload(3 * MIB)
    begun.record(1, "e")
    begun.close()
    with pytest.raises(Closed):
        begun.close()
    with pytest.raises(Closed):
        begun.record(1, "e")


def test_an_upload_with_holes_cannot_be_committed() -> None:
    begun = upload()
    begun.record(1, "e")
    begun.record(3, "e")
    with pytest.raises(Closed, match="part 2 is missing"):
        begun.close()
    assert begun.front() == 5 * MIB


def test_what_the_server_has_replaces_what_we_believed() -> None:
    begun = upload()
    for number in (1, 2):
        begun.record(number, "e")
    assert begun.front() == 10 * MIB
    begun.keep_only({2: "f", 99: "x"})
    assert (begun.missing(), begun.known(), begun.front(), begun.arrived_bytes()) == ([1, 3], {2: "f"}, 0, 5 * MIB)


@pytest.mark.parametrize("size", [1, 64 * MIB, 700_000 * MIB, 5 << 40])
def test_our_own_part_size_fits_any_blob_into_the_parts_there_may_be(size: int) -> None:
    """H095, H100, H101, H102: where the server suggests none."""
    assert own_part_size(size) >= LEAST_PART_BYTES
    assert upload(size, None).count <= MOST_PARTS
