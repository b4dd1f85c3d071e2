"""Fills a database with made-up films, people, ratings and favourites, to see how the hub does when it is big.

`make populate ARGS="--movies 1000000 --users 1000000 --ratings 5000000 --favorites 5000000"` fills the database at
MOVIEHUB_DATABASE_URL, which must be migrated and hold no films or people; `--replace` removes those that are there,
with all that is theirs. It is one transaction: cut short, it has changed nothing. The same seed makes the same data,
but for the time of day. As in life, few films get most of the ratings, few people give most of them, and what belongs
together does not lie together.
"""

import argparse
import asyncio
import math
import os
import random
import sys
import time
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import asyncpg

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.postgres import migrations
from moviehub.domain.audit import Event
from moviehub.domain.movies import GENRES
from moviehub.domain.text import folded

TABLES = ("users", "movies", "sessions", "favorites", "ratings", "scores", "audit")
EMPTY = "TRUNCATE users, movies, sessions, favorites, ratings, scores RESTART IDENTITY"
FIRST_TMDB_ID = 10_000_000  # above those of the demo catalogue and of today's TMDb
SCORES = (
    "INSERT INTO scores SELECT movie_id, user_id % 8, count(*), sum(rating), count(review) FROM ratings GROUP BY 1, 2"
)
STEP = 7_368_787  # a prime
CHUNK = 1_000
YEARS = timedelta(days=730)
LANGUAGES = ("en", "fr", "ja", "es", "de", "ko", "it", "hi", "pt", "sv")
WORDS = """
    amber anchor ash autumn bell bird bone bridge candle cellar cherry circus city cliff cloud coal copper corner
    crow crown dance dawn desert door dream drum dust echo ember engine evening feather fever field fire flood
    forest fox frost garden ghost glass gold harbour harvest heart hill honey horse hour house hunter ice island
    ivory journey key king lake lantern letter light lion mask meadow mill mirror moon morning mountain night north
    ocean orchard owl paper pearl pilot queen rain raven river road rose salt sand shadow ship silence silver sister
    smoke snow song spring star stone storm stranger summer sun thief thunder tide tower train valley village violin
    voice wall water whale wheel wild wind window winter witness wolf wood year
""".split()  # noqa: SIM905 - a hundred quotes are not easier to read
SYLLABLES = [first + vowel + last for first in "bdfgklmnprstv" for vowel in "aeiou" for last in ("", "n", "r", "s")]
REVIEW = "Somebody wants something, somebody else does not want them to have it, and I could not look away."
UNINDEXED = """
    SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition,
        contype = 'f' AS first
    FROM pg_constraint WHERE conrelid = ANY($1::text[]::regclass[]) AND contype IN ('f', 'u')
    UNION ALL
    SELECT '', indexrelid::regclass::text, pg_get_indexdef(indexrelid), false
    FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[])
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY first DESC, name
"""


class Progress:
    """Tells how far it is: on a terminal in one line that changes, elsewhere in a line for each thing done."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._step, self._begun_at = "", time.monotonic()

    def at(self, step: str, done: int = 0, total: int = 0) -> None:
        """A step was begun, or has come so far."""
        if step != self._step:
            self.end()
            self._step, self._begun_at = step, time.monotonic()
        if self._terminal:
            share = f" {done:,} of {total:,}" if total else " ..."
            print(f"\r\x1b[K{step}{share}", end="", flush=True)

    def end(self) -> None:
        """The last step is done."""
        if self._step:
            start = "\r\x1b[K" if self._terminal else ""
            print(f"{start}{self._step}: {time.monotonic() - self._begun_at:.1f} s", flush=True)
        self._step = ""


def scattered(number: int, among: int) -> int:
    """Another number below `among`, for each its own: neighbours come to lie far apart, and 0 stays."""
    return number * STEP % among


def row(*values: object) -> str:
    """A line of COPY's text form; nothing we make has to be escaped."""
    return "\t".join("\\N" if value is None else str(value) for value in values) + "\n"


def name_of(person: int) -> str:
    """The username of a person, by their id."""
    return f"{WORDS[person % len(WORDS)]}.{WORDS[person // len(WORDS) % len(WORDS)]}.{person}"


def users(count: int, password: str, now: datetime) -> Iterator[str]:
    """Accounts, the oldest first."""
    for number in range(1, count + 1):
        name = name_of(number)
        first, last, _ = name.title().split(".")
        at = now - YEARS * (1 - number / count) - timedelta(days=1)
        mail = f"{name}@example.org"
        yield row(number, name, name, mail, mail, password, first, last, "t", "f", "f", at, at)


