"""The nginx that is shipped, in front of two servers: what it keeps, whom it turns away, and what it asks twice."""

import itertools
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from moviehub.domain.errors import MovieHubError, TooMany, Unavailable
from moviehub.entrypoints.http.overload import Overloaded
from moviehub.entrypoints.http.problems import TooLarge, status_of
from tests import promises
from tests.nginx import NGINX, Hub, behind_nginx, certify, nginx_before
from tests.servers import PASSWORD, eventually

pytestmark = pytest.mark.slow
__test__ = NGINX is not None  # where it is not installed, pytest finds nothing here

SEARCH = "/api/movies/search/?q=moon"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hub(database: str) -> Iterator[Hub]:
    """A hub for the tests that leave it as it was."""
    with behind_nginx(database, RATE_LIMIT_ANONYMOUS="100000/minute") as hub:
        yield hub


@pytest.fixture
def page() -> str:
    """A page that may be kept and that nobody has asked for."""
    return f"/api/movies/popular/?page_size=1&page={next(numbers)}"


@pytest.fixture
def alice(hub: Hub) -> dict[str, str]:
    """The header of somebody who has signed in."""
    return hub.servers[0].joined(f"alice{next(numbers)}")


def assert_problem(answer: httpx.Response, error: type[MovieHubError]) -> None:
    """It is a problem document, with everything that the hub's own of this kind has."""
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (told["type"], told["title"], told["status"]) == (f"/problems/{error.slug}", error.title, answer.status_code)
    assert answer.status_code == status_of(error)
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["instance"] == answer.request.url.path


def is_kept(answer: httpx.Response) -> bool:
    """Whether nginx has answered by itself."""
    assert answer.status_code == 200, answer.text
    return "nginx; hit" in answer.headers.get("cache-status", "")


def test_a_public_page_is_asked_of_the_hub_once_and_then_kept(hub: Hub, page: str) -> None:
    first, second = hub.get(page), hub.get(page, headers={"X-Request-ID": "my-own-id"})

    assert [is_kept(first), is_kept(second)] == [False, True]
    assert second.content == first.content
    assert second.headers["x-request-id"] == "my-own-id"
    assert "ratelimit" in first.headers
    assert not {"ratelimit", "ratelimit-policy"} & set(second.headers), "how somebody else stands"
    for name in ("cache-control", "date", "etag", "vary", "content-security-policy"):
        assert second.headers.get_list(name) == first.headers.get_list(name)
        assert len(second.headers.get_list(name)) == 1


def test_a_kept_page_says_when_the_hub_gave_it(hub: Hub, page: str) -> None:
    first = hub.get(page)
    eventually(lambda: hub.get("/metrics").headers["date"] != first.headers["date"])  # a second has passed

    assert is_kept(hub.get(page))
    assert hub.get(page).headers["date"] == first.headers["date"]


def test_whoever_has_a_kept_page_is_told_that_it_is_still_that(hub: Hub, page: str) -> None:
    etag = hub.get(page).headers["etag"]
    answer = hub.get(page, headers={"If-None-Match": etag})

    assert answer.status_code == 304
    assert answer.headers["cache-control"].startswith("public, max-age=")


def test_a_page_is_kept_for_each_encoding_by_itself(hub: Hub, page: str) -> None:
    plain, small = (hub.get(page, headers={"Accept-Encoding": encoding}) for encoding in ("identity", "gzip"))

    assert not is_kept(small)
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == plain.content
    assert is_kept(hub.get(page, headers={"Accept-Encoding": "gzip"}))


def test_whoever_is_signed_in_is_never_answered_from_what_is_kept_nor_is_the_answer_kept(
    hub: Hub, page: str, alice: dict[str, str]
) -> None:
    own = [hub.get(page, headers=alice) for _ in range(2)]
    assert not is_kept(hub.get(page))
    own += [hub.get(page, headers=alice)]

    assert not any(is_kept(answer) for answer in own)
    assert {answer.headers["cache-control"] for answer in own} == {"private, max-age=0"}
    assert hub.get(page, headers={**alice, "If-None-Match": own[0].headers["etag"]}).status_code == 304
    assert hub.get(page, headers={"Authorization": "Bearer nonsense"}).status_code == 401


