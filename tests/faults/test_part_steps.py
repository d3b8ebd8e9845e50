"""The server dies at every named step of an upload in parts: what was answered is listed and right, the rest goes on.

Also here: a death while it takes its sessions up again, and a disk call that fails once.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.faults import part_scenarios as p
from tests.faults.client import LOST, Answer
from tests.faults.hold import SMALL_PARTS, Hold, refusal
from tests.support.faulty import FaultyServer, check_in_order, check_log, where_reached
from tests.support.server import ServerFailed

Step = tuple[str, str, int]
"""The step, the side of it, and at which passing."""


def steps(*named: str) -> tuple[Step, ...]:
    """`name` is before its first passing, `name!` after it; `name 2` the second passing."""
    found = []
    for each in named:
        words, after = each.rstrip("!"), each.endswith("!")
        name, passing = (words[:-2], int(words[-1])) if words[-1].isdigit() else (words, 1)
        found.append((name, "after" if after else "before", passing))
    return tuple(found)


LEDGER: Final = ("commit", "commit!", "answer")
TO_ITS_PLACE: Final = ("part write!", "part sync", "part sync!", *LEDGER)
IN_ITS_PLACE: Final = (
    *("part beside!", "part write!", "commit", "commit!", "part to its place"),
    *("part to its place!", "commit 2", "commit 2!", "parts removed", "parts removed!"),
)
TO_A_BLOB: Final = ("file sync!", "folder sync!", "rename", "rename!", "name sync!", *LEDGER)

DECLARED: Final[dict[type[p.InParts], tuple[Step, ...]]] = {
    p.FirstPart: steps("part room", "part room!", "part place!", *TO_ITS_PLACE),
    p.MiddlePart: steps("part write", "part sync!", "commit!", "whole read", "whole read!"),
    p.OtherBytes: steps(*IN_ITS_PLACE, "part copy", "part copy!"),
    p.SameBytes: steps("part beside!", "part write!", "parts removed"),
    p.Completing: steps("parts joined", *TO_A_BLOB),
    p.CompletingKnownBytes: steps("commit", "commit!"),
    p.CompletingUnseen: steps("whole sync", "whole sync!", "commit!", "answer"),
    p.Moving: steps("file sync!", "rename!", "commit", "commit!"),
    p.WrongDigest: steps("parts removed", "commit", "commit!"),
    p.Aborting: steps("commit", "commit!", "parts removed!"),
}
UNDECLARED: Final[dict[type[p.InParts], tuple[Step, ...]]] = {
    p.FirstPart: steps("part place!", "part sync!", "commit!"),
    p.OtherBytes: steps(*IN_ITS_PLACE),
    p.Completing: steps(
        *("parts joined", "part copy", "part copy!", "part copy 3!", "parts joined!", "rename", "rename!"),
        *("commit!", "parts removed", "parts removed!"),
    ),
    p.CompletingKnownBytes: steps("parts joined!", "commit!"),
    p.CompletingUnseen: steps("part copy 2", "parts joined!", "whole sync!", "commit!", "parts removed"),
    p.Moving: steps("rename!", "commit!"),
    p.Aborting: steps("commit!"),
}
DIRECTORY: Final = pytest.mark.only_with_directory("dies at a step of the storage folder")
DEATHS = [
    *((kind, *step) for kind, all_ in DECLARED.items() for step in all_),
    *((p.without_a_size(kind), *step) for kind, all_ in UNDECLARED.items() for step in all_),
]


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    with FaultyServer(tmp_path_factory.mktemp("parts") / "data", flags=SMALL_PARTS) as running:
        yield running
        check_log(running.log())


@pytest.fixture
def server(breaking: FaultyServer) -> FaultyServer:
    """The server as it should be, whatever became of it in the test before."""
    breaking.order.unlink(missing_ok=True)
    if not breaking.runs:
        breaking.start()
    return breaking


def begun(kind: type[p.InParts], server: FaultyServer, *about: object) -> p.InParts:
    name = re.sub("[^a-z0-9]+", "-", "-".join((kind.__name__, *map(str, about))).lower())
    scenario = kind(Hold(server.port), name)
    scenario.prepare()
    return scenario


def named(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value).replace(" ", "_")


def after_the_death(scenario: p.InParts, data: Path) -> None:
    """What holds now, and that the client comes to its end."""
    scenario.check()
    check_in_order(data)
    scenario.retry()
    assert scenario.left(data) == []
    check_in_order(data)


@pytest.mark.parametrize(("kind", "step", "when", "passing"), [where_reached(*case) for case in DEATHS], ids=named)
def test_after_a_death_the_parts_that_were_answered_are_there_and_the_same_completion_succeeds(
    server: FaultyServer, kind: type[p.InParts], step: str, when: str, passing: int
) -> None:
    """T09, T10, H068, H110, H175, H176, H185, H205: a session and its parts survive kill -9 at any step."""
    scenario = begun(kind, server, step, when, passing)
    server.break_at(step, when, passing=passing)
    with suppress(*LOST):
        scenario.act()
    server.died()
    server.start()
    after_the_death(scenario, server.data)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (("part copy", "after", 1), ("parts taken apart", "before", 1)),
        (("parts joined", "after", 1), ("parts taken apart", "after", 1)),
        pytest.param(("rename", "after", 1), ("whole read", "before", 1), marks=DIRECTORY),
    ],
)
def test_a_death_while_the_sessions_are_taken_up_again_changes_nothing(
    server: FaultyServer, first: Step, again: Step
) -> None:
    """T09: the next start finishes what the one before began."""
    scenario = begun(p.without_a_size(p.Completing), server, *first, *again)
    bystander = begun(p.MiddlePart, server, "beside", *first, *again)
    server.break_at(first[0], first[1], passing=first[2])
    with suppress(*LOST):
        scenario.act()
    server.died()
    server.break_at(again[0], again[1], passing=again[2])
    with suppress(ServerFailed):
        server.start()
        server.died()
    server.order.unlink(missing_ok=True)
    server.start()
    bystander.check()
    after_the_death(scenario, server.data)
    bystander.retry()


@DIRECTORY
@pytest.mark.parametrize("kind", [p.Completing, p.without_a_size(p.Completing)], ids=named)
def test_a_part_that_comes_before_the_completion_is_repeated_takes_nothing_away(
    server: FaultyServer, kind: type[p.InParts]
) -> None:
    """T09: the bytes are a blob that nobody sees yet; another client's part must not cost all that were answered."""
    scenario = begun(kind, server, "between")
    server.break_at("rename", "after")
    with suppress(*LOST):
        scenario.act()
    server.died()
    server.start()
    scenario.client.send(scenario.id, 2, scenario.other).expect(409)
    after_the_death(scenario, server.data)


