"""What is made of TMDb's JSON: a bad field costs that field, a bad film that film, a good list never fails for it."""

import json
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moviehub.adapters.memory.budget import MemoryBudget
from moviehub.adapters.tmdb.catalogue import TmdbCatalogue
from moviehub.adapters.tmdb.payloads import Nonsense, read_changes, read_genres, read_movie, read_page
from moviehub.domain.movies import Genre, MovieFacts
from tests.contracts.catalogue import assert_valid

GOOD: dict[str, Any] = {
    "adult": False,
    "id": 1_700_001,
    "title": "A Quiet Harbour",
    "overview": "A ship comes home.\nNobody is on board.",
    "release_date": "2001-02-03",
    "poster_path": "/poster.jpg",
    "backdrop_path": "/back.jpg",
    "popularity": 12.5,
    "vote_average": 7.125,
    "vote_count": 42,
    "original_language": "en",
    "genre_ids": [18, 35],
    "media_type": "movie",
    "video": False,
}
OTHER = {"id": 2, "title": "Another"}
FACTS = MovieFacts(
    tmdb_id=1_700_001,
    title="A Quiet Harbour",
    overview="A ship comes home.\nNobody is on board.",
    release_date=date(2001, 2, 3),
    poster_path="/poster.jpg",
    backdrop_path="/back.jpg",
    popularity=12.5,
    vote_average=7.125,
    vote_count=42,
    original_language="en",
    genre_ids=(18, 35),
)
BAD_IDS: list[Any] = [0, -1, "5", 5.5, True, None, 2**53, 10**30, []]
BAD_TITLES: list[Any] = ["", " \t\n", "\0\x07", "\ud800", None, 5, []]
FIELDS = [field for field in GOOD if field not in ("adult", "media_type", "video")]


def body(*items: object, **others: object) -> bytes:
    return json.dumps({"page": 1, "results": items, "total_pages": 1, "total_results": len(items), **others}).encode()


def only(item: object) -> tuple[MovieFacts, list[str]]:
    """What is made of one film in a list, beside a good one."""
    page, lost = read_page(body(OTHER, item), 1)
    assert page.facts[0].tmdb_id == 2
    assert len(page.facts) == 2, lost
    return page.facts[1], lost


def test_a_good_film_is_read_whole() -> None:
    assert only(GOOD) == (FACTS, [])


def test_a_film_s_detail_is_read_whole() -> None:
    detail = {key: value for key, value in GOOD.items() if key != "genre_ids"}
    detail |= {"genres": [{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}], "runtime": 0, "imdb_id": None}
    assert read_movie(json.dumps(detail).encode(), 1_700_001) == (FACTS, [])


@pytest.mark.parametrize(
    ("field", "told", "kept", "is_lost"),
    [
        ("release_date", "", None, False),
        ("release_date", None, None, False),
        ("release_date", "0000-00-00", None, True),
        ("release_date", "2001-02-30", None, True),
        ("release_date", "20010203", None, True),
        ("release_date", "2001-W05-6", None, True),
        ("release_date", "2001", None, True),
        ("release_date", 2001, None, True),
        ("vote_average", 7, 7.0, False),
        ("vote_average", 11, 10.0, True),
        ("vote_average", -1, 0.0, True),
        ("vote_average", "7", 0.0, True),
        ("vote_average", True, 0.0, True),
        ("popularity", 8.0e4, 80_000.0, False),
        ("popularity", 1e-05, 1e-05, False),
        ("popularity", 1e300, 1e300, False),
        ("popularity", -0.5, 0.0, True),
        ("popularity", None, 0.0, False),
        ("popularity", 10**399, 0.0, True),
        ("popularity", [], 0.0, True),
        ("vote_count", 2**31, 2**31 - 1, True),
        ("vote_count", -1, 0, True),
        ("vote_count", 1.5, 0, True),
        ("vote_count", None, 0, False),
        ("poster_path", None, None, False),
        ("poster_path", "", None, False),
        ("poster_path", "poster.jpg", None, True),
        ("poster_path", "/" + "x" * 200, None, True),
        ("poster_path", "/a b.jpg", None, True),
        ("poster_path", "/ü.jpg", None, True),
        ("poster_path", 5, None, True),
        ("backdrop_path", "https://example.org/x.jpg", None, True),
        ("overview", None, "", False),
        ("overview", "", "", False),
        ("overview", "a\0b\x1bc\ud800d\r\ne", "abcd\r\ne", False),
        ("overview", "x" * 10_001, "x" * 10_000, False),
        ("overview", {}, "", True),
        ("title", "夜\N{NO-BREAK SPACE}!", "夜\N{NO-BREAK SPACE}!", False),
        ("title", " \tA\r\nB\0 ", "A B", False),
        ("title", "x" * 600, "x" * 500, False),
        ("title", "\N{FAMILY}\N{ZERO WIDTH JOINER}", "\N{FAMILY}\N{ZERO WIDTH JOINER}", False),
        ("original_language", "cn", "cn", False),
        ("original_language", "x" * 36, "", True),
        ("original_language", "e\0", "", True),
        ("original_language", None, "", False),
        ("genre_ids", [], (), False),
        ("genre_ids", None, (), False),
        ("genre_ids", [18, 18, 35], (18, 35), False),
        ("genre_ids", [18, "35", None, True, 1.5, -1, 0, 2**31, 9 * 10**30, {}, 35], (18, 35), True),
        ("genre_ids", "18,35", (), True),
        ("genre_ids", [*range(1, 51)], (*range(1, 51),), False),
        ("genre_ids", [*range(1, 701)], (*range(1, 51),), True),
    ],
)
def test_a_bad_field_costs_that_field(field: str, told: object, kept: object, is_lost: bool) -> None:
    facts, lost = only(GOOD | {field: told})
    assert getattr(facts, field) == kept
    assert set(lost) == ({field} if is_lost else set())
    for other in FIELDS:
        if other not in (field, "id"):
            assert getattr(facts, other) == getattr(FACTS, other)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("id", "title")])
