"""What TMDb's JSON looks like, and how it is read into the domain's values.

A good body is decoded in one pass. Only a body with a fault is read again, field by field: a bad field costs that
field, a bad film costs that film, and what was lost is told.
"""

import json
import math
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, TypeVar

import msgspec

from moviehub.domain.listings import PAGE_SIZE, CataloguePage
from moviehub.domain.movies import Genre, MovieFacts
from moviehub.domain.pages import MOST_COUNTED
from moviehub.domain.text import CONTROLS_BUT_LINES

T = TypeVar("T", bound=msgspec.Struct)

LONGEST_TITLE = 500
LONGEST_OVERVIEW = 10_000
LONGEST_PATH = 200
LONGEST_LANGUAGE = 35
MOST_GENRES = 50
"""With the longest title they fit into a row of an index, of which Postgres takes 2,704 bytes."""
MOST_ID = 2**53 - 1
MOST_NUMBER = 2**31 - 1
LONGEST_NUMBER = 400
"""Digits: more than any float has, and far fewer than Python refuses to read."""


class Nonsense(ValueError):
    """A body that tells nothing true."""


class Unusable(Nonsense):
    """A body in TMDb's form that does not tell of this one film: of other questions it says nothing."""


class GenreIn(msgspec.Struct):
    """A genre, in the list of all or in a film's detail."""

    id: int
    name: str = ""


class MovieIn(msgspec.Struct):
    """A film: lists have `genre_ids`, details `genres`."""

    id: int
    title: str
    overview: str | None = None
    release_date: str | None = None
    poster_path: str | None = None
    backdrop_path: str | None = None
    popularity: float | None = None
    vote_average: float | None = None
    vote_count: int | None = None
    original_language: str | None = None
    genre_ids: list[int] | None = None
    genres: list[GenreIn] | None = None


class PageIn(msgspec.Struct):
    """A page of a list."""

    results: list[MovieIn]
    total_results: int | None = None
    total_pages: int | None = None


class GenresIn(msgspec.Struct):
    """All genres."""

    genres: list[GenreIn]


class ChangeIn(msgspec.Struct):
    """A film that changed."""

    id: int


class ChangesIn(msgspec.Struct):
    """A page of the films that changed; without the number of pages nobody knew whether that is all."""

    changes: list[ChangeIn] = msgspec.field(name="results")
    total_pages: int


class AuthenticationIn(msgspec.Struct):
    """Whether the key is good."""

    success: bool


ELEMENTS: dict[str, type[Any]] = {"genre_ids": int, "genres": GenreIn, "results": MovieIn, "changes": ChangeIn}
"""What the lists hold, so that one bad element does not cost the others."""

_movie = msgspec.json.Decoder(MovieIn)
_page = msgspec.json.Decoder(PageIn)
_genres = msgspec.json.Decoder(GenresIn)
_changes = msgspec.json.Decoder(ChangesIn)
_authentication = msgspec.json.Decoder(AuthenticationIn)


def read_page(body: bytes, number: int) -> tuple[CataloguePage, list[str]]:
    """Page `number` of a list, and the names of what was lost. Raises Nonsense."""
    lost: list[str] = []
    told = _read(body, _page, lost)
    films: dict[int, MovieFacts] = {}
    for item in told.results:
        facts = _facts(item, lost)
        if facts is not None:
            films.setdefault(facts.tmdb_id, facts)
    if "results" in lost and not films:
        raise Nonsense("a page without one film that can be read")
    total = told.total_results
    if total is None:
        total = (told.total_pages or 0) * PAGE_SIZE
    if films:
        total = max(total, (number - 1) * PAGE_SIZE + min(len(films), PAGE_SIZE))
    return CataloguePage(tuple(films.values())[:PAGE_SIZE], max(0, min(total, MOST_COUNTED))), lost


def read_movie(body: bytes, tmdb_id: int) -> tuple[MovieFacts, list[str]]:
    """The film of this id, and the names of what was lost. Raises Nonsense."""
    lost: list[str] = []
    facts = _facts(_read(body, _movie, lost), lost)
    if facts is None or facts.tmdb_id != tmdb_id:
        raise Unusable("not the film that was asked for")
    return facts, lost


def read_genres(body: bytes) -> tuple[tuple[Genre, ...], list[str]]:
    """Every genre, and the names of what was lost. Raises Nonsense."""
    lost: list[str] = []
    genres: dict[int, Genre] = {}
    for item in _read(body, _genres, lost).genres:
        name = _line(item.name)
        if 0 < item.id <= MOST_NUMBER and 0 < len(name) <= LONGEST_TITLE:
            genres.setdefault(item.id, Genre(item.id, name))
        else:
            lost.append("genre")
    if not genres:
        raise Nonsense("no genre that can be read")
    return tuple(genres.values()), lost