def title_of(dice: random.Random) -> str:
    """A title: of a hundred words that are in many, and of names that are in few."""
    one, other = dice.choice(WORDS).title(), dice.choice(WORDS).title()
    name = "".join(dice.choices(SYLLABLES, k=dice.randrange(2, 4))).title()
    forms = (name, f"{one} {name}", f"The {one} of {name}", f"{name} and the {one}", f"{one} {other}", f"{name}: {one}")
    return dice.choice(forms)


def movies(count: int, dice: random.Random, now: datetime) -> Iterator[str]:
    """Films in no order, all of them confirmed within the last twelve hours."""
    genres, posters = [genre.id for genre in GENRES], "/" + "a" * 26
    back = pow(STEP, -1, count)  # undoes `scattered`
    for number in range(1, count + 1):
        rank = (number - 1) * back % count + 1
        title = title_of(dice)
        released = date(1950, 1, 1) + timedelta(days=dice.randrange(27_000)) if dice.random() < 0.98 else None
        yield row(
            *(number, FIRST_TMDB_ID + number, title, folded(title), REVIEW * 2, released),
            *(f"{posters}{number}.jpg", f"{posters}{number}.jpg"),
            round(dice.uniform(0.9, 1.1) * 1000 / rank**0.5, 3),
            round(min(10.0, max(0.0, dice.gauss(6.2, 1.2))), 3),
            int(30_000 / rank**0.6),
            LANGUAGES[int(len(LANGUAGES) * dice.random() ** 3)],
            "{" + ",".join(map(str, dice.sample(genres, dice.randrange(1, 4)))) + "}",
            *[now - YEARS * (1 - number / count) - timedelta(days=1)] * 2,
            now - timedelta(hours=12) * dice.random(),
        )


def sessions(people: int, dice: random.Random, now: datetime) -> Iterator[str]:
    """A session for each person; every third has ended."""
    for number in range(1, people + 1):
        at = now - timedelta(days=29) * dice.random()
        ended = at + timedelta(hours=1) if number % 3 == 0 else None
        yield row(scattered(number, people) + 1, 0, at, at, at + timedelta(days=30), ended, "made up", "192.0.2.1")


def audit(people: int, dice: random.Random, now: datetime) -> Iterator[str]:
    """Two entries for each person."""
    events = [event.value for event in Event]
    for number in range(2 * people):
        person = scattered(number, people) + 1
        at = now - YEARS * (1 - number / (2 * people))
        yield row(at, events[int(len(events) * dice.random() ** 2)], person, person, "192.0.2.1", "made up")


def pairs(total: int, people: int, films: int, dice: random.Random) -> Sequence[int]:
    """Who has something to say about what: `person * films + film`, each pair once, in no order.

    The busiest person has `total / sqrt(people)` films, and a film's share falls with the power 2/3 of its rank.
    """
    found, before, chance = array("q"), 0, dice.random
    for rank in range(people):
        until = round(total * math.sqrt((rank + 1) / people))
        chosen: set[int] = set()
        while len(chosen) < until - before:
            chosen.add(int(films * chance() ** 3))
        before = until
        person = scattered(rank, people) * films
        found.extend(person + scattered(film, films) for film in chosen)
    dice.shuffle(found)
    return found


def dated(of: Sequence[int], films: int, now: datetime) -> Iterator[tuple[int, int, str]]:
    """The ids of person and film of each pair, and when: evenly over two years, no two at once."""
    for start in range(0, len(of), CHUNK):
        second = f"{now - YEARS * (1 - start / len(of)) - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
        for number, pair in enumerate(of[start : start + CHUNK]):
            person, film = divmod(pair, films)
            yield person + 1, film + 1, f"{second}.{number:06}+00"


def favorites(of: Sequence[int], films: int, now: datetime) -> Iterator[str]:
    """Favourites, the oldest first."""
    return (f"{person}\t{film}\t{at}\n" for person, film, at in dated(of, films, now))


def ratings(of: Sequence[int], films: int, dice: random.Random, now: datetime) -> Iterator[str]:
    """Ratings, the oldest first; every fifth has a review."""
    for person, film, at in dated(of, films, now):
        review = REVIEW if dice.random() < 0.2 else "\\N"
        yield f"{person}\t{film}\t{film % 4 + 1 + int(7 * dice.random())}\t{review}\t{at}\t{at}\n"


async def copy(link: Any, table: str, columns: str, lines: Iterable[str], count: int, progress: Progress) -> None:
    """Load the rows of a table."""

    async def source() -> AsyncIterator[bytes]:
        rest, done = iter(lines), 0
        while chunk := "".join(islice(rest, CHUNK)):
            yield chunk.encode()
            done += CHUNK
            progress.at(f"{table}: {count:,}", min(done, count), count)

    progress.at(f"{table}: {count:,}")
    await link.copy_to_table(table, source=source(), columns=columns.split())