def test_a_missing_field_costs_that_field(field: str) -> None:
    facts, lost = only({key: value for key, value in GOOD.items() if key != field})
    assert lost == []
    assert getattr(facts, field) == getattr(MovieFacts(tmdb_id=1, title="x"), field)


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        "film",
        [],
        {},
        {"id": 5},
        {"title": "No id"},
        *(GOOD | {"id": wrong} for wrong in BAD_IDS),
        *(GOOD | {"title": wrong} for wrong in BAD_TITLES),
    ],
)
def test_a_bad_film_costs_that_film(item: object) -> None:
    page, lost = read_page(body(GOOD, item, OTHER), 1)
    assert [film.tmdb_id for film in page.facts] == [1_700_001, 2]
    assert page.facts[0] == FACTS
    assert "results" in lost


def test_a_number_too_long_for_any_field_costs_only_its_field() -> None:
    page, lost = read_page(body(GOOD).replace(b'"vote_count": 42', b'"vote_count": ' + b"9" * 5_000), 1)
    assert page.facts[0].vote_count == 0
    assert page.facts[0].title == FACTS.title
    assert lost == ["vote_count"]


def test_an_infinite_number_costs_only_its_field() -> None:
    page, lost = read_page(body(GOOD).replace(b"12.5", b"1e999"), 1)
    assert (page.facts[0].popularity, page.facts[0].vote_count) == (0.0, 42)
    assert lost == ["popularity"]


def test_a_page_is_cut_to_twenty_and_holds_no_film_twice() -> None:
    films = [GOOD | {"id": number} for number in range(1, 22)]
    assert [film.tmdb_id for film in read_page(body(*films), 1)[0].facts] == list(range(1, 21))
    assert len(read_page(body(GOOD, GOOD, OTHER), 1)[0].facts) == 2


@pytest.mark.parametrize(
    ("told", "number", "total"),
    [
        ({"total_results": 812_345, "total_pages": 40_618}, 1, 10_000),
        ({"total_results": 57}, 3, 57),
        ({"total_results": None, "total_pages": 3}, 1, 60),
        ({"total_results": None, "total_pages": None}, 3, 42),
        ({"total_results": -5}, 1, 2),
        ({"total_results": "many"}, 1, 20),
        ({"total_results": 10**30}, 1, 10_000),
        ({"total_results": 0}, 2, 22),
    ],
)
def test_the_total_is_never_more_than_the_catalogue_serves_nor_less_than_was_seen(
    told: dict[str, Any], number: int, total: int
) -> None:
    assert read_page(body(GOOD, OTHER, **told), number)[0].total == total


