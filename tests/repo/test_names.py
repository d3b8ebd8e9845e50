"""Our top-level names belong to us alone: not to Python, not to its tools, not to anybody in the environment.

The tree is flat, so its names stand beside everybody else's on the import path; a stranger with the same name would
hide our package, or ours would hide theirs.
"""

import importlib.metadata
import keyword
import sys

from tests.repo.tree import ROOT, sources

# Names that tools import while the root is on their path.
OF_TOOLS = {"build", "packaging", "wheel", "setup", "docs", "site", "dist"}


def ours() -> set[str]:
    """The top-level names that our files are imported by."""
    return {source.owner for source in sources()}


def test_our_names_are_not_of_the_standard_library() -> None:
    assert ours() & set(sys.stdlib_module_names) == set()


def test_our_names_are_no_keywords() -> None:
    assert {name for name in ours() if keyword.iskeyword(name) or not name.isidentifier()} == set()


def test_no_folder_hides_a_tool() -> None:
    assert {name for name in OF_TOOLS if (ROOT / name / "__init__.py").exists()} == set()


def test_nobody_else_in_the_environment_owns_one_of_our_names() -> None:
    strangers = {name: who for name, who in importlib.metadata.packages_distributions().items() if name in ours()}
    assert strangers == {}


def test_every_package_of_ours_can_be_imported_as_a_regular_package() -> None:
    """A folder without __init__.py would lose against a stranger's package anywhere on the path."""
    packages = {source.path.rpartition("/")[0] for source in sources() if source.in_product and "/" in source.path}
    assert {name for name in packages if not (ROOT / name / "__init__.py").exists()} == set()
