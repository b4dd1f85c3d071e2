"""How long each endpoint takes with ten thousand, a hundred thousand and a million films and people (`make scale`).

It starts a private Postgres, fills a database of each size with scripts/populate.py, serves each with one worker and
asks them in turn over one connection each, so that whatever else the machine does weighs on all alike. Nothing is
answered from the cache of whole answers. `--keep FOLDER` keeps the databases there for another time: a million films
and people with ten million ratings and favourites take five minutes and six gigabytes.
"""

import argparse
import asyncio
import http.client
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
from bench import free_port, passable, process
from populate import name_of, scattered

from moviehub.adapters.embedded import PrivatePostgres
from moviehub.adapters.postgres import migrations
from moviehub.entrypoints.settings import UNLIMITED

PASSWORD = "one small orange cat"
PEOPLE = 40
SUPERUSER = 2
BUSIEST, POPULAR = 1, 1
SIZES = (10_000, 100_000, 1_000_000)
Call = tuple[str, str, object, str]
"""Method, path, body and access token."""


@dataclass
class Hub:
    """A server with so many films and people, and what each call of it took, in seconds."""

    size: int
    link: http.client.HTTPConnection
    dice: random.Random
    people: list[int] = field(default_factory=list)
    access: dict[int, str] = field(default_factory=dict)
    refresh: dict[int, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(time.time_ns()))

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """What the server answers, which must be success."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.link.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {said[:500]!r}")
        return json.loads(said) if said else None

    def renew(self) -> None:
        """Open the connection anew: the server ends one that says nothing for long."""
        self.link.close()
        self.ask("GET", "/health/live")

    def sign_in(self, person: int, name: str) -> str:
        """A new access token."""
        told = self.ask("POST", "/api/auth/token/", {"username": name, "password": PASSWORD})
        self.access[person], self.refresh[person] = told["access"], told["refresh"]
        return self.access[person]

    def someone(self) -> int:
        """One of those who are signed in."""
        return self.dice.choice(self.people)

    def token(self) -> str:
        """The access token of one of them."""
        return self.access[self.someone()]

    def film(self) -> int:
        """A film, a popular one most likely."""
        return scattered(int(self.size * self.dice.random() ** 3), self.size) + 1

    def title(self) -> str:
        """The title of a film."""
        return str(self.ask("GET", f"/api/movies/{self.film()}/")["title"])

    def newcomer(self) -> dict[str, str]:
        """Who has no account yet."""
        name = f"newcomer{next(self.numbers)}"
        return {"username": name, "email": f"{name}@example.org", "password": PASSWORD}

    def opinion(self, path: str, method: str, *, there: bool) -> Call:
        """A call about a film of which the person has, or has not, said something before."""
        token, film = self.token(), self.film()
        self.ask("POST", f"/api/movies/{film}/rate/", {"rating": 5}, token)
        self.ask("POST", f"/api/movies/{film}/add_to_favorites/", None, token)
        if not there:
            self.ask("DELETE", f"/api/movies/{film}/remove_rating/", None, token)
            self.ask("DELETE", f"/api/movies/{film}/remove_from_favorites/", None, token)
        body = {"rating": self.dice.randrange(1, 11)} if path == "rate" else None
        return method, f"/api/movies/{film}/{path}/", body, token

    def leaver(self) -> Call:
        """The call of somebody new with a rating and a favourite who deletes their account."""
        account = self.newcomer()
        self.ask("POST", "/api/auth/users/", account)
        token = self.sign_in(0, account["username"])
        self.ask("POST", f"/api/movies/{self.film()}/rate/", {"rating": 5}, token)
        self.ask("POST", f"/api/movies/{self.film()}/add_to_favorites/", None, token)
        return "DELETE", "/api/auth/users/me/", {"password": PASSWORD}, token

    def renewal(self) -> Call:
        """The call of somebody who wants new tokens."""
        account = self.newcomer()
        self.ask("POST", "/api/auth/users/", account)
        self.sign_in(0, account["username"])
        return "POST", "/api/auth/token/refresh/", {"refresh": self.refresh[0]}, ""


def get(path: str, token: Callable[[Hub], str] = lambda _: "") -> Callable[[Hub], Call]:
    """A read; `{film}` in it is a film and `{number}` a number from 1 to 30."""
    return lambda hub: (
        "GET",
        "/api/" + path.format(film=hub.film(), number=hub.dice.randrange(1, 31)),
        None,
        token(hub),
    )


def staff(hub: Hub) -> str:
    """The token of the superuser."""
    return hub.access[SUPERUSER]


def busiest(hub: Hub) -> str:
    """The token of who has rated the most."""
    return hub.access[BUSIEST]


CALLS: dict[str, Callable[[Hub], Call]] = {
    "list, pages 1 to 30": get("movies/?page={number}"),
    "list, page 1,000": get("movies/?page=1000"),
    "list by title": get("movies/?ordering=title&page={number}"),
    "list of a genre": get("movies/?genre=18&page={number}"),
    "list of two filters": get("movies/?language=ko&release_year=2005&ordering=-vote_average"),
    "list, search for a title": lambda hub: ("GET", f"/api/movies/?search={quote(hub.title())}", None, ""),
    "list, search for a frequent word": get("movies/?search=lantern"),
    "detail": get("movies/{film}/"),
    "detail, signed in": get("movies/{film}/", Hub.token),
    "detail of the most popular film": get(f"movies/{POPULAR}/"),
    "detail by TMDb's id": lambda hub: ("GET", f"/api/movies/tmdb/{10_000_000 + hub.film()}/", None, ""),
    "reviews": get("movies/{film}/reviews/"),
    "reviews of the most popular film": get(f"movies/{POPULAR}/reviews/?page={{number}}"),
    "my_favorites": get("movies/favorites/my_favorites/", Hub.token),
    "my_favorites of the busiest": get("movies/favorites/my_favorites/?page={number}", busiest),
    "my_ratings": get("movies/ratings/my_ratings/", Hub.token),
    "my_ratings of the busiest": get("movies/ratings/my_ratings/?page={number}", busiest),
    "my profile": get("auth/users/me/", Hub.token),
    "my sessions": get("auth/sessions/", Hub.token),
    "accounts (staff)": get("auth/users/?page={number}", staff),
    "accounts, search (staff)": get("auth/users/?search=lantern.{number}", staff),
    "an account (staff)": get("auth/users/{number}/", staff),
    "audit (staff)": get("auth/audit/?page={number}", staff),
    "audit of one person (staff)": get("auth/audit/?user={number}", staff),
    "audit of one kind (staff)": get("auth/audit/?event=deletion&page={number}", staff),
    "add_to_favorites": lambda hub: hub.opinion("add_to_favorites", "POST", there=False),
    "remove_from_favorites": lambda hub: hub.opinion("remove_from_favorites", "DELETE", there=True),
    "rate, the first time": lambda hub: hub.opinion("rate", "POST", there=False),
    "rate again": lambda hub: hub.opinion("rate", "PUT", there=True),
    "revise a rating": lambda hub: hub.opinion("rate", "PATCH", there=True),
    "remove_rating": lambda hub: hub.opinion("remove_rating", "DELETE", there=True),
    "update_profile": lambda hub: ("PATCH", "/api/auth/users/update_profile/", {"bio": "Sat"}, hub.token()),
    "register": lambda hub: ("POST", "/api/auth/users/", hub.newcomer(), ""),
    "token": lambda hub: (
        *("POST", "/api/auth/token/"),
        {"username": name_of(hub.someone()), "password": PASSWORD},
        "",
    ),
    "token/refresh": Hub.renewal,
    "delete an account": Hub.leaver,
}


async def make(server: str, size: int) -> str:
    """The URL of a database of this size, filled unless it is there."""
    name = f"films_{size}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    link = await asyncpg.connect(server)
    if not await link.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
        await link.execute(f"CREATE DATABASE {name}")
    await link.close()
    await asyncio.to_thread(migrations.upgrade, url)
    link = await asyncpg.connect(url)
    if not await link.fetchval("SELECT EXISTS (SELECT FROM movies)"):
        print(f"filling {name}", flush=True)
        sizes = [f"--movies={size}", f"--users={size}", f"--ratings={size * 5}", f"--favorites={size * 5}"]
        command = [sys.executable, str(Path(__file__).with_name("populate.py")), *sizes, f"--password={PASSWORD}"]
        await asyncio.to_thread(subprocess.run, command, check=True, env={**os.environ, "MOVIEHUB_DATABASE_URL": url})
    # None may be stale: the catalogue would be asked again before a detail is shown.
    await link.execute("UPDATE movies SET fetched_at = now() WHERE fetched_at < now() - interval '20 hours'")
    await link.execute("UPDATE users SET is_staff = true, is_superuser = true WHERE id = $1", SUPERUSER)
    await link.close()
    return url


def served(stack: ExitStack, url: str, size: int) -> Hub:
    """A server of this database, with people who are signed in."""
    port = free_port()
    environment = {
        **os.environ,
        "MOVIEHUB_DATABASE_URL": url,
        "MOVIEHUB_TMDB_URL": "demo://",
        "MOVIEHUB_SECRET_KEY": "x" * 48,
        "MOVIEHUB_BCRYPT_COST": "4",  # else signing in is nothing but that
        "MOVIEHUB_PUBLIC_MAX_AGE": "0",
        **{f"MOVIEHUB_{name.upper()}": "900000000/minute" for name in UNLIMITED},
    }
    command = [str(Path(sys.executable).with_name("moviehub")), "serve", "--port", str(port)]
    stack.enter_context(process(command, environment, port, "/health/live"))
    hub = Hub(size, http.client.HTTPConnection("127.0.0.1", port, timeout=30), random.Random(1))
    hub.people = [hub.dice.randrange(3, size + 1) for _ in range(PEOPLE)]
    for person in (BUSIEST, SUPERUSER, *hub.people):
        hub.sign_in(person, name_of(person))
    return hub


def measure(hubs: list[Hub], names: list[str], rounds: int, calls: int) -> None:
    """Ask every hub all of these, in turn; the first round is not counted."""
    for number in range(rounds + 1):
        if sys.stdout.isatty():
            print(f"\r\x1b[Kround {number} of {rounds}", end="", flush=True)
        for hub in hubs:  # access tokens live for five minutes
            hub.renew()
            for person in (BUSIEST, SUPERUSER, *hub.people):
                hub.sign_in(person, name_of(person))
        for name in names:
            for hub in hubs:
                hub.renew()
                for _ in range(calls):
                    method, path, body, token = CALLS[name](hub)
                    if method == "GET":  # asked anew each time, so that no kept page is the answer
                        path += f"{'&' if '?' in path else '?'}asked={next(hub.numbers)}"
                    started = time.perf_counter()
                    hub.ask(method, path, body, token)
                    if number:
                        hub.took.setdefault(name, []).append(1000 * (time.perf_counter() - started))


def report(hubs: list[Hub], names: list[str]) -> None:
    """Print the table."""
    called = {10_000: "10 thousand", 100_000: "100 thousand", 1_000_000: "1 million"}
    sizes = [called.get(hub.size, f"{hub.size:,}") for hub in hubs]
    end = "\r\x1b[K" if sys.stdout.isatty() else ""
    print(f"{end}| p50 and p99 in ms | {' | '.join(sizes)} | growth of p50 |")
    print("| --- |" + " ---: |" * (len(hubs) + 1))
    for name in names:
        middles = [statistics.median(hub.took[name]) for hub in hubs]
        highs = [statistics.quantiles(hub.took[name], n=100)[98] for hub in hubs]
        cells = " | ".join(f"{middle:.2f} {high:.1f}" for middle, high in zip(middles, highs, strict=True))
        print(f"| {name} | {cells} | {middles[-1] / middles[0]:.2f} |")


def main() -> None:
    """Fill, serve, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="films, and as many people")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=20, help="of each endpoint in a round")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only the endpoints that have one of these in their name"
    )
    parser.add_argument("--keep", help="the folder of the databases; without it they are deleted afterwards")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.keep:
            Path(options.keep).mkdir(parents=True, exist_ok=True)
        folder = options.keep or stack.enter_context(tempfile.TemporaryDirectory())
        settings = {"shared_buffers": "512MB", "max_wal_size": "8GB"}
        server = stack.enter_context(PrivatePostgres(passable(folder), settings=settings))
        urls = {size: asyncio.run(make(server, size)) for size in options.sizes}
        hubs = [served(stack, url, size) for size, url in urls.items()]
        names = [name for name in CALLS if any(words in name for words in options.only)]
        measure(hubs, names, options.rounds, options.calls)
        report(hubs, names)


if __name__ == "__main__":
    main()
