"""How Postgres would run every statement of ours on tables that have grown: by an index, never through all of them."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import moviehub.adapters.postgres
from moviehub.adapters.postgres.lists_sql import closest_statement, count_statement, filter_values, list_statement
from moviehub.adapters.postgres.movies_sql import remember_values
from moviehub.adapters.postgres.statements import Statement
from moviehub.domain.movies import ORDERINGS, MovieFacts, MovieFilter
from tests.integration.test_migrations import on
from tests.servers import ROOT

GROWING = {"users", "sessions", "movies", "favorites", "ratings", "scores", "audit"}
GATHER = {"Sort", "Aggregate", "Hash", "Materialize", "WindowAgg", "Unique", "BitmapAnd", "BitmapOr"}
"""What reads all of its input before it gives anything, or as good as."""
MOST_SORTED = 150
"""Rows that may be sorted or counted for a page, unless that ends at 10,000: the busiest have more to sort."""
MOST_SORTED_OF_INDEX = 250
"""The same for films of which an index tells all that is asked. To walk their order until a page is full takes as long
with so many: about the root of all that an index of the order has, for ten of them, thus few of many."""

MOVIES, PEOPLE, OPINIONS = 5_000, 10_000, 20_000
BUSIEST, POPULAR = 1, 1
"""The person and the film with the most ratings and favourites; the person has 200 of each."""

NOW = datetime.now(UTC)
A_DAY_AGO, IN_A_DAY = NOW - timedelta(days=1), NOW + timedelta(days=1)
FIRST, DEEP = {"size": 10, "skipped": 0}, {"size": 10, "skipped": 90}
PAGES = (FIRST, DEEP)
HUNDRED = list(range(1, 4_900, 49))

ACCOUNT = {
    **dict.fromkeys(("username", "username_key", "email", "email_key", "password", "first_name", "last_name"), "ada"),
    "bio": None,
    "profile_picture": None,
    "is_active": True,
    "is_staff": False,
    "is_superuser": False,
    "created_at": NOW,
    "updated_at": NOW,
}
SESSION = {
    "user_id": BUSIEST,
    "counter": 0,
    "created_at": NOW,
    "last_used_at": NOW,
    "expires_at": IN_A_DAY,
    "ended_at": None,
    "client": "",
    "address": "",
}
ENTRY = {"at": NOW, "event": "sign_in", "user_id": BUSIEST, "actor_id": None, "address": "", "detail": ""}
PAIR = {"user_id": BUSIEST, "movie_id": POPULAR}
FACTS = [MovieFacts(tmdb_id=10_000_000 + number, title="New", genre_ids=(18,)) for number in range(4_990, 5_010)]
FILTERS: tuple[dict[str, Any], ...] = (
    {"search": "silver horse"},
    {"search": "the horse of kanbel"},
    {"search": "the"},
    {"genres": (18,)},
    {"languages": ("en",)},
    {"languages": ("sv",)},
    {"release_year": 1990},
    {"min_rating": 5.0},
    {"min_rating": 9.5},
    {"max_rating": 2.0},
    {"min_popularity": 900.0},
    {"except_id": 7},
)


PLACES: dict[str, tuple[object, ...]] = {
    "popularity": (500.0, 0.001),
    "vote_average": (5.0,),
    "release_date": (date(1990, 1, 1),),
    "title": ("m",),
    "created_at": (A_DAY_AGO, IN_A_DAY),
}
"""Where each order is read on from: in the midst of it, and near an end."""
SCROLLED = [{**FIRST, "after_key": at, "after_id": POPULAR} for at in (A_DAY_AGO, IN_A_DAY)]


Asked = tuple[Statement, Mapping[str, Any]]


def filters() -> Iterator[MovieFilter]:
    """Each filter, wide and narrow, each two of them, and none."""
    yield MovieFilter()
    for wanted in FILTERS:
        yield MovieFilter(**wanted)
    for one, other in combinations(FILTERS, 2):
        if one.keys() != other.keys():
            yield MovieFilter(**one, **other)


def lists() -> Iterator[Asked]:
    for wanted in filters():
        for name in ORDERINGS:
            for ordering in (name, f"-{name}"):
                values = filter_values(wanted)
                each = MovieFilter(ordering=ordering)
                order = frozenset(values), each.column, each.descending
                yield list_statement(*order), {**values, **FIRST}
                for key in PLACES[name]:
                    place = {"after_key": key, "after_id": POPULAR}
                    for page in (FIRST,) if values else PAGES:  # numbered pages too may be read from there on
                        yield list_statement(*order, "behind"), {**values, **page, **place}
                if name == "release_date":
                    yield list_statement(*order, "keyless"), {**values, **FIRST, "after_id": POPULAR}
                if not values:
                    yield from lists_of_many(*order)


def lists_of_many(narrowed_by: frozenset[str], column: str, descending: bool) -> Iterator[Asked]:
    order = narrowed_by, column, descending
    yield list_statement(*order, many=True), together(*PAGES)
    places = [{**page, "after_key": PLACES[column][-1], "after_id": POPULAR} for page in PAGES]
    yield list_statement(*order, "behind", many=True), together(*places)
    if column == "release_date":
        yield list_statement(*order, "keyless", many=True), together({**FIRST, "after_id": POPULAR})


def together(*askings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of several askings the values of a statement that answers all of them."""
    return {name: [asking[name] for asking in askings] for name in askings[0]}


