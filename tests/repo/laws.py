"""The laws of the code: each looks at one file and tells what offends it.

A law is a function from a Source to sentences; none means obeyed. test_code.py applies them to every file, and to
small offenders, so that a law which has stopped seeing anything is noticed too.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.repo.tree import Source

Law = Callable[[Source], Iterator[str]]

# Who may import what of ours. `model` is everybody's; a dotted name allows that module alone.
MAY_IMPORT: Final[Mapping[str, frozenset[str]]] = {
    "registry": frozenset(
        {"admin", "auth", "backends", "certs", "cli", "clients", "config", "handlers", "loops", "machine"}
        | {"multipart", "rooms", "sigv4", "store", "stores", "sweep"}
    ),
    "cli": frozenset({"admin", "backends", "config", "multipart", "rooms", "store", "stores", "sweep"}),
    "admin": frozenset({"backends", "cli", "config", "machine", "multipart", "rooms", "store", "stores", "sweep"}),
    "loops": frozenset({"config"}),
    "machine": frozenset(),
    "rooms": frozenset(
        {"auth", "backends", "certs", "config", "handlers", "multipart", "sigv4", "store", "stores", "sweep"}
    ),
    "stores": frozenset({"backends", "certs", "config", "sigv4", "store"}),
    "handlers": frozenset({"auth", "multipart", "store"}),
    "sweep": frozenset({"multipart", "store", "backends.base"}),
    "auth": frozenset({"sigv4", "store"}),
    "multipart": frozenset({"store", "backends.base", "sigv4"}),
    "store": frozenset({"backends.base", "sigv4"}),
    "backends": frozenset({"sigv4"}),
    "certs": frozenset(),
    "clients": frozenset({"certs", "cli"}),
    "config": frozenset(),
    "sigv4": frozenset(),
    "model": frozenset(),
}
FOR_ALL: Final = "model"
# What HTTP, TLS and the catalog are made of, and the only places that may touch it.
RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "aiohttp.web": ("registry", "handlers"),
    "ssl": ("certs",),
    "sqlite3": ("store",),
}
FACES: Final = ("oci", "library", "hold", "keyserver")
MAX_LINES: Final = 400
MAX_TEST_LINES: Final = 600
SQL: Final = re.compile(
    r"\A\s*(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX)\s)",
    re.DOTALL,
)
WALL_CLOCK: Final = frozenset(
    {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
)


def imports_follow_the_map(source: Source) -> Iterator[str]:
    """Packages import downwards only, as MAY_IMPORT says."""
    if not source.in_product:
        return
    if source.owner not in MAY_IMPORT:
        yield f"{source.owner} has no row in MAY_IMPORT: decide what it may import"
        return
    allowed = MAY_IMPORT[source.owner] | {FOR_ALL, source.owner}
    for name in source.imports():
        ours = name.split(".")[0] in MAY_IMPORT
        if ours and not any(name == each or name.startswith(each + ".") for each in allowed):
            yield f"imports {name}"


def faces_do_not_import_each_other(source: Source) -> Iterator[str]:
    """What several protocols need lives beside them, not in one of them."""
    own = source.module.split(".")
    for name in source.imports():
        parts = name.split(".")
        if parts[0] == own[0] == "handlers" and parts[1] in FACES and own[1:2] != [parts[1]] and own[1:2] != ["routes"]:
            yield f"imports {name}"


def reserved_modules_stay_where_they_belong(source: Source) -> Iterator[str]:
    """HTTP only at the border, TLS only in certs, SQL only in store."""
    for name in source.imports() if source.in_product else ():
        for reserved, owners in RESERVED.items():
            # aiohttp.web_request and its like are the same house by another door.
            if re.match(rf"{re.escape(reserved)}([._]|$)", name) and source.owner not in owners:
                yield f"imports {name}, which belongs to {', '.join(owners)}"


def sql_stands_in_store_only(source: Source) -> Iterator[str]:
    """No SQL statement in a string of any other package."""
    if not source.in_product or source.owner == "store":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield f"line {node.lineno} holds SQL"


def files_say_what_lives_in_them(source: Source) -> Iterator[str]:
    """Every file begins with a sentence."""
    if source.path.endswith("__init__.py") and not source.text:
        return
    header = ast.get_docstring(source.tree) or ""
    if len(header.split("\n\n")[0].split()) < 3:
        yield "does not begin with a docstring that says what lives in it"


def files_are_one_thought(source: Source) -> Iterator[str]:
    """Files stay short enough to be read whole."""
    lines, most = source.text.count("\n"), MAX_TEST_LINES if source.owner == "tests" else MAX_LINES
    if lines > most:
        yield f"has {lines} lines; {most} are the most"


def the_clock_is_asked_in_one_place(source: Source) -> Iterator[str]:
    """Only model/clock.py knows the time of day; everybody else is told."""
    if not source.in_product or source.path == "model/clock.py":
        return
    yield from (f"imports {name}" for name in source.imports() if name in WALL_CLOCK)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            spelled = ".".join(ast.unparse(node).split(".")[-2:])
            if spelled in WALL_CLOCK:
                yield f"line {node.lineno} asks {spelled}"


def nothing_rests_on_assert(source: Source) -> Iterator[str]:
    """`python -O` must change nothing."""
    if source.in_product:
        yield from (f"line {node.lineno} asserts" for node in ast.walk(source.tree) if isinstance(node, ast.Assert))


def only_the_command_line_prints(source: Source) -> Iterator[str]:
    """A server logs; printing is for the person who typed a command."""
    if source.in_product and source.owner not in {"cli", "admin"}:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"line {node.lineno} prints"


def values_never_wait(source: Source) -> Iterator[str]:
    """Nothing in model/, config/ or sigv4/ awaits: they are plain values and plain functions."""
    if source.owner in {"model", "config", "sigv4"}:
        waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        yield from (f"line {node.lineno} awaits" for node in ast.walk(source.tree) if isinstance(node, waiting))


def the_environment_is_read_at_the_door(source: Source) -> Iterator[str]:
    """Nothing below the entry reads configuration from outside."""
    if source.in_product and source.owner not in {"cli", "registry"}:
        yield from (
            f"imports {name}" for name in source.imports() if name in {"os.environ", "os.getenv", "config.load"}
        )
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}:
                yield f"line {node.lineno} reads the environment"


def nobody_imports_the_entry(source: Source) -> Iterator[str]:
    """registry.py runs as `__main__`; importing it would make a second copy of every class in it."""
    if source.in_product:
        yield from (f"imports {name}" for name in source.imports() if name.split(".")[0] == "registry")


def loggers_are_below_one_name(source: Source) -> Iterator[str]:
    """One name leads to all that we log; loggers of others are set up by name, and never kept."""
    for node in ast.walk(source.tree) if source.in_product else ():
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        made = node.value
        if ast.unparse(made.func).split(".")[-1] == "getLogger":
            told = made.args[0].value if made.args and isinstance(made.args[0], ast.Constant) else ""
            if str(told).split(".")[0] != "holdfast":
                yield f"line {node.lineno} logs by a name that does not begin with holdfast"


LAWS: Final[tuple[Law, ...]] = (
    imports_follow_the_map,
    faces_do_not_import_each_other,
    reserved_modules_stay_where_they_belong,
    sql_stands_in_store_only,
    files_say_what_lives_in_them,
    files_are_one_thought,
    the_clock_is_asked_in_one_place,
    nothing_rests_on_assert,
    only_the_command_line_prints,
    values_never_wait,
    the_environment_is_read_at_the_door,
    nobody_imports_the_entry,
    loggers_are_below_one_name,
)
