"""The statements about lists of films: one for each combination of filters and order, made when first asked for."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Date,
    Double,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from moviehub.adapters.postgres.films import VERSIONED
from moviehub.adapters.postgres.rows import MOVIE
from moviehub.adapters.postgres.signposts import MOST_BEHIND
from moviehub.adapters.postgres.statements import (
    MOST_INTEGER,
    Columns,
    Statement,
    a_number,
    a_text,
    an_id,
    behind,
    containing,
    of_many,
    possible,
    unseen,
)
from moviehub.adapters.postgres.tables import movies
from moviehub.domain.movies import MovieFilter
from moviehub.domain.pages import MOST_COUNTED, MOST_PER_PAGE
from moviehub.domain.text import LIKE_ENOUGH, indexed_words

_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "search": movies.c.title_key.like(a_text("search")),
    # Not for an index. Of what is no column, the planner takes it that few have it, and does not walk to find one.
    "sought": (movies.c.title_key + literal_column("''")).like(a_text("sought")),
    "genres": movies.c.genre_ids.overlap(bindparam("genres", type_=ARRAY(Integer))),
    "languages": movies.c.original_language == func.any(bindparam("languages", type_=ARRAY(Text))),
    "release_year": and_(
        movies.c.release_date >= bindparam("release_year", type_=Date),
        movies.c.release_date < bindparam("next_year", type_=Date),
    ),
    "min_rating": movies.c.vote_average >= bindparam("min_rating", type_=Double),
    "max_rating": movies.c.vote_average <= bindparam("max_rating", type_=Double),
    "min_popularity": movies.c.popularity >= bindparam("min_popularity", type_=Double),
    "except_id": movies.c.id != an_id("except_id"),
}


def filter_values(wanted: MovieFilter) -> dict[str, Any]:
    """The filters that narrow something, as parameters."""
    values: dict[str, Any] = {
        "min_rating": wanted.min_rating,
        "max_rating": wanted.max_rating,
        "min_popularity": wanted.min_popularity,
    }
    if wanted.search_key:
        values["search"] = containing(wanted.search_key)
        if len(set(words := indexed_words(wanted.search_key))) > 1:  # of one word too many would be found
            values |= {"search": containing(*words), "sought": containing(wanted.search_key)}
    if wanted.genres:  # without those that cannot be, even if that leaves none: then no film has any of them
        values["genres"] = [number for number in wanted.genres if abs(number) <= MOST_INTEGER]
    if wanted.languages:
        values["languages"] = wanted.languages
    if wanted.release_year is not None:
        values["release_year"] = date(wanted.release_year, 1, 1)
        values["next_year"] = date(wanted.release_year + 1, 1, 1)
    if wanted.except_id is not None:
        values["except_id"] = possible(wanted.except_id)
    return {name: value for name, value in values.items() if value is not None}


def _key_column(column: str) -> Column[Any]:
    return movies.c.title_key if column == "title" else movies.c[column]


Part = Literal["all", "behind", "keyless"]
"""Of which part of a list to tell: all of it, what has a key and comes after a place, what has none and does."""


@lru_cache(maxsize=512)
def list_statement(
    narrowed_by: frozenset[str], column: str, descending: bool, part: Part = "all", *, many: bool = False
) -> Statement:
    """A page of the films that meet these conditions, in this order: which they are, and the key of each.

    Behind a place at most `MOST_BEHIND` may be skipped. Of the whole list `many` may be asked for at once.
    """
    one = _list_select(narrowed_by, column, descending, part, hidden=not narrowed_by and not many)
    if not many:
        return Statement(one)

    def order(found: Columns) -> Sequence[ColumnElement[Any]]:
        return [(each.desc() if descending else each.asc()).nulls_last() for each in (found["key"], found["movies_id"])]

    return of_many(one, order)


def _list_select(
    narrowed_by: frozenset[str], column: str, descending: bool, part: Part, *, hidden: bool
) -> Select[Any]:
    """With its numbers `hidden` from the planner or not."""
    shown = unseen if hidden else _as_it_is
    key = _key_column(column)
    last = movies.c.id.desc() if descending else movies.c.id.asc()
    order = [key.desc() if descending else key.asc(), last]
    if column == "release_date":
        order[0] = order[0].nulls_last()
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    if part == "behind":
        conditions.append(behind(key, movies.c.id, descending=descending, hidden=hidden))
    elif part == "keyless":
        after = shown(an_id("after_id"))
        conditions += [key.is_(None), movies.c.id < after if descending else movies.c.id > after]
    found = select(*VERSIONED, key.label("key")).order_by(*order)
    # How to read the whole list is plain whatever the page, and planning it anew each time costs more than reading it.
    # Conditions the planner should see.
    size, skipped = shown(a_number("size")), shown(a_number("skipped"))
    if narrowed_by or part == "all":
        # Which they are is found on an index alone where one has all that is asked for, and so is skipping; only the
        # films of the page itself are read.
        page = select(movies.c.id).where(*conditions).order_by(*order).limit(size).offset(skipped)
        return found.where(movies.c.id == func.any(func.array(page.scalar_subquery())))
    # This number the planner sees: else it would take them for a part of all, and think of reading all.
    few = found.where(*conditions).limit(literal_column(str(MOST_BEHIND + MOST_PER_PAGE + 1))).subquery("few")
    return select(few).limit(size).offset(skipped)


def _as_it_is(parameter: BindParameter[Any]) -> ColumnElement[Any]:
    return parameter


@lru_cache(maxsize=256)
def count_statement(narrowed_by: frozenset[str]) -> Statement:
    """How many films meet these conditions, up to the number at which counting stops."""
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    found = select(literal_column("1")).select_from(movies).where(*conditions).limit(MOST_COUNTED).subquery()
    return Statement(select(func.count().label("total")).select_from(found))


COMPARES_TITLES = Statement("SELECT to_regoperator('%>(text,text)') IS NOT NULL AS compares", reads=True)
"""Whether the server has pg_trgm."""


@lru_cache(maxsize=256)
def closest_statement(narrowed_by: frozenset[str]) -> Statement:
    """A page of the films whose title is most like a search, and that meet these conditions.

    Each of the `words` must be in it with a typing error at most; the index is asked for the `longest`.
    """
    # What is like enough for the operator that an index knows is a setting. It is set where the operator's argument is
    # read, thus before the first comparison, and until the end of this transaction alone.
    settled = func.set_config("pg_trgm.word_similarity_threshold", str(LIKE_ENOUGH), true())
    longest = select(a_text("longest")).select_from(settled).scalar_subquery()
    word = func.unnest(bindparam("words", type_=ARRAY(Text))).column_valued("word")
    each = select(func.word_similarity(word, movies.c.title_key)).correlate(movies).scalar_subquery()
    likeness = func.word_similarity(a_text("sought"), movies.c.title_key).label("likeness")
    conditions = [condition for name, condition in _CONDITIONS.items() if name in narrowed_by]
    order: list[Any] = [literal_column("likeness").desc(), movies.c.popularity.desc(), movies.c.id]
    found = (
        select(movies.c.id, likeness)
        .where(
            movies.c.title_key.op("%>", is_comparison=True)(longest),
            literal_column(str(LIKE_ENOUGH)) <= func.all(each),
            *conditions,
        )
        .order_by(*order)
        .limit(literal_column(str(MOST_COUNTED)))
        .cte("found")
    )
    return Statement(
        select(*MOVIE, select(func.count()).select_from(found).scalar_subquery().label("total"))
        .join_from(found, movies, movies.c.id == found.c.id)
        .order_by(*order)
        .limit(a_number("size"))
        .offset(a_number("skipped"))
    )
