"""Reads by key that share questions: many callers at once cost a few statements or round trips, not one each."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from moviehub.domain.errors import Unavailable

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Batch(Generic[K, T]):
    """Answers calls that arrive while a question is under way with the next one.

    A call is never answered by a question that began before it, so what was committed before the call is seen.
    Nobody waits for a timer either: the first call starts at once, and only the answers' own pace gathers the rest.
    """

    def __init__(
        self, fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]], on_idle: Callable[[], object] = bool
    ) -> None:
        self._fetch = fetch
        self._on_idle = on_idle
        self._waiting: dict[K, list[asyncio.Future[T | None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, key: K) -> T | None:
        """What `fetch` has under `key`."""
        # A future for each caller: one who goes away cancels their own and nothing else.
        future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    found = await self._fetch(list(asked))
                except BaseException as failure:
                    failed = [asked]
                    if isinstance(failure, Unavailable) or not isinstance(failure, Exception):
                        # Those who wait for their turn are told too: else they would wait out a dead database twice.
                        failed.append(self._waiting)
                        self._waiting = {}
                    self._fail(failed, failure)
                    if not isinstance(failure, Exception):
                        raise
                else:
                    for key, futures in asked.items():
                        for future in futures:
                            if not future.done():
                                future.set_result(found.get(key))
        finally:
            self._task = None
            self._on_idle()

    @staticmethod
    def _fail(groups: Sequence[Mapping[K, Sequence[asyncio.Future[T | None]]]], failure: BaseException) -> None:
        for futures in (futures for group in groups for futures in group.values()):
            for future in futures:
                if future.done():
                    continue
                if isinstance(failure, Exception):
                    future.set_exception(failure)
                else:
                    future.cancel()


class Turns(Generic[K, T]):
    """The same for reads that cannot be put into one statement: equal calls that wait together share a turn.

    Who finds nobody else there, as most do, reads without further ado.
    """

    def __init__(self, read: Callable[[K], Awaitable[T]]) -> None:
        self._read = read
        self._batches: dict[K, Batch[int, T]] = {}
        self._alone: set[K] = set()

    async def find(self, key: K) -> T:
        """What `read` gives for `key`, read after this call."""
        batch = self._batches.get(key)
        if batch is None and key not in self._alone:
            self._alone.add(key)
            try:
                return await self._read(key)
            finally:
                self._alone.discard(key)
        if batch is None:

            async def fetch(_: Sequence[int]) -> Mapping[int, T]:
                return {0: await self._read(key)}

            batch = self._batches[key] = Batch(fetch, on_idle=lambda: self._batches.pop(key, None))
        found = await batch.find(0)
        assert found is not None
        return found