@pytest.mark.parametrize("target", ["/api/movies/?page_size=1", "/api/movies/999999/", "/docs/assets/nothing.js"])
def test_what_may_not_be_kept_is_not(hub: Hub, target: str) -> None:
    answers = [hub.get(target) for _ in range(3)]

    assert {answer.headers["cache-control"] for answer in answers} <= {"public, max-age=0", "no-store"}
    assert all("nginx; hit" not in answer.headers["cache-status"] for answer in answers)


def test_files_of_the_docs_may_be_kept_for_a_year_by_a_cache_in_front(hub: Hub) -> None:
    for kept in (False, True):
        answer = hub.get("/docs/assets/swagger-ui.css")
        assert is_kept(answer) is kept
        assert answer.headers["cache-control"] == "public, max-age=86400, s-maxage=31536000"
    assert hub.get("/docs/").headers["cache-control"] == "public, max-age=60"


def test_many_who_want_a_new_page_at_once_cost_the_hub_little(hub: Hub, page: str) -> None:
    for proxy in hub.proxies:
        proxy.delay(0.1)
    try:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(hub.get, [page] * 20))
    finally:
        for proxy in hub.proxies:
            proxy.well()

    assert sum(not is_kept(answer) for answer in answers) < 10


def test_kept_pages_are_shown_while_the_hub_is_away_and_what_is_not_kept_is_a_problem(database: str, page: str) -> None:
    with behind_nginx(database, PUBLIC_MAX_AGE="1") as hub:
        assert not is_kept(hub.get(page))
        for proxy in hub.proxies:
            proxy.refuse()
        answer = eventually(lambda: found if "stale" in (found := hub.get(page)).headers["cache-status"] else None)
        assert is_kept(answer)

        answer = hub.get("/api/movies/1/")
        assert_problem(answer, Unavailable)
        assert answer.headers["retry-after"] == "5"


@promises.rolling_nginx
def test_what_may_be_repeated_is_asked_of_the_other_server_and_what_was_perhaps_done_is_not(hub: Hub) -> None:
    def register() -> int:
        name = f"bob{next(numbers)}"
        account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        return hub.get("/api/auth/users/", "POST", json=account).status_code

    hub.proxies[0].cut(0)  # what it is asked is done, and its answers are lost
    try:
        pages = [f"/api/movies/popular/?page_size=2&page={number}" for number in range(1, 11)]
        assert {hub.get(page).status_code for page in pages} == {200}
        assert {register() for _ in range(10)} == {201, 503}, "400 would be a name that the first time has taken"
        hub.proxies[0].refuse()  # now it hears of nothing
        assert {register() for _ in range(10)} == {201}
    finally:
        hub.proxies[0].well()


def test_one_address_is_stopped_and_others_are_not(hub: Hub, page: str) -> None:
    with httpx.Client(base_url=hub.nginx.url, trust_env=False) as client:

        def ask(address: str, target: str = page) -> httpx.Response:
            return client.get(target, headers={"X-Me": address})

        def refusal(address: str) -> httpx.Response | None:
            return found if (found := ask(address)).status_code != 200 else None

        for one, same, other in (
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8:0:0:ffff:a0a:a0a:a0a", "2001:db8:0:1::1"),
        ):
            answers = [ask(one) for _ in range(249)]
            assert {answer.status_code for answer in answers} == {200}, "so many at once are well"
            refused = eventually(partial(refusal, one))
            assert_problem(refused, TooMany)
            assert 1 <= int(refused.headers["retry-after"]) <= 3
            assert 429 in {ask(same).status_code for _ in range(5)}
            assert ask(other).status_code == 200
            assert ask(one, "/health/live").status_code == 200


