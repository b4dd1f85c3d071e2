"""Secrets that can be told apart are sent through everything, rightly and wrongly, and looked for afterwards."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests import promises
from tests.crowd import rows
from tests.servers import Server, free_port, moviehub, serving

SECRET_KEY = "4Xq9-marked-signing-key-Zt7wLm2VbR8sYc1"
OLD_SECRET_KEY = "8Rw3-marked-previous-key-Kp5nHj6DfG0aQe"
TMDB_KEY = "feedfacecafebeefdeadbeef01234567"
PASSWORD = "marked pass phrase one"
NEW_PASSWORD = "marked pass phrase two"
MISTYPED = "marked-and-typed-where-the-name-belongs"
ADDRESS = "marked.person@example.org"
OTHER_ADDRESS = "marked.other@example.org"
SEARCH = "marked-and-nobody-elses-business"


@pytest.fixture
def settings(migrated_url: str, valkey_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": migrated_url,
        "REDIS_URL": valkey_url,
        "SECRET_KEY": SECRET_KEY,
        "PREVIOUS_SECRET_KEYS": OLD_SECRET_KEY,
        "TMDB_URL": f"http://127.0.0.1:{free_port()}/3",  # where nobody is: what failed is told, without the key
        "TMDB_TOKEN": TMDB_KEY,
        "LOG_LEVEL": "debug",
        "ACCESS_LOG": "all",
        "SLOW_QUERY_MS": "1",
        "RATE_LIMIT_AUTH": "100/minute",
        "RATE_LIMIT_ANONYMOUS": "1000/minute",
    }


@pytest.fixture
def server(settings: dict[str, str]) -> Iterator[Server]:
    with serving(**settings) as server:
        yield server


class Told:
    """All that a client was told, but for what it asked for: its tokens, and its own address."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tokens: list[str] = []
        self.texts: list[str] = []

    def __call__(self, method: str, path: str, body: Any = None, token: str = "", **more: Any) -> Any:
        headers = {**more.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        answer = self.server.http.request(method, path, json=body, headers=headers, **more)
        told = answer.json() if answer.content and answer.headers["content-type"].startswith("application/") else {}
        if isinstance(told, dict):
            self.tokens += [told[name] for name in ("access", "refresh") if name in told]
        if answer.status_code >= 400:
            self.texts.append(answer.text)
        self.texts.append(str(answer.headers))
        return told


def everything(told: Told) -> None:
    """A life with the hub, in which people also mistype, misplace and repeat what is secret."""
    account = {"username": "somebody", "email": ADDRESS, "password": PASSWORD}
    told("POST", "/api/auth/users/", account)
    told("POST", "/api/auth/users/", account)  # taken
    told("POST", "/api/auth/users/", {**account, "username": PASSWORD, "nonsense": PASSWORD})
    told("POST", "/api/auth/token/", {"username": MISTYPED, "password": PASSWORD})
    told("POST", "/api/auth/token/", {"username": ADDRESS, "password": MISTYPED})
    told("POST", "/api/auth/token/", {"username": ADDRESS, "password": [PASSWORD]})
    told("POST", f"/api/auth/token/?username={ADDRESS}&password={MISTYPED}")
    told("POST", "/api/auth/token/", content=f'{{"username": "{MISTYPED}", "password": "{PASSWORD}"')
    told("POST", "/api/auth/token/", data={"username": ADDRESS, "password": PASSWORD})
    first = told("POST", "/api/auth/token/", {"username": ADDRESS, "password": PASSWORD})

    token, refresh = first["access"], first["refresh"]
    told("GET", "/api/auth/users/me/", token=token)
    told("GET", f"/api/auth/users/me/?token={token}", token=refresh)
    told("GET", f"/api/{token}/")
    told("GET", "/api/auth/users/me/", headers={"Authorization": f"Basic {MISTYPED}"})
    told("PATCH", "/api/auth/users/update_profile/", {"email": OTHER_ADDRESS, "password": PASSWORD}, token)
    told("PATCH", "/api/auth/users/update_profile/", {"email": OTHER_ADDRESS}, token)
    second = told("POST", "/api/auth/token/refresh/", {"refresh": refresh})
    third = told("POST", "/api/auth/token/refresh/", {"refresh": second["refresh"]})
    told("POST", "/api/auth/token/refresh/", {"refresh": refresh})  # a reuse, which ends the session
    told("POST", "/api/auth/token/verify/", {"token": third["access"]})
    told("POST", "/api/auth/token/refresh/", {"refresh": third["access"]})
    last = told("POST", "/api/auth/token/", {"username": "somebody", "password": PASSWORD})
    change = {"current_password": MISTYPED, "new_password": NEW_PASSWORD}
    told("POST", "/api/auth/users/change_password/", change, last["access"])
    told("POST", "/api/auth/users/change_password/", {**change, "current_password": PASSWORD}, last["access"])
    again = told("POST", "/api/auth/token/", {"username": "somebody", "password": NEW_PASSWORD})
    told("GET", "/api/movies/popular/", token=again["access"])  # the catalogue is out, and there is nothing else
    told("GET", f"/api/movies/search/?q={SEARCH}", token=again["access"])
    told("GET", "/api/auth/sessions/", token=again["access"])
    told("DELETE", "/api/auth/users/me/", {"password": MISTYPED}, again["access"])


@promises.secrets_kept
async def test_no_secret_is_in_logs_errors_metrics_or_redis(
    server: Server, settings: dict[str, str], migrated_url: str
) -> None:
    told = Told(server)
    everything(told)
    made = moviehub("user", "set-password", "--username", "somebody", told=f"{NEW_PASSWORD}x\n", **settings)
    assert made.returncode == 0
    told("GET", "/health/ready")
    metrics = server.http.get("/metrics").text
    await rows(migrated_url, "ALTER TABLE users RENAME TO users_away")
    told("POST", "/api/auth/token/", {"username": ADDRESS, "password": PASSWORD})  # while the database is at fault
    assert len(told.tokens) > 10
    with redis.Redis.from_url(settings["REDIS_URL"], socket_timeout=5) as link:
        names = link.keys("*")
        kept = b"\n".join([*names, *(link.dump(name) or b"" for name in names)]).decode("latin-1")
        plain = [link.get(name) for name in names if link.type(name) == b"string"]
    assert server.end() == 0
    trail = str(await rows(migrated_url, "SELECT event, address, detail FROM audit"))

    logged = server.output
    password_of_the_database = urlsplit(migrated_url).password or "there is none, as with a socket"
    assert [json.loads(line) for line in logged.splitlines() if line.startswith("{")], "nothing was logged"
    for event in ("failed_sign_in", '"event":"request"', '"event":"slow_statement"'):
        assert event in logged
    assert SEARCH not in logged
    secrets = [SECRET_KEY, OLD_SECRET_KEY, TMDB_KEY, password_of_the_database, PASSWORD, NEW_PASSWORD, MISTYPED]
    # The last part of a token is its proof; without it the rest opens nothing, but nobody needs that either.
    secrets += [part for token in told.tokens for part in (token, token.rpartition(".")[2], token.split(".")[1])]
    places = {
        "logs": logged,
        "commands": made.stdout + made.stderr,
        "metrics": metrics,
        "redis": kept + str(plain),
        "answers": "\n".join(told.texts),
        "trail": trail,
    }
    for where, text in places.items():
        found = [secret for secret in [*secrets, ADDRESS, OTHER_ADDRESS] if secret in text]
        assert found == [], f"in {where}"
