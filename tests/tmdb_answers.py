"""What the stand-in for TMDb tells: a small world of films of our own in the shapes of v3, with their quirks."""

from datetime import date
from typing import Any

FILMS = 10_000
FIRST_ID = 1_700_000
COLOURS = ("Amber", "Blue", "Crimson", "Dún", "Ébène", "Fahl", "Grün", "Хаки", "Índigo", "翡翠")
THINGS = ("Harbour", "Летопись", "Meadow", "夜", "Orchard", "Πύργος", "Quarry", "River", "Straße", "Tower", "مدينة")
GENRES = {28: "Action", 18: "Drama", 35: "Comedy", 9648: "Mystery", 10770: "TV Movie"}


def title(number: int) -> str:
    """The title of the film of this number (from 0)."""
    return f"{COLOURS[number % len(COLOURS)]} {THINGS[number % len(THINGS)]} {number}"


TITLES = [title(number).casefold() for number in range(FILMS)]
CHANGED_EVERY = 40
"""Days after which a film changes again."""


def film(number: int) -> dict[str, Any]:
    """The film of this number, in the form of a list's item, with one of the quirks that TMDb's have."""
    item: dict[str, Any] = {
        "adult": False,
        "backdrop_path": None if number % 5 == 1 else f"/back{number}.jpg",
        "genre_ids": [list(GENRES)[number % 5], list(GENRES)[(number + 1) % 5]],
        "id": FIRST_ID + number,
        "original_language": ("en", "ru", "zh", "el")[number % 4],
        "original_title": title(number),
        "overview": f"Somebody in the {title(number)} has {number} days to find out why.",
        "popularity": 80_000.123 if number == 0 else 1e-05 if number % 9 == 8 else 1000 / (number + 1),
        "poster_path": None if number % 7 == 2 else f"/poster{number}.jpg",
        "release_date": f"{1930 + number % 100}-{number % 12 + 1:02}-{number % 28 + 1:02}",
        "title": title(number),
        "video": False,
        "vote_average": 7 if number % 6 == 3 else round(number % 97 / 9.7, 3),
        "vote_count": number * 37 % 4001,
    }
    match number % 13:
        case 4:
            item["release_date"] = ""
        case 5:
            item["release_date"] = None
        case 6:
            del item["release_date"]
        case 7:
            item["release_date"] = "0000-00-00"
        case 8:
            item["overview"] = ""
        case 9:
            item["overview"] = None
        case 10:
            item["genre_ids"] = []
        case 11:
            del item["genre_ids"]
    return item


def page(numbers: list[int], number: int, total: int, per_page: int = 20, **extra: Any) -> dict[str, Any]:
    """One page of a list; it begins with the last film of the page before, as TMDb's do when films change places."""
    start = (number - 1) * per_page
    shown = numbers[max(0, start - 1) : start + per_page - (start > 0)]
    pages = -(-total // per_page)
    results = [film(shown_number) | extra for shown_number in shown]
    return {"page": number, "results": results, "total_pages": pages, "total_results": total}


def changes(since: str, until: str, number: int) -> dict[str, Any]:
    """One page of the films that changed on these days, 100 a page."""
    days = range(date.fromisoformat(since).toordinal(), date.fromisoformat(until).toordinal() + 1)
    changed = [n for n in range(FILMS) if any((day - n) % CHANGED_EVERY == 0 for day in days)]
    shown = changed[(number - 1) * 100 : number * 100]
    results = [{"id": FIRST_ID + n, "adult": None if n % 3 else False} for n in shown]
    pages = -(-len(changed) // 100)
    return {"results": results, "page": number, "total_pages": pages, "total_results": len(changed)}


def answer(path: str, query: dict[str, str]) -> tuple[int, Any]:
    """TMDb's status and JSON for a call with a good key."""
    number = int(query.get("page", "1"))
    if not 1 <= number <= 500:
        message = "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."
        return 400, {"success": False, "status_code": 22, "status_message": message}
    missing = {"success": False, "status_code": 34, "status_message": "The resource you requested could not be found."}
    everything = list(range(FILMS))
    match path.strip("/").split("/"):
        case ["movie", "popular"]:
            return 200, page(everything, number, 812_345)
        case ["movie", "top_rated"]:
            return 200, page(everything[::-1], number, 9_876)
        case ["movie", "changes"]:
            return 200, changes(query["start_date"], query["end_date"], number)
        case ["trending", "movie", "day" | "week" as window]:
            order = everything if window == "day" else everything[7:] + everything[:7]
            return 200, page(order, number, FILMS, media_type="movie")
        case ["search", "movie"]:
            if not query.get("query", "").strip():
                return 422, {"errors": ["query must be provided"]}
            words, year = query["query"].casefold(), query.get("primary_release_year", "")
            found = [n for n, text in enumerate(TITLES) if words in text]
            found = [n for n in found if not year or (film(n).get("release_date") or "").startswith(year)]
            return 200, page(found, number, len(found))
        case ["movie", text, *rest] if text.isdecimal() and rest in ([], ["recommendations"]):
            known = int(text) - FIRST_ID
            if not 0 <= known < FILMS:
                # The other form that TMDb has for the same, without `success`.
                return 404, missing if known < 0 else {"status_code": 6, "status_message": "Invalid id"}
            if rest:
                others = [(known + step) % FILMS for step in range(1, 42)]
                return 200, page(others, number, 40, 21 if number == 1 else 20)
            detail = film(known)
            ids = detail.pop("genre_ids", [])
            return 200, detail | {"genres": [{"id": i, "name": GENRES[i]} for i in ids], "imdb_id": "", "runtime": 0}
        case ["authentication"]:
            return 200, {"success": True, "status_code": 1, "status_message": "Success."}
        case ["genre", "movie", "list"]:
            mark = "" if query.get("language", "en").startswith("en") else f" ({query['language']})"
            return 200, {"genres": [{"id": i, "name": name + mark} for i, name in GENRES.items()]}
    return 404, missing
