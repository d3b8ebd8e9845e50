"""What a setting is: a row with a name, a kind, a default and help, the places where it may be said, and who did."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar

from config.kinds import Kind

T = TypeVar("T")

PREFIX: Final = "HOLDFAST_"


class ConfigError(Exception):
    """The operator said something that cannot be done. The message is one line: what, where it was said, what to do."""


@dataclass(frozen=True)
class Origin:
    """Who decided a value: `default`, `file` (its path), `environment` (the variable) or `flag` (with its dashes)."""

    kind: Literal["default", "file", "environment", "flag"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


DEFAULT: Final = Origin("default")


@dataclass(frozen=True)
class Setting:
    """A row: what can be set, under which names, and what it means."""

    attribute: str
    group: str
    kind: Kind[Any]
    default: str
    help: str
    bare: bool
    short_flag: str

    @property
    def name(self) -> str:
        """The name in the TOML file, and the stem of the others."""
        return self.attribute.removesuffix(self.kind.suffix)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags on the command line, the one for the manual first."""
        own = "--" + self.name.replace("_", "-")
        return (self.short_flag, own) if self.short_flag else (own,)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, the one that wins last."""
        prefixed = PREFIX + self.name.upper()
        return (self.name.upper(), prefixed) if self.bare else (prefixed,)


def setting(default: str, kind: Kind[T], help_text: str, *, bare: bool = False, flag: str = "") -> T:
    """A field that is a setting.

    `bare` settings are read from the environment without the prefix as well: those whose name other software
    of this kind has made familiar. `flag` is a shorter flag beside the regular one.
    """
    row = {"default": default, "kind": kind, "help": help_text, "bare": bare, "short_flag": flag}
    return field(default_factory=partial(kind.parse, default), metadata=row, repr=not kind.secret)