async def fill(link: Any, sizes: argparse.Namespace, password: str, progress: Progress) -> None:
    """Load every table, without the indexes and constraints that are quicker made afterwards."""
    now = datetime.now(UTC).replace(microsecond=0)
    people, films = sizes.users, sizes.movies
    dice = random.Random(sizes.seed)
    apart = await link.fetch(UNINDEXED, TABLES)
    for each in apart:
        change = f"ALTER TABLE {each['table']} DROP CONSTRAINT" if each["table"] else "DROP INDEX"
        await link.execute(f"{change} {each['name']}")
    await link.execute("ALTER TABLE ratings DISABLE TRIGGER USER")

    names = "id username username_key email email_key password first_name last_name is_active is_staff is_superuser"
    await copy(link, "users", f"{names} created_at updated_at", users(people, password, now), people, progress)
    facts = "tmdb_id title title_key overview release_date poster_path backdrop_path popularity vote_average vote_count"
    columns = f"id {facts} original_language genre_ids created_at updated_at fetched_at"
    await copy(link, "movies", columns, movies(films, dice, now), films, progress)
    columns = "user_id counter created_at last_used_at expires_at ended_at client address"
    await copy(link, "sessions", columns, sessions(people, dice, now), people, progress)
    columns = "at event user_id actor_id address detail"
    await copy(link, "audit", columns, audit(people, dice, now), 2 * people, progress)
    progress.at("who keeps what")
    kept = favorites(pairs(sizes.favorites, people, films, dice), films, now)
    await copy(link, "favorites", "user_id movie_id created_at", kept, sizes.favorites, progress)
    progress.at("who rates what")
    given = ratings(pairs(sizes.ratings, people, films, dice), films, dice, now)
    columns = "user_id movie_id rating review created_at updated_at"
    await copy(link, "ratings", columns, given, sizes.ratings, progress)

    progress.at("scores")
    await link.execute(SCORES)
    await link.execute("ALTER TABLE ratings ENABLE TRIGGER USER")
    for table, count in (("users", people), ("movies", films)):
        await link.execute("SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", table, count)
    for number, each in enumerate(reversed(apart)):
        progress.at("indexes and constraints", number, len(apart))
        change = f"ALTER TABLE {each['table']} ADD CONSTRAINT {each['name']} " if each["table"] else ""
        await link.execute(change + each["definition"])


async def populate(url: str, sizes: argparse.Namespace) -> None:
    """Fill the database, or end with what is in the way."""
    if await migrations.current(url) != migrations.head():
        raise SystemExit("The database is not migrated: run `moviehub migrate` first.")
    passwords = BcryptPasswords(cost=4)
    # Nothing hashes to one, so with it nobody gets in.
    password = await passwords.hash(sizes.password) if sizes.password else "!"
    await passwords.close()
    # Vacuum trusts no commit that is not on the disk yet.
    link, progress = await asyncpg.connect(url, server_settings={"synchronous_commit": "on"}), Progress()
    try:
        async with link.transaction():
            if sizes.replace:
                await link.execute(EMPTY)
            elif await link.fetchval("SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM movies)"):
                raise SystemExit("There is data in this database already. With --replace it is removed first.")
            await link.execute("SET LOCAL work_mem = '256MB'; SET LOCAL maintenance_work_mem = '256MB'")
            await fill(link, sizes, password, progress)
            progress.at("commit")
        progress.at("vacuum and statistics")
        await link.execute("VACUUM (ANALYZE)")
        progress.end()
    finally:
        await link.close()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--ratings", type=int, default=50_000)
    parser.add_argument("--favorites", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--password", default="", help="of everybody; without it nobody can sign in")
    parser.add_argument("--replace", action="store_true", help="remove the films and people that are there")
    found = parser.parse_args(words)
    if min(found.movies, found.users) < 1 or min(found.ratings, found.favorites) < 0:
        parser.error("there must be a film and a person at least")
    if max(found.ratings, found.favorites) / math.sqrt(found.users) > found.movies / 2:
        parser.error("that is too much for so few films and people: the busiest person would have half of all films")
    if not found.movies % STEP or not found.users % STEP:
        parser.error(f"the films and the people must be no multiple of {STEP}")
    return found


def main() -> None:
    """Read the arguments and fill the database."""
    sizes = arguments()
    url = os.environ.get("MOVIEHUB_DATABASE_URL", "")
    if not url.startswith(("postgresql://", "postgres://")):
        raise SystemExit("MOVIEHUB_DATABASE_URL must name the Postgres to fill: postgresql://...")
    asyncio.run(populate(url, sizes))


if __name__ == "__main__":
    main()
