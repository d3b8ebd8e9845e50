"""What is shipped fits together: version, locks, image, and nothing in it that only makes sense on one machine."""

import re
import tomllib
from typing import Any

import pytest

from model.version import VERSION
from tests.repo.tree import ROOT, product, texts

LOCKS = ["requirements.lock", "requirements-fast.lock", "requirements-dev.lock", "requirements-swift.lock"]


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(lock: str) -> dict[str, str]:
    """The releases that a lock file names."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    """The packages that a list of requirements asks for."""
    return {re.split(r"[^A-Za-z0-9-]", each)[0].lower() for each in requirements}


def test_the_version_is_the_same_everywhere() -> None:
    assert project()["project"]["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_release_in_a_lock_has_its_hashes_and_no_lock_says_where_from(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock)) > 0
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert re.findall(r"://|--\w*index|--find-links|--trusted", text) == []


def test_the_locks_hold_what_the_project_asks_for() -> None:
    runtime = names(project()["project"]["dependencies"])
    fast = names(project()["project"]["optional-dependencies"]["fast"])
    dev = names(project()["dependency-groups"]["dev"])
    assert runtime <= pins("requirements.lock").keys()
    assert fast == pins("requirements-fast.lock").keys()
    assert runtime | dev <= pins("requirements-dev.lock").keys()


def test_tests_run_with_the_releases_that_are_shipped() -> None:
    shipped = pins("requirements.lock")
    assert {name: version for name, version in pins("requirements-dev.lock").items() if name in shipped} == shipped


def test_every_shipped_package_has_its_licence_written_down() -> None:
    page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    shipped = pins("requirements.lock") | pins("requirements-fast.lock")
    assert {f"{name} {version}" for name, version in shipped.items() if f"| {name} | {version} |" not in page} == set()


def test_the_image_is_made_of_the_whole_program_and_of_nothing_that_is_not_there() -> None:
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {source.path.split("/")[0] for source in product()} | {"LICENSE"}
    locks = {"requirements.lock", "requirements-fast.lock"}
    assert {name for name in let_in if not (ROOT / name).exists()} == set()
    assert set(let_in) == wanted | locks


def test_the_builder_is_let_see_every_file_that_the_image_copies_by_name() -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    lines = re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for line in lines for name in line.split()[:-1]}
    assert {name for name in named if name != "." and f"!{name}" not in let_in} == set()
    assert "." in named


# In pieces, so that this file does not offend against itself.
OF_ONE_MACHINE = ["/wo" + "rk/", "/ro" + "ot/", "/home/" + "[a-z]", "C:\\\\" + "Users"]
OF_A_PACKAGE_REGISTRY = [
    "py" + r"pi\.org",
    "python" + r"hosted\.org",
    "npm" + r"js\.org",
    "proxy\\.go" + r"lang\.org",
    "static\\.crates" + r"\.io",
    "deb\\.debi" + r"an\.org",
]


@pytest.mark.parametrize("pattern", OF_ONE_MACHINE + OF_A_PACKAGE_REGISTRY)
def test_no_file_names_what_holds_on_one_machine_only(pattern: str) -> None:
    found = [f"{path}: {match[0]}" for path, text in texts() for match in re.finditer(pattern, text)]
    assert found == []
