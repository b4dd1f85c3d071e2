"""The documents under test: what they name is there, what they show works."""

import re
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from moviehub import __version__
from moviehub.entrypoints.cli import main
from moviehub.entrypoints.http.app import openapi_document
from moviehub.entrypoints.http.openapi import ATTRIBUTION
from moviehub.entrypoints.http.pages import PageOut
from moviehub.entrypoints.http.problems import HTTP_STATUS, STATUS, known_problems
from moviehub.entrypoints.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text()

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, Any]]:
    """What the router serves, by path and method."""
    document = openapi_document()
    found: dict[str, dict[str, Any]] = msgspec.json.decode(document)["paths"]
    return found


def code(text: str) -> str:
    """What a document shows as code, fenced or inline, one piece a line."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", plain)])


def marked(marker: str, language: str) -> str:
    """The one block of the README behind this marker."""
    (block,) = re.findall(rf"^<!-- {marker} -->\n```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(block)


def section(title: str) -> str:
    """One section of the README."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    return str(found)


def commands(group: click.Group, before: str = "") -> Iterator[str]:
    """Every command of ours that does something, by its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


def callers(operation: dict[str, Any]) -> str:
    """Who may call this, in the README's words."""
    match operation.get("security"):
        case [{"bearer": ["staff"]}]:
            return "staff"
        case [{"bearer": []}]:
            return "signed in"
    return "anyone"


def test_the_readme_lists_every_call_of_the_router_and_no_other(operations: dict[str, dict[str, Any]]) -> None:
    rows = re.findall(r"^\| ([A-Z, ]+) \| `(/\S*)` \| .+ \| (.+) \|$", section("Endpoints"), re.MULTILINE)
    told = sorted((method, path, who) for methods, path, who in rows for method in methods.split(", "))

    served = sorted(
        (method.upper(), path, callers(operation))
        for path, item in operations.items()
        for method, operation in item.items()
    )

    assert told == served


def test_every_parameter_that_the_readme_names_for_a_call_is_one(operations: dict[str, dict[str, Any]]) -> None:
    operation = operations["/api/movies/"]["get"]
    known = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
    known -= {"page", "page_size", "cursor"}
    (named,) = re.findall(r"`/api/movies/` \| [^|]+ \|", section("Endpoints"))

    assert set(re.findall(r"`(\w+)`", named)) == known


def test_the_fields_of_a_page_are_those_that_the_readme_tells() -> None:
    (told,) = re.findall(r"and answer (.+?)\. A page past", " ".join(README.split()))

    assert re.findall(r"`(\w+)`", told) == [field.name for field in msgspec.structs.fields(PageOut)]


def test_the_readme_tells_when_each_status_is_given() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| .+ \|$", section("Errors"), re.MULTILINE)
    told = {int(status) for row in rows for status in row.split(", ")}

    assert told <= {*STATUS.values(), *HTTP_STATUS.values()}
    assert told >= {*HTTP_STATUS.values()}


async def test_the_example_for_other_peoples_tests_passes() -> None:
    names: dict[str, Any] = {}
    exec(marked("harness", "python"), names)
    examples = [thing for name, thing in names.items() if name.startswith("test_") and iscoroutinefunction(thing)]

    assert examples
    for example in examples:
        await example()


def test_the_session_needs_no_more_than_a_shell_curl_and_python() -> None:
    session = marked("session", "sh").replace("\\\n", " ")
    words = {
        match[1]
        for match in re.finditer(
            r"(?:^|\||\$\()\s*([a-z]\w+) ", re.sub(r"^#.*$|'[^']*'", "", session, flags=re.M), re.M
        )
    }

    assert words == {"curl", "python3"}
    assert session.count("http://") == 1
    assert session.startswith("BASE=http://127.0.0.1:8000\n")


def test_every_path_of_the_session_is_served(operations: dict[str, dict[str, Any]]) -> None:
    patterns = [re.sub(r"{\w+}", "[^/]+", path) for path in operations]
    paths = re.findall(r'"\$BASE(/[^"?]*)', marked("session", "sh"))

    assert paths
    for path in paths:
        assert any(re.fullmatch(pattern, path) for pattern in patterns), path


@every_document
def test_every_link_leads_to_a_file_that_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if not re.match(r"https?://|mailto:", target):
            assert (document.parent / target.partition("#")[0]).exists(), target


@every_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code(document.read_text())):
        assert target in targets, target


@every_document
def test_every_variable_that_is_named_is_a_setting(document: Path) -> None:
    assert unknown_variables(dict.fromkeys(re.findall(r"MOVIEHUB_[A-Z_]*[A-Z]", document.read_text()), "")) == []


@every_document
def test_every_command_that_is_named_exists(document: Path) -> None:
    known = list(commands(main))

    for words in re.findall(r"^(?:\.venv/bin/)?moviehub ([a-z].*)$", code(document.read_text()), re.MULTILINE):
        assert any(f"{words} ".startswith(f"{command} ") for command in known), words


@every_document
def test_every_file_of_ours_that_is_named_exists(document: Path) -> None:
    places = (ROOT, ROOT / "tests", ROOT / "src" / "moviehub", ROOT / "src" / "moviehub" / "entrypoints")

    for name in re.findall(r"^((?:[a-z.]\w*/)+(?:\w+\.\w+)?)$", code(document.read_text()), re.MULTILINE):
        assert any((place / name).exists() for place in places), name


@every_document
def test_every_problem_that_is_named_is_known(document: Path) -> None:
    assert set(re.findall(r"/problems/([a-z][a-z-]+)", document.read_text())) <= set(known_problems())


def test_the_readme_lists_every_command() -> None:
    assert re.findall(r"^\| `moviehub ([^`]+)` \|", section("Command line"), re.MULTILINE) == list(commands(main))


def test_the_defaults_in_the_readme_are_those_of_the_settings() -> None:
    rows = re.findall(r"^\| `MOVIEHUB_(\w+)` \| (?:`([^`]+)`)?", section("Settings"), re.MULTILINE)

    assert rows
    for name, default in rows:
        assert getattr(Settings(), name.lower()) in (default, ()), name


def test_what_scaling_reckons_with_are_the_defaults() -> None:
    told, settings = " ".join((ROOT / "docs/scaling.md").read_text().split()), Settings()
    everyone = settings.rate_limit_auth_everyone

    assert everyone is not None
    assert f"is {everyone.quota * 60 // everyone.seconds:,} attempts a minute" in told
    assert f"{settings.tmdb_rate} × {settings.cache_ttl} s" in told
    assert f"are {settings.tmdb_rate * settings.cache_ttl:,} pages" in told
    assert f"× {settings.database_pool_size} = 60 of 97" in told


def test_every_step_of_growth_changes_settings_or_says_that_it_changes_none() -> None:
    rows = re.findall(r"^\| (\d) \| .+ \| (.+) \|$", (ROOT / "docs/scaling.md").read_text(), re.MULTILINE)

    assert [number for number, _ in rows] == [str(number) for number in range(1, 10)]
    for _, changed in rows:
        assert changed in ("none", "the same as 3") or "MOVIEHUB_" in changed or "not built" in changed


def test_the_readme_and_the_api_carry_the_sentence_that_tmdb_asks_for() -> None:
    assert ATTRIBUTION == "This product uses the TMDB API but is not endorsed or certified by TMDB."
    assert ATTRIBUTION in README.splitlines()


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(rf"\b{re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text())
