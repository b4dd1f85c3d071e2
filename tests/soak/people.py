"""People who use the hub and remember what they were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.servers import PASSWORD

LATE = 10.0
"""Seconds for which a write that was answered with 503 may still come to pass."""

MOST_TOLD = 20

Value = tuple[int, str | None] | bool | None


class Broken(Exception):
    """The hub did what it must not."""


@dataclass
class Known:
    """What one thing of a person's must be: what was told last, or what was tried and nobody knows."""

    told: Value
    tried: list[tuple[float, Value]] = field(default_factory=list)

    def possible(self) -> set[Value]:
        return {self.told, *(value for _, value in self.tried)}

    def done(self, value: Value) -> None:
        self.told = value
        self.tried = [each for each in self.tried if time.monotonic() - each[0] < LATE]

    def unknown(self, value: Value) -> None:
        self.tried.append((time.monotonic(), value))


class Log:
    """What was answered, and what was broken."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.broken: list[str] = []
        self.slowest = 0.0
        self.killed_at = float("-inf")
        self.sign_ins = 0

    def note(self, what: str) -> None:
        self.broken.append(what)
        if len(self.broken) <= MOST_TOLD:
            print(f"  BROKEN: {what}", flush=True)


class Person:
    """Somebody who uses the hub and remembers all that they did."""

    def __init__(self, name: str, url: str, log: Log, chance: random.Random) -> None:
        self.name, self.log, self.chance = name, log, chance
        self.http = httpx.AsyncClient(base_url=url, timeout=20.0, trust_env=False)
        self.tokens: dict[str, Any] = {}
        self.ratings: dict[int, Known] = {}
        self.favorites: dict[int, Known] = {}

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The answer, if it is one of those that are promised; None if there was none, or not now."""
        if self.tokens:
            more["headers"] = {"Authorization": f"Bearer {self.tokens['access']}"}
        begun = time.monotonic()
        try:
            answer = await self.http.request(method, path, **more)
        except httpx.TransportError as fault:
            self.log.statuses["none"] += 1
            if begun - self.log.killed_at > LATE:
                self.log.note(f"{method} {path}: {type(fault).__name__} though no worker was killed")
            return None
        self.log.slowest = max(self.log.slowest, time.monotonic() - begun)
        self.log.statuses[str(answer.status_code)] += 1
        if answer.status_code == 503 and "retry-after" in answer.headers:
            return None
        if answer.status_code == 401 and self.tokens and "/token/" not in path:
            self.tokens = {}
            return None
        if answer.status_code >= 500 or answer.status_code in (400, 403, 405, 409, 422):
            self.log.note(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    async def join(self) -> None:
        account = {"username": self.name, "email": f"{self.name}@example.org", "password": PASSWORD}
        answer = await self.http.post("/api/auth/users/", json=account)
        assert answer.status_code == 201, answer.text

    async def sign_in(self) -> None:
        answer = await self.ask("POST", "/api/auth/token/", json={"username": self.name, "password": PASSWORD})
        if answer is not None and answer.status_code == 200:
            self.tokens = answer.json()
            self.log.sign_ins += 1
        elif answer is not None:
            self.log.note(f"sign-in: {answer.status_code}")

    async def live(self, until: float, films: list[int]) -> None:
        """Do this and that until then."""
        acts: list[tuple[int, Callable[[int], Any]]] = [
            (4, self.rate),
            (2, self.unrate),
            (3, self.favor),
            (2, self.unfavor),
            (6, self.look),
            (1, self.renew),
        ]
        while time.monotonic() < until:
            if not self.tokens:
                await self.sign_in()
            else:
                (act,) = self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])
                await act(self.chance.choice(films))
            await asyncio.sleep(self.chance.uniform(0.0, 0.15))

    async def rate(self, film: int) -> None:
        review = self.chance.choice([None, "so good", "so so"])
        value = (self.chance.randint(1, 10), review)
        known = self.ratings.setdefault(film, Known(None))
        body = {"rating": value[0], "review": review}
        await self._write(known, value, "POST", f"/api/movies/{film}/rate/", (200, 201), json=body)

    async def unrate(self, film: int) -> None:
        known = self.ratings.setdefault(film, Known(None))
        await self._write(known, None, "DELETE", f"/api/movies/{film}/remove_rating/", (204,))

    async def favor(self, film: int) -> None:
        known = self.favorites.setdefault(film, Known(None))
        await self._write(known, True, "POST", f"/api/movies/{film}/add_to_favorites/", (200, 201))

    async def unfavor(self, film: int) -> None:
        known = self.favorites.setdefault(film, Known(None))
        await self._write(known, None, "DELETE", f"/api/movies/{film}/remove_from_favorites/", (204,))

    async def _write(
        self, known: Known, value: Value, method: str, path: str, good: tuple[int, ...], **more: Any
    ) -> None:
        signed_in = bool(self.tokens)
        answer = await self.ask(method, path, **more)
        if answer is None:
            if signed_in and self.tokens:  # else it was a 401, and nothing was done
                known.unknown(value)
        elif answer.status_code in good:
            known.done(value)
        elif answer.status_code == 404 and value is None:
            if None not in known.possible():
                self.log.note(f"{self.name} {path}: lost {known.told}")
            known.done(None)
        else:
            self.log.note(f"{method} {path}: {answer.status_code}")

    async def look(self, film: int) -> None:
        page = self.chance.randint(1, 5)
        word = self.chance.choice(["amber", "blue", "ocean", "harbour", "river", "orchard", "tower"])
        paths = (
            f"/api/movies/popular/?page={page}",
            f"/api/movies/trending/?page={page}",
            f"/api/movies/search/?q={word}&page={page}",
            f"/api/movies/{film}/",
            f"/api/movies/?page={page}",
            "/api/movies/favorites/my_favorites/",
        )
        answer = await self.ask("GET", self.chance.choice(paths))
        popular = answer is not None and answer.status_code == 200 and "/movies/popular/" in str(answer.url)
        if answer is not None and popular and not answer.json()["results"]:
            self.log.note("an empty list in place of an answer")

    async def renew(self, _: int) -> None:
        answer = await self.ask("POST", "/api/auth/token/refresh/", json={"refresh": self.tokens["refresh"]})
        if answer is not None:
            self.tokens = answer.json() if answer.status_code == 200 else {}

    async def compare(self) -> None:
        """Whether all is there that they were told, and nothing else."""
        while not self.tokens:
            await self.sign_in()
        rated = {
            each["movie"]["id"]: (each["rating"], each["review"]) for each in await self._all("ratings/my_ratings")
        }
        kept = {each["movie"]["id"]: True for each in await self._all("favorites/my_favorites")}
        for what, known, seen in (("rating", self.ratings, rated), ("favourite", self.favorites, kept)):
            for film in known.keys() | seen.keys():
                value, possible = seen.get(film), known.get(film, Known(None)).possible()
                if value not in possible:
                    self.log.note(f"{self.name}'s {what} of {film} is {value}, and must be one of {possible}")

    async def _all(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        path: str | None = f"/api/movies/{name}/?page_size=100"
        while path:
            answer = await self.ask("GET", path)
            if answer is None or answer.status_code != 200:
                raise Broken(f"{path} does not answer though everything is well")
            found += answer.json()["results"]
            path = answer.json()["next"]
        return found
