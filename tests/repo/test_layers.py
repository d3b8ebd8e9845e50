"""The map of imports has no circle, and neither have the modules that live on it."""

import graphlib

from tests.repo.laws import FOR_ALL, MAY_IMPORT
from tests.repo.tree import Source, product


def home(name: str, modules: set[str]) -> str | None:
    """The module of ours that the dotted `name` leads to; None when it leads elsewhere."""
    parts = name.split(".")
    tries = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((each for each in tries if each in modules), None)


def graph(sources: tuple[Source, ...]) -> dict[str, set[str]]:
    """Who imports whom, by module."""
    modules = {source.module for source in sources}
    return {
        source.module: {to for name in source.imports() if (to := home(name, modules)) and to != source.module}
        for source in sources
    }


def test_the_map_has_no_circle() -> None:
    command_line = {"cli", "admin"}  # commands are rows of the command line and drive it from beside
    packages = {name: {each.split(".")[0] for each in may} | ({FOR_ALL} - {name}) for name, may in MAY_IMPORT.items()}
    packages["cli"] -= command_line
    graphlib.TopologicalSorter(packages).prepare()


def test_the_modules_have_no_circle() -> None:
    graphlib.TopologicalSorter(graph(product())).prepare()


def test_a_circle_would_be_seen() -> None:
    circle = (Source("store/a.py", "from store import b\n"), Source("store/b.py", "import store.a\n"))
    assert graph(circle) == {"store.a": {"store.b"}, "store.b": {"store.a"}}
