"""TMDb's v3 API: which call answers which question, and when a call is made."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import date
from typing import NoReturn, TypeVar

import structlog

from moviehub.adapters.tmdb.circuit import Circuit, Failure, Open, OverLimit
from moviehub.adapters.tmdb.payloads import (
    Nonsense,
    Unusable,
    read_authentication,
    read_changes,
    read_genres,
    read_movie,
    read_page,
)
from moviehub.adapters.tmdb.transport import Again, Refused, Transport, Unaskable
from moviehub.application.ports import BACKGROUND, Budget, Catalogue
from moviehub.application.tracing import Spans, untraced
from moviehub.domain.errors import Unavailable
from moviehub.domain.listings import (
    LAST_PAGE,
    PAGE_SIZE,
    CataloguePage,
    Listing,
    Popular,
    Recommended,
    Search,
    TopRated,
    Trending,
)
from moviehub.domain.movies import Genre, MovieFacts, MovieNotFound

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE = 1.25
BACKGROUND_PATIENCE = 2.0
"""Seconds to wait for a place in the budget; what is left of the deadline is for the answer."""

LARGEST_ID = 2**31 - 1
DEADLINE = "deadline"

OUTCOMES = (
    *("ok", "not_found", "declined", "refused", "limited", "timed_out", "failed"),
    *("circuit_open", "no_place", "given_up"),
)
"""What may come of a question. By the last three TMDb was not asked, or whoever asked has gone away."""


class TmdbCatalogue(Catalogue):
    """Asks TMDb, each question within `deadline` seconds and with one second try at most, and none while it is out.

    Each try has a place in the `budget`. `losses` counts the fields and films that TMDb told and that are of no use;
    `calls` and `seconds` tell by outcome how many questions there were and how long they took, and `waited` how many
    seconds they waited for a place.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        budget: Budget,
        connections: int = 20,
        language: str = "en-US",
        region: str = "",
        deadline: float = 3.0,
        circuit: Circuit | None = None,
        spans: Spans = untraced,
    ) -> None:
        self.losses = 0
        self.calls = dict.fromkeys(OUTCOMES, 0)
        self.seconds = dict.fromkeys(OUTCOMES, 0.0)
        self.waited = 0.0
        self._language = {"language": language}
        self._region = {"region": region} if region else {}
        self._deadline = deadline
        self._budget = budget
        self._circuit = circuit or Circuit()
        self._transport = Transport(url=url, token=token, connections=connections, timeout=deadline, spans=spans)

    async def page(self, listing: Listing) -> CataloguePage:
        if not 1 <= listing.page <= LAST_PAGE:
            return CataloguePage((), 0)  # TMDb would refuse
        path, params = self._route(listing)
        params = params | self._language | {"page": str(listing.page)}
        answer = await self._ask(path, params, lambda body: _page(body, listing))
        if isinstance(answer, CataloguePage):
            return answer
        if answer == 404 and isinstance(listing, Recommended):
            raise MovieNotFound()
        if answer == 422 and isinstance(listing, Search):
            return CataloguePage((), 0)  # a query that TMDb strips to nothing
        self._fail(path, f"status {answer}")

    async def movie(self, tmdb_id: int) -> MovieFacts:
        if not 0 < tmdb_id <= LARGEST_ID:
            raise MovieNotFound()
        path = f"movie/{tmdb_id}"
        answer = await self._ask(path, self._language, lambda body: read_movie(body, tmdb_id))
        if isinstance(answer, MovieFacts):
            return answer
        if answer == 404:
            raise MovieNotFound()
        self._fail(path, f"status {answer}")

    async def genres(self) -> tuple[Genre, ...]:
        path = "genre/movie/list"
        answer = await self._ask(path, self._language, read_genres)
        if isinstance(answer, tuple):
            return answer
        self._fail(path, f"status {answer}")

    async def changed(self, since: date, until: date) -> frozenset[int]:
        path, days = "movie/changes", {"start_date": since.isoformat(), "end_date": until.isoformat()}
        found: set[int] = set()
        for number in range(1, LAST_PAGE + 1):
            answer = await self._ask(path, days | {"page": str(number)}, read_changes)
            if isinstance(answer, int):
                self._fail(path, f"status {answer}")
            tmdb_ids, pages = answer
            found |= tmdb_ids
            if number >= pages:
                break
        return frozenset(found)

    async def ping(self) -> None:
        """Unavailable from when TMDb was found to be out until a question was answered again. Asks nothing."""
        if self.is_out:
            raise Unavailable("TMDb was out when it was last asked.")

    @property
    def is_out(self) -> bool:
        """Whether TMDb was out when it was last asked."""
        return self._circuit.state != "closed"

    @property
    def key_kind(self) -> str:
        """What the key is by its form: v3 key or v4 read token; nothing if it has neither."""
        return self._transport.kind

    async def takes_key(self) -> bool:
        """Whether TMDb takes the key. Raises Unavailable if that cannot be known now."""
        path = "authentication"
        try:
            answer = await self._ask(path, {}, read_authentication)
        except Refused:
            return False
        if isinstance(answer, bool):
            return answer
        self._fail(path, f"status {answer}")

    async def close(self) -> None:
        """Give the connections back."""
        await self._transport.close()

    def _route(self, listing: Listing) -> tuple[str, dict[str, str]]:
        match listing:
            case Trending():
                return f"trending/movie/{listing.window}", {}
            case Popular():
                return "movie/popular", self._region
            case TopRated():
                return "movie/top_rated", self._region
            case Search():
                year = {"primary_release_year": str(listing.year)} if listing.year else {}
                return "search/movie", {"query": listing.query, "include_adult": "false"} | year | self._region
            case Recommended():
                return f"movie/{listing.tmdb_id}/recommendations", {}
            case _:
                raise TypeError(f"no such list is kept here: {listing!r}")

    async def _ask(self, path: str, params: Mapping[str, str], read: Callable[[bytes], tuple[T, list[str]]]) -> T | int:
        """What `read` makes of the answer, or its status if that is 400, 404 or 422."""
        began, outcome = time.monotonic(), "given_up"
        try:
            told = await self._asked(path, params, read)
            outcome = "ok" if not isinstance(told, int) else "not_found" if told == 404 else "declined"
            return told
        except (Unaskable, Unusable) as fault:  # no fault of TMDb's
            outcome = "failed"
            self._fail(path, str(fault))
        except Unavailable as fault:
            outcome = _outcome(fault)
            raise
        finally:
            self.calls[outcome] += 1
            self.seconds[outcome] += time.monotonic() - began

    async def _asked(
        self, path: str, params: Mapping[str, str], read: Callable[[bytes], tuple[T, list[str]]]
    ) -> T | int:
        self._circuit.check()
        until = asyncio.get_running_loop().time() + self._deadline
        async with AsyncExitStack() as place:
            try:
                await self._enter(place, until)
            except Unavailable:  # no failure of TMDb's
                log.warning("tmdb_not_asked", path=path)
                raise
            try:
                with self._circuit.question():  # which may have opened while we waited
                    told = await self._hear(path, params, until, place, read)
            except Failure as fault:
                log.warning("tmdb_failed", path=path, why=fault.why)
                if isinstance(fault, OverLimit):
                    await self._budget.pause(fault.retry_after)
                raise
        if isinstance(told, int):
            return told
        answer, lost = told
        if lost:
            self.losses += len(lost)
            log.warning("tmdb_losses", path=path, lost=dict(Counter(lost)))
        return answer

    async def _enter(self, place: AsyncExitStack, until: float) -> None:
        patience = BACKGROUND_PATIENCE if BACKGROUND.get() else PATIENCE
        began = asyncio.get_running_loop().time()
        try:
            await place.enter_async_context(self._budget.place(min(patience, until - began)))
        finally:
            self.waited += asyncio.get_running_loop().time() - began

    async def _hear(
        self,
        path: str,
        params: Mapping[str, str],
        until: float,
        place: AsyncExitStack,
        read: Callable[[bytes], tuple[T, list[str]]],
    ) -> tuple[T, list[str]] | int:
        try:
            async with asyncio.timeout_at(until):
                try:
                    status, body = await self._transport.get(path, params)
                except Again as fault:
                    await place.aclose()
                    await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311
                    if not self._circuit.second_try():
                        raise
                    try:
                        await self._enter(place, until)
                    except Unavailable:
                        raise fault from None
                    status, body = await self._transport.get(path, params)
            return read(body) if status == 200 else status
        except TimeoutError:
            raise Failure(DEADLINE) from None
        except Unusable:
            raise
        except Nonsense as fault:
            raise Failure(str(fault)) from None

    def _fail(self, path: str, why: str) -> NoReturn:
        """For what says nothing of TMDb as a whole."""
        log.warning("tmdb_failed", path=path, why=why)
        raise Unavailable("The film catalogue cannot be reached now.") from None


def _page(body: bytes, listing: Listing) -> tuple[CataloguePage, list[str]]:
    page, lost = read_page(body, listing.page)
    if isinstance(listing, Trending | Popular | TopRated):
        least = max(page.total, 1)  # such a list is never empty
    else:
        least = page.total if listing.page == 1 else 0  # their last pages may well be
    if not page.facts and (listing.page - 1) * PAGE_SIZE < least:
        raise Unusable("no film where there are some")
    return page, lost


def _outcome(fault: Unavailable) -> str:
    match fault:
        case Open():
            return "circuit_open"
        case Refused():
            return "refused"
        case OverLimit():
            return "limited"
        case Failure():
            return "timed_out" if fault.why == DEADLINE else "failed"
    return "no_place"
