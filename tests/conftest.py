"""What holds for all tests: in CI nothing may be skipped; `--store` says where servers keep content, `--all` means all.

A person's machine may lack root or a client; there a skip says so and the run stays green. In CI the same skip would
mean that a promise has silently stopped being checked, so there it turns the whole run red and names the reasons.

Some suites have a case for each step of each story, of which each takes seconds: a usual run takes one in some of them
(`one_in`), the release check all.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Final

import pytest

from tests.support import needs
from tests.support.driver import DRIVER, ONCE_IS_ENOUGH, OWN_STORE, told
from tests.support.quick import quick_opening
from tests.support.stores import bucket, debian_store, object_store, object_store_of, own_store, roomy_store

__all__ = ["bucket", "debian_store", "object_store", "object_store_of", "own_store", "quick_opening", "roomy_store"]

SKIPPED: Final = pytest.StashKey[list[str]]()
LEFT_OUT: Final = pytest.StashKey[Counter[str]]()
DIRECTORY: Final = "only_with_directory"
ONE_IN: Final = "one_in"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the servers of the suites keep content."""
    parser.addoption(
        "--store", choices=["filesystem", "s3"], default=told(), help="where the servers of the suites keep content"
    )
    parser.addoption("--all", action="store_true", help="every case of the suites of which usually one in some is run")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list of what was skipped; hear where content goes."""
    config.stash[SKIPPED], config.stash[LEFT_OUT] = [], Counter()
    DRIVER.kind = config.getoption("--store")


def pytest_unconfigure() -> None:
    """End the store of the run."""
    DRIVER.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what says, with its reason, that it is about the directory (on S3), or is left to the release check."""
    reasons = {item: (_why_directory(item) if DRIVER.on_s3 else "") for item in items}
    if not config.getoption("--all"):
        reasons |= {item: "left to `make release-check`" for item in _beyond_one_in(items) if not reasons[item]}
    left_out = [item for item in items if reasons[item]]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        config.stash[LEFT_OUT].update(reason for reason in reasons.values() if reason)
        items[:] = [item for item in items if not reasons[item]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take down a test that was skipped; one that is expected to fail is not."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        item.config.stash[SKIPPED].append(f"{item.nodeid}: {_reason(report)}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Take down a file that was skipped as a whole."""
    report = yield
    if report.skipped:
        collector.config.stash[SKIPPED].append(f"{collector.nodeid}: {_reason(report)}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run red when it skipped something in CI."""
    if needs.in_ci() and session.config.stash[SKIPPED] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests were skipped and that this is why the run is red, and which were left out and why."""
    if config.stash[LEFT_OUT]:
        terminalreporter.section("left out of this run")
        for reason, count in config.stash[LEFT_OUT].most_common():
            terminalreporter.line(f"{count:4d}  {reason}")
    if needs.in_ci() and config.stash[SKIPPED]:
        terminalreporter.section("skipped in CI, where nothing may be skipped", red=True)
        for line in config.stash[SKIPPED]:
            terminalreporter.line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What the skip said for itself."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _beyond_one_in(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """All cases of the suites marked so but the first, and then each so-manieth."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker(ONE_IN)
        if mark is not None:
            story = item.nodeid.partition("[")[0]
            if seen[story] % mark.args[0]:
                yield item
            seen[story] += 1


def _why_directory(item: pytest.Item) -> str:
    """Why this test runs only where content lies in a directory; empty: it runs everywhere."""
    mark = item.get_closest_marker(DIRECTORY)
    if mark is None:
        name = item.path.stem
        return OWN_STORE if name.startswith("test_s3_") else ONCE_IS_ENOUGH.get(name, "")
    if not (mark.args and mark.args[0]):
        raise pytest.UsageError(f"{item.nodeid}: {DIRECTORY} needs a reason")
    return str(mark.args[0])
