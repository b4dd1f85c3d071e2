"""The rules of the domain, as properties."""

import unicodedata
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moviehub.domain.errors import Invalid
from moviehub.domain.listings import Popular, Search, Trending, normalized_query
from moviehub.domain.movies import Movie, MovieFacts, MovieFilter
from moviehub.domain.pages import NoSuchPage, Page, PageRequest
from moviehub.domain.ratings import Opinion, Rating
from moviehub.domain.sessions import Presented, Session
from moviehub.domain.text import cased, checked, folded
from moviehub.domain.users import (
    NewUser,
    check_account,
    check_email,
    check_password,
    check_profile_picture,
    check_username,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fields_of(fault: Invalid) -> list[str]:
    return [error.field for error in fault.errors]


@given(st.integers())
def test_a_score_is_an_integer_from_one_to_ten(score: int) -> None:
    if 1 <= score <= 10:
        assert Opinion(score=score).score == score
    else:
        with pytest.raises(Invalid, match="rating: expected an integer from 1 to 10"):
            Opinion(score=score)


@pytest.mark.parametrize("score", [True, 5.0, "5", None])
def test_a_score_is_nothing_but_an_integer(score: object) -> None:
    with pytest.raises(Invalid):
        Opinion(score=score)  # type: ignore[arg-type]


def test_an_opinion_tells_all_its_faults_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        Opinion(score=0, review="x" * 5_001)
    assert fields_of(caught.value) == ["rating", "review"]


def test_an_empty_review_is_none() -> None:
    assert Opinion(score=5, review="").review is None


def test_a_revision_changes_what_it_names_alone() -> None:
    rating = Rating(id=1, user_id=2, movie_id=3, opinion=Opinion(score=5, review="so"), created_at=NOW, updated_at=NOW)
    later = NOW + timedelta(hours=1)
    revised = rating.revised(later, score=7)
    assert (revised.opinion.score, revised.opinion.review) == (7, "so")
    assert (revised.created_at, revised.updated_at) == (NOW, later)


@given(st.text())
def test_text_with_a_control_character_is_refused(text: str) -> None:
    bad = any(unicodedata.category(c) in ("Cc", "Cs") for c in text)
    if bad or len(text) > 50:
        with pytest.raises(Invalid):
            checked("field", text, most=50)
    else:
        assert checked("field", text, most=50) == text


def test_lines_may_be_broken_where_people_write_at_length() -> None:
    assert checked("review", "one\n\ttwo", most=50, lines=True) == "one\n\ttwo"
    for bad in ("\0", "\x1b", "\x85", "\ud800"):
        with pytest.raises(Invalid):
            checked("review", bad, most=50, lines=True)


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert cased(cased(text)) == cased(text)


def test_folding_forgets_case_and_accents() -> None:
    assert folded("  Amélie   POULAIN ") == "amelie poulain"
    assert folded("Straße") == "strasse"


@pytest.mark.parametrize("name", ["abc", "a.b@c+d-e_f", "Žofie", "ユーザー名前", "x" * 150, "123"])
def test_good_usernames(name: str) -> None:
    assert check_username(name)


@pytest.mark.parametrize("name", ["ab", "x" * 151, "a b c", "abc!", "a\u200bbc", "abc\0", "😀😀😀", "", "a/bc"])
def test_bad_usernames(name: str) -> None:
    with pytest.raises(Invalid):
        check_username(name)


def test_a_username_is_kept_in_its_compatible_form() -> None:
    assert check_username("ＡＢＣ") == "ABC"
    user = NewUser(username="Ａlice", email="a@example.org", password_hash="x")
    assert (user.username, user.username_key) == ("Alice", "alice")


@pytest.mark.parametrize("email", ["a@example.org", "a.b+c@sub.example.co", "ü@exämple.org", "o'neil@example.org"])
def test_good_addresses(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        *("", "a", "a@", "@b.org", "a@b", "a b@example.org", "a@example..org", ".a@example.org", "a.@example.org"),
        *("a@-example.org", "a@example.org\n", "a@exa_mple.org\0", "x" * 250 + "@example.org", "a@b@example.org"),
    ],
)
def test_bad_addresses(email: str) -> None:
    with pytest.raises(Invalid):
        check_email(email)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "length"),
        ("x" * 257, "length"),
        ("PassWord", "common"),
        ("ｐａｓｓｗｏｒｄ", "common"),
        ("①②③④⑤⑥⑦⑧", "common"),
        ("12345678", "common"),
        ("abcdefg\0", "characters"),
    ],
)
def test_bad_passwords(password: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_password(password)
    assert caught.value.errors[0].code == code


@pytest.mark.parametrize("password", ["alicewonder", "xxALICEWONDERxx", "alice.w@example.org", "my alice.w phrase"])
def test_a_password_does_not_give_away_its_owner(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_account(username="AliceWonder", email="alice.w@example.org", password=password)
    assert caught.value.errors[0].code == "similar"


def test_a_short_name_may_stand_in_a_password() -> None:
    check_account(username="bob", email="bob@example.org", password="discombobulated")


def test_an_account_tells_all_its_faults_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        check_account(
            username="a", email="b", password="c", password_confirm="d", first_name="\0", profile_picture="http://x.org"
        )
    assert set(fields_of(caught.value)) == {
        "username",
        "email",
        "password",
        "password_confirm",
        "first_name",
        "profile_picture",
    }


def test_nobody_sits_on_anothers_address() -> None:
    with pytest.raises(Invalid, match="the account's own"):
        NewUser(username="bob@example.org", email="eve@example.org", password_hash="x")
    assert NewUser(username="Bob@example.org", email="bob@example.org", password_hash="x")


@pytest.mark.parametrize("url", ["", "https://example.org/a.png", "https://example.org:8443/ü"])
def test_good_pictures(url: str) -> None:
    assert check_profile_picture(url) == url


@pytest.mark.parametrize(
    "url", ["http://example.org", "javascript:alert(1)", "https://", "//x.org", "https://a b", "https://x:99999/"]
)
def test_bad_pictures(url: str) -> None:
    with pytest.raises(Invalid):
        check_profile_picture(url)


@given(st.integers(-5, 30), st.integers(-5, 130), st.integers(0, 300))
def test_pages_cover_everything_once(number: int, size: int, total: int) -> None:
    try:
        request = PageRequest(number, size)
    except Invalid:
        assert number < 1 or not 1 <= size <= 100
        return
    things = tuple(range(total))
    try:
        page = Page(things[request.offset : request.offset + size], total, request)
    except NoSuchPage:
        assert number > 1
        assert request.offset >= total
        return
    assert page.pages == max(1, -(-total // size))
    assert number <= page.pages


def test_queries_that_mean_the_same_have_one_key() -> None:
    assert normalized_query("  Star\u00a0 WARS ") == normalized_query("star wars") == "star wars"
    assert normalized_query("e\u0301") == normalized_query("é")


@pytest.mark.parametrize("query", ["", "   ", "x" * 201, "a\0b"])
def test_bad_queries(query: str) -> None:
    with pytest.raises(Invalid) as caught:
        normalized_query(query)
    assert fields_of(caught.value) == ["q"]


@given(
    st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30), st.integers(1, 50), st.none() | st.just(1999)
)
def test_no_two_searches_share_a_key(one: str, other: str, page: int, year: int | None) -> None:
    try:
        first, second = normalized_query(one), normalized_query(other)
    except Invalid:
        return
    keys = {Search(query=first, page=page, year=year).key, Search(query=second, page=page).key}
    assert len(keys) == (1 if first == second and year is None else 2)


def test_keys_have_the_names_that_were_agreed() -> None:
    assert Popular(page=2).key == "popular_movies_page_2"
    assert Trending(window="day").key == "trending_movies_day_page_1"
    assert Search(query="star wars").key == "search_movies_star wars_page_1"


facts = st.builds(
    MovieFacts,
    tmdb_id=st.integers(1, 10**6),
    title=st.text(min_size=1, max_size=5),
    release_date=st.none() | st.dates(date(1900, 1, 1), date(2030, 1, 1)),
    popularity=st.sampled_from([0.0, 1.5, 2.5]),
    vote_average=st.sampled_from([0.0, 5.0, 7.5]),
    genre_ids=st.lists(st.sampled_from([18, 28, 35]), max_size=2, unique=True).map(tuple),
)


@given(
    st.lists(facts, max_size=12),
    st.sampled_from(["popularity", "vote_average", "release_date", "title", "created_at"]),
    st.booleans(),
)
def test_every_order_is_total_and_ends_in_the_id(told: list[MovieFacts], column: str, descending: bool) -> None:
    movies = [
        Movie(id=number, facts=f, created_at=NOW, updated_at=NOW, fetched_at=NOW) for number, f in enumerate(told, 1)
    ]
    wanted = MovieFilter(ordering=("-" if descending else "") + column)
    ordered = wanted.sorted(movies)
    assert wanted.sorted(reversed(movies)) == ordered
    if column == "release_date":
        known = [movie.facts.release_date is not None for movie in ordered]
        assert known == sorted(known, reverse=True)


def test_a_filter_tells_all_its_faults_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        MovieFilter(release_year=1800, min_rating=11, max_rating=float("nan"), ordering="id", min_popularity=-1)
    assert set(fields_of(caught.value)) == {"release_year", "min_rating", "max_rating", "ordering", "min_popularity"}


def session(counter: int, used: datetime) -> Session:
    return Session(
        id=1, user_id=1, counter=counter, created_at=NOW, last_used_at=used, expires_at=NOW + timedelta(days=1)
    )


@pytest.mark.parametrize(
    ("counter", "presented", "seconds", "verdict"),
    [
        (3, 3, 9_999, Presented.NEWEST),
        (3, 2, 10, Presented.LOST_REPLY),
        (3, 2, 11, Presented.REUSED),
        (3, 1, 1, Presented.REUSED),
        (3, 4, 1, Presented.REUSED),
    ],
)
def test_what_a_refresh_token_is_to_its_session(counter: int, presented: int, seconds: int, verdict: Presented) -> None:
    assert session(counter, NOW).judge(presented, NOW + timedelta(seconds=seconds)) is verdict


def test_a_session_ends_at_its_time_or_when_it_is_ended() -> None:
    live = session(0, NOW)
    assert live.is_live(NOW)
    assert not live.is_live(NOW + timedelta(days=1))
