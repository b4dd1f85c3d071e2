"""What a statement is called: where a developer finds it."""

import importlib
from pathlib import Path
from types import ModuleType

import moviehub.adapters.postgres
from moviehub.adapters.postgres import audit, lists_sql, movies_sql, users
from moviehub.adapters.postgres.statements import Statement

MODULES = [path.stem for path in Path(moviehub.adapters.postgres.__file__ or "").parent.glob("[!_]*.py")]


def constants_of(module: ModuleType) -> dict[str, Statement]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Statement)}


def test_a_statement_is_called_by_its_module_and_the_constant_that_holds_it() -> None:
    assert movies_sql.DETAIL.name == "movies_sql.DETAIL"
    assert users.SCAN.name == "users.SCAN", "though `newest` makes it"
    assert {statement.name for statement in audit.LIST.values()} == {"audit.LIST"}


def test_a_statement_that_is_made_when_it_is_needed_is_called_by_the_function_that_makes_it() -> None:
    assert lists_sql.list_statement(frozenset({"search"}), "title", True).name == "lists_sql.list_statement"
    assert lists_sql.count_statement(frozenset()).name == "lists_sql.count_statement"
    assert Statement("SELECT 1").name.startswith("test_statement_names.test_a_statement_that_is_made")


def test_every_constant_has_a_name_of_its_own() -> None:
    found = {}
    for module in map(importlib.import_module, (f"moviehub.adapters.postgres.{name}" for name in MODULES)):
        for name, statement in constants_of(module).items():
            assert statement.name.endswith(f".{name}"), "of the module that makes it, wherever else it is imported"
            found[statement.name] = statement
    assert len(found) == len(set(found.values())) > 30
