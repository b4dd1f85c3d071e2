"""The cache over HTTP."""

from litestar import Controller, Response, post
from litestar.di import NamedDependency

from moviehub.application.cache import FlushCache
from moviehub.entrypoints.http.auth import SignedInRequest
from moviehub.entrypoints.http.calls import call, nothing
from moviehub.entrypoints.http.exchange import exchange_of


class CacheController(Controller):
    """What is cached, for staff."""

    path = "/api/admin/cache"
    tags = ["Administration"]

    @post("/flush", status_code=200, opt=call(auth="staff", answers={204: None}))
    async def flush(self, request: SignedInRequest, flush_cache: NamedDependency[FlushCache]) -> Response[bytes]:
        """Forget everything that is cached."""
        await flush_cache(actor_id=request.user.user.id, address=exchange_of(request.scope).address)
        return nothing()
