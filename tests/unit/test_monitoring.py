"""The table of metrics, what the documents and Prometheus's files make of it, and that the numbers are true."""

import asyncio
import random
import re
import threading
import time
from collections.abc import Iterator
from itertools import count

import bcrypt
import pytest

from moviehub.adapters.bcrypt.passwords import BcryptPasswords
from moviehub.adapters.postgres.seats import Seats
from moviehub.domain.errors import Unavailable
from moviehub.domain.limits import Limit
from moviehub.entrypoints.figures import METRICS, Figures
from tests.api import PASSWORD, Api, api_in_memory, film
from tests.monitoring import ALERTS, DASHBOARD, FOLDER, Samples, queries, samples, selected, value

DOCUMENT = (FOLDER.parents[1] / "docs" / "monitoring.md").read_text()
LABELS = {each.name: {*each.labels, *(["pid"] if each.over == "liveall" else [])} for each in METRICS}
PARTS_OF = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
TOLD = {
    each.name + part: LABELS[each.name] | ({"le"} if part == "_bucket" else set())
    for each in METRICS
    for part in PARTS_OF.get(each.kind.__name__.lower(), ("",))
}
"""Every name under which Prometheus keeps something of ours, and the labels that it has."""

GIVEN = {"up": {"job", "instance"}}


async def told(api: Api) -> Samples:
    return samples((await api.get("/metrics")).text)


def test_the_document_has_every_metric_as_the_table_has_it_and_no_other() -> None:
    rows = re.findall(r"^\| `(moviehub_\w+)` \| (\w+) \| ([\w, ]*) \| (\w+) \| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert [(name, kind, {*labels.split(", ")} - {""}, by, help) for name, kind, labels, by, help in rows] == [
        (each.name, each.kind.__name__.lower(), LABELS[each.name], each.by, each.help) for each in METRICS
    ]
    assert {*re.findall(r"moviehub_\w+", DOCUMENT)} <= TOLD.keys() | LABELS.keys()


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    sections = re.findall(r"^### (\w+)$", DOCUMENT, re.MULTILINE)
    assert [rule["alert"] for rule in ALERTS] == sections
    for rule in ALERTS:
        assert rule["annotations"]["runbook_url"] == f"docs/monitoring.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.mark.parametrize("query", [*queries()])
def test_a_query_is_promql_of_metrics_and_labels_that_there_are(query: str) -> None:
    asked = [*selected(query)]
    assert asked
    for name, labels in asked:
        assert labels <= {"job", "instance"} | (TOLD | GIVEN)[name]


