"""The files of this repository, as the laws see them: which there are, whose they are, what they say.

Made from the folder as it lies, so that a law also speaks about a file that is not committed yet; what tools leave
behind is passed over by name.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Left behind by tools: at the root only, or anywhere.
NOT_OURS_AT_ROOT: Final = frozenset({".git", ".venv", "build", "data", "dist"})
NOT_OURS: Final = frozenset({"__pycache__", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "results"})
# Top-level names that hold Python but are no part of the program.
BESIDE: Final = frozenset({"tests", "bench", "packaging"})


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, self.path)

    @property
    def owner(self) -> str:
        """The top-level package or module the file belongs to."""
        return self.path.split("/", 1)[0].removesuffix(".py")

    @property
    def module(self) -> str:
        """The dotted name it is imported by."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def in_product(self) -> bool:
        """Whether it is part of the program that is shipped."""
        return self.owner not in BESIDE

    def imports(self) -> Iterator[str]:
        """Everything it imports, anywhere in it, as dotted names; `from a import b` counts as `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def files() -> tuple[Path, ...]:
    """Every file that is ours, sorted."""

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name in NOT_OURS or (folder == ROOT and path.name in NOT_OURS_AT_ROOT):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            else:
                yield path

    return tuple(walk(ROOT))


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file that is ours."""
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in files()
        if path.suffix == ".py"
    )


def product() -> tuple[Source, ...]:
    """The Python files of the program itself."""
    return tuple(source for source in sources() if source.in_product)


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of every file that is text."""
    for path in files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
