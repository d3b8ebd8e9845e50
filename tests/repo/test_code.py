"""Every Python file keeps the laws, and every law still bites."""

import pytest

from tests.repo import laws
from tests.repo.tree import Source, sources

HEADER = '"""A file that says what it is."""\n'

# What each law must object to: a path and what stands there.
OFFENDERS: list[tuple[laws.Law, str, str]] = [
    (laws.imports_follow_the_map, "store/blobs.py", HEADER + "def f():\n    from handlers import wire\n"),
    (laws.imports_follow_the_map, "store/blobs.py", HEADER + "import backends.fs\n"),
    (laws.imports_follow_the_map, "multipart/spool.py", HEADER + "from backends import fs\n"),
    (laws.imports_follow_the_map, "model/names.py", HEADER + "from config import Config\n"),
    (laws.imports_follow_the_map, "newcomer/thing.py", HEADER),
    (laws.faces_do_not_import_each_other, "handlers/library/images.py", HEADER + "from handlers.oci import blobs\n"),
    (laws.faces_do_not_import_each_other, "handlers/params.py", HEADER + "import handlers.oci.blobs\n"),
    (laws.reserved_modules_stay_where_they_belong, "store/blobs.py", HEADER + "from aiohttp import web\n"),
    (laws.reserved_modules_stay_where_they_belong, "store/blobs.py", HEADER + "from aiohttp.web import Request\n"),
    (laws.reserved_modules_stay_where_they_belong, "store/blobs.py", HEADER + "import aiohttp.web_request\n"),
    (laws.reserved_modules_stay_where_they_belong, "handlers/body.py", HEADER + "import ssl\n"),
    (laws.reserved_modules_stay_where_they_belong, "multipart/ledger.py", HEADER + "import sqlite3\n"),
    (laws.sql_stands_in_store_only, "multipart/ledger.py", HEADER + 'Q = "SELECT id FROM session"\n'),
    (laws.sql_stands_in_store_only, "handlers/ops.py", HEADER + 'Q = f"""\n  DELETE FROM {1}"""\n'),
    (laws.files_say_what_lives_in_them, "store/blobs.py", "import os\n"),
    (laws.files_say_what_lives_in_them, "tests/unit/test_x.py", '"""Tests."""\n'),
    (laws.files_are_one_thought, "store/blobs.py", HEADER + "#\n" * 400),
    (laws.files_are_one_thought, "tests/unit/test_x.py", HEADER + "#\n" * 600),
    (laws.the_clock_is_asked_in_one_place, "store/blobs.py", HEADER + "import time\nNOW = time.time()\n"),
    (laws.the_clock_is_asked_in_one_place, "store/blobs.py", HEADER + "from time import time\n"),
    (laws.the_clock_is_asked_in_one_place, "a/b.py", HEADER + "import datetime\nN = datetime.datetime.now(None)\n"),
    (laws.nothing_rests_on_assert, "store/blobs.py", HEADER + "assert True\n"),
    (laws.only_the_command_line_prints, "store/blobs.py", HEADER + "print(1)\n"),
    (laws.values_never_wait, "model/names.py", HEADER + "async def f(): ...\n"),
    (laws.the_environment_is_read_at_the_door, "store/blobs.py", HEADER + "import os\nX = os.environ['X']\n"),
    (laws.the_environment_is_read_at_the_door, "store/blobs.py", HEADER + "from os import getenv\n"),
    (laws.nobody_imports_the_entry, "cli.py", HEADER + "import registry\n"),
    (laws.loggers_are_below_one_name, "store/blobs.py", HEADER + "import logging\nL = logging.getLogger(__name__)\n"),
    (laws.loggers_are_below_one_name, "store/blobs.py", HEADER + "import logging\nL = logging.getLogger('store')\n"),
]


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_every_file_keeps_the_law(law: laws.Law) -> None:
    offences = [f"{source.path} {offence}" for source in sources() for offence in law(source)]
    assert offences == [], law.__doc__


@pytest.mark.parametrize(("law", "path", "text"), OFFENDERS, ids=lambda value: getattr(value, "__name__", None))
def test_the_law_sees_an_offender(law: laws.Law, path: str, text: str) -> None:
    assert list(law(Source(path, text)))


def test_every_law_has_an_offender_to_prove_that_it_bites() -> None:
    assert {law for law, _, _ in OFFENDERS} == set(laws.LAWS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "store/blobs.py",
            HEADER + "from backends.base import Backend\nfrom backends import base\nimport store.tags\n",
        ),
        ("handlers/oci/blobs.py", HEADER + "from aiohttp import web, hdrs\nfrom handlers.oci import tags\n"),
        ("model/clock.py", HEADER + "import time\nNOW = time.time()\n"),
        ("cli.py", HEADER + "from config import load\nprint(1)\n"),
        ("store/catalog.py", HEADER + 'import sqlite3\nQ = "DELETE FROM tag"\n'),
        ("handlers/oci/tags.py", HEADER + 'M = "Delete from here what you like; select something from there"\n'),
        ("store/__init__.py", ""),
    ],
)
def test_the_laws_let_honest_code_pass(path: str, text: str) -> None:
    assert [offence for law in laws.LAWS for offence in law(Source(path, text))] == []
