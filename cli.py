"""The command line: every command is one function and one row of COMMANDS.

A command gets an `Invocation` (the decided configuration, its own options) and returns an exit code. The flags of the
settings are made from the settings themselves. To add a command: write the function, add the row, describe it in
docs/operating.md (a test looks). Exit codes: 0 done; 1 not done, said why; 2 the operator has to change something.
"""

import argparse
import difflib
import json
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from config import Config, ConfigError, load
from config.checks import check_folders, check_store
from config.reference import as_toml, settings_page, shown
from config.settings import BY_NAME, SECTIONS, SETTINGS, Setting
from model.version import VERSION

PROGRAM: Final = "registry.py"
DESCRIPTION: Final = "Holdfast, a container registry for one machine: one process, one folder."
EXAMPLES: Final = f"""\
examples:
  {PROGRAM} serve                                        serve on 127.0.0.1:5000, keep everything in ./data
  {PROGRAM} serve --listen 0.0.0.0:5000 --data /srv/hf   serve the network
  {PROGRAM} config show                                  every setting, its value, and who decided it
  {PROGRAM} config check --config holdfast.toml          whether the server would accept this file
  {PROGRAM} push image.tar 127.0.0.1:5000/hello/world:1  push an archive, a layout or a file; again to go on

first image, from another terminal:
  skopeo copy --dest-tls-verify=false docker-archive:image.tar docker://127.0.0.1:5000/hello/world:1
  (or: docker tag IMAGE 127.0.0.1:5000/hello/world:1 && docker push 127.0.0.1:5000/hello/world:1)

settings come from flags, else the environment (HOLDFAST_...), else a TOML file; docs/settings.md lists them.
in a checkout, `{PROGRAM}` is `.venv/bin/python {PROGRAM}`.
"""
_Family: TypeAlias = "argparse._SubParsersAction[_Parser]"


class UsageError(Exception):
    """The command cannot be done as it was given; the message is one line and says what to do."""


@dataclass(frozen=True)
class Invocation:
    """What a command gets: what was decided, its own options, how to serve, and the environment of its caller."""

    config: Config
    options: argparse.Namespace
    serve: Callable[[Config], int]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A row: the words that call it, a line of help, what it does, its own arguments, and the settings it reads."""

    words: tuple[str, ...]
    help: str
    run: Callable[[Invocation], int]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    settings: Sequence[str] = field(default_factory=lambda: tuple(BY_NAME))


def run(
    argv: Sequence[str],
    *,
    serve: Callable[[Config], int],
    more: Sequence[Command] = (),
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Do what `argv` (without the program's name) says and return the exit code.

    `serve` is called by the command of that name and may raise ConfigError or UsageError for what only a start can find
    out; both end in one line on stderr and exit code 2. `more` are commands beside those of this file.
    """
    try:
        options = _parser((*COMMANDS, *more)).parse_args(list(argv))
        command: Command = options.command
        config = load(_flags(options), environ, options.config)
        return command.run(Invocation(config, options, serve, environ))
    except (ConfigError, UsageError) as problem:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not try to flush it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def say(text: str) -> None:
    """Tell the person who started us something, at once also when a pipe is listening."""
    print(text, flush=True)


def mention(text: str) -> None:
    """Tell the person on stderr, if it can be written without waiting: a stuck reader must not keep us from ending."""
    if select.select([], [sys.stderr], [], 0)[1]:
        print(text, file=sys.stderr, flush=True)


def serve_command(invocation: Invocation) -> int:
    """Serve until SIGTERM."""
    return invocation.serve(invocation.config)


def config_show(invocation: Invocation) -> int:
    """Print every value with its origin, as TOML or JSON."""
    config = invocation.config
    if invocation.options.json:
        told = {row.name: {"value": shown(config, row), "origin": str(config.origin(row.name))} for row in SETTINGS}
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(as_toml(config)))
    return 0


def config_check(invocation: Invocation) -> int:
    """Say that the configuration can be used; what is wrong with it is raised on the way."""
    config = invocation.config
    check_folders(config)
    check_store(config)
    print(f"The configuration is good: listening on {config.listen}, keeping {kept_where(config)}.")
    return 0


