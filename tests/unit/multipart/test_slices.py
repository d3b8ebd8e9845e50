"""How long slices are: within what stores take, all alike where the length is known, growing where it is not."""

import pytest

from model.units import GIB, MIB
from multipart.refusals import UploadTooLarge
from multipart.slices import FIRST_BYTES, LARGEST_BYTES, MOST_PARTS, Sizes

TIB = 1024 * GIB
SIZES = Sizes()


def slice_bytes(number: int, declared_bytes: int | None = None, sizes: Sizes = SIZES) -> int:
    """How long slice `number` is; `declared_bytes` is the length of the body that opens the session, if it says so."""
    equal_bytes = sizes.first_bytes if declared_bytes is None else sizes.equal_bytes(declared_bytes)
    return sizes.size_bytes(number, equal_bytes)


def reached(declared_bytes: int | None = None) -> int:
    return sum(slice_bytes(number, declared_bytes) for number in range(1, MOST_PARTS + 1))


def test_the_first_slices_are_small_so_that_sending_begins_early():
    assert slice_bytes(1) == slice_bytes(500) == FIRST_BYTES == 16 * MIB


def test_h102_slices_grow_so_that_ten_thousand_reach_far_when_nobody_says_the_size():
    """H102: with 5 MiB each, 48.8 GiB would be the end."""
    assert reached() > 30 * TIB
    assert all(slice_bytes(n) <= slice_bytes(n + 1) <= LARGEST_BYTES for n in range(1, MOST_PARTS))


def test_two_hundred_gibibytes_of_unknown_length_end_with_slices_that_are_sent_in_a_moment():
    number, total = 0, 0
    while total < 200 * GIB:
        number += 1
        total += slice_bytes(number)
    assert slice_bytes(number) <= 256 * MIB


@pytest.mark.parametrize("declared", [1, 16 * MIB, GIB, 8 * GIB, 9 * GIB, 100 * GIB, TIB, 5 * TIB, 43 * TIB])
def test_all_slices_of_a_known_length_are_alike(declared):
    """Some stores want all parts but the last of one size (s3-sigv4 3)."""
    size = slice_bytes(1, declared)
    needed = -(-declared // size)
    assert needed <= MOST_PARTS
    assert {slice_bytes(number, declared) for number in range(1, needed + 1)} == {size}
    assert FIRST_BYTES <= size <= LARGEST_BYTES
    assert size % MIB == 0


def test_h102_a_known_length_of_48_tebibytes_fits():
    """H101, H102: ten thousand parts of at most 5 GiB."""
    assert reached(48 * TIB) >= 48 * TIB


def test_what_comes_behind_the_known_length_is_taken_as_well():
    assert reached(TIB) > 5 * TIB


def test_sizes_stay_within_what_the_store_takes():
    small = Sizes.for_store(32 * MIB, 64 * MIB, 100, FIRST_BYTES)
    assert slice_bytes(1, None, small) == 32 * MIB
    assert slice_bytes(100, None, small) == 64 * MIB
    assert slice_bytes(1, 10 * GIB, small) == 64 * MIB


def test_h101_more_parts_than_a_store_takes_are_refused():
    assert SIZES.size_bytes(10_000, FIRST_BYTES) == LARGEST_BYTES
    with pytest.raises(UploadTooLarge, match="10000 parts"):
        SIZES.size_bytes(10_001, FIRST_BYTES)
