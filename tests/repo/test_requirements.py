"""The page of requirements is true: every number once, and each test file it names speaks of that number."""

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "requirements.md"
NUMBER: Final = re.compile(r"\b(?:H\d{3}|[MGCT]\d{2})\b")
TEST: Final = re.compile(r"\(\.\./(tests/[\w/]+\.py)\)")
STATES: Final = ("planned: ", "superseded: ")


class Row(NamedTuple):
    """One requirement: its number, and what the page says became of it."""

    number: str
    state: str


@cache
def rows() -> list[Row]:
    """The rows of all tables of the page."""
    cells = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [Row(row[0].strip(), row[2].strip()) for row in cells if NUMBER.fullmatch(row[0].strip())]


def test_each_number_stands_there_once() -> None:
    numbers = [row.number for row in rows()]
    assert len(numbers) == len(set(numbers)) == 218


def test_no_test_speaks_of_a_number_that_the_page_does_not_know() -> None:
    known = {row.number for row in rows()}
    named = {
        number
        for path in (ROOT / "tests").rglob("*.py")
        for number in NUMBER.findall(path.read_text())
        if path != Path(__file__)
    }
    assert named <= known


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.number)
def test_a_requirement_is_tested_planned_or_superseded(row: Row) -> None:
    tests = TEST.findall(row.state)
    assert bool(tests) != row.state.startswith(STATES), f"{row.number}: {row.state!r}"
    for test in tests:
        assert re.search(rf"\b{row.number}\b", (ROOT / test).read_text()), f"{test} does not speak of {row.number}"