def test_a_list_of_nothing_is_an_empty_page() -> None:
    page, lost = read_page(body(), 1)
    assert (page.facts, page.total, lost) == ((), 0, [])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<!doctype html>",
        b'{"results": null}',
        b'{"results": {}}',
        b'{"results": [7, {"id": 1}], "total_results": 2}',
        b'{"success": false, "status_code": 11, "status_message": "No."}',
        b'{"results": [{"id": 1, "title": "x", "popularity": NaN}]}',
        b'{"results": [{"id": 1, "title": "x", "popularity": -Infinity}]}',
        b'{"results": [{"id": 1, "title": "x"}',
        b'{"results": [{"id": 1, "title": "\xff"}]}',
        b'{"results": ' + b"[" * 100_000,
        b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b', "results": []}',
    ],
    ids=range(15),
)
def test_a_body_that_tells_nothing_true_is_nonsense(text: bytes) -> None:
    with pytest.raises(Nonsense):
        read_page(text, 1)
    with pytest.raises(Nonsense):
        read_movie(text, 1)
    with pytest.raises(Nonsense):
        read_genres(text)


def test_another_film_than_the_one_asked_for_is_nonsense() -> None:
    with pytest.raises(Nonsense):
        read_movie(json.dumps(GOOD).encode(), 5)


def test_a_bad_genre_costs_that_genre() -> None:
    told = [{"id": 18, "name": "Drama"}, 7, {"id": 0, "name": "x"}, {"id": 5}, {"id": 6, "name": "\0"}, {"id": 18}]
    genres, lost = read_genres(json.dumps({"genres": told}).encode())
    assert genres == (Genre(18, "Drama"),)
    assert lost == ["genres", *["genre"] * 4]


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.sampled_from(FIELDS), inner),
    max_leaves=8,
)


@patient
@given(st.dictionaries(st.sampled_from([*FIELDS, "genres"]), JSON))
def test_whatever_stands_in_a_film_s_fields_it_is_valid_or_left_out(wrong: dict[str, Any]) -> None:
    page, lost = read_page(body(GOOD | wrong, OTHER), 1)
    assert OTHER["id"] in [film.tmdb_id for film in page.facts]
    assert len(page.facts) == 2 or lost or wrong.get("id") == OTHER["id"]
    for film in page.facts:
        assert_valid(film)


@patient
@given(st.dictionaries(st.sampled_from(["results", "total_results", "total_pages", "genres", *FIELDS]), JSON))
def test_whatever_stands_in_a_body_it_is_read_or_nonsense(wrong: dict[str, Any]) -> None:
    text = json.dumps(wrong).encode()
    try:
        page, _ = read_page(text, 1)
    except Nonsense:
        assert wrong.get("results") != []
    else:
        assert 0 <= page.total <= 10_000
        for film in page.facts:
            assert_valid(film)
    with suppress(Nonsense):
        assert_valid(read_movie(text, wrong.get("id", 5))[0])
    with suppress(Nonsense):
        assert all(genre.id > 0 and genre.name for genre in read_genres(text)[0])


@given(st.binary(max_size=200))
def test_any_bytes_are_nonsense_or_a_page(text: bytes) -> None:
    for tried in (text, b'{"results": [' + text + b"]}"):
        with suppress(Nonsense):
            assert read_page(tried, 1)[0].total <= 10_000


def test_a_bad_change_costs_that_change_alone() -> None:
    items = [{"id": 7, "adult": None}, {"id": 7}, {"id": 2**53}, {"id": -1}, {"adult": False}, {"id": "8"}, 9, None]
    (changed, pages), lost = read_changes(body(*items, total_pages=3))
    assert (changed, pages) == ({7}, 3)
    assert lost == ["changes", "id", *["changes"] * 5]


def test_a_page_on_which_nothing_changed_is_good() -> None:
    assert read_changes(body(total_pages=0)) == ((set(), 0), [])


@pytest.mark.parametrize(
    "told",
    [b"[]", b"{}", b'{"results": []}', b'{"results": [], "total_pages": "1"}', b'{"results": [7], "total_pages": 1}'],
)
def test_changes_without_what_counts_are_nonsense(told: bytes) -> None:
    with pytest.raises(Nonsense):
        read_changes(told)


async def test_no_more_pages_of_changes_are_asked_for_than_tmdb_serves() -> None:
    catalogue = TmdbCatalogue(url="https://tmdb.test/3", token="", budget=MemoryBudget(1_000, 20))
    with respx.mock:
        route = respx.get(host="tmdb.test").respond(json={"results": [{"id": 7}], "total_pages": 40_000})
        assert await catalogue.changed(date(2026, 2, 28), date(2026, 3, 1)) == {7}
        assert route.call_count == 500
    await catalogue.close()