def test_the_dashboard_shows_every_metric_in_a_panel_of_its_own_place() -> None:
    panels = DASHBOARD["panels"]
    shown = {name for panel in panels for target in panel.get("targets", []) for name, _ in selected_by(target["expr"])}
    unseen = {each.name for each in METRICS if not any(each.name + part in shown for part in ("", "_bucket", "_count"))}
    assert unseen == set()
    assert DASHBOARD["schemaVersion"] >= 41
    assert [variable["type"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "query"]
    assert {panel["datasource"]["uid"] for panel in panels if "targets" in panel} == {"${datasource}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len({*places}), "no panel lies on another"
    assert max(x for x, _ in places) < 24


def selected_by(expr: str) -> Iterator[tuple[str, frozenset[str]]]:
    return selected(expr.replace("$__rate_interval", "1m").replace("$job", "moviehub.*"))


async def test_answers_are_counted_by_what_of_them_came_from_the_cache(api: Api) -> None:
    api.catalogue.films.extend(film(number) for number in range(60))
    for _ in range(3):
        await api.get("/api/movies/popular/")
    assert (await api.get("/api/movies/popular/?page_size=5")).headers["cache-status"] == "moviehub; hit"
    api.clock.advance(seconds=2_000)
    assert (
        (await api.get("/api/movies/popular/?page_size=7")).headers["cache-status"].startswith("moviehub; hit; ttl=-")
    )
    api.catalogue.out = True
    await api.knows(*api.catalogue.films[:3])
    assert (await api.get("/api/movies/top_rated/")).json()["source"] == "local"
    await api.get("/api/movies/")

    numbers = await told(api)
    answers = {
        (dict(labels)["route"], dict(labels)["cache"]): number
        for (name, labels), number in numbers.items()
        if name == "moviehub_catalogue_answers_total"
    }
    popular, top = "/api/movies/popular", "/api/movies/top_rated"
    assert answers == {
        (popular, "miss"): 1,
        (popular, "kept"): 2,
        (popular, "hit"): 1,
        (popular, "stale"): 1,
        (top, "local"): 1,
    }
    assert value(numbers, "http_request_seconds_count", route=popular, status="200", method="GET") == 5


async def test_no_label_comes_from_a_client() -> None:
    chance = random.Random(7)

    def word() -> str:
        return "".join(chance.choices("abcdefghij", k=12))

    async def strange_things(api: Api) -> None:
        for _ in range(20):
            name = word()
            await api.get(f"/{word()}/{word()}")
            await api.get(f"/api/movies/{word()}/")
            await api.get(f"/api/movies/search/?q={word()}&{word()}={word()}")
            await api.client.request(word().upper(), f"/api/{word()}")
            await api.get(f"/api/auth/users/{name}/", headers={word(): word(), "user-agent": word()})
            await api.post("/api/auth/token/", {"username": name, "password": word()})
            await api.get("/api/auth/users/me/", token=word())

    off = Limit("auth", 1_000, 60)
    async with api_in_memory(rate_limit_auth=off) as api:
        await strange_things(api)
        before = await told(api)
        await strange_things(api)
        after = await told(api)
    assert after.keys() - before.keys() <= {key for key in after if dict(key[1]).get("route") == "/metrics"}
    known = {"OTHER", "GET", "POST"}
    assert {dict(labels)["method"] for _, labels in after if "method" in dict(labels)} == known


async def test_who_is_turned_away_and_who_is_refused_is_told_from_the_start(api: Api) -> None:
    numbers = await told(api)
    assert {value(numbers, "turned_away_total", kind=kind) for kind in ("search", "read", "write", "entry")} == {0}
    assert {value(numbers, "requests_under_way", kind=kind) for kind in ("search", "write", "entry")} == {0}
    assert value(numbers, "waiting_for_catalogue") == 0


async def test_a_process_tells_of_itself(api: Api) -> None:
    numbers = await told(api)
    assert 30e6 < value(numbers, "memory_bytes") < 1e9
    assert value(numbers, "open_handles") > 3
    assert value(numbers, "tasks") >= 1
    assert 0 < value(numbers, "cpu_seconds_total") <= time.process_time()
    assert value(numbers, "garbage_collections_total", generation="0") > 0
    assert value(numbers, "build_info") == 1


async def test_the_health_of_the_parts_is_told_as_it_was_found(api: Api) -> None:
    await api.get("/health/ready")
    numbers = await told(api)
    parts = {part: value(numbers, "healthy", part=part) for part in ("database", "migrations", "cache", "catalogue")}
    assert parts == dict.fromkeys(parts, 1)


def test_counts_are_copied_once_however_often_they_are_copied() -> None:
    figures, calls, answers = Figures("server"), {"ok": 2, "failed": 0}, [0.0, 3.0, *[0.0] * 11, 0.006]

    def copied() -> list[float | None]:
        figures.copy()
        ask = figures.registry.get_sample_value
        labels = {"method": "GET", "route": "/", "status": "200"}
        return [
            *(ask("moviehub_tmdb_calls_total", {"outcome": each}) for each in calls),
            *(ask(f"moviehub_http_request_seconds_{each}", labels) for each in ("count", "sum")),
            ask("moviehub_http_request_seconds_bucket", labels | {"le": "0.001"}),
            ask("moviehub_http_request_seconds_bucket", labels | {"le": "0.0025"}),
        ]

    async def of_a_loop() -> None:  # whose tasks are counted too
        figures.watch(
            {
                "moviehub_tmdb_calls_total": lambda: calls,
                "moviehub_http_request_seconds": lambda: {("GET", "/", 200): answers},
            }
        )
        assert copied() == copied() == [2, 0, 3, 0.006, 0, 3]
        calls["ok"], calls["failed"], answers[0], answers[-1] = 5, 7, 1.0, 0.0065
        assert copied() == copied() == [5, 7, 4, 0.0065, 1, 4]

    asyncio.run(of_a_loop())


async def test_one_number_that_cannot_be_had_keeps_no_other_from_being_told() -> None:
    figures = Figures("worker")

    def no_handle_is_left() -> float:
        raise OSError(24, "Too many open files")

    figures.watch({"moviehub_memory_bytes": no_handle_is_left, "moviehub_redis_failures_total": lambda: 3})
    figures.copy()
    assert figures.registry.get_sample_value("moviehub_redis_failures_total") == 3


async def test_a_loop_that_was_blocked_is_seen_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moviehub.entrypoints.figures.LOOK_EVERY", 0.001)
    figures, copies = Figures("worker"), count()
    copied = asyncio.Event()

    def number() -> int:
        copied.set()
        return next(copies)

    figures.watch({"moviehub_redis_failures_total": number})
    async with figures.kept(), asyncio.timeout(5):
        copied.clear()  # it was when this began
        await asyncio.sleep(0)
        time.sleep(0.06)  # noqa: ASYNC251 - this is the fault
        await copied.wait()
    ask = figures.registry.get_sample_value
    seen, soon = (ask("moviehub_loop_lag_seconds_bucket", {"le": le}) for le in ("+Inf", "0.05"))
    assert seen is not None
    assert soon is not None
    assert seen - soon >= 1


async def test_passwords_that_are_hashed_or_wait_or_find_no_place_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, hashpw = threading.Event(), bcrypt.hashpw

    def when_it_may(password: bytes, salt: bytes) -> bytes:
        assert may_end.wait(10)
        return hashpw(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", when_it_may)
    passwords = BcryptPasswords(cost=4, threads=1, waiting=1)
    hashing = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(2)]
    await asyncio.sleep(0)
    assert (passwords.under_way, passwords.refused) == (2, 0)
    with pytest.raises(Unavailable):
        await passwords.hash(PASSWORD)
    may_end.set()
    await asyncio.gather(*hashing)
    assert (passwords.under_way, passwords.refused) == (0, 1)
    await passwords.close()


async def test_seats_tell_who_has_one_who_waits_and_who_waited_in_vain() -> None:
    seats = Seats(1, 0.05)
    await seats.take()
    late, patient = asyncio.create_task(seats.take()), asyncio.create_task(seats.take())
    await asyncio.sleep(0)
    assert (seats.taken, seats.waiting, seats.refused) == (1, 2, 0)
    seats.give_back()
    await late
    with pytest.raises(TimeoutError):
        await patient
    assert (seats.taken, seats.waiting, seats.refused) == (1, 0, 1)
    assert 0.05 <= seats.waited < 1
    seats.give_back()
    assert seats.taken == 0