def kept_where(config: Config) -> str:
    """Where what lies, in words."""
    if config.storage_driver == "memory":
        return "everything in memory, until it ends"
    if config.storage_driver == "s3":
        where = config.s3_url or f"AWS ({config.s3_region})"
        return f"names in {config.data_dir} and content in s3 bucket {config.s3_bucket} at {where}"
    if config.storage_root == config.data_dir:
        return f"everything in {config.data_dir}"
    return f"names in {config.data_dir}, blobs in {config.storage_root}"


def config_page(invocation: Invocation) -> int:
    """Print docs/settings.md."""
    print(settings_page(), end="")
    return 0


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`, for commands that tell something."""
    parser.add_argument("--json", action="store_true", help="for programs: JSON instead of text")


COMMANDS: Final = (
    Command(("serve",), "serve in the foreground until SIGTERM", serve_command),
    Command(("config", "show"), "print every setting with the place that decided it", config_show, json_option),
    Command(("config", "check"), "say whether the configuration can be used", config_check),
    Command(("config", "page"), "print the manual page of all settings", config_page, settings=()),
)
# The help of words that only lead to others.
FAMILIES: Final = {
    "config": "look at the configuration",
    "repo": "look at repositories, delete them",
    "tag": "list, copy and delete tags",
    "uploads": "look at open uploads, end them",
    "catalog": "copies of the catalog",
    "keys": "the keys that URLs are signed with",
    "storage": "the object store, where one is used",
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving, and knows what was nearly written."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}{_nearest(message)}; see {self.prog} --help")


def _nearest(message: str) -> str:
    """`; did you mean --listen?` when `message` complains about an unknown flag that looks like a known one."""
    wrong = message.rpartition("unrecognized arguments: ")[2].partition("=")[0].partition(" ")[0]
    flags = [flag for row in SETTINGS for flag in row.flags]
    found = difflib.get_close_matches(wrong, flags, n=1) if wrong.startswith("--") else []
    return f"; did you mean {found[0]}?" if found else ""


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"holdfast {VERSION}")
    families: dict[tuple[str, ...], _Family] = {(): parser.add_subparsers(metavar="COMMAND", required=True)}
    for command in commands:
        for depth in range(1, len(command.words)):
            words = command.words[:depth]
            if words not in families:
                family = families[words[:-1]].add_parser(words[-1], help=FAMILIES.get(words[-1]), allow_abbrev=False)
                families[words] = family.add_subparsers(metavar="COMMAND", required=True)
        _add(families[command.words[:-1]], command)
    return parser


def _add(family: "_Family", command: Command) -> None:
    parser = family.add_parser(
        command.words[-1], help=command.help, description=command.run.__doc__, allow_abbrev=False
    )
    parser.set_defaults(command=command)
    command.arguments(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the TOML file with settings")
    for section in SECTIONS:
        name = section.__name__.lower()
        rows = [row for row in SETTINGS if row.group == name and row.name in command.settings]
        if rows:
            group = parser.add_argument_group(f"settings [{name}]", section.__doc__)
            for row in rows:
                _add_setting(group, row)


def _add_setting(group: "argparse._ArgumentGroup", row: Setting) -> None:
    """The flags of one setting; a switch may stand without its value and then means on."""
    name = f"setting {row.name}"
    help_text = f"{row.help} Default: {row.default or 'empty'}.".replace("%", "%%")
    if row.kind.alone:
        group.add_argument(
            *row.flags, dest=name, nargs="?", const=row.kind.alone, metavar=row.kind.metavar, help=help_text
        )
    else:
        group.add_argument(*row.flags, dest=name, metavar=row.kind.metavar, help=help_text)


def _flags(options: argparse.Namespace) -> dict[str, str]:
    """The settings that were given as flags, by setting name."""
    given = ((row.name, getattr(options, f"setting {row.name}", None)) for row in SETTINGS)
    return {name: value for name, value in given if value is not None}
