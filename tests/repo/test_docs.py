"""The documents say what the program does: settings, commands, targets, files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.reference import settings_page
from config.settings import SETTINGS, Setting
from tests.repo.tree import ROOT, product

PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if not path.name.startswith("CODE_OF_CONDUCT")
)


def commands() -> Iterator[str]:
    """The words of every command: the first argument of each `Command(...)` in the program."""
    for source in product():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Command" and node.args:
                yield " ".join(ast.literal_eval(node.args[0]))


def test_there_are_commands_to_look_for() -> None:
    assert {"serve", "config show", "config check"} <= set(commands())


def test_every_command_is_in_the_operating_guide() -> None:
    guide = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    assert {words for words in commands() if words not in guide} == set()


def test_the_settings_page_is_what_the_program_says() -> None:
    """`make docs` writes it."""
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_the_settings_page_names_the_setting_in_all_its_spellings(row: Setting) -> None:
    page = settings_page()
    assert [name for name in (row.name, *row.flags, *row.variables[-1:]) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [to for to in links if "://" not in to and not (page.parent / to).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_make_targets_that_a_page_names_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()
