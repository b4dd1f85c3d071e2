"""The table of promises: its rows are those that tests prove, and it tells what they measured."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import promises
from tests.reliability import BEGIN, END, HEAD, Table

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DOCUMENT = (ROOT / "docs" / "reliability.md").read_text()


def kept() -> list[list[str]]:
    """The rows in the document."""
    _, _, rest = DOCUMENT.partition(f"{BEGIN}\n{HEAD}\n")
    rows, _, _ = rest.partition(f"\n{END}")
    return [row.strip("| ").split(" | ") for row in rows.splitlines()]


def proved() -> Iterator[str]:
    """The names of the promises that tests are marked with."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            marks: list[ast.expr] = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = node.decorator_list
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                marks = [node.value]
            for mark in marks:
                if isinstance(mark, ast.Attribute) and ast.unparse(mark.value) == "promises":
                    yield mark.attr


def test_the_table_has_the_promises_of_the_tests_and_no_others() -> None:
    assert [(fault, promise) for fault, promise, _ in kept()] == promises.PROMISES


def test_every_promise_is_proved_by_a_test() -> None:
    known = {name: mark for name, mark in vars(promises).items() if isinstance(mark, pytest.MarkDecorator)}
    assert len(known) == len(promises.PROMISES)
    assert set(proved()) == known.keys()


def test_what_is_kept_was_measured_in_a_run_that_went_well() -> None:
    for fault, promise, told in kept():
        assert told.startswith(("kept in ", "not tried here")), (fault, promise)
        assert told != "not tried here" or "nginx" in promise


def report(test: str, *told: tuple[str, Any], outcome: str = "passed", when: str = "call") -> Any:
    """What pytest says of a test, as far as the table looks at it."""
    return SimpleNamespace(nodeid=test, user_properties=list(told), failed=outcome == "failed", when=when)


def test_tests_of_one_promise_are_one_row_with_the_longest_time_and_all_words() -> None:
    table = Table()
    mark = ("promise", list(promises.PROMISES[0]))
    for test, seconds, words in (("one", 0.0123, "3 of 3"), ("two", 1.234, "4 of 4"), ("three", 0.0001, "3 of 3")):
        told = (("measured", ["longest", seconds, None]), ("measured", ["reads", words, None]))
        table.pytest_runtest_logreport(report(test, mark, *told))
        table.pytest_runtest_logreport(report(test, mark, *told, when="teardown"))
    first, second = table.text().splitlines()[2:4]
    assert first.endswith("| kept in 3 tests; longest 1.2 s; reads 3 of 3, 4 of 4 |")
    assert second.endswith("| not tried here |")


def test_what_was_measured_for_one_promise_is_not_told_of_another() -> None:
    table = Table()
    one, other = map(list, promises.PROMISES[:2])
    told = (("measured", ["back after", 0.0441, other]), ("measured", ["answer", 0.0002, one]))
    table.pytest_runtest_logreport(report("both", ("promise", one), ("promise", other), *told))
    first, second = table.text().splitlines()[2:4]
    assert first.endswith("| kept in 1 test; answer under 1 ms |")
    assert second.endswith("| kept in 1 test; back after 44 ms |")


def test_a_promise_that_was_broken_says_so() -> None:
    table = Table()
    mark = ("promise", list(promises.PROMISES[0]))
    table.pytest_runtest_logreport(report("one", mark))
    table.pytest_runtest_logreport(report("two", mark, outcome="failed", when="setup"))
    assert table.text().splitlines()[2].endswith("| **broken** in 1 of 2 tests |")
