"""JSON from strangers: what is read, what is refused, and that reading costs no more than it may."""

import json
from typing import Final

import pytest

from model.documents import MAX_ELEMENTS, json_object

_REFUSED: Final = {
    "nothing": (b"", "is not UTF-8 JSON"),
    "half": (b'{"a":', "is not UTF-8 JSON"),
    "more behind": (b"{} {}", "is not UTF-8 JSON"),
    "not a number": (b'{"a": NaN}', "is not UTF-8 JSON"),
    "infinity": (b'{"a": -Infinity}', "is not UTF-8 JSON"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "is not UTF-8 JSON"),
    "bytes": (b'{"a": "\xff"}', "is not UTF-8 JSON"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "is not UTF-8 JSON"),
    "a list": (b"[]", "is not a JSON object"),
    "a string": (b'"{}"', "is not a JSON object"),
    "null": (b"null", "is not a JSON object"),
    "too deep": (b'{"a":' * 100_000, "is nested too deeply"),
    "too deep and closed": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
    "too many lists": (b'{"a":[' + b"[]," * MAX_ELEMENTS + b"1]}", f"has more than {MAX_ELEMENTS} elements"),
    "too many objects": (b'{"a":[' + b"{}," * (MAX_ELEMENTS // 2) + b"1]}", f"has more than {MAX_ELEMENTS} elements"),
    "too many numbers": (b'{"a":[' + b"1," * MAX_ELEMENTS + b"1]}", f"has more than {MAX_ELEMENTS} elements"),
    "too many keys": (
        b"{" + b",".join(b'"%x":0' % each for each in range(MAX_ELEMENTS + 1)) + b"}",
        f"has more than {MAX_ELEMENTS} elements",
    ),
}


@pytest.mark.parametrize(("content", "why"), _REFUSED.values(), ids=list(_REFUSED))
def test_what_is_no_object_or_too_dear_to_read_is_refused(content: bytes, why: str) -> None:
    """H148."""
    with pytest.raises(ValueError, match=f"^{why}$"):
        json_object(content)


def test_the_list_of_10000_parts_is_read() -> None:
    """H101, H187."""
    said = {"parts": [{"part_number": number, "etag": f'"{number:064x}"'} for number in range(1, 10_001)]}
    assert json_object(json.dumps(said, indent=2).encode()) == said


def test_the_last_value_of_a_key_counts() -> None:
    assert json_object(b'{"a": 1, "a": 2}') == {"a": 2}
