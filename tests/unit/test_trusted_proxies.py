"""What a proxy may say of whom it speaks for, on sockets of either family, and what it passes on unread."""

import httpx
import pytest

from moviehub.domain.limits import Limit
from tests import promises
from tests.api import PASSWORD, Api, api_in_memory, film

GENRES, LIST, SESSIONS, TOKEN = "/api/movies/genres/", "/api/movies/", "/api/auth/sessions/", "/api/auth/token/"
TRUSTED = ("127.0.0.1", "10.0.0.0/8", "::ffff:192.0.2.0/120", "fd00::/8")


async def address_told(api: Api, peer: str, hops: str) -> str:
    """The address that a sign-in through this peer is noted with."""
    transport = httpx.ASGITransport(api.app, client=(peer, 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        body = {"username": "alice", "password": PASSWORD}
        tokens = (await client.post(TOKEN, json=body, headers={"X-Forwarded-For": hops} if hops else {})).json()
        signed = {"Authorization": f"Bearer {tokens['access']}"}
        listed = (await client.get(SESSIONS, headers=signed)).json()["results"]
    (address,) = (str(session["address"]) for session in listed if session["current"])
    return address


@promises.forwarded
@pytest.mark.parametrize(
    ("peer", "hops", "address"),
    [
        ("::ffff:127.0.0.1", "", "127.0.0.1"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.1.2.3", "198.51.100.1, 203.0.113.9, ::ffff:10.0.0.1", "203.0.113.9"),
        ("::ffff:192.0.2.7", "198.51.100.1, 203.0.113.9, 192.0.2.8", "203.0.113.9"),
        ("::ffff:203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("fd00::1", "198.51.100.1, 2001:DB8:0::1", "2001:db8::1"),
        ("2001:db8::2", "198.51.100.1", "2001:db8::2"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9:443", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.009", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, fe80::1%eth0", "fe80::1%eth0"),
        ("127.0.0.1", "198.51.100.1, fe80::1%" + "x" * 2_000, "127.0.0.1"),
    ],
)
async def test_the_rightmost_hop_that_is_no_proxy_counts_on_a_socket_of_either_family(
    peer: str, hops: str, address: str
) -> None:
    async with api_in_memory(trusted_proxies=TRUSTED) as api:
        await api.register()
        assert await address_told(api, peer, hops) == address


@promises.forwarded
async def test_behind_a_proxy_on_a_socket_of_ipv6_each_client_has_a_limit_of_its_own() -> None:
    limit = Limit("anonymous", 1, 60)
    async with api_in_memory(trusted_proxies=TRUSTED, rate_limit_anonymous=limit) as api:
        transport = httpx.ASGITransport(api.app, client=("::ffff:127.0.0.1", 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            for number in (1, 2):
                answers = [await client.get(GENRES, headers={"X-Forwarded-For": f"203.0.113.{number}"}) for _ in "12"]
                assert [answer.status_code for answer in answers] == [200, 429]


@pytest.mark.parametrize(
    ("told", "base"),
    [
        ("movies.example.org:8443", "http://movies.example.org:8443"),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("evil.example/path?", "http://hub.test"),
        ("http://evil.example", "http://hub.test"),
        ("user@evil.example", "http://hub.test"),
        ("evil.example#", "http://hub.test"),
        ('" onload="', "http://hub.test"),
        ("two words", "http://hub.test"),
        ("e" * 256, "http://hub.test"),
        ("\u00e9vil.example", "http://hub.test"),
    ],
)
async def test_a_host_that_a_proxy_passes_on_is_a_host_or_nothing(told: str, base: str) -> None:
    async with api_in_memory(trusted_proxies=TRUSTED) as api:
        await api.knows(*map(film, range(11)))
        page = (await api.get(LIST, headers={"X-Forwarded-Host": told.encode()})).json()
        assert page["next"] == f"{base}{LIST}?page=2"