def counts() -> Iterator[Asked]:
    for wanted in filters():
        values = filter_values(wanted)
        yield count_statement(frozenset(values)), values


def closest() -> Iterator[Asked]:
    for wanted in (MovieFilter(), MovieFilter(genres=(18,)), MovieFilter(min_rating=5.0)):
        values = filter_values(wanted)
        for sought in ("silver horse", "silbr"):
            words = {"sought": sought, "words": sought.split(), "longest": max(sought.split(), key=len)}
            yield closest_statement(frozenset(values)), {**values, **words, **FIRST}


MADE: dict[str, Callable[[], Iterable[Asked]]] = {
    "lists_sql.list_statement": lists,
    "lists_sql.count_statement": counts,
    "lists_sql.closest_statement": closest,
}
"""Statements that a function makes, each with values."""

CONSTANTS: dict[str, Iterable[Mapping[str, Any]]] = {
    "users.ADD": [ACCOUNT],
    "users.TAKEN": [{"username_key": "ada", "email_key": "ada@example.org"}],
    "users.GET": [{"user_id": BUSIEST}],
    "users.GET_LOCKED": [{"user_id": BUSIEST}],
    "users.FIND_BY_LOGIN": [{"name": "ada"}],
    "users.LIST": PAGES,
    "users.SEARCH": [
        {"search": f"%{text}%", "sought": text, **page}
        for text in ("silver.horse", "example", "nobody")
        for page in PAGES
    ],
    "users.SCAN": [{"sought": text, **page} for text in ("a", "zq") for page in PAGES],
    "users.SAVE": [{"user_id": BUSIEST, **ACCOUNT}],
    "users.REMOVE": [{"user_id": BUSIEST}],
    "sessions.ADD": [SESSION],
    "sessions.FIND": [{"session_ids": [1]}, {"session_ids": HUNDRED[:32]}],
    "sessions.ROTATE": [{"session_id": 1, "from_counter": 0, "at": NOW, "until": IN_A_DAY}],
    "sessions.LIST": [{"user_id": BUSIEST, "at": NOW, **page} for page in PAGES],
    "sessions.END": [{"session_id": 1, "at": NOW}],
    "sessions.END_OF_USER": [{"session_id": 1, "at": NOW, "user_id": BUSIEST}],
    "sessions.END_ALL": [{"user_id": BUSIEST, "at": NOW, "but": 0}],
    "sessions.END_EXPIRED": [{"at": A_DAY_AGO, "most": 100}],
    "films.READ": [{"movie_ids": [POPULAR]}, {"movie_ids": HUNDRED}],
    "movies_sql.GET": [{"movie_id": POPULAR}],
    "movies_sql.FIND_BY_TMDB": [{"tmdb_id": 10_000_001}],
    "movies_sql.DROP": [{"movie_id": POPULAR, "at": NOW}],
    "movies_sql.OUTDATED": [{"fetched_before": A_DAY_AGO, "most": 20}, {"fetched_before": NOW, "most": 20}],
    "movies_sql.OUTDATED_OF": [{"fetched_before": NOW, "most": 20, "tmdb_ids": [10_000_000 + n for n in HUNDRED]}],
    "movies_sql.DETAIL": [{"movie_ids": [POPULAR]}, {"movie_ids": HUNDRED[:32]}],
    "movies_sql.MARKS": [
        {"user_ids": [BUSIEST], "movie_ids": [POPULAR]},
        {"user_ids": [BUSIEST] * 20, "movie_ids": HUNDRED[:20]},  # of more, so small a table is read whole
        {"user_ids": HUNDRED[:20], "movie_ids": HUNDRED[:20]},
    ],
    "movies_sql.REMEMBER": [remember_values(FACTS, NOW)],
    "movies_sql.READ_REMEMBERED": [{"tmdb_ids": [10_000_001, 10_000_002]}],
    "favorites.ADD": [{**PAIR, "created_at": NOW}],
    "favorites.REMOVE": [PAIR],
    "favorites.LIST": [{"user_id": user, **page} for user in (BUSIEST, 2) for page in PAGES],
    "favorites.LIST_AFTER": [{"user_id": user, **place} for user in (BUSIEST, 2) for place in SCROLLED],
    "ratings.SAVE": [
        {
            "user_ids": [BUSIEST] * len(films),
            "movie_ids": films,
            "scores": [5] * len(films),
            "reviews": [None] * len(films),
            "instants": [NOW] * len(films),
        }
        for films in ([POPULAR], HUNDRED[:20])
    ],
    "ratings.GET": [PAIR],
    "ratings.GET_LOCKED": [PAIR],
    "ratings.REMOVE": [PAIR],
    "ratings.LIST": [{"user_id": user, **page} for user in (BUSIEST, 2) for page in PAGES],
    "ratings.LIST_REVIEWS": [{"movie_id": film, **page} for film in (POPULAR, 2) for page in PAGES],
    "ratings.LIST_AFTER": [{"user_id": user, **place} for user in (BUSIEST, 2) for place in SCROLLED],
    "ratings.LIST_REVIEWS_AFTER": [{"movie_id": film, **place} for film in (POPULAR, 2) for place in SCROLLED],
    "audit.ADD": [ENTRY],
    "audit.LIST_COUNTED": [
        {"user_id": BUSIEST, "event": event, "before": 2**63 - 1, **page}
        for event in ("sign_in", "cache_flush")
        for page in PAGES
    ],
    "audit.LIST": [
        {"user_id": BUSIEST, "event": event, "before": 2**63 - 1, **page}
        for event in ("sign_in", "cache_flush")
        for page in PAGES
    ],
}
"""Values for each statement that a constant holds: usual ones, and the worst that there are."""

