"""The server dies at every named step of every kind of request: the old state or the new one, and the retry succeeds.

Also here: a disk call that fails once. The answer is a clear 503, the session is kept, and the same request succeeds.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults import scenarios as s
from tests.faults.client import LOST, Client
from tests.support.faulty import FaultyServer, check_in_order, check_log, where_reached

COMMIT_STEPS = (("commit", "before"), ("commit", "after"), ("answer", "before"))
STORE_STEPS = (
    ("spool seal", "after"),
    ("file sync", "before"),
    ("file sync", "after"),
    ("folder made", "after"),
    ("folder sync", "before"),
    ("rename", "before"),
    ("rename", "after"),
    ("name sync", "after"),
    *COMMIT_STEPS,
    ("spool remove", "before"),
)
OPEN_STEPS = (("spool open", "before"), ("spool open", "after"))
WRITE_STEPS = (("disk write", "before"), ("disk write", "after"), ("spool mark", "before"), ("spool mark", "after"))
REST_STEPS = (("spool rest", "before"), ("spool rest", "after"))
REWIND_STEPS = (
    ("spool rewind", "before"),
    ("marks rewind", "before"),
    ("spool rewind", "after"),
    ("disk write", "after"),
)

DEATHS = [
    *((s.OnePut, *step) for step in (*OPEN_STEPS, *WRITE_STEPS, *STORE_STEPS)),
    *((s.SecondChunk, *step) for step in (*WRITE_STEPS, *REST_STEPS)),
    *((s.FirstChunkStays, *step) for step in WRITE_STEPS[:2]),
    *((s.ChunkedBody, *step) for step in WRITE_STEPS[:2]),
    *((s.Closing, *step) for step in STORE_STEPS),
    *((s.OtherRepositoryHasIt, *step) for step in COMMIT_STEPS),
    *((s.OnePost, *step) for step in (("disk write", "after"), ("rename", "after"), *COMMIT_STEPS)),
    *((s.GoingBack, *step) for step in REWIND_STEPS),
    *((s.Opening, *step) for step in COMMIT_STEPS),
    *((s.Cancelling, *step) for step in (*COMMIT_STEPS, ("spool remove", "before"), ("spool remove", "after"))),
    *((s.FirstManifest, *step) for step in COMMIT_STEPS),
    *((s.MovingTag, *step) for step in COMMIT_STEPS),
    *((s.DeletingManifest, *step) for step in COMMIT_STEPS),
    *((s.DeletingTag, *step) for step in COMMIT_STEPS),
    *((s.DeletingBlob, *step) for step in COMMIT_STEPS),
    *((s.Mounting, *step) for step in COMMIT_STEPS),
]
ERRORS = [
    *(
        (s.OnePut, step, code)
        for step in ("reserve", "disk write", "file sync", "rename")
        for code in ("EIO", "ENOSPC")
    ),
    *((s.OnePut, step, "EIO") for step in ("spool mark", "folder made", "folder sync", "name sync", "commit")),
    *((s.SecondChunk, step, "EIO") for step in ("disk write", "spool mark")),
    *((s.Closing, step, "EIO") for step in ("file sync", "rename", "name sync", "commit")),
    (s.OtherRepositoryHasIt, "commit", "EIO"),
    (s.GoingBack, "marks rewind", "EIO"),
    *((kind, "commit", "EIO") for kind in (s.Cancelling, s.FirstManifest, s.MovingTag, s.DeletingManifest, s.Mounting)),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    with FaultyServer(tmp_path_factory.mktemp("steps") / "data") as running:
        yield running


def begun(kind: type[s.Scenario], server: FaultyServer, *about: str) -> s.Scenario:
    name = re.sub("[^a-z0-9]+", "-", "-".join((kind.__name__, *about)).lower())
    scenario = kind(Client(server.port), name)
    scenario.prepare()
    return scenario


def named(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value).replace(" ", "_")


@pytest.mark.parametrize(("kind", "step", "when"), [where_reached(*case) for case in DEATHS], ids=named)
def test_a_death_leaves_the_old_state_or_the_new_one(
    server: FaultyServer, kind: type[s.Scenario], step: str, when: str
) -> None:
    scenario = begun(kind, server, step, when)
    server.break_at(step, when)
    with suppress(*LOST):
        scenario.act()
    server.died()
    server.start()
    scenario.check()
    check_in_order(server.data)
    scenario.retry()
    check_in_order(server.data)


@pytest.mark.parametrize(("kind", "step", "code"), [where_reached(*case) for case in ERRORS], ids=named)
def test_a_call_that_fails_once_is_answered_clearly_and_the_retry_succeeds(
    server: FaultyServer, kind: type[s.Scenario], step: str, code: str
) -> None:
    scenario = begun(kind, server, step, code)
    asked: list[int] = []
    said_before = len(server.log())
    request = Client.request

    def recording(self: Client, *args: object, **kwargs: object) -> object:
        answer = request(self, *args, **kwargs)  # type: ignore[arg-type]  # passed on as it came
        asked.append(answer.status)
        if answer.status >= 400:
            assert answer.headers["Retry-After"]
            assert answer.code == "UNAVAILABLE"
            assert str(server.data).encode() not in answer.body
        return answer

    server.break_at(step, act=code)
    with pytest.MonkeyPatch.context() as patch, suppress(AssertionError):
        patch.setattr(Client, "request", recording)
        scenario.act()
    assert server.struck, "the step was never reached"
    assert asked == [507 if code == "ENOSPC" else 503]
    scenario.check()
    scenario.retry()
    check_in_order(server.data)
    check_log(server.log()[said_before:])


def test_a_session_that_could_not_be_read_again_after_a_restart_can_be_read_later(server: FaultyServer) -> None:
    """A disk that fails while the prefix is proven costs a moment, not the session."""
    scenario = begun(s.SecondChunk, server, "reading again")
    server.kill()
    server.break_at("marks read", act="EIO")
    server.start()
    Client(server.port).request("GET", scenario.location).expect(204, 503)
    scenario.check()
    assert server.struck
    scenario.retry()
