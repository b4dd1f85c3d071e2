"""What the configuration of nginx says is true of the code, of Compose and of Kubernetes."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml  # type: ignore[import-untyped]

from moviehub.domain.errors import TooMany, Unavailable
from moviehub.entrypoints.http.inputs import LARGEST_BODY
from moviehub.entrypoints.http.limits import UNLIMITED
from moviehub.entrypoints.http.overload import Kind, Overloaded
from moviehub.entrypoints.http.problems import TooLarge, known_problems, status_of
from moviehub.entrypoints.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NGINX = re.sub(r"#.*", "", (DEPLOY / "nginx.conf").read_text())
TLS = (DEPLOY / "tls.conf").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
SEARCHES = ("/api/movies/search", "/api/v1/movies/search")


def directive(name: str) -> list[str]:
    """The values of a directive of nginx."""
    return [" ".join(value.split()) for value in re.findall(rf"^\s*{name}\s+([^;{{]*);", NGINX, re.MULTILINE)]


def test_nginx_passes_requests_to_the_api_of_compose() -> None:
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)

    assert directive("proxy_pass") == ["http://$upstream", "http://moviehub"]
    assert re.findall(r"upstream (\w+) {", NGINX) == ["moviehub", "nobody"]
    assert directive("server") == [f"api:{port} max_fails=0", "127.0.0.1:1 down"]


def test_compose_gives_nginx_what_its_configuration_names() -> None:
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["nginx"]["volumes"])
    (kept,) = directive("proxy_cache_path")

    assert mounted == {"./nginx.conf": "/etc/nginx/nginx.conf", "./tls": "/etc/nginx/tls"}
    assert directive("include") == ["/etc/nginx/tls/*.conf"]
    for name in ("ssl_certificate", "ssl_certificate_key"):
        assert re.search(rf"^{name} /etc/nginx/tls/\w+\.pem;$", TLS, re.MULTILINE)
    assert str(Path(kept.split()[0]).parent) in SERVICES["nginx"]["tmpfs"]
    assert str(Path(*directive("pid")).parent) in SERVICES["nginx"]["tmpfs"]
    listened = re.findall(r"^\s*listen (\d+)", NGINX + TLS, re.MULTILINE)
    assert SERVICES["nginx"]["ports"] == [f"{port}:{port}" for port in listened]
    assert "deploy/tls/" in (ROOT / ".gitignore").read_text().splitlines()


def test_nginx_says_itself_whom_it_speaks_for() -> None:
    told = dict(value.split(" ", 1) for value in directive("proxy_set_header"))

    assert told == {
        "Connection": '""',
        "Host": "$http_host",
        "X-Request-ID": "$sane_id",
        "X-Forwarded-For": "$remote_addr",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$http_host",
        "Forwarded": '""',
    }


def test_nginx_takes_bodies_as_large_as_the_api_does() -> None:
    assert directive("client_max_body_size") == [f"{LARGEST_BODY // 1024}k"]


@pytest.mark.parametrize("name", ["client_header_timeout", "client_body_timeout", "send_timeout", "proxy_read_timeout"])
def test_nginx_waits_for_nobody_longer_than_fifteen_seconds(name: str) -> None:
    (value,) = directive(name)

    assert int(value.removesuffix("s")) <= 15
    assert directive("proxy_request_buffering") == ["on"]


def test_nginx_drops_an_idle_connection_before_the_api_does() -> None:
    upstream = re.search(r"upstream moviehub {[^}]*keepalive_timeout (\d+)s", NGINX)
    served = re.search(r"header_read_timeout=([\d_]+)", (ROOT / "src/moviehub/entrypoints/server.py").read_text())

    assert upstream is not None
    assert served is not None
    assert int(upstream[1]) * 1000 < int(served[1])


def places() -> dict[str, int]:
    """How many of each kind may be under way behind nginx."""
    return {zone: int(most) for zone, most in (value.split() for value in directive("limit_conn"))}


def test_nginx_tells_the_same_kinds_apart_as_the_api() -> None:
    (search,) = re.findall(r'"~\^\(GET\|HEAD\) (\S+)" search;', NGINX)
    zones = [re.findall(r"\$(\w+) zone=(\w+):", value) for value in directive("limit_conn_zone")]

    assert [path for path in (*SEARCHES, "/api/movies/", "/api/movies/7/") if re.match(search, path)] == [*SEARCHES]
    assert {zone for ((_, zone),) in zones} == {*get_args(Kind), "network"} == {*places()}
    assert {path.split("/")[1] for path in UNLIMITED} == {"health", "metrics"}
    assert re.search(r"location /health/ {\s*proxy_pass http://moviehub;\s*}", NGINX)


def test_a_crowd_meets_the_places_of_nginx_before_those_of_the_workers() -> None:
    most = places()
    (workers,) = re.findall(r'"--workers", "(\d+)"', DOCKERFILE)
    fleet = SERVICES["api"]["deploy"]["replicas"] * int(workers)

    assert most["search"] < most["read"] < most["write"] < fleet * Settings().concurrency / 4
    assert most["search"] <= most["write"] / 2


def test_the_second_wall_is_as_wide_as_on_kubernetes_and_wider_than_the_limit_of_a_person() -> None:
    ingress = yaml.safe_load((DEPLOY / "kubernetes/ingress.yaml").read_text())["metadata"]["annotations"]
    told = {name.rpartition("/")[2]: value for name, value in ingress.items()}
    ((rate,), (burst,)) = (re.findall(pattern, NGINX) for pattern in (r"rate=(\d+)r/s", r"zone=rate burst=(\d+)"))
    allowed = Settings().rate_limit_user

    assert allowed is not None
    assert int(rate) > allowed.quota / allowed.seconds
    assert (rate, int(burst)) == (told["limit-rps"], 5 * int(rate))  # ingress-nginx multiplies by five
    assert places()["network"] == int(told["limit-connections"])


def test_problems_of_nginx_are_told_as_the_api_tells_them() -> None:
    told = [json.loads(f"{{{fields}}}") for fields in re.findall(r"'(\"type\":[^']*)'", NGINX)]

    assert [each["type"].rpartition("/")[2] for each in told] == [
        *(TooLarge.slug, TooMany.slug, Overloaded.slug, Unavailable.slug)
    ]
    for each in told:
        error = known_problems()[each["type"].removeprefix("/problems/")]
        assert (each["title"], each["status"]) == (error.title, status_of(error))


def test_nginx_asks_again_only_where_there_was_no_answer_and_what_may_be_repeated() -> None:
    assert directive("proxy_next_upstream") == ["error timeout"]


def test_nginx_keeps_answers_as_long_as_the_api_says_and_of_strangers_alone() -> None:
    assert directive("proxy_cache") == ["$cache"]
    assert re.search(r'map \$http_authorization \$cache {\s*"" public;\s*default off;\s*}', NGINX)
    for other in ("proxy_cache_valid", "proxy_ignore_headers", "proxy_cache_background_update"):
        assert directive(other) == []


def test_nginx_shows_nobody_the_metrics() -> None:
    assert re.search(r"location ~ \^/metrics/\?\$ {\s*return 404;\s*}", NGINX)


def test_the_configuration_of_nginx_closes_what_it_opens() -> None:
    plain = re.sub(r"'[^']*'", "", NGINX)

    assert plain.count("{") == plain.count("}") > 0
