"""Every error that is raised on purpose has a status and a word that clients know.

The tree stands in model/errors.py; a port may refine a class of it beside itself (`KeyMissing` is a `StorageFailed`),
and then answers as that class does unless handlers/wire.py has a row for it.
"""

import ast
import importlib

import pytest

from handlers.wire import STATUS
from model.errors import RegistryError
from tests.repo.tree import ROOT, product

# The list of the distribution specification, section "Error Codes".
OF_THE_SPECIFICATION = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}
# Where the specification has no word: those that other registries have made familiar.
OF_OTHERS = {"UNKNOWN", "UNAVAILABLE", "PAGINATION_NUMBER_INVALID", "RANGE_INVALID", "TAG_INVALID"}


def family(root: type[RegistryError]) -> list[type[RegistryError]]:
    """A class and everything below it."""
    return [root, *(each for child in root.__subclasses__() for each in family(child))]


def status_of(error: type[RegistryError]) -> int | None:
    """The status in the most specific row of the table."""
    return next((STATUS[kind] for kind in error.__mro__ if kind in STATUS), None)


def declared_beside_the_tree() -> list[tuple[str, str, set[str]]]:
    """Module, name and bases of every class outside model/errors.py that ends in the tree."""
    known = {error.__name__ for error in family(RegistryError)}
    found: list[tuple[str, str, set[str]]] = []
    classes = [
        (source.module, node.name, {ast.unparse(base).split(".")[-1] for base in node.bases})
        for source in product()
        if source.module != RegistryError.__module__
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    ]
    while more := [row for row in classes if row[2] & known and row not in found]:
        found += more
        known |= {name for _, name, _ in more}
    return found


BESIDE = declared_beside_the_tree()
for module in sorted({module for module, _, _ in BESIDE}):
    importlib.import_module(module)
OURS = [error for error in family(RegistryError) if error is not RegistryError]


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_the_error_has_a_status_that_does_not_blame_us_for_nothing(error: type[RegistryError]) -> None:
    status = status_of(error)
    assert status is not None, f"{error.__name__} has no row in handlers/wire.py"
    assert 400 <= status < 600 and status != 500


@pytest.mark.parametrize("error", family(RegistryError), ids=lambda error: error.__name__)
def test_the_error_has_a_code_that_clients_know(error: type[RegistryError]) -> None:
    assert error.code in OF_THE_SPECIFICATION | OF_OTHERS


def test_every_row_of_the_table_is_about_an_error_of_ours() -> None:
    assert {kind for kind in STATUS if kind not in family(RegistryError)} == set()


def test_an_error_of_a_port_refines_a_class_of_the_tree() -> None:
    assert [f"{module}.{name}" for module, name, bases in BESIDE if RegistryError.__name__ in bases] == []


def test_the_errors_of_the_ports_are_seen() -> None:
    assert {name for _, name, _ in BESIDE} <= {error.__name__ for error in OURS}
    assert "KeyMissing" in {error.__name__ for error in OURS}


def test_every_code_is_explained_in_the_documents() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert {error.code for error in family(RegistryError) if error.code not in pages} == set()