def test_a_url_that_was_handed_out_before_a_death_is_good_after_it(server: FaultyServer) -> None:
    """T09, H098: the secret that signs them survives as well."""
    scenario = begun(p.MiddlePart, server, "url")
    targets = {number: scenario.client.url(scenario.id, number) for number in (2, 4)}
    server.kill()
    server.start()
    for number, target in targets.items():
        scenario.client.put(target, scenario.parts[number]).expect(200)
    scenario.finish()
    assert scenario.client.has_whole(scenario.repository, scenario.content)


ERRORS = [
    *((p.FirstPart, step, "ENOSPC") for step in ("part write",)),
    *((p.FirstPart, step, "EIO") for step in ("part write", "commit")),
    (p.MiddlePart, "commit", "EIO"),
    *((p.OtherBytes, step, "EIO") for step in ("part write", "commit")),
    *((p.Completing, step, "EIO") for step in ("file sync", "rename", "name sync", "commit")),
    (p.Completing, "rename", "ENOSPC"),
    (p.CompletingUnseen, "commit", "EIO"),
    *((p.Moving, step, "EIO") for step in ("file sync", "rename", "commit")),
    (p.Aborting, "commit", "EIO"),
]


@pytest.mark.parametrize(("kind", "step", "code"), [where_reached(*case) for case in ERRORS], ids=named)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_a_disk_call_that_fails_once_is_answered_clearly_and_the_same_request_succeeds_then(
    server: FaultyServer, kind: type[p.InParts], step: str, code: str, declared: bool
) -> None:
    """H207, T09: the session is as it was, and nobody is told of the server's insides."""
    scenario = begun(kind if declared else p.without_a_size(kind), server, step, code, declared)
    refused: list[str] = []
    hears = Hold.checked

    def listening(self: Hold, answer: Answer) -> Answer:
        if answer.status >= 400:
            assert answer.status == (507 if code == "ENOSPC" else 503)
            assert answer.headers["Retry-After"]
            assert str(server.data).encode() not in answer.body
            refused.append(refusal(answer))
        return hears(self, answer)

    server.break_at(step, act=code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hold, "checked", listening)
        scenario.act()
    assert server.struck, "the step was never reached"
    assert len(refused) == 1
    scenario.check()
    scenario.retry()
    assert scenario.left(server.data) == []
    check_in_order(server.data)
