"""News within one process."""

from collections.abc import Callable

from moviehub.application.ports import News


class MemoryNews(News):
    """Whoever is told is here, so all is heard before `tell` returns."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str | None], object]] = []

    def listen(self, listener: Callable[[str | None], object]) -> None:
        self._listeners.append(listener)

    def are_heard(self) -> bool:
        return True

    async def tell(self, *topics: str) -> None:
        for topic in topics:
            for listener in self._listeners:
                listener(topic)