@promises.crowd_order
def test_crowds_are_turned_away_by_kind_and_what_is_kept_is_shown_all_the_same(
    hub: Hub, page: str, alice: dict[str, str]
) -> None:
    signed = f"Authorization: {alice['Authorization']}\r\n"
    (film,) = hub.get(page).json()["results"]
    fresh = itertools.count(100)

    def ask(kind: str) -> httpx.Response:
        if kind == "write":
            return hub.get(f"/api/movies/{film['id']}/rate/", "POST", headers=alice, json={"rating": 7})
        if kind == "entry":
            return hub.get("/api/auth/token/verify/", "POST", json={"token": "x"})
        return hub.get(f"{SEARCH}&page_size={next(fresh) % 100 + 1}" if kind == "search" else "/api/movies/")

    def refusals() -> tuple[str, ...]:
        answers = {kind: ask(kind) for kind in ("search", "read", "write", "entry")}
        refused = {kind: answer for kind, answer in answers.items() if answer.status_code == 503}
        for answer in refused.values():
            assert_problem(answer, Overloaded)
            assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert {answer.status_code for kind, answer in answers.items() if kind not in refused} <= {200, 201, 401}
        return tuple(refused)

    def is_so(wanted: tuple[str, ...]) -> bool:
        return refusals() == wanted

    assert refusals() == ()
    links: list[socket.socket] = []
    began = time.monotonic()
    try:
        for target, method, head, more, full in (
            (SEARCH, "GET", "", 128, ("search",)),
            ("/api/movies/", "GET", "", 72, ("search", "read")),
            ("/api/movies/1/rate/", "POST", signed, 56, ("search", "read", "write")),
            ("/api/auth/token/", "POST", "", 256, ("search", "read", "write", "entry")),
        ):
            links += [hub.hold(target, method, head) for _ in range(more)]
            eventually(partial(is_so, full), within=5.0)
            assert is_kept(hub.get(page))
            assert hub.get("/health/ready").status_code == 200
        assert time.monotonic() - began < 9.0, "by then nginx gives up those who hold the places"
    finally:
        for link in links:
            link.close()
    eventually(partial(is_so, ()))


def test_whoever_sends_drop_by_drop_is_cut_off(hub: Hub) -> None:
    with ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(("127.0.0.1", hub.nginx.port))) for _ in range(2)]
        links[0].sendall(b"GET / HTTP/1.1\r\nHo")
        links[1].sendall(b"POST /api/auth/token/ HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        for link in links:
            link.settimeout(20.0)
            with suppress(ConnectionResetError):
                assert b"200" not in link.recv(4096)
        assert 5.0 < time.monotonic() - began < 15.0


def test_a_body_that_is_too_large_is_a_problem(hub: Hub) -> None:
    assert_problem(hub.get("/api/auth/token/", "POST", content=b" " * (64 * 1024 + 1)), TooLarge)
    assert hub.get("/api/auth/token/", "POST", content=b" " * 64 * 1024).status_code in (400, 415)


def test_nobody_sees_the_metrics(hub: Hub) -> None:
    assert [hub.get(path).status_code for path in ("/metrics", "/metrics/")] == [404, 404]


def test_with_a_certificate_there_is_tls_with_http_2_and_plain_http_leads_there(hub: Hub, server_folder: Path) -> None:
    certify(server_folder / "tls")
    context = ssl.create_default_context(cafile=server_folder / "tls/fullchain.pem")
    with nginx_before([server.port for server in hub.servers], server_folder) as nginx:
        secure = f"https://127.0.0.1:{nginx.tls_port}"
        with httpx.Client(verify=context, trust_env=False) as client:
            answer = client.get(f"{secure}/api/movies/popular/")
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"]
            assert answer.json()["next"].startswith(f"{secure}/")

        plain = nginx.get("/api/movies/popular/?page=2")
        assert plain.status_code == 308
        assert plain.headers["location"] == "https://127.0.0.1/api/movies/popular/?page=2"
        assert nginx.get("/health/live").status_code == 200

        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=10.0) as link,
            context.wrap_socket(link, server_hostname="127.0.0.1") as spoken,
        ):
            assert spoken.selected_alpn_protocol() == "h2"
            spoken.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            assert spoken.recv(9)[3] == 4, "a SETTINGS frame begins the connection (RFC 9113, 3.4)"
