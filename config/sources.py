"""The places where a setting can be said, and how they are put together: file, environment, flags; the later wins.

Everything that was said is checked, also what another place overrules: a mistake that has no effect today is one that
has an effect on the day the other place is changed. What was not understood is an error with the nearest known name,
for a setting that silently does nothing is worse than a server that does not start.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from config.settings import BY_NAME, DEFAULT, PREFIX, SECTIONS, SETTINGS, Config, ConfigError, Origin, Setting

DEFAULT_FILE: Final = Path("/etc/holdfast/config.toml")
FILE_VARIABLE: Final = PREFIX + "CONFIG"
# What Kubernetes and Docker put into the environment of containers beside a service that is called holdfast, as
# `NAME=value`: HOLDFAST_SERVICE_HOST=..., HOLDFAST_PORT=tcp://..., HOLDFAST_PORT_5000_TCP_ADDR=... Nobody said these.
SERVICE_LINK: Final = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=\w+://|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)

# What somebody said: the setting, the value as it was written, and where.
Said = tuple[Setting, object, Origin]


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    config_file: Path | None = None,
    *,
    default_file: Path = DEFAULT_FILE,
) -> Config:
    """The configuration from flags (by setting name), environment and file.

    `config_file` None means the file that HOLDFAST_CONFIG names, else `default_file` if it is there.

    Raises:
        ConfigError: a name that is not known, a value that makes no sense, a file that cannot be read.
    """
    values: dict[str, Any] = {}
    origins = {row.name: DEFAULT for row in SETTINGS}
    file = _file(environ, config_file, default_file)
    for said in (_in_file(file) if file else (), _in_environment(environ), _in_flags(flags)):
        for row, raw, origin in said:
            values[row.attribute] = _parsed(row, raw, origin)
            origins[row.name] = origin
    return Config(**values, origins=origins)


def _parsed(row: Setting, raw: object, origin: Origin) -> object:
    try:
        return row.kind.parse(raw)
    except ValueError as problem:
        shown = raw if isinstance(raw, str) else str(raw).lower()
        told = "(not repeated here)" if row.kind.secret else repr(shown)
        raise ConfigError(f"{row.name} = {told} ({origin}): {problem}") from None


def _in_flags(flags: Mapping[str, str]) -> Iterator[Said]:
    for name, raw in flags.items():
        row = BY_NAME[name]
        yield row, raw, Origin("flag", row.flags[0])


def _in_environment(environ: Mapping[str, str]) -> Iterator[Said]:
    """What is set and not empty. Only the prefix makes a variable ours, so only there is an unknown one an error."""
    known = {variable for row in SETTINGS for variable in row.variables} | {FILE_VARIABLE}
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable not in known and not SERVICE_LINK.match(f"{variable}={value}"):
            raise ConfigError(f"environment variable {variable}: there is no such setting{_nearest(variable, known)}")
    for row in SETTINGS:
        for variable in row.variables:
            if environ.get(variable):
                yield row, environ[variable], Origin("environment", variable)


def _file(environ: Mapping[str, str], config_file: Path | None, default_file: Path) -> Path | None:
    if config_file is not None:
        return config_file
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    return default_file if default_file.exists() else None


def _in_file(path: Path) -> Iterator[Said]:
    groups = {section.__name__.lower() for section in SECTIONS}
    for group, table in _toml(path).items():
        if group in BY_NAME:
            raise ConfigError(f"{path}: {group} belongs under [{BY_NAME[group].group}]")
        if group not in groups or not isinstance(table, dict):
            raise ConfigError(f"{path}: there is no section [{group}]{_nearest(group, groups)}")
        for name, raw in table.items():
            yield _row_in(path, group, name, raw), raw, Origin("file", str(path))


def _row_in(path: Path, group: str, name: str, raw: object) -> Setting:
    row = BY_NAME.get(name)
    if row is None:
        raise ConfigError(f"{path}: there is no setting {name} in [{group}]{_nearest(name, BY_NAME)}")
    if row.group != group:
        raise ConfigError(f"{path}: {name} belongs under [{row.group}], not [{group}]")
    if not isinstance(raw, str | int):
        raise ConfigError(f"{path}: {name} must be a string, a whole number, true or false: {row.kind.expects}")
    return row


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path}: not there; name another with --config, or none") from None
    except OSError as problem:
        raise ConfigError(f"configuration file {path}: cannot be read ({problem.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigError(f"configuration file {path}: not TOML ({problem})") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or a pointer to where all of them are listed."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else "; `config show` lists all there are"
