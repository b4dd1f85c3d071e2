"""The `moviehub` command without servers: what it offers, how it refuses, and what it never tells."""

import os
import re
from collections.abc import Iterator

import click
import msgspec
import pytest
from click.testing import Result

from moviehub import __version__
from moviehub.entrypoints.cli import main
from tests.commands import invoked, shown_on_a_terminal

NOWHERE = {"MOVIEHUB_DATABASE_URL": "postgresql://hub@db.invalid/hub"}
MEMORY = {"MOVIEHUB_DATABASE_URL": "memory://"}
STRONG = "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei"
PRODUCTION = {
    "MOVIEHUB_ENV": "production",
    "MOVIEHUB_SECRET_KEY": STRONG,
    "MOVIEHUB_REDIS_URL": "redis://cache.invalid",
    "MOVIEHUB_TRUSTED_PROXIES": "none",
}


def run(*words: str, told: str = "", **settings: str) -> Result:
    cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("MOVIEHUB_")}
    # Without a database that is named, a private one would be started.
    return invoked(*words, told=told, env={**cleared, **NOWHERE, **settings})


def commands(group: click.Group = main, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group, by the words that lead to it."""
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


COMMANDS = dict(commands())
every_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def test_the_commands_and_their_options_are_those_that_are_promised() -> None:
    promised = {
        ("serve",): {"--host", "--port", "--workers"},
        ("worker",): {"--host", "--metrics-port", "--once"},
        ("migrate",): set(),
        ("doctor",): set(),
        ("openapi",): set(),
        ("user", "create-admin"): {"--username", "--email"},
        ("user", "set-password"): {"--username", "--email"},
        ("cache", "flush"): set(),
    }
    offered = {
        words: {option for parameter in command.params for option in parameter.opts}
        for words, command in COMMANDS.items()
        if not isinstance(command, click.Group)
    }
    assert offered == promised


@every_command
def test_every_command_tells_what_it_does_in_whole_sentences(words: tuple[str, ...]) -> None:
    told = run(*words, "--help")
    assert told.exit_code == 0
    assert (COMMANDS[words].help or "").rstrip().endswith(".")
    assert "..." not in told.output.partition("\n")[2], "nothing is cut off in a list"
    for parameter in COMMANDS[words].params:
        assert isinstance(parameter, click.Option)
        assert (parameter.help or "").endswith(".")
    assert run(*words, "-h").output == told.output


def test_the_list_of_commands_fits_without_being_cut() -> None:
    told = run("--help").output
    assert "..." not in told.partition("\n")[2]
    assert run("--version").output == f"moviehub {__version__}\n"


@every_command
def test_no_secret_is_ever_an_option(words: tuple[str, ...]) -> None:
    names = " ".join(option for parameter in COMMANDS[words].params for option in parameter.opts)
    assert not any(word in names for word in ("pass", "secret", "token", "key", "url"))


def test_an_unknown_command_is_told_with_how_to_get_help() -> None:
    done = run("sevre")
    assert done.exit_code == 2
    assert "No such command 'sevre'" in done.stderr


what_reads_settings = pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["worker", "--once"],
        ["migrate"],
        ["user", "create-admin", "--username", "ripley", "--email", "ripley@example.org"],
        ["user", "set-password", "--username", "ripley"],
        ["cache", "flush"],
    ],
    ids=" ".join,
)


@what_reads_settings
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOVIEHUB_DATABASE_URL", "mysql://hub:marked@db/hub"),
        ("MOVIEHUB_DATABASE_URL", "postgresql://hub:mar[ked@db/hub"),
        ("MOVIEHUB_REDIS_URL", "http://:marked@cache"),
        ("MOVIEHUB_SECRET_KEY", "marked"),
        ("MOVIEHUB_TMDB_URL", "ftp://hub:marked@tmdb"),
        ("MOVIEHUB_ENV", "production"),
    ],
)
def test_a_setting_that_cannot_be_stops_every_command_with_one_line(words: list[str], name: str, value: str) -> None:
    done = run(*words, told="one small orange cat\n", **{name: value})
    assert (done.exit_code, done.stdout) == (78, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: MOVIEHUB_")
    assert "mar" not in line


UNFIT = [
    ("MOVIEHUB_SECRET_KEY", ""),
    ("MOVIEHUB_SECRET_KEY", "marked"),
    ("MOVIEHUB_SECRET_KEY", "marked-changeme-marked-changeme-4711"),
    ("MOVIEHUB_PREVIOUS_SECRET_KEYS", "marked"),
    ("MOVIEHUB_PREVIOUS_SECRET_KEYS", "marked-changeme-marked-changeme-4711"),
    ("MOVIEHUB_DATABASE_URL", "memory://"),
    ("MOVIEHUB_DATABASE_URL", "embedded://"),
    ("MOVIEHUB_REDIS_URL", "memory://"),
    ("MOVIEHUB_TRUSTED_PROXIES", ""),
    ("MOVIEHUB_CORS_ORIGINS", "*"),
]


@what_reads_settings
@pytest.mark.parametrize(("name", "value"), UNFIT)
def test_what_production_refuses_stops_every_command_with_one_line(words: list[str], name: str, value: str) -> None:
    done = run(*words, told="one small orange cat\n", **{**PRODUCTION, name: value})
    assert (done.exit_code, done.stdout) == (78, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: {name}: ")
    assert "marked" not in line


@pytest.mark.parametrize(("name", "value"), UNFIT)
def test_doctor_tells_what_production_refuses(name: str, value: str) -> None:
    done = run("doctor", **{**PRODUCTION, name: value})
    assert (done.exit_code, done.stderr) == (78, "")
    [line] = done.stdout.splitlines()
    assert line.split()[:3] == ["fault", "settings", f"{name}:"]
    assert "marked" not in line


def test_a_token_that_tmdb_cannot_have_given_keeps_the_server_from_starting() -> None:
    done = run("serve", MOVIEHUB_TMDB_TOKEN="mark ed", **MEMORY)
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == "Error: MOVIEHUB_TMDB_TOKEN: the TMDb token holds characters that no token has\n"


def test_a_redis_url_with_an_unknown_parameter_keeps_the_server_from_starting() -> None:
    done = run("serve", **{**MEMORY, "MOVIEHUB_REDIS_URL": "redis://hub.test/0?colour=marked"})
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == "Error: MOVIEHUB_REDIS_URL: the URL has a parameter that the client does not know\n"


@pytest.mark.parametrize("database", ["/3", "?db=3"])
def test_a_cluster_with_a_database_of_a_number_keeps_the_server_from_starting(database: str) -> None:
    done = run("serve", **{**MEMORY, "MOVIEHUB_REDIS_URL": f"redis+cluster://marked@one,other{database}"})
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == "Error: MOVIEHUB_REDIS_URL: a cluster has no database but 0\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["serve", "--workers", "2"], "MOVIEHUB_DATABASE_URL"),
        (["worker"], "MOVIEHUB_DATABASE_URL"),
        (["migrate"], "MOVIEHUB_DATABASE_URL"),
        (["user", "create-admin", "--username", "ripley", "--email", "r@example.org"], "MOVIEHUB_DATABASE_URL"),
        (["user", "set-password", "--email", "r@example.org"], "MOVIEHUB_DATABASE_URL"),
        (["cache", "flush"], "MOVIEHUB_REDIS_URL"),
    ],
    ids=str,
)
def test_what_makes_no_sense_in_memory_is_refused(words: list[str], name: str) -> None:
    done = run(*words, told="one small orange cat\n", **MEMORY)
    assert done.exit_code == 78
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: {name} is memory://")


def test_two_workers_on_a_database_need_a_cache_that_both_can_see() -> None:
    done = run("serve", "--workers", "2")
    assert done.exit_code == 78
    assert done.stderr.startswith("Error: MOVIEHUB_REDIS_URL is memory://")


@pytest.mark.parametrize("value", ["0", "many"])
def test_a_number_of_workers_that_cannot_be_is_a_fault_of_the_setting_or_of_the_words(value: str) -> None:
    done = run("serve", MOVIEHUB_WORKERS=value, **MEMORY)
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == "Error: MOVIEHUB_WORKERS: expected an integer from 1 to 256\n"
    assert run("serve", "--workers", value, **MEMORY).exit_code == 2


def test_the_workers_of_the_environment_are_those_that_serve() -> None:
    done = run("serve", MOVIEHUB_WORKERS="2", **MEMORY)
    assert done.stderr.startswith("Error: MOVIEHUB_DATABASE_URL is memory://, which one process alone can see")


def test_an_account_is_named_in_one_way() -> None:
    for words in ([], ["--username", "ripley", "--email", "ripley@example.org"]):
        done = run("user", "set-password", *words, told="one small orange cat\n")
        assert done.exit_code == 2
        assert "Name the account with --username or with --email." in done.stderr


def test_doctor_finds_a_hub_in_memory_well_and_warns_of_what_may_surprise() -> None:
    done = run("doctor", MOVIEHUB_PAGESIZE="5", **MEMORY)
    assert done.exit_code == 0
    told = [" ".join(line.split()[:2]) for line in done.stdout.splitlines()]
    assert told[:3] == ["ok settings", "warning settings", "warning secret"]
    assert told[3:] == ["ok database", "ok migrations", "ok cache", "ok catalogue"]
    assert "MOVIEHUB_PAGESIZE is no setting of moviehub" in done.stdout


@pytest.mark.parametrize(
    ("secrets", "line"),
    [
        ({"SECRET_KEY": "marked" * 8}, "warning  secret       MOVIEHUB_SECRET_KEY: too easily guessed for production"),
        ({"SECRET_KEY": STRONG}, "ok       secret       strong enough for production"),
        (
            {"SECRET_KEY": STRONG, "PREVIOUS_SECRET_KEYS": "marked" * 8},
            "warning  secret       MOVIEHUB_PREVIOUS_SECRET_KEYS: too easily guessed for production",
        ),
        ({}, "warning  secret       MOVIEHUB_SECRET_KEY is not set"),
    ],
)
def test_doctor_judges_a_secret_as_production_would(secrets: dict[str, str], line: str) -> None:
    done = run("doctor", **MEMORY, **{f"MOVIEHUB_{name}": value for name, value in secrets.items()})
    assert done.exit_code == 0
    [told] = [each for each in done.stdout.splitlines() if each.split()[1] == "secret"]
    assert told.startswith(line)
    assert "marked" not in done.stdout
    assert STRONG not in done.stdout


def test_doctor_tells_a_terminal_that_more_is_to_come_and_leaves_whole_lines() -> None:
    code, told = shown_on_a_terminal("doctor", env={**os.environ, **MEMORY})
    assert code == 0
    assert told.startswith("\r\x1b[Kexamining …\r\x1b[Kok       settings ")
    assert told.endswith("\r\n\r\x1b[Kexamining …\r\x1b[K")
    assert "examining" not in re.sub("examining …\r\x1b\\[K", "", told)


@pytest.mark.parametrize(
    ("name", "value"), [("MOVIEHUB_SECRET_KEY", "marked"), ("MOVIEHUB_TMDB_TOKEN", "mark ed"), ("MOVIEHUB_ENV", "dev")]
)
def test_doctor_tells_a_setting_that_cannot_be(name: str, value: str) -> None:
    done = run("doctor", **{**MEMORY, name: value})
    assert done.exit_code == 78
    [line] = [line for line in done.stdout.splitlines() if not line.startswith(("ok", "warning"))]
    assert line.split()[:3] == ["fault", "settings", f"{name}:"]
    assert "mark" not in line


def test_the_openapi_document_is_json() -> None:
    done = run("openapi", MOVIEHUB_SECRET_KEY="not even looked at")
    assert (done.exit_code, done.stderr) == (0, "")
    document = msgspec.json.decode(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert "/api/movies/popular/" in document["paths"]
