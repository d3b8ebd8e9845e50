"""The settings written out: as a TOML file with the origin of each value, and as the page docs/settings.md.

Both are made from the rows in settings.py, so neither can tell anything else than the program does.
"""

from collections.abc import Iterator
from itertools import groupby

from config.settings import PREFIX, SECTIONS, SETTINGS, Config, Setting
from config.sources import DEFAULT_FILE, FILE_VARIABLE

INTRODUCTION = f"""\
# Settings

<!-- Made by `make docs` from config/settings.py; a test compares. -->

Every setting has a default that suits one machine, so none has to be touched to begin. Each can be said in four places;
a later one wins over an earlier one:

1. the default,
2. the TOML file: `--config FILE`, else the file that `{FILE_VARIABLE}` names, else `{DEFAULT_FILE}` if it is there,
3. the environment: the name in capitals with the prefix `{PREFIX}`; names marked "or bare" below are also read without
   it, and the prefixed one wins; an empty variable counts as not set,
4. the flag of `serve` and of the other commands.

`python registry.py config show` prints every value with the place that decided it, as a TOML file that can be used as
such; `config check` only looks. An unknown name and a value that makes no sense are errors (exit 2), never ignored.
Sizes are numbers of bytes or carry a unit (`64KiB`, `4MiB`; `kB`, `MB` and `GB` are powers of 1000). Times always carry
one (`500ms`, `30s`, `90m`, `24h`, `7d`). Switches are `on` or `off`. Relative folders count from the working directory.
"""


def settings_page() -> str:
    """The page docs/settings.md, whole."""
    parts = [INTRODUCTION]
    for section in SECTIONS:
        group = section.__name__.lower()
        parts.append(f"\n## [{group}]\n\n{section.__doc__}\n\n| setting | default | meaning |\n|---|---|---|\n")
        parts += [_line(row) for row in SETTINGS if row.group == group]
    return "".join(parts)


def _line(row: Setting) -> str:
    names = f"`{row.name}`<br>`{'`, `'.join(row.flags)}`<br>`{row.variables[-1]}`{', or bare' if row.bare else ''}"
    default = f"`{row.default}`" if row.default else "(empty)"
    return f"| {names} | {default} | {row.help} Expects {row.kind.expects}. |\n"


def as_toml(config: Config) -> Iterator[str]:
    """The lines of a TOML file that says what `config` holds, with each value's origin as a comment.

    A secret is a comment itself, that says whether there is one.
    """
    for group, rows in groupby(SETTINGS, key=lambda row: row.group):
        yield f"[{group}]"
        for row in rows:
            line = f"{'# ' * row.kind.secret}{row.name} = {quoted(shown(config, row))}"
            yield f"{line:<48} # {config.origin(row.name)}"
        yield ""


def shown(config: Config, row: Setting) -> str:
    """The value of one setting as a person would write it."""
    return row.kind.show(getattr(config, row.attribute))


def quoted(text: str) -> str:
    """A TOML basic string; every character that TOML wants escaped is."""
    escaped = (f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in text)
    return f'"{"".join(escaped)}"'
