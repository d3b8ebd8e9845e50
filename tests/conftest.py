"""What holds for every test: in CI nothing may be skipped.

A person's machine may lack root or a client; there a skip says so and the run stays green. In CI the same skip would
mean that a promise has silently stopped being checked, so there it turns the whole run red and names the reasons.
"""

from collections.abc import Generator
from typing import Final

import pytest

from tests.support import needs

SKIPPED: Final = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list of what was skipped."""
    config.stash[SKIPPED] = []


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
    """Say which tests were skipped and that this is why the run is red."""
    if needs.in_ci() and config.stash[SKIPPED]:
        terminalreporter.section("skipped in CI, where nothing may be skipped", red=True)
        for line in config.stash[SKIPPED]:
            terminalreporter.line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What the skip said for itself."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
