"""The table of the fault suite: which promises were tried in a run, whether they were kept, and what was measured.

`pytest --reliability -m promise` prints it at the end; `--reliability=docs/reliability.md` also puts it between the two
marks of that file, if all went well.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.promises import PROMISES

BEGIN, END = "<!-- begin: made by the command above -->", "<!-- end -->"
HEAD = "| fault | promise | measured |\n| --- | --- | --- |"


class Measured(Protocol):
    """Says what a test has measured: seconds, of which the longest of all tests of a promise is shown, or any words.

    It stands beside every promise of the test, or the one that is named.
    """

    def __call__(self, what: str, told: float | str, of: pytest.MarkDecorator | None = None) -> None: ...


@dataclass
class Row:
    """What became of one promise."""

    tests: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    measured: dict[str, list[float | str]] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.tests:
            return "not tried here"
        many = "1 test" if len(self.tests) == 1 else f"{len(self.tests)} tests"
        if self.broken:
            return f"**broken** in {len(self.broken)} of {many}"
        return "; ".join([f"kept in {many}", *(f"{what} {_worst(told)}" for what, told in self.measured.items())])


class Table:
    """The rows of a run. With xdist its controller has them, from the reports of all workers."""

    def __init__(self) -> None:
        self.rows = {promise: Row() for promise in PROMISES}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Reports carry what an item has here over process boundaries."""
        item.user_properties += [("promise", list(mark.args)) for mark in item.iter_markers("promise")]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down what a test says of promises."""
        told: list[Any] = [value for name, value in report.user_properties if name == "promise"]
        for fault, promise in told:
            row = self.rows.setdefault((fault, promise), Row())
            row.tests.add(report.nodeid)
            if report.failed:
                row.broken.add(report.nodeid)
            if report.when == "call":
                seen: list[Any] = [value for name, value in report.user_properties if name == "measured"]
                for what, value, of in seen:
                    if of in (None, [fault, promise]):
                        row.measured.setdefault(what, []).append(value)

    def text(self) -> str:
        """The table in Markdown."""
        rows = [f"| {fault} | {promise} | {row} |" for (fault, promise), row in self.rows.items()]
        return "\n".join([HEAD, *rows])


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    told = "print the table of promises at the end, and put it into FILE if all went well"
    parser.addoption("--reliability", metavar="FILE", nargs="?", const="", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a table."""
    config.pluginmanager.register(Table(), "reliability-table")
    name = config.getoption("reliability")
    if name and not (Path(name).is_file() and BEGIN in Path(name).read_text()):
        raise pytest.UsageError(f"--reliability: {name} has no place for the table")


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Show the table, and keep it if that is wanted."""
    name: str | None = config.getoption("reliability")
    if name is None:
        return
    table: Any = config.pluginmanager.getplugin("reliability-table")
    terminalreporter.write_line("")
    terminalreporter.write_line(table.text())
    if name and exitstatus == pytest.ExitCode.OK:
        before, rest = Path(name).read_text().split(BEGIN)
        _, after = rest.split(END)
        Path(name).write_text(f"{before}{BEGIN}\n{table.text()}\n{END}{after}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Says what this test has measured, for the rows of its promises."""

    def measured(what: str, told: float | str, of: pytest.MarkDecorator | None = None) -> None:
        request.node.user_properties.append(("measured", [what, told, of and list(of.args)]))

    return measured


def _worst(told: list[float | str]) -> str:
    """The longest of times; of words, all different ones."""
    times = [each for each in told if not isinstance(each, str)]
    words = dict.fromkeys(each for each in told if isinstance(each, str))
    return ", ".join([*([_seconds(max(times))] if times else []), *words])


def _seconds(time: float) -> str:
    """Two figures are enough of what differs from run to run."""
    if time < 0.001:
        return "under 1 ms"
    return f"{float(f'{time * 1000:.2g}'):g} ms" if time < 1 else f"{float(f'{time:.2g}'):g} s"
