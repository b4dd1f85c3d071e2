"""What every storage of films owes; a subclass has a fixture `storage`."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest

from moviehub.adapters.tmdb.payloads import LONGEST_TITLE, MOST_GENRES
from moviehub.application.storage import Storage
from moviehub.domain.errors import Invalid
from moviehub.domain.movies import FRESH_FOR, ORDERINGS, Mark, Movie, MovieDetail, MovieFilter, MovieNotFound
from moviehub.domain.pages import Cursor, NoSuchPage, Page, PageRequest
from moviehub.domain.ratings import Opinion, Score
from tests.contracts.storage import (
    IMPOSSIBLE_IDS,
    IMPOSSIBLE_TEXTS,
    NOW,
    after,
    detail,
    facts,
    keep,
    rate,
    register,
    remember,
    scrolled,
)

HALF = FRESH_FOR / 2
DATES = (date(1999, 12, 31), date(2000, 1, 1), date(2000, 12, 31), date(2001, 1, 1), None)
TITLES = ("Éclair", "eclair", "ZEBRA", "Ünder 100%", "under_score", "back\\slash", "10", "9", "\N{CLAPPER BOARD}", "ﬁn")

MISTAKABLE = (
    "Solaris",
    "The Matrix",
    "The Godfather",
    "Interstellar",
    "Amélie",
    "2001: A Space Odyssey",
    "Spider-Man",
    "Солярис",
)


def motley(count: int) -> list[Any]:
    """Films that differ and tie in every way that lists are narrowed and ordered by."""
    return [
        facts(
            number,
            title=TITLES[number % len(TITLES)],
            release_date=DATES[number % len(DATES)],
            popularity=float(number % 4),
            vote_average=(number % 7) * 1.25,
            original_language=("en", "de", "zh")[number % 3],
            genre_ids=((), (1,), (1, 2), (3,))[number % 4],
        )
        for number in random.Random(7).sample(range(1, count + 1), count)
    ]


async def listed(storage: Storage, wanted: MovieFilter, size: int = 7) -> list[Movie]:
    """All pages of the list, one after the other."""
    movies: list[Movie] = []
    async with storage.reading() as uow:
        page = await uow.movies.list(wanted, PageRequest(1, size))
        for number in range(1, (page.pages or 0) + 1):
            page = await uow.movies.list(wanted, PageRequest(number, size))
            movies += page.items
            assert page.request == PageRequest(number, size)
    assert page.total == len(movies)
    return movies


def _is_behind(wanted: MovieFilter, movie: Movie, key: Any, number: int) -> bool:
    """Whether a film comes after a place, told in full."""
    own = wanted.key(movie)
    if own is None or key is None:
        return own is None and (key is not None or (movie.id < number if wanted.descending else movie.id > number))
    if own != key:
        return bool(own < key) if wanted.descending else bool(own > key)
    return movie.id < number if wanted.descending else movie.id > number


class MoviesContract:
    async def test_a_film_that_is_told_of_is_kept_with_all_its_facts(self, storage: Storage) -> None:
        told = facts(7, title="Ünder 夜 \N{CLAPPER BOARD}", popularity=1e-05, vote_count=2**62, genre_ids=(35, -1, 35))
        bare = facts(8, overview="", release_date=None, poster_path=None, original_language="", genre_ids=())
        movies = await remember(storage, told, bare)
        assert [movie.facts for movie in movies] == [told, bare]
        async with storage.reading() as uow:
            for movie in movies:
                assert movie == Movie(id=movie.id, facts=movie.facts, created_at=NOW, updated_at=NOW, fetched_at=NOW)
                assert await uow.movies.get(movie.id) == movie
                assert await uow.movies.find_by_tmdb(movie.facts.tmdb_id) == movie

    async def test_there_is_one_movie_for_each_fact_in_their_order(self, storage: Storage) -> None:
        (known,) = await remember(storage, facts(5))
        movies = await remember(storage, facts(9), facts(2), facts(5), facts(7))
        assert [movie.facts.tmdb_id for movie in movies] == [9, 2, 5, 7]
        assert movies[2].id == known.id
        assert await remember(storage) == ()

    async def test_facts_that_come_twice_are_kept_once_and_the_first_wins(self, storage: Storage) -> None:
        movies = await remember(storage, facts(5, title="First"), facts(6), facts(5, title="Second"))
        assert movies[0] == movies[2]
        assert movies[0].facts.title == "First"
        async with storage.reading() as uow:
            assert await uow.movies.find_by_tmdb(5) == movies[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"title": "Other"},
            {"overview": ""},
            {"release_date": None},
            {"poster_path": None},
            {"backdrop_path": "/b.jpg"},
            {"popularity": 10.25},
            {"vote_average": 7.0},
            {"vote_count": 13},
            {"original_language": "de"},
            {"genre_ids": (35, 18)},
        ],
    )
    async def test_a_film_whose_facts_changed_is_updated_under_its_old_id(
        self, storage: Storage, change: dict[str, Any]
    ) -> None:
        (before,) = await remember(storage, facts(5))
        at = after(60)
        (movie,) = await remember(storage, facts(5, **change), at=at)
        assert movie == Movie(id=before.id, facts=facts(5, **change), created_at=NOW, updated_at=at, fetched_at=at)
        async with storage.reading() as uow:
            assert await uow.movies.get(movie.id) == movie

    async def test_a_film_whose_facts_are_unchanged_and_were_confirmed_lately_is_not_rewritten(
        self, storage: Storage
    ) -> None:
        (before,) = await remember(storage, facts(5))
        assert await remember(storage, facts(5), at=NOW + HALF) == (before,)
        async with storage.reading() as uow:
            assert await uow.movies.get(before.id) == before

    async def test_a_film_that_was_confirmed_long_ago_is_confirmed_and_not_called_updated(
        self, storage: Storage
    ) -> None:
        (before,) = await remember(storage, facts(5))
        at = NOW + HALF + timedelta(microseconds=1)
        (movie,) = await remember(storage, facts(5), at=at)
        assert movie == Movie(id=before.id, facts=facts(5), created_at=NOW, updated_at=NOW, fetched_at=at)
        async with storage.reading() as uow:
            assert await uow.movies.get(before.id) == movie

    async def test_a_film_that_is_told_of_by_many_at_once_is_one(self, storage: Storage) -> None:
        told = [facts(number) for number in range(1, 21)]

        async def tell(number: int) -> dict[int, int]:
            mixed = random.Random(number).sample(told, len(told))
            return {movie.facts.tmdb_id: movie.id for movie in await remember(storage, *mixed)}

        first, *others = await asyncio.gather(*(tell(number) for number in range(12)))
        assert len(set(first.values())) == 20
        assert all(other == first for other in others)

    async def test_a_film_that_the_catalogue_drops_stays_and_is_marked_until_it_is_told_of_again(
        self, storage: Storage
    ) -> None:
        (told, other) = await remember(storage, facts(5), facts(6))
        for at in (after(60), after(120)):
            async with storage.autocommit() as uow:
                await uow.movies.drop(told.id, at)
            dropped = replace(told, fetched_at=at, dropped_at=after(60))
            async with storage.reading() as uow:
                assert await uow.movies.get(told.id) == dropped
                assert (await uow.movies.detail(told.id)).movie == dropped
                assert await uow.movies.get(other.id) == other
        again, _ = await remember(storage, facts(5), facts(6), at=after(121))  # though nothing else is news
        assert again == replace(told, fetched_at=after(121))
        async with storage.reading() as uow:
            assert await uow.movies.get(told.id) == again
            assert await uow.movies.get(other.id) == other

    async def test_a_film_that_is_not_there_cannot_be_dropped(self, storage: Storage) -> None:
        for movie_id in IMPOSSIBLE_IDS:
            async with storage.autocommit() as uow:
                with pytest.raises(MovieNotFound):
                    await uow.movies.drop(movie_id, NOW)

    async def test_what_a_person_said_of_a_film_outlives_it_in_the_catalogue(self, storage: Storage) -> None:
        ada = await register(storage, "ada")
        (movie,) = await remember(storage, facts(5))
        await keep(storage, ada, movie)
        await rate(storage, ada, movie, 9)
        async with storage.autocommit() as uow:
            await uow.movies.drop(movie.id, after(60))
        async with storage.reading() as uow:
            assert (await uow.favorites.list(ada.id, PageRequest())).total == 1
            assert (await uow.movies.detail(movie.id)).score == Score(9, 1)

    async def test_films_confirmed_too_long_ago_are_told_oldest_first(self, storage: Storage) -> None:
        movies = [
            *await remember(storage, facts(1), facts(2), at=after(20)),
            *await remember(storage, facts(3), facts(4), at=after(10)),
            *await remember(storage, facts(5), at=after(30)),
        ]
        one, two, three, four, _ = movies
        async with storage.reading() as uow:
            outdated = uow.movies.outdated
            assert [*await outdated(after(30), 9)] == [three, four, one, two]
            assert [*await outdated(after(30), 3)] == [three, four, one]
            assert [*await outdated(after(10), 9)] == []
            assert [*await outdated(after(30), 9, tmdb_ids=[5, 2, 3, 3, 77, *IMPOSSIBLE_IDS])] == [three, two]
            assert [*await outdated(after(30), 1, tmdb_ids=[2, 3])] == [three]
            assert [*await outdated(after(30), 9, tmdb_ids=[])] == []

    async def test_facts_that_cannot_be_stored_are_invalid(self, storage: Storage) -> None:
        changes: list[dict[str, Any]] = [{"title": text} for text in IMPOSSIBLE_TEXTS]
        changes += [{"vote_count": 2**63}, {"genre_ids": (2**31,)}, {"overview": "\0"}]
        for change in changes:
            with pytest.raises(Invalid):
                await remember(storage, facts(1), facts(2, **change))
        with pytest.raises(Invalid):
            await remember(storage, facts(2**63))
        async with storage.reading() as uow:
            assert await uow.movies.find_by_tmdb(1) is None

    async def test_a_film_that_is_not_there_is_not_found(self, storage: Storage) -> None:
        for movie_id in IMPOSSIBLE_IDS:
            async with storage.reading() as uow:
                with pytest.raises(MovieNotFound):
                    await uow.movies.get(movie_id)
                with pytest.raises(MovieNotFound):
                    await uow.movies.detail(movie_id)
                assert await uow.movies.find_by_tmdb(movie_id) is None
            async with storage.transaction() as uow:
                with pytest.raises(MovieNotFound):
                    await uow.movies.detail(movie_id)

    async def test_detail_counts_every_committed_rating(self, storage: Storage) -> None:
        (movie, other) = await remember(storage, facts(5), facts(6))
        assert await detail(storage, movie) == MovieDetail(movie, Score())
        users = [await register(storage, name) for name in ("ada", "bob", "cid")]
        for user, score, average in zip(users, (8, 7, 7), (8, 7.5, 22 / 3), strict=True):
            await rate(storage, user, movie, score)
            assert (await detail(storage, movie)).score.average == average
        assert (await detail(storage, movie)).score.count == 3
        assert (await detail(storage, other)).score == Score()
        async with storage.transaction() as uow:
            await uow.ratings.save(users[0].id, movie.id, Opinion(score=1), NOW)
            assert (await uow.movies.detail(movie.id)).score == Score(5, 3)

    async def test_many_who_ask_for_details_at_once_get_their_own_film(self, storage: Storage) -> None:
        movies = await remember(storage, *(facts(number) for number in range(1, 9)))
        found = await asyncio.gather(*(detail(storage, movie) for movie in movies * 3))
        assert [each.movie for each in found] == [*movies] * 3

    @pytest.mark.parametrize("ordering", [sign + name for name in ORDERINGS for sign in ("", "-")])
    async def test_a_list_is_in_its_order_whatever_ties(self, storage: Storage, ordering: str) -> None:
        told = motley(40)
        movies = await remember(storage, *told[:15])
        movies += await remember(storage, *told[15:], at=after(1))
        wanted = MovieFilter(ordering=ordering)
        assert await listed(storage, wanted) == wanted.sorted(movies)

    @pytest.mark.parametrize(
        "characters",
        [
            pytest.param(range(0x20000, 0x2A6D0), id="of four bytes"),
            pytest.param(range(0x3300, 0x33FF), id="that unfold to several"),
        ],
    )
    async def test_a_film_with_all_that_the_catalogue_may_tell_of_it_is_kept(
        self, storage: Storage, characters: range
    ) -> None:
        dice = random.Random(4)
        title = "".join(map(chr, dice.choices(characters, k=LONGEST_TITLE)))
        told = facts(1, title=title, genre_ids=tuple(dice.sample(range(1, 2**31), MOST_GENRES)))
        (movie,) = await remember(storage, told)
        assert movie.facts == told
        assert (await detail(storage, movie)).movie == movie

    @pytest.mark.parametrize(
        ("search", "titles"),
        [
            ("the matrix", ["The Matrix"]),
            ("HE MATR", ["The Matrix"]),
            ("space matrix", []),
            ("the  godfather", ["The Godfather"]),
            ("the", ["The Matrix", "The Godfather"]),
            ("2001: a space", ["2001: A Space Odyssey"]),
            ("2001 a space", []),
            ("space od", ["2001: A Space Odyssey"]),
            ("2001%odyssey", []),
            ("spider_man", []),
            ("pider-ma", ["Spider-Man"]),
            ("matrix the", []),
        ],
    )
    async def test_a_search_finds_the_titles_that_have_it_in_them_as_it_is(
        self, storage: Storage, search: str, titles: list[str]
    ) -> None:
        await remember(storage, *(facts(number, title=title) for number, title in enumerate(MISTAKABLE, 1)))
        found = await listed(storage, MovieFilter(search=search, ordering="created_at"))
        assert [movie.facts.title for movie in found] == titles

    @pytest.mark.parametrize(
        "narrowed",
        [
            {"search": "ECLAIR"},
            {"search": "é"},
            {"search": "%"},
            {"search": "_"},
            {"search": "\\"},
            {"search": "fin"},
            {"search": "r 1"},
            {"search": "nowhere"},
            {"search": "\u0301"},
            {"genres": (1,)},
            {"genres": (2, 3)},
            {"genres": (99,)},
            {"genres": (2**40,)},
            {"genres": (2**40, 3)},
            {"languages": ("de",)},
            {"languages": ("de", "zh")},
            {"languages": ("%",)},
            {"release_year": 2000},
            {"release_year": 1870},
            {"release_year": 2200},
            {"min_rating": 2.5},
            {"max_rating": 2.5},
            {"min_rating": 2.5, "max_rating": 2.5},
            {"min_popularity": 3},
            {"except_id": 2**70},
            {"search": "e", "genres": (1,), "languages": ("en", "de"), "min_rating": 1.25, "ordering": "title"},
            {"release_year": 2000, "ordering": "-release_date"},
        ],
    )
    async def test_a_list_has_the_films_that_match(self, storage: Storage, narrowed: dict[str, Any]) -> None:
        movies = await remember(storage, *motley(40))
        wanted = MovieFilter(**narrowed)
        assert await listed(storage, wanted) == wanted.sorted(filter(wanted.matches, movies))

    async def test_a_list_can_leave_one_film_out(self, storage: Storage) -> None:
        movies = await remember(storage, *motley(9))
        wanted = MovieFilter(except_id=movies[3].id)
        found = await listed(storage, wanted)
        assert len(found) == 8
        assert movies[3] not in found

    async def test_a_list_of_nothing_is_an_empty_page_and_no_other(self, storage: Storage) -> None:
        async with storage.reading() as uow:
            assert await uow.movies.list(MovieFilter(), PageRequest()) == Page((), 0, PageRequest())
            with pytest.raises(NoSuchPage):
                await uow.movies.list(MovieFilter(), PageRequest(2))

    async def test_a_page_past_the_end_of_a_list_is_refused(self, storage: Storage) -> None:
        await remember(storage, *motley(20))
        async with storage.reading() as uow:
            assert len((await uow.movies.list(MovieFilter(), PageRequest(2, 10))).items) == 10
            for number in (3, 1_000, 1_001, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.movies.list(MovieFilter(), PageRequest(number, 10))

    async def test_the_total_of_a_list_stops_at_10_000_and_so_do_the_pages(self, storage: Storage) -> None:
        for start in range(1, 10_102, 5_050):
            await remember(storage, *(facts(number, overview="") for number in range(start, start + 5_050)))
        async with storage.reading() as uow:
            first = await uow.movies.list(MovieFilter(), PageRequest(1, 100))
            last = await uow.movies.list(MovieFilter(), PageRequest(100, 100))
            assert (first.total, len(first.items), last.total, len(last.items)) == (10_000, 100, 10_000, 100)
            pages = [await uow.movies.list(MovieFilter(), PageRequest(number, 100)) for number in (1, 2, 3, 4, 100)]
            ids = [movie.id for page in pages for movie in page.items]
            assert ids == sorted(ids, reverse=True)
            assert len(set(ids)) == 500
            uneven = await uow.movies.list(MovieFilter(), PageRequest(334, 30))
            assert (uneven.total, len(uneven.items)) == (10_000, 10)
            for number, size in ((101, 100), (335, 30)):
                with pytest.raises(NoSuchPage):
                    await uow.movies.list(MovieFilter(), PageRequest(number, size))
            more = await uow.movies.list(MovieFilter(), PageRequest(1, 100, last.end))
            assert last.end == uneven.end
            assert [movie.id for movie in more.items] == [*range(ids[-1] - 1, ids[-1] - 101, -1)]
            assert more.end is not None
            alike = await uow.movies.closest(MovieFilter(search="fillm"), PageRequest(334, 30))
            assert (alike.total, len(alike.items)) == (10_000, 10)

    @pytest.mark.parametrize("ordering", [sign + name for name in ORDERINGS for sign in ("", "-")])
    async def test_by_cursor_each_film_comes_once_in_the_order_of_the_pages(
        self, storage: Storage, ordering: str
    ) -> None:
        told = motley(40)
        movies = await remember(storage, *told[:15])
        movies += await remember(storage, *told[15:], at=after(1))
        async with storage.reading() as uow:
            for narrowed in ({}, {"search": "e"}, {"release_year": 2000}, {"genres": (99,)}):
                wanted = MovieFilter(ordering=ordering, **narrowed)
                for size in (1, 7, 8, 40) if not narrowed else (3,):
                    found = await scrolled(partial(uow.movies.list, wanted), size)
                    assert found == wanted.sorted(filter(wanted.matches, movies))

    @pytest.mark.parametrize(
        ("ordering", "foremost", "size"),
        [
            ("-popularity", {"popularity": 1e9}, 3),
            ("title", {"title": ""}, 3),
            ("release_date", {"release_date": date(1870, 1, 1)}, 3),
            ("release_date", {"release_date": date(1870, 1, 1)}, 33),  # which ends among the films without a date
            ("-release_date", {"release_date": date(2200, 1, 1)}, 35),
        ],
    )
    async def test_by_cursor_none_is_missed_or_repeated_though_some_come_and_go_before_it(
        self, storage: Storage, ordering: str, foremost: dict[str, Any], size: int
    ) -> None:
        movies = await remember(storage, *motley(40))
        wanted = MovieFilter(ordering=ordering, max_rating=9)
        async with storage.reading() as uow:
            page = await uow.movies.list(wanted, PageRequest(1, size))
            found = [*page.items]
            gone = [replace(movie.facts, vote_average=10.0) for movie in (found[0], found[-1])]
            await remember(storage, *gone, facts(1_000, **foremost))
            while page.end is not None:
                page = await uow.movies.list(wanted, PageRequest(1, 4, page.end))
                found += page.items
        assert found == wanted.sorted(movies)

    @pytest.mark.parametrize(
        ("ordering", "keys"),
        [
            ("popularity", (0.0, -0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308)),
            ("vote_average", (0.0, 1e-7, 10.0)),
            ("release_date", (date.min, date.max, date(2000, 1, 1), None)),
            ("title", ("", "eclair", "\N{CLAPPER BOARD}", "\uffff", "\U0010ffff", "\x01", "z" * 4_000)),
            ("created_at", (NOW, after(-1e-6), *(t.replace(tzinfo=UTC) for t in (datetime.min, datetime.max)))),
        ],
    )
    async def test_after_any_place_there_is_what_follows_in_the_order(
        self, storage: Storage, ordering: str, keys: tuple[Any, ...]
    ) -> None:
        movies = await remember(storage, *motley(12))
        for sign, key, number in product(("", "-"), keys, (1, movies[5].id, 2**63 - 1)):
            wanted = MovieFilter(ordering=sign + ordering)
            in_order = wanted.sorted(movies)
            page = PageRequest(1, 100, Cursor(key, number))
            async with storage.reading() as uow:
                found = await uow.movies.list(wanted, page)
            expected = [movie for movie in in_order if _is_behind(wanted, movie, key, number)]
            assert [*found.items] == expected, (sign, key, number)

    @pytest.mark.parametrize(
        ("search", "title"),
        [
            ("solarsi", "Solaris"),
            ("SOLARSI", "Solaris"),
            ("matrxi", "The Matrix"),
            ("teh matrix", "The Matrix"),
            ("the matrx", "The Matrix"),
            ("interstelar", "Interstellar"),
            ("interrstellar", "Interstellar"),
            ("intarstellar", "Interstellar"),
            ("Ämêlié", "Amélie"),
            ("ameliie", "Amélie"),
            ("2001 space odysey", "2001: A Space Odyssey"),
            ("spiderman", "Spider-Man"),
            ("Солярсис", "Солярис"),
        ],
    )
    async def test_a_search_with_a_typing_error_finds_the_film(self, storage: Storage, search: str, title: str) -> None:
        await remember(storage, *(facts(number, title=each) for number, each in enumerate(MISTAKABLE, 1)))
        async with storage.reading() as uow:
            found = await uow.movies.closest(MovieFilter(search=search), PageRequest())
        assert found.items[0].facts.title == title

    @pytest.mark.parametrize(
        "search", ["xqzwvk", "the xqzwvk", "matrix xqzwvk", "solomon", "teh", "teh of", "%", "!?", "_", " ", ""]
    )
    async def test_a_search_for_nonsense_finds_nothing(self, storage: Storage, search: str) -> None:
        await remember(storage, *(facts(number, title=each) for number, each in enumerate(MISTAKABLE, 1)))
        async with storage.reading() as uow:
            assert await uow.movies.closest(MovieFilter(search=search), PageRequest()) == Page((), 0, PageRequest())
            with pytest.raises(NoSuchPage):
                await uow.movies.closest(MovieFilter(search=search), PageRequest(2))

    async def test_what_is_most_like_the_search_comes_first_and_of_equals_the_most_popular(
        self, storage: Storage
    ) -> None:
        titles = {"Interview": 9.0, "Interstellar": 1.0, "Interstellar II": 2.0}
        told = [facts(number, title=title, popularity=titles[title]) for number, title in enumerate(titles, 1)]
        await remember(storage, *told)
        for ordering in ORDERINGS:
            async with storage.reading() as uow:
                wanted = MovieFilter(search="interstelar", ordering=ordering)
                found = await uow.movies.closest(wanted, PageRequest())
            assert [movie.facts.title for movie in found.items] == ["Interstellar II", "Interstellar", "Interview"]

    @pytest.mark.parametrize(
        "narrowed",
        [
            {},
            {"genres": (2, 3)},
            {"genres": (2**40,)},
            {"languages": ("de", "zh")},
            {"release_year": 2000},
            {"min_rating": 2.5, "max_rating": 5},
            {"min_popularity": 3},
            {"except_id": 2**70},
            {"genres": (1,), "languages": ("en", "de"), "min_rating": 1.25},
        ],
    )
    async def test_what_is_like_the_search_is_narrowed_and_cut_into_pages(
        self, storage: Storage, narrowed: dict[str, Any]
    ) -> None:
        movies = await remember(storage, *(replace(one, title=f"Solaris {one.tmdb_id}") for one in motley(40)))
        wanted = MovieFilter(search="solarsi", **narrowed)
        found: list[Movie] = []
        async with storage.reading() as uow:
            page = await uow.movies.closest(wanted, PageRequest(1, 7))
            assert page.pages is not None
            for number in range(1, page.pages + 1):
                page = await uow.movies.closest(wanted, PageRequest(number, 7))
                assert page.request == PageRequest(number, 7)
                found += page.items
            assert page.pages is not None
            for number in (page.pages + 1, 10**30):
                with pytest.raises(NoSuchPage):
                    await uow.movies.closest(wanted, PageRequest(number, 7))
        assert page.total == len(found)
        matching = filter(replace(wanted, search="").matches, movies)
        assert sorted(found, key=lambda movie: movie.id) == sorted(matching, key=lambda movie: movie.id)

    async def test_marks_are_what_a_person_said_of_these_films(self, storage: Storage) -> None:
        ada, bob = await register(storage, "ada"), await register(storage, "bob")
        movies = await remember(storage, *(facts(number) for number in range(1, 6)))
        ids = [movie.id for movie in movies]
        await keep(storage, ada, movies[0])
        await rate(storage, ada, movies[1], 7, "good")
        await keep(storage, ada, movies[2], at=after(3))
        await rate(storage, ada, movies[2], 3, at=after(4))
        await keep(storage, bob, movies[3])
        await rate(storage, ada, movies[4], 1)
        async with storage.reading() as uow:
            marks = await uow.movies.marks(ada.id, ids[:4])
            favorites = {each.movie.id: each.mark for each in (await uow.favorites.list(ada.id, PageRequest())).items}
            ratings = {each.movie.id: each.mark for each in (await uow.ratings.list(ada.id, PageRequest())).items}
            assert {each: mark for each, mark in marks.items() if mark != Mark()} == {
                ids[0]: favorites[ids[0]],
                ids[1]: ratings[ids[1]],
                ids[2]: favorites[ids[2]],
            }
            assert marks[ids[0]].rating is None
            assert marks[ids[1]].favorite is None
            assert marks[ids[2]] == ratings[ids[2]]
            assert await uow.movies.marks(ada.id, []) == {}
            for user_id in IMPOSSIBLE_IDS:
                assert set((await uow.movies.marks(user_id, ids)).values()) <= {Mark()}
            assert set(await uow.movies.marks(ada.id, [*ids, *ids, *IMPOSSIBLE_IDS])) <= {*ids, *IMPOSSIBLE_IDS}