OF_MANY = {
    "favorites.LIST": "favorites.LISTS",
    "favorites.LIST_AFTER": "favorites.LISTS_AFTER",
    "ratings.LIST": "ratings.LISTS",
    "ratings.LIST_AFTER": "ratings.LISTS_AFTER",
    "ratings.LIST_REVIEWS": "ratings.LISTS_OF_REVIEWS",
    "ratings.LIST_REVIEWS_AFTER": "ratings.LISTS_OF_REVIEWS_AFTER",
}
"""Statements for one, and for many who ask the same at once."""

CONSTANTS.update({many: [together(*CONSTANTS[one])] for one, many in OF_MANY.items()})

OF_A_PERSON = {"favorites.LIST", "ratings.LIST", "favorites.LISTS", "ratings.LISTS"}
"""What counts all that one person has said: nobody else makes it more."""

OF_NO_TABLE = {
    *("storage.PING", "storage.IS_MIGRATED", "storage.REVISION", "lists_sql.COMPARES_TITLES"),
    *("diagnosis.FACTS", "replica.WRITTEN", "replica.SHOWN"),
}
"""Statements that ask the server about itself."""


def populate(url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    sizes = [f"--movies={MOVIES}", f"--users={PEOPLE}", f"--ratings={OPINIONS}", f"--favorites={OPINIONS}"]
    return subprocess.run(
        [sys.executable, "scripts/populate.py", *sizes, *words],
        cwd=ROOT,
        env={**os.environ, "MOVIEHUB_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def grown(database: str) -> str:
    """The URL of a database with so many films and people that its planner takes an index of its own accord."""
    done = populate(database)
    assert done.returncode == 0, done.stdout + done.stderr
    return database


@pytest.fixture
async def link(grown: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(grown)
    yield connection
    await connection.close()


def known() -> dict[str, list[Statement]]:
    """Every statement that a constant holds, by its name."""
    found: dict[str, list[Statement]] = {}
    for path in Path(moviehub.adapters.postgres.__file__ or "").parent.glob("[!_]*.py"):
        for value in vars(importlib.import_module(f"moviehub.adapters.postgres.{path.stem}")).values():
            for each in value.values() if isinstance(value, dict) else [value]:
                if isinstance(each, Statement) and each not in found.setdefault(each.name, []):
                    found[each.name].append(each)
    return found


def makers() -> set[str]:
    """Every function that makes statements and remembers them."""
    module = importlib.import_module("moviehub.adapters.postgres.lists_sql")
    remembering = {name for name, value in vars(module).items() if isinstance(value, type(list_statement))}
    return {f"lists_sql.{name}" for name in remembering}


def faults(node: Mapping[str, Any], wanted: int = 0, *, cut: bool = False) -> list[str]:
    """What would take the longer the more there is.

    What is `cut` stops when enough was found, so it may be read in any way: counts stop at 10,000 matches. Where
    `wanted` rows are to come out of a sort, so many may be sorted.
    """
    kind, table, found = node["Node Type"], node.get("Relation Name"), []
    below: list[Mapping[str, Any]] = node.get("Plans", [])
    if kind == "Seq Scan" and table in GROWING and not cut:
        found.append(f"{table} is read from end to end")
    if kind.startswith("Index") and "Index Cond" not in node and not cut:
        found.append(f"all of {node['Index Name']} is read")
    if kind in ("Sort", "Aggregate"):
        (source,) = [each for each in below if each["Parent Relationship"] == "Outer"]
        alone = source["Node Type"] == "Index Only Scan" and source.get("Relation Name") == "movies"
        most = max(MOST_SORTED_OF_INDEX if alone else MOST_SORTED, wanted)
        if source["Plan Rows"] > most and source["Node Type"] not in ("Limit", "CTE Scan"):
            found.append(f"{kind} of {source['Plan Rows']} rows of {source.get('Relation Name', source['Node Type'])}")
    for each in below:
        streams = each["Parent Relationship"] in ("Outer", "Member") and kind not in GATHER
        found += faults(each, node["Plan Rows"] if kind == "Limit" else 0, cut=kind == "Limit" or (cut and streams))
    return found


async def plan(link: asyncpg.Connection, statement: Statement, values: Mapping[str, Any]) -> Mapping[str, Any]:
    (row,) = await link.fetch(f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(values))
    found: Mapping[str, Any] = json.loads(row[0])[0]["Plan"]
    return found


def test_each_statement_is_tried_here() -> None:
    assert known().keys() == CONSTANTS.keys() | OF_NO_TABLE
    assert makers() == MADE.keys()


async def test_no_statement_takes_the_longer_the_more_there_is(link: asyncpg.Connection) -> None:
    statements = known()
    tried = [(each, values) for name, many in CONSTANTS.items() for values in many for each in statements[name]]
    tried += [pair for made in MADE.values() for pair in made()]
    bad = []
    for statement, values in tried:
        found = faults(await plan(link, statement, values))
        if statement.name in OF_A_PERSON:
            found = [each for each in found if not each.startswith("Aggregate")]
        if found:
            bad.append((statement.name, values, found))
    assert not bad, "\n".join(map(str, bad[:20]))


def entered(node: Mapping[str, Any]) -> Iterator[str]:
    """Where each index is entered."""
    yield node.get("Index Cond", "")
    for each in node.get("Plans", []):
        yield from entered(each)


def used(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How each index is used."""
    if "Index Name" in node:
        yield node["Node Type"], node["Index Name"]
    for each in node.get("Plans", []):
        yield from used(each)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (MovieFilter(genres=(18,)), "ix_movies_popularity_id_covering"),
        (MovieFilter(search="horse"), "ix_movies_popularity_id_covering"),
        (MovieFilter(languages=("en",), min_rating=5.0), "ix_movies_popularity_id_covering"),
        (
            MovieFilter(languages=("sv",), release_year=1990, ordering="-vote_average"),
            "ix_movies_original_language_release_date",
        ),
    ],
)
async def test_what_narrows_a_list_is_told_by_an_index_and_only_the_films_of_the_page_are_read(
    link: asyncpg.Connection, wanted: MovieFilter, index: str
) -> None:
    values = filter_values(wanted)
    statement = list_statement(frozenset(values), wanted.column, wanted.descending)
    found = dict(used(await plan(link, statement, {**values, **FIRST})))
    assert found == {"Index Only Scan": index, "Index Scan": "pk_movies"}


async def test_a_cursor_is_where_an_index_is_entered(link: asyncpg.Connection) -> None:
    """Else all that comes before it would be read and thrown away."""
    tried = [(one, values) for one, values in lists() if values.keys() <= {"size", "skipped", "after_key", "after_id"}]
    tried = [(one, values) for one, values in tried if "after_id" in values and values["skipped"] in (0, [0], [0, 90])]
    for name in CONSTANTS:
        if name.endswith("_AFTER"):
            tried += [(one, values) for one in known()[name] for values in CONSTANTS[name]]
    assert len(tried) == 14 + 2 + 12 + 12 + 3
    for statement, values in tried:
        there = [each for each in entered(await plan(link, statement, values)) if "ROW(" in each or "IS NULL" in each]
        assert len(there) == 1, (statement.sql, values)
        assert "id" in there[0]


async def test_a_list_without_filters_is_planned_once_and_not_for_each_page(link: asyncpg.Connection) -> None:
    tried = {one: values for one, values in lists() if values.keys() <= {"size", "skipped", "after_key", "after_id"}}
    assert len(tried) == 2 * (10 + 10 + 2)
    for statement, values in tried.items():
        prepared = await link.prepare(statement.sql, name=f"tried_{id(statement)}")
        for _ in range(8):  # of which the first five are planned anew whatever they are
            await prepared.fetch(*statement.arguments(values))
        seen = "SELECT custom_plans FROM pg_prepared_statements WHERE name = $1"
        assert await link.fetchval(seen, prepared.get_name()) == 5, statement.sql


async def test_what_takes_lists_is_planned_once_and_not_for_each_length(link: asyncpg.Connection) -> None:
    asked = {name: next(iter(many)) for name, many in CONSTANTS.items() if name != "movies_sql.REMEMBER"}
    lists = {name for name, values in asked.items() if any(isinstance(value, list) for value in values.values())}
    tried = [(one, asked[name]) for name in lists for one in known()[name]]
    assert len(tried) > 12
    for statement, values in tried:
        prepared = await link.prepare(statement.sql, name=f"tried_{id(statement)}")
        undone = link.transaction()
        await undone.start()
        for _ in range(8):
            await prepared.fetch(*statement.arguments(values))
        await undone.rollback()
        seen = "SELECT custom_plans FROM pg_prepared_statements WHERE name = $1"
        assert await link.fetchval(seen, prepared.get_name()) == 5, statement.name


async def test_what_refers_to_another_table_is_found_by_an_index(link: asyncpg.Connection) -> None:
    """Else an account or a film could not be removed without reading all that might be theirs."""
    bare = await link.fetch(
        """
        SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indpred IS NULL
        )
        """
    )
    assert bare == []


async def test_what_was_made_up_is_complete_and_the_scores_are_those_of_a_recount(link: asyncpg.Connection) -> None:
    sizes = await link.fetchrow(
        "SELECT (SELECT count(*) FROM movies), (SELECT count(*) FROM users), (SELECT count(*) FROM ratings),"
        " (SELECT count(*) FROM favorites), (SELECT count(*) FROM ratings WHERE user_id = $1)",
        BUSIEST,
    )
    assert sizes is not None
    assert tuple(sizes) == (MOVIES, PEOPLE, OPINIONS, OPINIONS, 200)
    recounted = "SELECT movie_id, count(*), sum(rating), count(review) FROM ratings GROUP BY 1"
    kept = "SELECT movie_id, sum(ratings_count), sum(ratings_sum), sum(reviews_count) FROM scores GROUP BY 1"
    assert await link.fetch(f"({kept} EXCEPT {recounted}) UNION ALL ({recounted} EXCEPT {kept})") == []
    assert await link.fetchval("SELECT movie_id FROM ratings GROUP BY 1 ORDER BY count(*) DESC LIMIT 1") == POPULAR


def test_what_is_there_is_not_overwritten(grown: str) -> None:
    done = populate(grown)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is data in this database already. With --replace it is removed first.\n"


@pytest.mark.slow
def test_with_replace_all_is_made_anew_and_from_one_seed_the_same(migrated_url: str) -> None:
    tiny = ("--movies=100", "--users=50", "--ratings=100", "--favorites=100")

    def made(*words: str) -> object:
        done = populate(migrated_url, *tiny, *words)
        assert done.returncode == 0, done.stderr
        assert "\r" not in done.stdout, "where no terminal is, each step has a line"
        assert done.stdout.startswith("users: 50: ")
        return on(migrated_url, lambda link: link.fetch("SELECT id, title, genre_ids FROM movies ORDER BY id"))

    first = made()
    assert made("--replace", "--seed=2") != first
    assert made("--replace") == first
