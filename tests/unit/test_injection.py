"""Values that try to be more than values: SQL, patterns, orderings, ends of lines, parameters behind parameters."""

import json
from itertools import product
from urllib.parse import quote

import pytest

from tests.api import Api
from tests.wire import KNOWN, OPERATIONS, Wire, refused, targets

JSON = (b"content-type", b"application/json")


@pytest.fixture
async def wire(api: Api) -> Wire:
    return await Wire.over(api)


INJECTIONS = (
    "' OR '1'='1", "'; DROP TABLE movies; --", '" OR ""="', "%' OR 1=1 --", "$1", ":name", "%s", "{0}", "\\' OR 1=1 --",
)  # fmt: skip
SEARCHES = {
    "%": ["100% Wolf"], "_": ["a_b"], "\\": ["back\\slash"], "0%": ["100% Wolf"], "a_": ["a_b"], "%_": [], "a%b": [],
    "1__%": [], "f_lm": [], "f%": [], "K\\S": ["back\\slash"], **{text: [] for text in INJECTIONS},
}  # fmt: skip


FOUND = {
    "%": ["a_b"], "_": ["a_b"], "\\": [], "0%": ["a_b"], "a_": ["a_b"], "a%b": [], "a__": [], "%_": [], "ali_e": [],
    "ALI": ["alice"], "@": ["a_b", "bob", "alice"], **{text: [] for text in INJECTIONS},
}  # fmt: skip


async def test_staff_search_for_plain_text_too(wire: Wire) -> None:
    await wire.api.register("a_b", email="100%@example.org")
    for text, names in FOUND.items():
        answer = await wire("GET", f"/api/auth/users/?search={quote(text)}".encode(), wire.signed)
        assert [user["username"] for user in json.loads(answer.body)["results"]] == names, text


async def test_what_looks_like_a_pattern_or_a_statement_is_plain_text(wire: Wire) -> None:
    for path in ("/api/movies/?search=", "/api/movies/search/?q="):
        for text, titles in SEARCHES.items():
            answer = await wire("GET", (path + quote(text)).encode())
            assert [movie["title"] for movie in json.loads(answer.body)["results"]] == titles, (path, text)
    for text in INJECTIONS:
        assert json.loads((await wire("GET", f"/api/movies/?language={quote(text)}".encode())).body)["count"] == 0
        body = json.dumps({"username": text, "password": text}).encode()
        refused(await wire("POST", b"/api/auth/token/", JSON, body=body), 401)


ORDERINGS = (
    "popularity;drop table movies", "popularity; --", "popularity desc", "-popularity,id", "popularity,", "1", "-",
    "popularity/**/", "(select 1)", "random()", "popularity nulls first", "--popularity", "popularity\0", "POPULARITY",
    "'popularity'", '"popularity"', "movies.popularity", "popularity collate C", " popularity", "popularity\n", "bio",
)  # fmt: skip


async def test_an_ordering_is_one_of_a_few_words_and_never_a_statement(wire: Wire) -> None:
    before = await wire.kept()
    for ordering in ORDERINGS:
        for method, target in targets("ordering"):
            answer = await wire(method, target.replace(b"{}", quote(ordering).encode()))
            refused(answer, 400, field="ordering")
        assert await wire.kept() == before, ordering


TWICE = {
    "page=1&page=x": "page",
    "page=x&page=1": "page",
    "page=1;page=2": "page",
    "page=1%26page=2": "page",
    "page_size=1&page_size=101": "page_size",
    "ordering=title&ordering=id": "ordering",
    "genre=18&genre=x": "genre",
    "language=en&language=%00": "language",
    "page=9&page=1": None,
    "page[]=x&page%00=x&PAGE=x&page%20=x&%70age=1": None,
    "genre=18&genre=18&genre=18": None,
    "user_id=2&user=2&is_staff=1": None,
}


async def test_of_parameters_given_twice_each_is_checked_and_the_last_counts(wire: Wire) -> None:
    for query, field in TWICE.items():
        for path in ("/api/movies/?", "/api/movies/search/?q=film&"):
            answer = await wire("GET", (path + query).encode())
            if field is None:
                assert (answer.status, json.loads(answer.body)["page"]) == (200, 1), query
            else:
                refused(answer, 400, field=field)


IDS = (
    b"a\r\nSet-Cookie: x=1", b"a\nb", b"a\rb", b"a\0b", b"a%0d%0ab", b'"}', b"\x1b[31m", b"\xc3\xa9", b"\xff", b" a",
    b"a b", b"<script>", b"${jndi:ldap://x}", b"../x", b"x" * 129, b"x" * 30_000,
)  # fmt: skip


async def test_a_request_id_that_could_be_more_is_replaced_wherever_it_is_told(wire: Wire) -> None:
    for value in IDS:
        for target, status in ((b"/api/movies/", 200), (b"/api/movies/77/", 404), (b"/nowhere", 404), (b"*", 400)):
            answer = await wire("GET", target, (b"x-request-id", value))
            made = answer.headers[b"x-request-id"]
            assert (answer.status, len(made)) == (status, 32), value
            assert status == 200 or refused(answer, status)["request_id"].encode() == made
            assert value not in b"".join(answer.headers.values())


BREAKS = (
    "%0d%0aSet-Cookie:%20x=1", "%0a", "%0d", "%00", "%20HTTP/1.1%0d%0a%0d%0a", "%1b[31m", "%7f", "%c2%85", "%e2%80%a8",
    "%e5%98%8a%e5%98%8dX:1", "%250d%250a",
)  # fmt: skip
"""What would end a line, a text or a colour, if somebody decoded it once too often."""


async def test_an_encoded_break_in_a_path_leads_nowhere(wire: Wire) -> None:
    before = await wire.kept()
    for (method, path, _), piece in product(OPERATIONS, BREAKS):
        target = path.format(**KNOWN).rstrip("/")
        for broken in (f"{target}{piece}", f"{target}{piece}/", f"{target}/{piece}", path.format_map(_All(piece))):
            if broken.startswith("/") and broken != path:
                answer = await wire(method, broken.encode(), wire.signed, JSON, body=b'{"rating": 5}')
                assert refused(answer, 404, 405)["instance"].isprintable()
                assert not any(c < 32 for c in b"".join(answer.headers.values()) + answer.body)
    assert await wire.kept() == before


class _All(dict[str, str]):
    """Gives the same for every name."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __missing__(self, _: str) -> str:
        return self.value