def read_changes(body: bytes) -> tuple[tuple[set[int], int], list[str]]:
    """The films of one page that changed, how many pages there are, and the names of what was lost. Raises Nonsense."""
    lost: list[str] = []
    told = _read(body, _changes, lost)
    good = {change.id for change in told.changes if 0 < change.id <= MOST_ID}
    lost += ["changes" for change in told.changes if change.id not in good]
    if "changes" in lost and not good:
        raise Nonsense("a page without one change that can be read")
    return (good, told.total_pages), lost


def read_authentication(body: bytes) -> tuple[bool, list[str]]:
    """Whether the key is good. Raises Nonsense."""
    return _read(body, _authentication, []).success, []


def _read(body: bytes, decoder: "msgspec.json.Decoder[T]", lost: list[str]) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        raw = json.loads(body.decode(), parse_constant=_refuse, parse_int=_parse_int)
        told = _forgive(raw, decoder.type, lost)
    except (ValueError, RecursionError):
        raise Nonsense("not JSON") from None
    if told is None:
        raise Nonsense("not the JSON that was asked for")
    return told


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits  # which no field takes for a number


def _forgive(raw: object, kind: type[T], lost: list[str]) -> T | None:
    """`raw` as a `kind` without its bad fields; None if one of those is needed."""
    if not isinstance(raw, dict):
        return None
    good: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        value = raw.get(field.encode_name)
        if value is None:
            continue
        if field.name in ELEMENTS and isinstance(value, list):
            good[field.name] = list(_elements(value, field.name, lost))
            continue
        try:
            good[field.name] = msgspec.convert(value, field.type)
        except (msgspec.MsgspecError, ValueError, OverflowError):
            lost.append(field.name)
    return kind(**good) if all(f.name in good for f in msgspec.structs.fields(kind) if f.required) else None


def _elements(values: Iterable[object], name: str, lost: list[str]) -> Iterator[Any]:
    kind = ELEMENTS[name]
    for value in values:
        good = value if kind is int else _forgive(value, kind, lost)
        if good is None or (kind is int and type(good) is not int):
            lost.append(name)
        else:
            yield good


def _facts(item: MovieIn, lost: list[str]) -> MovieFacts | None:
    title = _line(item.title)[:LONGEST_TITLE].rstrip()
    if not title or not 0 < item.id <= MOST_ID:
        lost.append("results")
        return None
    return MovieFacts(
        tmdb_id=item.id,
        title=title,
        overview=_text(item.overview or "")[:LONGEST_OVERVIEW],
        release_date=_date(item.release_date, lost),
        poster_path=_path(item.poster_path, "poster_path", lost),
        backdrop_path=_path(item.backdrop_path, "backdrop_path", lost),
        popularity=_number(item.popularity, math.inf, "popularity", lost),
        vote_average=_number(item.vote_average, 10.0, "vote_average", lost),
        vote_count=int(_number(item.vote_count, MOST_NUMBER, "vote_count", lost)),
        original_language=_language(item.original_language or "", lost),
        genre_ids=_genre_ids(item, lost),
    )


def _text(text: str) -> str:
    """`text` without control characters and lone surrogates."""
    return CONTROLS_BUT_LINES.sub("", text)


def _line(text: str) -> str:
    return text.strip() if text.isprintable() else " ".join(_text(text).replace("\t", " ").splitlines()).strip()


def _date(text: str | None, lost: list[str]) -> date | None:
    if not text:
        return None
    try:
        if len(text) == 10 and text[4] == text[7] == "-":  # Python reads other ISO forms too
            return date.fromisoformat(text)
    except ValueError:
        pass
    lost.append("release_date")
    return None


def _path(path: str | None, name: str, lost: list[str]) -> str | None:
    if not path:
        return None
    if path[0] == "/" and len(path) <= LONGEST_PATH and path.isascii() and path.isprintable() and " " not in path:
        return path
    lost.append(name)
    return None


def _number(number: float | None, most: float, name: str, lost: list[str]) -> float:
    if number is None:
        return 0.0
    if 0 <= number <= most and number != math.inf:
        return number
    lost.append(name)
    return most if math.inf > number > most else 0.0


def _language(text: str, lost: list[str]) -> str:
    if len(text) <= LONGEST_LANGUAGE and text.isprintable():
        return text
    lost.append("original_language")
    return ""


def _genre_ids(item: MovieIn, lost: list[str]) -> tuple[int, ...]:
    told = item.genre_ids if item.genre_ids is not None else [genre.id for genre in item.genres or ()]
    good = tuple(dict.fromkeys(number for number in told if 0 < number <= MOST_NUMBER))
    if len(good) < len(told) and not all(0 < number <= MOST_NUMBER for number in told):
        lost.append("genre_ids")
    if len(good) > MOST_GENRES:
        lost.append("genre_ids")
    return good[:MOST_GENRES]
