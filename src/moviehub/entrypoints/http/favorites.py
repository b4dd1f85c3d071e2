"""Favourites over HTTP."""

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency

from moviehub.application.favorites import AddFavorite, ListFavorites, RemoveFavorite
from moviehub.domain.movies import MarkedMovie
from moviehub.entrypoints.http.auth import SignedInRequest
from moviehub.entrypoints.http.calls import Instant, MessageOut, answer, call, nothing
from moviehub.entrypoints.http.cursors import Whole
from moviehub.entrypoints.http.inputs import Query, path_id
from moviehub.entrypoints.http.movies import MovieOut, movie_json, own_headers
from moviehub.entrypoints.http.pages import PAGE_RULES, ScrollIn, ScrollOut, scroll_envelope


class FavoriteOut(msgspec.Struct):
    """A film among the caller's favourites, and since when."""

    id: int
    movie: MovieOut
    created_at: Instant


def favorite_out(marked: MarkedMovie) -> FavoriteOut:
    """A favourite film as JSON."""
    favorite = marked.mark.favorite
    assert favorite is not None
    return FavoriteOut(favorite.id, movie_json(marked), favorite.created_at)


PAGE = Query(ScrollIn, PAGE_RULES)


class FavoritesController(Controller):
    """Favourites."""

    path = "/api/movies"
    tags = ["Favourites"]

    @post(
        "/{movie_id:str}/add_to_favorites",
        opt=call(answers={200: MessageOut, 201: MessageOut}, refusals=(404,)),
    )
    async def add(self, request: SignedInRequest, add_favorite: NamedDependency[AddFavorite]) -> Response[bytes]:
        """Make a film a favourite: 201, or 200 when it was one already."""
        if await add_favorite(user_id=request.user.user.id, movie_id=path_id(request, "movie_id")):
            return answer(MessageOut("Movie added to favorites."), 201)
        return answer(MessageOut("Movie is already in favorites."), 200)

    @delete("/{movie_id:str}/remove_from_favorites", status_code=200, opt=call(answers={204: None}, refusals=(404,)))
    async def remove(
        self, request: SignedInRequest, remove_favorite: NamedDependency[RemoveFavorite]
    ) -> Response[bytes]:
        """Take a film out of the favourites."""
        await remove_favorite(user_id=request.user.user.id, movie_id=path_id(request, "movie_id"))
        return nothing()

    @get("/favorites/my_favorites", opt=call(query=PAGE, answers={200: ScrollOut[FavoriteOut]}, refusals=(404,)))
    async def list_mine(
        self, request: SignedInRequest, list_favorites: NamedDependency[ListFavorites]
    ) -> Response[bytes]:
        """List the caller's favourites, newest first."""
        user_id, wanted = request.user.user.id, PAGE.read(request)
        whole = Whole(("favorites", user_id))
        page = await list_favorites(user_id=user_id, page=wanted.request_of(request, whole.place(wanted.cursor)))
        results = [favorite_out(marked) for marked in page.items]
        body = ScrollOut(**scroll_envelope(request, page, whole), results=results)  # type: ignore[arg-type]
        return answer(body, headers=own_headers(request))
